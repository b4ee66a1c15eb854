//! How a client authenticates: what a request presents, and what it is compared with.

use zeroize::Zeroizing;

use super::certificate::SubjectName;
use super::{AuthMethods, SecretDigest};
use crate::foreign::KeySet;

/// Maximum number of a client's secrets: two while one replaces the other.
pub(super) const MAX_SECRETS: usize = 2;

/// What a request presents to prove which client sends it.
pub enum ClientAuth {
    /// Nothing.
    None,
    /// An id and a secret (RFC 6749 §2.3.1), in whatever form they came.
    Secret(Zeroizing<String>, Zeroizing<Vec<u8>>),
    /// An id, beside the certificate that the request carries (RFC 8705 §2).
    Certificate(Zeroizing<String>),
    /// A JWT that the client signed (RFC 7523 §2.2).
    Assertion(Zeroizing<String>),
}

impl ClientAuth {
    /// Credentials that are nobody's, in the place of what could not be read.
    #[must_use]
    pub fn nobody() -> Self {
        Self::Secret(Zeroizing::default(), Zeroizing::default())
    }
}

/// What a client's authentication is compared with.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Digests of its secrets. A free place holds one that nothing matches.
    secrets: [SecretDigest; MAX_SECRETS],
    /// The public keys that verify its assertions.
    pub(super) keys: Option<KeySet>,
    /// The name in its certificate.
    pub(super) name: Option<SubjectName>,
}

impl Credentials {
    /// Those of a client with these secrets, of which no more than [`MAX_SECRETS`] count.
    pub(super) fn of(
        secrets: impl IntoIterator<Item = SecretDigest>,
        keys: Option<KeySet>,
        name: Option<SubjectName>,
    ) -> Self {
        let mut places = [SecretDigest::UNMATCHED; MAX_SECRETS];
        for (place, secret) in places.iter_mut().zip(secrets) {
            *place = secret;
        }
        Self { secrets: places, keys, name }
    }

    /// Those of nobody: nothing authenticates.
    pub(super) const fn none() -> Self {
        Self { secrets: [SecretDigest::UNMATCHED; MAX_SECRETS], keys: None, name: None }
    }

    /// Whether one of the secrets has this digest. Both are always compared, so that the time does not tell which one
    /// matched.
    pub(super) fn match_secret(&self, given: &SecretDigest) -> bool {
        self.secrets.iter().fold(false, |any, digest| digest.equals(given) | any)
    }

    /// What a client with these can present.
    pub(super) fn methods(&self) -> AuthMethods {
        AuthMethods { secret: self.secrets_len() > 0, assertion: self.keys.is_some() }
    }

    /// How many secrets there are.
    pub(super) fn secrets_len(&self) -> usize {
        self.secrets.iter().filter(|secret| !secret.equals(&SecretDigest::UNMATCHED)).count()
    }
}
