//! The native dialect: `/token`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use poem::http::{HeaderName, HeaderValue};
use poem::web::Data;
use poem_openapi::{OpenApi, Tags};
use zeroize::Zeroizing;

use super::body::JsonBody;
use super::caller::Caller;
use super::credentials::{ClientAuth, Presented};
use super::problem::{Challenge, Failure, Problem, WithBody, WithQuestion};
use super::query::{AskedAudience, AskedScope};
use super::reply::Reply;
use super::state::{Snapshot, State};
use super::trail::Trail;
use super::wire::{CreateToken, RefreshToken, TokenInfo, TokenPair};
use crate::clients::{self, Client, Ended, Refusal};
use crate::clock::Timestamp;
use crate::telemetry::{self, Event};
use crate::token::{
    self, AccessClaims, Audience, Compact, Fingerprint, Grant, Kind, MintError, RefreshClaims, Rejection, Session,
    Verified,
};

const SUBJECT: HeaderName = HeaderName::from_static("x-token-subject");
const CLIENT: HeaderName = HeaderName::from_static("x-token-client");
const SCOPE: HeaderName = HeaderName::from_static("x-token-scope");

#[derive(Tags)]
enum Tag {
    /// Create, inspect and refresh tokens.
    Token,
}

pub(super) struct Native {
    state: Arc<State>,
}

impl Native {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[expect(clippy::unused_async, reason = "poem-openapi takes async handlers")]
#[OpenApi(tag = "Tag::Token")]
impl Native {
    /// Create a token
    ///
    /// Issues an access token and a refresh token to a client, which presents its id and secret as HTTP Basic or as
    /// members of the body; without either, an anonymous token where the service gives such tokens.
    #[oai(path = "/token", method = "post", operation_id = "createToken")]
    async fn create(
        &self,
        body: JsonBody<CreateToken>,
        auth: ClientAuth,
        trail: Data<&Trail>,
    ) -> Result<Reply<TokenPair>, Failure<WithBody>> {
        let (snapshot, now) = self.state.now();
        let CreateToken { client_id, client_secret, order } = body.0;
        let credentials = match (auth, client_id, client_secret) {
            (ClientAuth::Absent, None, None) => None,
            (ClientAuth::Absent, Some(id), Some(secret)) => {
                Some((Zeroizing::new(id), Zeroizing::new(secret.as_bytes().to_vec())))
            }
            (ClientAuth::Absent, Some(_), None) => return Err(one_without_the_other("client_secret", "client_id")),
            (ClientAuth::Absent, None, Some(_)) => return Err(one_without_the_other("client_id", "client_secret")),
            (ClientAuth::Basic(id, secret), None, None) => Some((id, secret)),
            // Nobody's, and wrong.
            (ClientAuth::Malformed, None, None) => Some(Default::default()),
            _ => {
                let message = "client_id and client_secret must not be in the body beside an Authorization header";
                return Err(Problem::bad(message).into());
            }
        };
        let client: &Client = match &credentials {
            None => snapshot.registry.anonymous().ok_or(NO_CLIENT)?,
            Some((id, secret)) => self.authenticate(&snapshot, trail.caller(), id, secret)?,
        };
        trail.note_client(&client.id);
        let session = clients::decide(&snapshot.registry, client, order, now).map_err(refused)?;
        let access_lifetime = session.lifetime.unwrap_or(client.lifetimes.access);
        let grant = Grant::whole(&session, client.algorithm, access_lifetime, client.lifetimes.refresh);
        self.within_rate(client)?;
        let issued = issue(&snapshot, &session, &grant, now)?;
        self.tell(&trail, Event::Issued, &session, &grant, &issued);
        Ok(Reply::secret(issued.pair.json().into()))
    }

