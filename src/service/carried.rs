//! What a request carries to prove who sends it, and what may be wrong with that.

use std::fmt;

use crate::foreign::{Rejected, TargetUrl};
use crate::peer::ClientCertificate;
use crate::token::Thumbprint;

/// What a request carries to prove who sends it. Nothing of it is believed yet.
#[derive(Clone, Copy, Default)]
pub struct Carried<'r> {
    /// The header `DPoP`.
    pub proof: ProofField<'r>,
    /// The certificate that its sender has proved to hold, to this service or to a trusted proxy.
    pub certificate: Option<&'r ClientCertificate>,
}

impl Carried<'_> {
    /// The thumbprint of the certificate (RFC 8705 §3.1).
    pub(super) fn certificate_thumbprint(&self) -> Option<Thumbprint> {
        self.certificate.map(|certificate| Thumbprint::new(certificate.digest()))
    }
}

/// What stands in the header `DPoP`.
#[derive(Clone, Copy, Default)]
pub enum ProofField<'r> {
    /// Nothing.
    #[default]
    Absent,
    /// One value.
    One(&'r str),
    /// Several fields, or bytes that no proof has.
    Malformed,
}

/// Says nothing: a proof is a credential.
impl fmt::Debug for Carried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").finish_non_exhaustive()
    }
}

/// The request that a proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its place.
    pub at: At<'a>,
}

/// Where a request goes. What it says of its host is not asked.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// To this path of the service, under its issuer's URL.
    Path(&'a str),
    /// To this URL, for which a proxy asks.
    Url(&'a TargetUrl),
}

/// Why the sender is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// A proof is needed, and there is none.
    NoProof,
    /// There are several proofs, or what is there is no text.
    Malformed,
    /// The proof is not accepted.
    Rejected(Rejected),
    /// The proof needs a nonce, or has one that is none of the service's or has expired.
    Nonce,
    /// The proof was used before.
    Replayed,
    /// The client's tokens are bound to its certificate, and it presents a proof.
    NotByProof,
    /// The client's tokens are bound to its certificate, and the connection has none.
    NoCertificate,
}

impl Unproven {
    /// One word for the log.
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
