//! Callers authenticated by a signed statement: of a trusted issuer, or of a client about one of
//! its subjects.

use super::{Call, Denied, Unauthenticated};
use crate::clients::{Client, ClientAuth};
use crate::federation::{Identity, Untrusted};
use crate::foreign::{Assertion, HeaderPolicy, KeySet, MaxAge, Rules, Unverified, Verified, verify};
use crate::token::{Scope, Subject};

use super::call::{MAX_ASSERTION, TOKEN_ENDPOINT};
use super::snapshot::Snapshot;

/// A client, and how it authenticated.
#[derive(Debug)]
pub enum Caller<'s> {
    /// By a credential of its own.
    Own(&'s Client),
    /// By the statement of a trusted issuer.
    Vouched(Vouched<'s>),
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
    /// Whether `token` names a trusted issuer. Nothing in it is verified yet.
    #[must_use]
    pub fn names_issuer(&self, token: &str) -> bool {
        self.snapshot.issuers.unverified_issuer(token).is_some()
    }

    /// Fetches the keys that `token` needs, if it names a trusted issuer and they are missing. All
    /// later steps are synchronous.
    pub async fn prepare(&self, token: Option<&str>) {
        if let Some(token) = token {
            self.snapshot.issuers.prepare(token, self.now).await;
        }
    }

    /// Verifies a trusted issuer's `token` and matches it with the rules: the one function behind
    /// every way to present one. None if the token names no trusted issuer.
    pub(super) fn by_issuer(&self, token: &str) -> Option<Result<Vouched<'r>, Unauthenticated>> {
        let Snapshot { issuers, leeway, registry, .. } = self.snapshot;
        let (issuer, token) = issuers.unverified_issuer(token)?;
        let identity = issuer.identify(token, *leeway, self.now);
        Some(identity.map_err(Unauthenticated::from).and_then(|Identity { client, subject, limit }| {
            let client = registry.named(client.as_str()).ok_or(Unauthenticated::UnknownClient)?;
            self.note_client(&client.id);
            Ok(Vouched { client, subject, limit })
        }))
    }

    /// Verifies the assertion `text` (RFC 7523 §2.1), which a trusted issuer signed, or a client
    /// about any of its subjects.
    ///
    /// # Errors
    /// [`Denied::Assertion`] for any fault of the assertion, [`Denied::Limited`].
    pub fn assertion(&self, text: &str) -> Result<Vouched<'r>, Denied> {
        let vouched = self.by_issuer(text).unwrap_or_else(|| {
            let (client, assertion) = self.by_client(text)?;
            let subject = Subject::parse(&assertion.claims().subject);
            let subject = Some(subject.ok_or(Unauthenticated::AssertionSubject)?);
            Ok(Vouched { client, subject, limit: None })
        });
        vouched.map_err(|why| self.note(self.failed(why).into_assertion()))
    }

    /// Verifies a trusted issuer's `token` that is presented for exchange (RFC 8693 §2.1).
    ///
    /// # Errors
    /// [`Denied::SubjectToken`] for any fault of the token, [`Denied::Limited`].
    pub fn subject_token(&self, token: &str) -> Result<Vouched<'r>, Denied> {
        let vouched = self.by_issuer(token).unwrap_or(Err(Unauthenticated::UnknownIssuer));
        vouched.map_err(|why| self.note(self.failed(why).into_subject_token()))
    }

    /// Returns the client that `auth` authenticates, by its own credential or by a trusted issuer's
    /// statement. Without credentials that is the anonymous client, if `[anonymous]` is configured.
    ///
    /// # Errors
    /// [`Denied::Client`] for any fault of the credentials, [`Denied::Limited`].
    pub fn caller(&self, auth: &ClientAuth) -> Result<Caller<'r>, Denied> {
        let vouched = match auth {
            ClientAuth::Assertion(text) => self.by_issuer(text),
            ClientAuth::None | ClientAuth::Secret(..) | ClientAuth::Certificate(_) => None,
        };
        match vouched {
            Some(vouched) => vouched.map(Caller::Vouched).map_err(|why| self.note(self.failed(why))),
            None => self.authenticate(auth).map(Caller::Own),
        }
    }

    /// Verifies the assertion `text` (RFC 7523 §3) and returns the client that signed it. A client
    /// that is unknown or has no keys costs one signature check, like any other.
    pub(super) fn by_client(&self, text: &str) -> Result<(&'r Client, Verified<Assertion>), Unauthenticated> {
        let Snapshot { issuer, leeway, registry, .. } = self.snapshot;
        let unverified = Unverified::parse(text, HeaderPolicy::CLIENT).map_err(Unauthenticated::Assertion)?;
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
        let verified = verify(unverified, keys.unwrap_or(&KeySet::none()), rules);
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
