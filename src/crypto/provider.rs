//! The build's cryptography: ring or, with the feature `aws-lc`, aws-lc-rs, which has ring's
//! interface except for what is here.
//!
//! Public so that benchmarks can run the bare operations with the same crate.

#[cfg(feature = "aws-lc")]
pub use aws_lc_rs::{agreement, digest, error, hkdf, hmac, rand, signature};
#[cfg(not(feature = "aws-lc"))]
pub use ring::{agreement, digest, error, hkdf, hmac, rand, signature};
#[cfg(feature = "aws-lc")]
pub(crate) use rustls::crypto::aws_lc_rs as tls;
#[cfg(not(feature = "aws-lc"))]
pub(crate) use rustls::crypto::ring as tls;

use error::KeyRejected;
use signature::{ECDSA_P256_SHA256_FIXED_SIGNING as ES256, EcdsaKeyPair, RsaKeyPair};

/// Parses a P-256 key in PKCS#8.
///
/// # Errors
/// The crate's refusal.
pub fn p256_pair(pkcs8: &[u8]) -> Result<EcdsaKeyPair, KeyRejected> {
    #[cfg(feature = "aws-lc")]
    return EcdsaKeyPair::from_pkcs8(&ES256, pkcs8);
    #[cfg(not(feature = "aws-lc"))]
    EcdsaKeyPair::from_pkcs8(&ES256, pkcs8, &rand::SystemRandom::new())
}

/// Returns the length of a signature by `pair`, in bytes.
#[must_use]
pub fn rsa_length(pair: &RsaKeyPair) -> usize {
    #[cfg(feature = "aws-lc")]
    return pair.public_modulus_len();
    #[cfg(not(feature = "aws-lc"))]
    pair.public().modulus_len()
}

/// Returns a signature of `length` bytes that no key made, with both halves in range: so it is
/// refused only after the arithmetic, whatever the algorithm.
#[must_use]
pub fn signature_in_range(length: usize) -> Vec<u8> {
    (1..=length).map(|place| u8::from(place == length / 2 || place == length)).collect()
}

/// Whether `point`, in uncompressed form, lies on `curve`. ring has no function for that, but a key
/// agreement checks it first (NIST SP 800-56A §5.6.2.3.4).
#[must_use]
pub fn is_point(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let Ok(own) = agreement::EphemeralPrivateKey::generate(curve, &rand::SystemRandom::new()) else { return false };
    let point = agreement::UnparsedPublicKey::new(curve, point);
    #[cfg(feature = "aws-lc")]
    return agreement::agree_ephemeral(own, point, (), |_| Ok(())).is_ok();
    #[cfg(not(feature = "aws-lc"))]
    agreement::agree_ephemeral(own, &point, |_| ()).is_ok()
}