    /// Inspect a token
    ///
    /// Describes the access token in the `Authorization` header, if it is valid; with `scope` and `audience` also
    /// answers whether it allows that and is for them. Without `audience`, tokens meant for others are accepted too.
    #[oai(path = "/token", method = "get", operation_id = "inspectToken")]
    async fn inspect(
        &self,
        /// A scope token that the access token must have, else 403; repeat it for more.
        scope: AskedScope,
        /// Whom the access token must be for, else 401.
        audience: AskedAudience,
        presented: Presented<'_>,
        trail: Data<&Trail>,
    ) -> Result<Reply<TokenInfo>, Failure<WithQuestion>> {
        let (snapshot, now) = self.state.now();
        let text = presented.token()?;
        let compact = compact(text)?;
        let fingerprint = Fingerprint::of::<AccessClaims>(text);
        let known = snapshot.inspected.get(&fingerprint, now);
        self.state.metrics.looked_up(known.is_some());
        let inspected = if let Some(known) = known {
            known
        } else {
            let verified = verify(compact, &snapshot, now)?;
            let made = Inspected::of(verified.claims())?;
            // The claims and the headers say what the body says, in small pieces: this is what was measured.
            let bytes = 8 * made.body.len();
            snapshot.inspected.keep(fingerprint, verified, made, bytes)
        };
        let claims = inspected.claims();
        trail.note_client(&claims.client);
        if audience.0.is_some_and(|audience| !claims.audience.contains(audience.as_str())) {
            let challenge = Challenge::InvalidToken(Some("the token is for another audience"));
            return Err(Problem::Unauthorized(challenge, "other_audience").into());
        }
        if let Some(lacking) = scope.0.iter().find(|token| !claims.scope.contains(token.as_str())) {
            let message = format!("the token does not have the scope {lacking}");
            return Err(Problem::Forbidden(message, Some(Challenge::InsufficientScope)).into());
        }
        self.state.metrics.token(Event::Verified);
        Ok(inspected.made().reply())
    }

    /// Refresh a token
    ///
    /// Exchanges the refresh token in the `Authorization` header for a new pair. The client is looked up again: what
    /// it may no longer have is left out. The old refresh token stays good until it ends.
    #[oai(path = "/token", method = "put", operation_id = "refreshToken")]
    async fn refresh(
        &self,
        body: JsonBody<RefreshToken>,
        presented: Presented<'_>,
        trail: Data<&Trail>,
    ) -> Result<Reply<TokenPair>, Failure<WithBody>> {
        let (snapshot, now) = self.state.now();
        let verified: Verified<RefreshClaims> = verify(compact(presented.token()?)?, &snapshot, now)?;
        let session = verified.into_claims().session;
        trail.note_client(&session.client);
        let mut renewal = clients::renew(&snapshot.registry, session, now).map_err(|why| ended(why, now))?;
        if let Some(asked) = body.0.scope {
            renewal.narrow(asked).map_err(refused)?;
        }
        if let Some(client) = snapshot.registry.named(renewal.session.client.as_str()) {
            self.within_rate(client)?;
        }
        let (session, grant) = (&renewal.session, renewal.grant());
        let issued = issue(&snapshot, session, &grant, now)?;
        self.tell(&trail, Event::Refreshed, session, &grant, &issued);
        Ok(Reply::secret(issued.pair.json().into()))
    }
}

impl Native {
    /// The client `id`, if that is its secret. An address that has failed too often is
    /// not heard, about a client with which it has failed of late: so nobody who asks
    /// from there too, and is right, is kept out.
    fn authenticate<'s>(
        &self,
        snapshot: &'s Snapshot,
        caller: Caller,
        id: &str,
        secret: &[u8],
    ) -> Result<&'s Client, Problem> {
        let (failures, household) = (&self.state.failures, caller.household());
        let limit = snapshot.failures;
        if let Some(wait) = limit.and_then(|rate| failures.wait(household, rate))
            && failures.owes((household, id))
        {
            return Err(Problem::TooManyRequests(in_seconds(wait)));
        }
        let client = snapshot.registry.authenticate(id, secret);
        if let (None, Some(rate)) = (client, limit) {
            failures.count(household, rate);
            failures.count((household, id), rate);
        }
        client.ok_or(NO_CLIENT)
    }

    /// Counts one more pair of tokens of `client`, if it may have one now.
    fn within_rate(&self, client: &Client) -> Result<(), Problem> {
        let Some(rate) = client.rate else { return Ok(()) };
        if let Some(wait) = self.state.issued.wait(client.id.as_str(), rate) {
            return Err(Problem::TooManyRequests(in_seconds(wait)));
        }
        self.state.issued.count(client.id.as_str(), rate);
        Ok(())
    }

    /// Writes down what was given to whom.
    fn tell(&self, trail: &Trail, event: Event, session: &Session, grant: &Grant<'_>, issued: &Issued) {
        self.state.metrics.token(event);
        let audience = grant.audience.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ");
        telemetry::issued(
            trail.id(),
            trail.address(),
            telemetry::Issued {
                is_refresh: event == Event::Refreshed,
                client: session.client.as_str(),
                subject: session.subject.as_str(),
                scope: grant.scope.as_str(),
                audience: &audience,
                id: &issued.id,
                kid: &issued.kid,
                expires: &issued.pair.expire,
            },
        );
    }
}

