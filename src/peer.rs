//! What a connection proves about its peer, whatever protocol it speaks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Timestamp;

/// A certificate whose key the client has proved to hold, and the chain that it sent, in DER. The
/// chain is not verified yet. The transport attaches it to each request of the connection.
#[derive(Clone)]
pub struct ClientCertificate(Arc<Shown>);

struct Shown {
    chain: Box<[Box<[u8]>]>,
    digest: [u8; 32],
    vouched: Mutex<Option<Vouched>>,
}

/// A subject alternative name that identifies a client by its certificate (RFC 8705 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    /// A `dNSName`, in lower case.
    Dns(Box<str>),
    /// A `uniformResourceIdentifier`, such as a SPIFFE id.
    Uri(Box<str>),
}

impl SubjectName {
    /// Returns the `dNSName`, which has no case (RFC 4343).
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase().into())
    }
}

/// The names in a certificate that a set of CAs vouches for.
struct Vouched {
    /// Identifies the set of CAs.
    by: [u8; 32],
    from: Timestamp,
    until: Timestamp,
    names: Arc<[SubjectName]>,
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
        let chain: Box<[_]> = chain.into_iter().take(Self::MAX_CHAIN).collect();
        let digest = digest(chain.first()?);
        Some(Self(Arc::new(Shown { chain, digest, vouched: Mutex::default() })))
    }

    /// Returns its SHA-256.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Iterates over the chain, the client's certificate first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chain.iter().map(|one| &**one)
    }

    /// Returns the names in it that the set of CAs `by` vouches for at `now`. `verify` finds them,
    /// and until when that holds: once for all requests of a connection, which wait for it.
    pub fn vouched(
        &self,
        by: [u8; 32],
        now: Timestamp,
        verify: impl FnOnce() -> (Arc<[SubjectName]>, Timestamp),
    ) -> Arc<[SubjectName]> {
        let mut known = self.0.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) if known.by == by && (known.from..known.until).contains(&now) => Arc::clone(&known.names),
            _ => {
                let (names, until) = verify();
                *known = Some(Vouched { by, from: now, until, names: Arc::clone(&names) });
                names
            }
        }
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
