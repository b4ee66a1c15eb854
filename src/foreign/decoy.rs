//! Decoy keys: an assertion without a matching key costs as much as one with a wrong signature, so
//! timing does not tell which clients have keys.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::provider;
use crate::crypto::signature_in_range;

/// Checks a wrong signature over `message` by `algorithm`.
pub(super) fn check(message: &[u8], algorithm: Algorithm) {
    static DECOYS: LazyLock<Decoys> = LazyLock::new(Decoys::new);
    let Some((key, signature)) = DECOYS.of(algorithm) else { return };
    // No one can have signed it; even if someone had, the result is discarded.
    std::hint::black_box(provider::verifies(message, signature, key, algorithm));
}

/// A key and a signature of its form.
type Decoy = (DecodingKey, String);

struct Decoys {
    p256: Decoy,
    p384: Decoy,
    ed25519: Decoy,
    rsa: Decoy,
}

impl Decoys {
    fn new() -> Self {
        let ec = |[x, y]: [&[u8]; 2]| DecodingKey::from_ec_der(&[&[4], x, y].concat());
        Self {
            p256: (ec(P256), signature(64)),
            p384: (ec(P384), signature(96)),
            ed25519: (DecodingKey::from_ed_der(&ED25519), signature(64)),
            // A check takes equally long for a modulus whose factors are known.
            rsa: (DecodingKey::from_rsa_raw_components(&[0xff; 256], &[1, 0, 1]), signature(256)),
        }
    }

    fn of(&self, algorithm: Algorithm) -> Option<&Decoy> {
        Some(match algorithm {
            Algorithm::ES256 => &self.p256,
            Algorithm::ES384 => &self.p384,
            Algorithm::EdDSA => &self.ed25519,
            Algorithm::PS256 | Algorithm::RS256 => &self.rsa,
            _ => return None,
        })
    }
}

fn signature(length: usize) -> String {
    URL_SAFE_NO_PAD.encode(signature_in_range(length))
}

/// The curves' base points (FIPS 186-5, SP 800-186 §3.2.1.3, §3.2.1.4 and §3.2.3.1).
const P256: [&[u8]; 2] = [
    b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\
      \xd8\x98\xc2\x96",
    b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\
      \x37\xbf\x51\xf5",
];
const P384: [&[u8]; 2] = [
    b"\xaa\x87\xca\x22\xbe\x8b\x05\x37\x8e\xb1\xc7\x1e\xf3\x20\xad\x74\x6e\x1d\x3b\x62\x8b\xa7\x9b\x98\x59\xf7\x41\xe0\
      \x82\x54\x2a\x38\x55\x02\xf2\x5d\xbf\x55\x29\x6c\x3a\x54\x5e\x38\x72\x76\x0a\xb7",
    b"\x36\x17\xde\x4a\x96\x26\x2c\x6f\x5d\x9e\x98\xbf\x92\x92\xdc\x29\xf8\xf4\x1d\xbd\x28\x9a\x14\x7c\xe9\xda\x31\x13\
      \xb5\xf0\xb8\xc0\x0a\x60\xb1\xce\x1d\x7e\x81\x9d\x7a\x43\x1d\x7c\x90\xea\x0e\x5f",
];
const ED25519: [u8; 32] = {
    let mut point = [0x66; 32];
    let [first, ..] = &mut point;
    *first = 0x58;
    point
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{agreement, effort, is_point};

    #[test]
    fn every_algorithm_has_a_decoy_that_is_checked() {
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS256] {
            assert_eq!(effort::of(|| check(b"message", algorithm)).1, 1, "{algorithm:?}");
        }
        assert_eq!(effort::of(|| check(b"message", Algorithm::HS256)).1, 0);
    }

    #[test]
    fn the_points_are_points() {
        for (curve, [x, y]) in [(&agreement::ECDH_P256, P256), (&agreement::ECDH_P384, P384)] {
            assert!(is_point(curve, &[&[4], x, y].concat()));
        }
    }
}
