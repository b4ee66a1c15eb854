//! Callers that somebody vouches for: a trusted issuer, or a client for the subject that it names.

use super::{Call, Denied, Unauthenticated};
use crate::clients::{Client, ClientAuth};
use crate::federation::{Identity, Untrusted};
use crate::foreign::{Assertion, HeaderPolicy, KeySet, MaxAge, Rules, Unverified, Verified, verify};
use crate::token::{Scope, Subject};

use super::call::{MAX_ASSERTION, TOKEN_ENDPOINT};
use super::snapshot::Snapshot;

/// A client, and by whose word.
#[derive(Debug)]
pub enum Caller<'s> {
    /// The client has shown a credential of its own.
    Own(&'s Client),
    /// A trusted issuer vouches for it.
    Vouched(Vouched<'s>),
}

/// What a signed statement makes of who presents it.
#[derive(Debug)]
pub struct Vouched<'s> {
    /// The client.
    pub client: &'s Client,
    /// The tokens' subject; the client if None.
    pub subject: Option<Subject>,
    /// What their scope is within, beside the client's.
    pub limit: Option<Scope>,
}

impl<'s> Caller<'s> {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &'s Client {
        match self {
            Self::Own(client) => client,
            Self::Vouched(vouched) => vouched.client,
        }
    }
}

impl<'r> Call<'r> {
    /// Whether `token` says that a trusted issuer signed it. Nothing of it is believed yet.
    #[must_use]
    pub fn names_issuer(&self, token: &str) -> bool {
        self.snapshot.issuers.unverified_issuer(token).is_some()
    }

    /// Fetches the keys that `token` needs, if a trusted issuer signed it and they are not there yet. Everything after it
    /// decides at once.
    pub async fn prepare(&self, token: Option<&str>) {
        if let Some(token) = token {
            self.snapshot.issuers.prepare(token, self.now).await;
        }
    }

    /// What a trusted issuer's `token` says of who presents it: the one function behind every way to present one. None
    /// if no trusted issuer is named.
    pub(super) fn by_issuer(&self, token: &str) -> Option<Result<Vouched<'r>, Unauthenticated>> {
        let Snapshot { issuers, leeway, registry, .. } = self.snapshot;
        let (issuer, token) = issuers.unverified_issuer(token)?;
        self.note_issuer(issuer);
        let identity = issuer.identify(token, *leeway, self.now);
        Some(identity.map_err(Unauthenticated::from).and_then(|Identity { client, subject, limit }| {
            let client = registry.named(client.as_str()).ok_or(Unauthenticated::UnknownClient)?;
            self.note_client(&client.id);
            Ok(Vouched { client, subject, limit })
        }))
    }

    /// What the assertion `text` says of who presents it (RFC 7523 §2.1): a trusted issuer's word, or a client's own
    /// about any subject.
    ///
    /// # Errors
    /// [`Denied::Assertion`] whatever is wrong with it, [`Denied::Limited`].
    pub fn assertion(&self, text: &str) -> Result<Vouched<'r>, Denied> {
        let vouched = self.by_issuer(text).unwrap_or_else(|| {
            let (client, assertion) = self.by_client(text)?;
            let subject = Subject::parse(&assertion.claims().subject);
            let subject = Some(subject.ok_or(Unauthenticated::AssertionSubject)?);
            Ok(Vouched { client, subject, limit: None })
        });
        vouched.map_err(|why| self.note(self.failed(why).into_assertion()))
    }

    /// What a trusted issuer's `token` says, presented to be exchanged (RFC 8693 §2.1).
    ///
    /// # Errors
    /// [`Denied::SubjectToken`] whatever is wrong with it, [`Denied::Limited`].
    pub fn subject_token(&self, token: &str) -> Result<Vouched<'r>, Denied> {
        let vouched = self.by_issuer(token).unwrap_or(Err(Unauthenticated::UnknownIssuer));
        vouched.map_err(|why| self.note(self.failed(why).into_subject_token()))
    }

    /// The client that `auth` proves, or the anonymous one where nothing was presented and such tokens are given; or
    /// that a trusted issuer vouches for.
    ///
    /// # Errors
    /// [`Denied::Client`] whatever is wrong with the credentials, [`Denied::Limited`].
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

    /// The client that signed the assertion `text` (RFC 7523 §3), and what it says. An unknown client, and one without
    /// keys, costs one check of a signature as any other does.
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
