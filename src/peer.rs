//! What a connection proves of its other end, whatever protocol it speaks.

use std::sync::Arc;

/// The certificate that a client has proved to hold, with what it sent to vouch for it, in DER. Nobody has looked yet
/// who vouches. The transport puts it on each request of the connection.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    chain: Arc<[Box<[u8]>]>,
    digest: [u8; 32],
}

impl ClientCertificate {
    /// How many certificates of a chain are kept, the client's own among them.
    pub const MAX_CHAIN: usize = 8;

    /// The certificate at the head of `chain`, of which `digest` is the SHA-256 (RFC 8705 §3.1). None if there is none.
    #[must_use]
    pub fn new(chain: impl IntoIterator<Item = Box<[u8]>>, digest: fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        let chain: Arc<[_]> = chain.into_iter().take(Self::MAX_CHAIN).collect();
        let digest = digest(chain.first()?);
        Some(Self { chain, digest })
    }

    /// Its SHA-256.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The certificate itself, then those that vouch for it.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(|one| &**one)
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
