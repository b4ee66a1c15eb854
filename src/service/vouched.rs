//! Callers that somebody vouches for: a trusted issuer, or a client for the subject that it names.

use super::{Call, Denied, Unauthenticated};
use crate::clients::{Client, ClientAuth};
use crate::federation::{Identity, Named, Untrusted};
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
    /// The issuer that `token` names, if it is a trusted one. Fetches the keys that the token needs, if they are not there
    /// yet: everything after it decides at once. Nothing of the token is believed yet.
    pub async fn prepare<'t>(&self, token: Option<&'t str>) -> Option<Named<'r, 't>> {
        self.snapshot.issuers.prepare(token?, self.now).await
    }

    /// What a trusted issuer says of who presents its token: the one function behind every way to present one.
    fn by_issuer(&self, token: Named<'r, '_>) -> Result<Vouched<'r>, Unauthenticated> {
        let Snapshot { leeway, registry, .. } = self.snapshot;
        self.note_issuer(token.issuer());
        let Identity { client, subject, limit } = token.identify(*leeway, self.now)?;
        let client = registry.named(client.as_str()).ok_or(Unauthenticated::UnknownClient)?;
        self.note_client(&client.id);
        Ok(Vouched { client, subject, limit })
    }

    /// What the assertion `text` says of who presents it (RFC 7523 §2.1): the word of the trusted issuer that it names,
    /// otherwise a client's own about any subject.
    ///
    /// # Errors
    /// [`Denied::Assertion`] whatever is wrong with it, [`Denied::Limited`].
    pub fn assertion(&self, text: &str, named: Option<Named<'r, '_>>) -> Result<Vouched<'r>, Denied> {
        let by_client = || {
            let (client, assertion) = self.by_client(text)?;
            let subject = Subject::parse(&assertion.claims().subject);
            let subject = Some(subject.ok_or(Unauthenticated::AssertionSubject)?);
            Ok(Vouched { client, subject, limit: None })
        };
        let vouched = named.map_or_else(by_client, |named| self.by_issuer(named));
        vouched.map_err(|why| self.note(self.failed(why).into_assertion()))
    }

    /// What the trusted issuer of a token says, presented to be exchanged (RFC 8693 §2.1).
    ///
    /// # Errors
    /// [`Denied::SubjectToken`] whatever is wrong with it, [`Denied::Limited`].
    pub fn subject_token(&self, named: Option<Named<'r, '_>>) -> Result<Vouched<'r>, Denied> {
        let vouched = named.ok_or(Unauthenticated::UnknownIssuer).and_then(|named| self.by_issuer(named));
        vouched.map_err(|why| self.note(self.failed(why).into_subject_token()))
    }

    /// The client that the trusted issuer vouches for that the assertion in `auth` names; otherwise the one that `auth`
    /// proves, or the anonymous one where nothing was presented and such tokens are given.
    ///
    /// # Errors
    /// [`Denied::Client`] whatever is wrong with the credentials, [`Denied::Limited`].
    pub fn caller(&self, auth: &ClientAuth, named: Option<Named<'r, '_>>) -> Result<Caller<'r>, Denied> {
        match named {
            Some(named) => self.by_issuer(named).map(Caller::Vouched).map_err(|why| self.note(self.failed(why))),
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
