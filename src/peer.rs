//! What a connection proves about its peer, whatever protocol it speaks.

use std::sync::Arc;

/// A certificate whose key the client has proved to hold, and the chain that it sent, in DER. The
/// chain is not verified yet. The transport attaches it to each request of the connection.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    chain: Arc<[Box<[u8]>]>,
    digest: [u8; 32],
}

impl ClientCertificate {
    /// Maximum certificates of a chain that are kept, including the client's own.
    pub const MAX_CHAIN: usize = 8;
    /// Maximum bytes of a chain that a connection keeps.
    pub const MAX_BYTES: usize = 16 << 10;

    /// Takes the certificate at the head of `chain`; `digest` computes its SHA-256 (RFC 8705 §3.1).
    /// None for an empty chain.
    #[must_use]
    pub fn new(chain: impl IntoIterator<Item = Box<[u8]>>, digest: fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        let chain: Arc<[_]> = chain.into_iter().take(Self::MAX_CHAIN).collect();
        let digest = digest(chain.first()?);
        Some(Self { chain, digest })
    }

    /// Returns its SHA-256.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Iterates over the chain, the client's certificate first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(|one| &**one)
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
