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

/// Whether `point`, in uncompressed form, lies on `curve`. For P-256, of which every proof brings a
/// key, this checks the curve's equation. ring has no function for that, but a key agreement checks
/// the point first (NIST SP 800-56A §5.6.2.3.4), at the cost of two signatures.
#[must_use]
pub fn is_point(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    if *curve == agreement::ECDH_P256 {
        // It reads other forms, too.
        return point.first() == Some(&4) && p256::PublicKey::from_sec1_bytes(point).is_ok();
    }
    let Ok(own) = agreement::EphemeralPrivateKey::generate(curve, &rand::SystemRandom::new()) else { return false };
    let point = agreement::UnparsedPublicKey::new(curve, point);
    #[cfg(feature = "aws-lc")]
    return agreement::agree_ephemeral(own, point, (), |_| Ok(())).is_ok();
    #[cfg(not(feature = "aws-lc"))]
    agreement::agree_ephemeral(own, &point, |_| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_one_form_and_lies_on_the_curve() {
        let (zero, p) = (
            [0; 32],
            b"\xff\xff\xff\xff\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        );
        // The square root of b.
        let y = b"\x66\x48\x5c\x78\x0e\x2f\x83\xd7\x24\x33\xbd\x5d\x84\xa0\x6b\xb6\x54\x1c\x2a\xf3\x1d\xae\x87\x17\x28\xbf\x85\x6a\x17\x4f\x93\xf4";
        let is_point = |point: &[&[u8]]| is_point(&agreement::ECDH_P256, &point.concat());
        assert!(is_point(&[&[4], &zero, y]));
        for (wrong, what) in [
            (&[&[4][..], p, y][..], "a coordinate that is not reduced"),
            (&[&[4], y, y], "off the curve"),
            (&[&[4], &zero, &zero], "no point"),
            (&[&[2], &zero], "compressed"),
            (&[&[5], &zero], "compact"),
            (&[&[0]], "the neutral element"),
            (&[&[4], &zero, y, &[0]], "too long"),
            (&[&[4], &zero], "too short"),
            (&[], "nothing"),
        ] {
            assert!(!is_point(wrong), "{what}");
        }
    }
}
