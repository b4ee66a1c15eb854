//! Callers authenticated by a signed statement: of a trusted issuer, or of a client about itself or
//! one of its subjects.

use std::fmt;

use super::call::MAX_ASSERTION;
use super::{Call, Denied, Snapshot, TOKEN_ENDPOINT, Unauthenticated};
use crate::clients::Client;
use crate::federation::{Identity, Named, Untrusted};
use crate::foreign::{Assertion, HeaderPolicy, KeySet, MaxAge, Rejected, Rules, Unverified, Verified, verify};
use crate::token::{Scope, Subject};

/// A client, and how it authenticated.
#[derive(Debug)]
pub enum Caller<'s> {
    /// By a credential of its own.
    Own(&'s Client),
    /// By the statement of a trusted issuer.
    Vouched(Vouched<'s>),
}

/// A signed statement, by its signer. Nothing in it is verified yet.
pub enum Statement<'s, 't> {
    /// A trusted issuer's.
    Issuer(Named<'s, 't>),
    /// Any other, which only a client may have signed, or why it is not well-formed.
    Client(OwnToken<'t>),
}

type OwnToken<'t> = Result<Box<Unverified<'t>>, Rejected>;

/// Prints nothing: a statement is a credential.
impl fmt::Debug for Statement<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}

/// What a signed statement grants its bearer.
#[derive(Debug)]
pub struct Vouched<'s> {
    /// The client.
    pub client: &'s Client,
    /// The tokens' subject; None for the client itself.
    pub subject: Option<Subject>,
    /// A further limit on the scope, besides the client's own.
    pub limit: Option<Scope>,
}

impl<'s> Caller<'s> {
    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &'s Client {
        match self {
            Self::Own(client) => client,
            Self::Vouched(vouched) => vouched.client,
        }
    }
}

