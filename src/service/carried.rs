//! What a request carries to prove its sender, and what can be wrong with it.

use std::fmt;

use crate::foreign::{Rejected, TargetUrl};
use crate::peer::ClientCertificate;
use crate::token::Thumbprint;

/// What a request carries to prove its sender. None of it is verified yet.
#[derive(Clone, Copy, Default)]
pub struct Carried<'r> {
    /// The `DPoP` header.
    pub proof: ProofField<'r>,
    /// The certificate whose key the sender has proved to hold, to this service or to a trusted
    /// proxy.
    pub certificate: Option<&'r ClientCertificate>,
}

impl Carried<'_> {
    /// Returns the certificate's thumbprint (RFC 8705 §3.1).
    pub(super) fn certificate_thumbprint(&self) -> Option<Thumbprint> {
        self.certificate.map(|certificate| Thumbprint::new(certificate.digest()))
    }
}

/// The contents of the `DPoP` header.
#[derive(Clone, Copy, Default)]
pub enum ProofField<'r> {
    /// Nothing.
    #[default]
    Absent,
    /// One value.
    One(&'r str),
    /// Several fields, or bytes outside the grammar of a proof.
    Malformed,
}

/// Prints nothing: a proof is a credential.
impl fmt::Debug for Carried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").finish_non_exhaustive()
    }
}

/// The request that a proof must have been made for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL: the service's own, or the one that a proxy asks about. Its Host is never consulted.
    /// None if the issuer is no URL that a request can have.
    pub url: Option<&'a TargetUrl>,
}

/// Why the sender's proof or certificate is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// A proof is needed, and there is none.
    NoProof,
    /// There are several proofs, or the value is not text.
    Malformed,
    /// The proof is not accepted.
    Rejected(Rejected),
    /// The proof lacks a required nonce, or its nonce is unknown or expired.
    Nonce,
    /// The proof was used before.
    Replayed,
    /// The client's tokens are bound to its certificate, but it sent a proof.
    NotByProof,
    /// The client's tokens are bound to its certificate, but the connection has none.
    NoCertificate,
}

impl Unproven {
    /// Returns the log's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
            Self::Malformed => "malformed_proof",
            Self::Rejected(rejected) => rejected.word(),
            Self::Nonce => "use_dpop_nonce",
            Self::Replayed => "replayed_proof",
            Self::NotByProof => "proof_not_allowed",
            Self::NoCertificate => "no_certificate",
        }
    }
}
