//! The token endpoint: the form and the answer.

use std::fmt::Write as _;

use poem_openapi::Object;
use zeroize::Zeroizing;

use super::authentication::Prepared;
use super::errors::OAuthFailure;
use super::exchange::{self, Exchange};
use super::form::Form;
use crate::clients::{GrantRequest, GrantType};
use crate::clock::Timestamp;
use crate::federation::Named;
use crate::grants::{self, ClientCredentials, JwtBearer, RefreshToken, TokenExchange};
use crate::http::reply::Answer;
use crate::service::{Call, Caller, Denied, Issued, Statement, Unauthenticated, Vouched};
use crate::token::{Audience, Audiences, Scope, ScopeToken, Sender};

/// What to issue (RFC 6749 §4.4.2 and §6).
#[derive(Object)]
#[oai(rename = "OAuthTokenRequest")]
pub(super) struct TokenRequest {
    /// `client_credentials`, `refresh_token`, `urn:ietf:params:oauth:grant-type:token-exchange` or
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`.
    grant_type: String,
    /// Scope tokens separated by spaces; default: all that the client may request, or that the
    /// session has.
    scope: Option<String>,
    /// The API that may accept the token; default: the client's audience, or the session's. With
    /// `refresh_token` it narrows the new access token. It may be repeated.
    audience: Option<String>,
    /// The same, as a URI (RFC 8707 §2). It may be repeated.
    resource: Option<String>,
    /// The refresh token, with `grant_type=refresh_token`.
    refresh_token: Option<String>,
    /// With `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer`: a JWT about any of the
    /// client's subjects, signed by the client, or one signed by a trusted issuer (RFC 7523 §2.1).
    assertion: Option<String>,
    /// With `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`: the token to exchange, an
    /// access token of this service or a trusted issuer's token (RFC 8693 §2.1).
    subject_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, `…:jwt` or `…:id_token`, with
    /// `subject_token`.
    subject_token_type: Option<String>,
    /// An access token of the client, whose subject acts; default: the client acts.
    actor_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token` or `…:jwt`, with `actor_token`.
    actor_token_type: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token` (the default) or `…:jwt`.
    requested_token_type: Option<String>,
    /// The client's id, unless it is in the `Authorization` header.
    client_id: Option<String>,
    /// The client's secret, unless it is in the `Authorization` header.
    client_secret: Option<String>,
    /// A JWT that the client signed with a key of its `jwks`, or that a trusted issuer signed (RFC
    /// 7523 §2.2).
    client_assertion: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` or `…:jwt-spiffe`, with
    /// `client_assertion`.
    client_assertion_type: Option<String>,
}

/// An access token (RFC 6749 §5.1).
#[derive(Object)]
#[oai(rename = "OAuthToken", skip_serializing_if_is_none)]
pub(super) struct TokenResponse {
    /// The access token: a JWT (RFC 9068).
    access_token: String,
    /// `Bearer`, or `DPoP` where the access token is bound to the key of a proof.
    token_type: String,
    /// Seconds until it expires.
    expires_in: i64,
    /// What it allows: scope tokens separated by spaces.
    scope: String,
    /// The refresh token, if the client's `grants` list `refresh_token`.
    refresh_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, after an exchange (RFC 8693 §2.2.1).
    issued_token_type: Option<String>,
}

impl Answer for TokenResponse {
    const MEANING: &'static str = "The token was issued.";
}

impl TokenResponse {
    /// Base64url, dots, scope tokens and constants need no escapes in JSON, so bytes are copied
    /// unchecked.
    pub(super) fn json(&self) -> String {
        let Self { access_token, token_type, expires_in, scope, refresh_token, issued_token_type } = self;
        let refresh_length = refresh_token.as_ref().map_or(0, String::len);
        let mut json = String::with_capacity(access_token.len() + refresh_length + scope.len() + 256);
        let _ = write!(
            json,
            r#"{{"access_token":"{access_token}","token_type":"{token_type}","expires_in":{expires_in},"scope":"{scope}""#
        );
        for (name, value) in [("refresh_token", refresh_token), ("issued_token_type", issued_token_type)] {
            if let Some(value) = value {
                let _ = write!(json, r#","{name}":"{value}""#);
            }
        }
        json.push('}');
        json
    }

    /// Builds the answer at `now`, with `issued_token_type` after an exchange.
    pub(super) fn new(issued: Issued<'_>, now: Timestamp, is_exchange: bool) -> Self {
        Self {
            expires_in: issued.access.expires.since(now),
            scope: issued.scope().as_str().to_owned(),
            access_token: issued.access.token,
            token_type: token_type(issued.sender).to_owned(),
            refresh_token: issued.refresh,
            issued_token_type: is_exchange.then(|| exchange::ACCESS_TOKEN.to_owned()),
        }
    }
}

/// Returns how a token with this binding is presented (RFC 6749 §7.1, RFC 9449 §5): a
/// certificate-bound one is a bearer token (RFC 8705 §3).
pub(super) fn token_type(sender: Option<Sender>) -> &'static str {
    match sender {
        Some(Sender::Dpop) => "DPoP",
        Some(Sender::Mtls) | None => "Bearer",
    }
}