impl<'r> Call<'r> {
    /// Returns the statement in the assertion `text`, and fetches the keys that it needs if they are
    /// missing. All later steps are synchronous.
    ///
    /// If `iss` is the id of a client with keys, the client speaks, whatever `sub` is: a client could
    /// not name a subject that is a SPIFFE ID otherwise (RFC 7523 §3). A client of an included file
    /// does not, because it could have the id that a SPIFFE server writes in `iss`.
    pub async fn statement<'t>(&self, text: &'t str) -> Statement<'r, 't> {
        let speaks = |client: &Client| client.keys().is_some() && !client.is_included;
        let is_client = |iss| self.snapshot.registry.named(iss).is_some_and(speaks);
        let token = match Unverified::parse(text, HeaderPolicy::ASSERTION) {
            Ok(token) => self.snapshot.issuers.named(Box::new(token)),
            Err(why) => return Statement::Client(Err(why)),
        };
        match token {
            Ok(named) if named.unverified_iss().is_some_and(is_client) => Statement::Client(Ok(named.into_token())),
            Ok(named) => {
                named.prepare(self.now).await;
                Statement::Issuer(named)
            }
            Err(token) => Statement::Client(Ok(token)),
        }
    }

    /// Returns `token`, which is presented for exchange, if it names a trusted issuer, and fetches the
    /// keys that it needs if they are missing. A client signs no such token itself.
    pub async fn foreign_subject<'t>(&self, token: &'t str) -> Option<Named<'r, 't>> {
        if self.snapshot.issuers.is_empty() {
            return None;
        }
        let token = Unverified::parse(token, HeaderPolicy::ISSUER).ok()?;
        let named = self.snapshot.issuers.named(Box::new(token)).ok()?;
        named.prepare(self.now).await;
        Some(named)
    }

    /// Verifies a trusted issuer's token and matches it with the rules: the one function behind every
    /// way to present one.
    fn by_issuer(&self, token: Named<'r, '_>) -> Result<Vouched<'r>, Unauthenticated> {
        let Snapshot { leeway, registry, .. } = self.snapshot;
        self.note_issuer(token.issuer());
        let Identity { client, subject, limit } = token.identify(*leeway, self.now)?;
        let client = registry.named(client.as_str()).ok_or(Unauthenticated::UnknownClient)?;
        self.note_client(&client.id);
        Ok(Vouched { client, subject, limit })
    }

    /// Verifies an assertion (RFC 7523 §2.1), which a trusted issuer signed, or a client about any of
    /// its subjects.
    ///
    /// # Errors
    /// [`Denied::Assertion`] for any fault of the assertion, [`Denied::Limited`].
    pub fn assertion(&self, statement: Statement<'r, '_>) -> Result<Vouched<'r>, Denied> {
        let vouched = match statement {
            Statement::Issuer(named) => self.by_issuer(named),
            Statement::Client(token) => self.about_a_subject(token),
        };
        vouched.map_err(|why| self.note(self.failed(why).into_assertion()))
    }

    fn about_a_subject(&self, token: OwnToken<'_>) -> Result<Vouched<'r>, Unauthenticated> {
        self.note_no_issuer();
        let (client, assertion) = self.by_client(token)?;
        let subject = Subject::parse(&assertion.claims().subject).ok_or(Unauthenticated::AssertionSubject)?;
        Ok(Vouched { client, subject: Some(subject), limit: None })
    }

    /// Verifies a trusted issuer's token that is presented for exchange (RFC 8693 §2.1).
    ///
    /// # Errors
    /// [`Denied::SubjectToken`] for any fault of the token, [`Denied::Limited`].
    pub fn subject_token(&self, named: Named<'r, '_>) -> Result<Vouched<'r>, Denied> {
        self.by_issuer(named).map_err(|why| self.note(self.failed(why).into_subject_token()))
    }

    /// Verifies a statement that authenticates a client (RFC 7523 §2.2): a trusted issuer's, or the
    /// client's own about itself.
    ///
    /// # Errors
    /// [`Denied::Client`] for any fault of the statement, [`Denied::Limited`].
    pub fn stated(&self, statement: Statement<'r, '_>) -> Result<Caller<'r>, Denied> {
        let caller = match statement {
            Statement::Issuer(named) => self.by_issuer(named).map(Caller::Vouched),
            Statement::Client(token) => self.about_itself(token).map(Caller::Own),
        };
        caller.map_err(|why| self.note(self.failed(why)))
    }

    fn about_itself(&self, token: OwnToken<'_>) -> Result<&'r Client, Unauthenticated> {
        let (client, assertion) = self.by_client(token)?;
        let is_own = assertion.claims().subject == client.id.as_str();
        if is_own { Ok(client) } else { Err(Unauthenticated::AssertionSubject) }
    }

    /// Verifies an assertion (RFC 7523 §3) and returns the client that signed it. A client that is
    /// unknown or has no keys costs one signature check, like any other.
    fn by_client(&self, token: OwnToken<'_>) -> Result<(&'r Client, Verified<Assertion>), Unauthenticated> {
        let Snapshot { issuer, leeway, registry, .. } = self.snapshot;
        let unverified = token.map_err(Unauthenticated::Assertion)?;
        if !unverified.has_type(HeaderPolicy::CLIENT) {
            return Err(Unauthenticated::Assertion(Rejected::WrongType));
        }
        let named = unverified.unverified_issuer().and_then(|id| registry.named(id));
        if let Some(client) = named {
            self.note_client(&client.id);
        }
        let keys = named.and_then(Client::keys);
        let token_endpoint = format!("{issuer}{TOKEN_ENDPOINT}");
        let rules = Rules {
            issuer: named.map(|client| client.id.as_str()),
            audiences: &[issuer, &token_endpoint],
            max_age: MaxAge::FromNow(MAX_ASSERTION),
            leeway: *leeway,
            now: self.now,
        };
        let verified = verify(*unverified, keys.unwrap_or(&KeySet::none()), rules);
        let client = named.ok_or(Unauthenticated::UnknownClient)?;
        match keys {
            Some(_) => Ok((client, verified.map_err(Unauthenticated::Assertion)?)),
            None => Err(Unauthenticated::NoKeys),
        }
    }
}

impl From<Untrusted> for Unauthenticated {
    fn from(why: Untrusted) -> Self {
        match why {
            Untrusted::Rejected(rejected) => Self::Assertion(rejected),
            Untrusted::NoRule => Self::NoRule,
            Untrusted::Subject => Self::SubjectTemplate,
            Untrusted::NoKeys => Self::IssuerUnavailable,
        }
    }
}