const NO_CLIENT: Problem = Problem::Unauthorized(Challenge::Basic, "client_authentication");

/// `Retry-After` is in whole seconds, and not too early.
fn in_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What was issued.
struct Issued {
    pair: TokenPair,
    /// The access token's `jti`.
    id: String,
    kid: String,
}

fn compact(text: &str) -> Result<Compact<'_>, Problem> {
    Compact::parse(text).ok_or(Problem::Unauthorized(Challenge::InvalidToken(None), "malformed_token"))
}

fn verify<K: Kind>(compact: Compact<'_>, snapshot: &Snapshot, now: Timestamp) -> Result<Verified<K>, Problem> {
    token::verify(compact, &snapshot.keys, snapshot.verifying(now)).map_err(|rejection| {
        let description = match rejection {
            Rejection::Expired => Some("the token has expired"),
            Rejection::NotYetValid => Some("the token is not yet valid"),
            _ => None,
        };
        Problem::Unauthorized(Challenge::InvalidToken(description), rejection.word())
    })
}

fn issue(snapshot: &Snapshot, session: &Session, grant: &Grant<'_>, now: Timestamp) -> Result<Issued, Problem> {
    let kid = snapshot.keys.signer(grant.algorithm, now).map(|key| key.kid().to_string()).unwrap_or_default();
    let pair = token::mint(&snapshot.keys, &snapshot.issuer, session, grant, now).map_err(|error| match error {
        MintError::TooLarge => {
            Problem::bad("the token would be longer than 8192 bytes; ask for less scope, audience or claims")
        }
        MintError::NoKey => Problem::Unavailable("no_key_signs"),
        MintError::NoRandomness => Problem::Internal("no_randomness"),
    })?;
    let expire = pair.expires.iso_millis();
    Ok(Issued { pair: TokenPair { value: pair.access, refresh: pair.refresh, expire }, id: pair.id, kid })
}

/// The answer about an access token, which is the same each time.
#[derive(Debug)]
pub struct Inspected {
    body: Bytes,
    subject: HeaderValue,
    client: HeaderValue,
    scope: HeaderValue,
}

impl Inspected {
    fn of(claims: &AccessClaims) -> Result<Self, Problem> {
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::Internal("claim_not_a_header"));
        let value = |value| serde_json::to_value(value).unwrap_or_default();
        let body = serde_json::to_vec(&TokenInfo {
            expire: claims.expires.iso_millis(),
            scope: claims.scope.iter().map(str::to_owned).collect(),
            subject: claims.subject.as_str().to_owned(),
            client: claims.client.as_str().to_owned(),
            audience: claims.audience.iter().map(ToString::to_string).collect(),
            issued: claims.issued.iso_millis(),
            id: claims.id.clone().into(),
            claims: claims.extra.iter().map(|(name, claim)| (name.to_owned(), value(claim))).collect(),
        });
        Ok(Self {
            body: body.map_err(|_| Problem::Internal("answer_not_serialised"))?.into(),
            subject: header(claims.subject.as_str())?,
            client: header(claims.client.as_str())?,
            scope: header(claims.scope.as_str())?,
        })
    }

    fn reply(&self) -> Reply<TokenInfo> {
        Reply::secret(self.body.clone().into())
            .header(SUBJECT, self.subject.clone())
            .header(CLIENT, self.client.clone())
            .header(SCOPE, self.scope.clone())
    }
}

fn one_without_the_other(missing: &str, there: &str) -> Failure<WithBody> {
    Problem::bad(format!("{missing} must be there beside {there}")).into()
}

fn refused(refusal: Refusal) -> Problem {
    let message = match refusal {
        Refusal::Scope(token) => format!("the scope {token} is not allowed"),
        Refusal::Audience(audience) => format!("the audience {audience} is not allowed"),
        Refusal::Subject(subject) => format!("the subject {subject} is not allowed"),
        Refusal::Claim(name) => format!("the claim {name} is not allowed"),
        Refusal::Anonymous(member) => format!("{member} is not allowed without credentials"),
        Refusal::Lifetime(most) => return Problem::bad(format!("lifetime must be at most {most} seconds")),
    };
    Problem::Forbidden(message, None)
}

fn ended(why: Ended, now: Timestamp) -> Problem {
    let mut description = None;
    if let Ended::NotBegun(seconds) = why {
        telemetry::clocks_differ(seconds, now);
        description = Some("the token is not yet valid");
    }
    Problem::Unauthorized(Challenge::InvalidToken(description), why.word())
}