/// The grant in a request.
pub(super) enum RequestedGrant {
    ClientCredentials(GrantRequest),
    RefreshToken(Zeroizing<String>, Option<Vec<ScopeToken>>, Option<Audiences>),
    Exchange(Exchange, GrantRequest),
    JwtBearer(Zeroizing<String>, GrantRequest),
}

impl RequestedGrant {
    /// Parses `form`, before the client is known.
    pub(super) fn read(form: &mut Form) -> Result<Self, OAuthFailure> {
        let asked = form.take("grant_type").ok_or_else(|| OAuthFailure::invalid_request("grant_type is missing"))?;
        match GrantType::from_name(&asked) {
            Some(GrantType::ClientCredentials) => Ok(Self::ClientCredentials(order(form)?)),
            Some(GrantType::JwtBearer) => {
                let missing = || OAuthFailure::invalid_request("assertion is missing");
                Ok(Self::JwtBearer(form.take("assertion").ok_or_else(missing)?, order(form)?))
            }
            Some(GrantType::TokenExchange) => Ok(Self::Exchange(Exchange::take(form)?, order(form)?)),
            Some(GrantType::RefreshToken) => {
                let missing = || OAuthFailure::invalid_request("refresh_token is missing");
                let token = form.take("refresh_token").ok_or_else(missing)?;
                Ok(Self::RefreshToken(token, scope(form)?, audience(form)?))
            }
            None => {
                let known = GrantType::ALL.map(GrantType::name).join(" or ");
                Err(OAuthFailure::unsupported_grant_type(format!("grant_type must be {known}")))
            }
        }
    }

    /// Finds the signer of the foreign token in it, if any, and fetches the signer's keys if they are
    /// missing.
    pub(super) async fn prepare<'g, 's>(&'g self, call: &Call<'s>) -> PreparedGrant<'g, 's> {
        match self {
            Self::ClientCredentials(order) => PreparedGrant::ClientCredentials(order),
            Self::RefreshToken(token, scope, audience) => PreparedGrant::RefreshToken(token, scope, audience),
            Self::JwtBearer(assertion, order) => PreparedGrant::JwtBearer(call.statement(assertion).await, order),
            Self::Exchange(exchange, order) => match call.foreign_subject(&exchange.subject_token).await {
                Some(named) => PreparedGrant::ForeignExchange(named, exchange, order),
                None => PreparedGrant::OwnExchange(exchange, order),
            },
        }
    }

    /// Whether it is an exchange, which the answer must say.
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self, Self::Exchange(..))
    }
}

