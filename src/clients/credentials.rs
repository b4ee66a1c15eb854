//! Client authentication: what a request presents, and what the service compares it with.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{AuthMethods, SecretDigest};
use crate::foreign::KeySet;
use crate::peer::SubjectName;

/// Maximum secrets per client: two while one replaces the other.
pub(super) const MAX_SECRETS: usize = 2;

/// What a request presents to prove which client sends it, other than a signed statement.
pub enum ClientAuth {
    /// Nothing.
    None,
    /// An id and a secret (RFC 6749 §2.3.1), from the header or the body.
    Secret(Zeroizing<String>, Zeroizing<Vec<u8>>),
    /// An id, with the certificate that the request carries (RFC 8705 §2).
    Certificate(Zeroizing<String>),
}

impl ClientAuth {
    /// Returns credentials that match no client, in place of malformed ones.
    #[must_use]
    pub fn nobody() -> Self {
        Self::Secret(Zeroizing::default(), Zeroizing::default())
    }
}

/// What authenticates a client.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Digests of its secrets. An unused slot holds a digest that nothing matches.
    secrets: [SecretDigest; MAX_SECRETS],
    /// The public keys that verify its assertions.
    pub(super) keys: Option<Arc<KeySet>>,
    /// The name in its certificate.
    pub(super) name: Option<SubjectName>,
}

impl Credentials {
    /// Returns the credentials of a client with these secrets; beyond [`MAX_SECRETS`] they are
    /// ignored.
    pub(super) fn of(
        secrets: impl IntoIterator<Item = SecretDigest>,
        keys: Option<Arc<KeySet>>,
        name: Option<SubjectName>,
    ) -> Self {
        let mut places = [SecretDigest::UNMATCHED; MAX_SECRETS];
        for (place, secret) in places.iter_mut().zip(secrets) {
            *place = secret;
        }
        Self { secrets: places, keys, name }
    }

    /// Credentials that nothing matches.
    pub(super) const fn none() -> Self {
        Self { secrets: [SecretDigest::UNMATCHED; MAX_SECRETS], keys: None, name: None }
    }

    /// Whether one of the secrets has this digest. Both are always compared, so timing does not
    /// tell which one matched.
    pub(super) fn match_secret(&self, given: &SecretDigest) -> bool {
        self.secrets.iter().fold(false, |any, digest| digest.equals(given) | any)
    }

    /// Returns the methods by which the client can authenticate.
    pub(super) fn methods(&self) -> AuthMethods {
        AuthMethods { secret: self.secrets_len() > 0, assertion: self.keys.is_some() }
    }

    /// Returns the number of secrets.
    pub(super) fn secrets_len(&self) -> usize {
        self.secrets.iter().filter(|secret| !secret.equals(&SecretDigest::UNMATCHED)).count()
    }
}