/// The grant in a request, ready to be verified.
pub(super) enum PreparedGrant<'g, 's> {
    ClientCredentials(&'g GrantRequest),
    RefreshToken(&'g str, &'g Option<Vec<ScopeToken>>, &'g Option<Audiences>),
    JwtBearer(Statement<'s, 'g>, &'g GrantRequest),
    /// Of a token of ours.
    OwnExchange(&'g Exchange, &'g GrantRequest),
    /// Of a trusted issuer's token.
    ForeignExchange(Named<'s, 'g>, &'g Exchange, &'g GrantRequest),
}

impl<'s> PreparedGrant<'_, 's> {
    /// Issues it to the client that authenticates.
    pub(super) fn issue(self, call: &Call<'s>, presented: Prepared<'_, 's>) -> Result<Issued<'s>, OAuthFailure> {
        let issued = match self {
            Self::ClientCredentials(order) => match (presented.caller(call)?, order.clone()) {
                (Caller::Own(client), order) => grants::issue(call, ClientCredentials { client, order }),
                (Caller::Vouched(vouched), order) => {
                    grants::issue(call, JwtBearer { vouched, order, grant: GrantType::ClientCredentials })
                }
            },
            Self::RefreshToken(token, scope, audience) => match presented.caller(call)? {
                Caller::Own(client) => {
                    let (scope, audience) = (scope.clone(), audience.clone());
                    grants::issue(call, RefreshToken { client, token, scope, audience })
                }
                // Vouched callers never get a refresh token.
                Caller::Vouched(_) => Err(call.note(Denied::GrantType)),
            },
            Self::JwtBearer(statement, order) => {
                let vouched = call.assertion(statement).map_err(|denied| OAuthFailure::of(denied, false))?;
                if presented.agrees(call, vouched.client)? {
                    grants::issue(call, JwtBearer { vouched, order: order.clone(), grant: GrantType::JwtBearer })
                } else {
                    Err(call.note(Denied::Assertion(Unauthenticated::AssertionSubject)))
                }
            }
            Self::OwnExchange(exchange, order) => return own_exchange(call, presented, exchange, order.clone()),
            Self::ForeignExchange(named, exchange, order) => {
                return foreign_exchange(call, presented, exchange, named, order.clone());
            }
        };
        issued.map_err(|denied: Denied| OAuthFailure::of(denied, false))
    }
}

/// Exchanges an access token of ours.
fn own_exchange<'s>(
    call: &Call<'s>,
    presented: Prepared<'_, 's>,
    exchange: &Exchange,
    order: GrantRequest,
) -> Result<Issued<'s>, OAuthFailure> {
    let (client, limit) = match presented.caller(call)? {
        Caller::Own(client) => (client, None),
        Caller::Vouched(Vouched { client, limit, .. }) => (client, limit),
    };
    let Exchange { subject_token, actor_token } = exchange;
    let actor_token = actor_token.as_ref().map(|token| token.as_str());
    let order = GrantRequest { limit, ..order };
    let issued = grants::issue(call, TokenExchange { client, subject_token, actor_token, order });
    issued.map_err(|denied| OAuthFailure::of(denied, false))
}

/// Exchanges a trusted issuer's token, which also authenticates the client.
fn foreign_exchange<'s>(
    call: &Call<'s>,
    presented: Prepared<'_, 's>,
    exchange: &Exchange,
    named: Named<'s, '_>,
    order: GrantRequest,
) -> Result<Issued<'s>, OAuthFailure> {
    if exchange.actor_token.is_some() {
        return Err(OAuthFailure::invalid_request("actor_token is only for a subject_token that this service issued"));
    }
    let vouched = call.subject_token(named).map_err(|denied| OAuthFailure::of(denied, false))?;
    let issued = if presented.agrees(call, vouched.client)? {
        grants::issue(call, JwtBearer { vouched, order, grant: GrantType::TokenExchange })
    } else {
        Err(call.note(Denied::subject_token(Denied::Client(Unauthenticated::AssertionSubject))))
    };
    issued.map_err(|denied| OAuthFailure::of(denied, false))
}

/// Takes what the new token should have out of `form`.
fn order(form: &mut Form) -> Result<GrantRequest, OAuthFailure> {
    Ok(GrantRequest { scope: scope(form)?, audience: audience(form)?, ..GrantRequest::default() })
}

/// Takes `scope` out of `form`: scope tokens separated by single spaces. Duplicates collapse (RFC
/// 6749 §3.3).
fn scope(form: &mut Form) -> Result<Option<Vec<ScopeToken>>, OAuthFailure> {
    let Some(text) = form.take("scope") else { return Ok(None) };
    let mut all = Vec::new();
    for (index, token) in text.split(' ').enumerate() {
        let token = ScopeToken::parse(token).filter(|_| index < Scope::MAX).ok_or_else(|| {
            OAuthFailure::invalid_scope(format!(
                "scope must be 1 to {} scope tokens separated by single spaces, each {}",
                Scope::MAX,
                ScopeToken::EXPECTED
            ))
        })?;
        if !all.contains(&token) {
            all.push(token);
        }
    }
    Ok(Some(all))
}

/// Returns the audiences in `audience` and `resource`, which mean the same.
fn audience(form: &Form) -> Result<Option<Audiences>, OAuthFailure> {
    let mut all = Vec::new();
    for text in form.all("audience").chain(form.all("resource")) {
        let audience = Audience::parse(text).filter(|_| all.len() < Audiences::MAX).ok_or_else(|| {
            OAuthFailure::invalid_target(format!(
                "audience and resource must name 1 to {} audiences, each {}",
                Audiences::MAX,
                Audience::EXPECTED
            ))
        })?;
        all.push(audience);
    }
    Ok(Audiences::collect(all))
}
