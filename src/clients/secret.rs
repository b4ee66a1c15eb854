//! Client secrets: 256 random bits, kept as their SHA-256.
//!
//! They are random, so a plain hash is as safe as a slow one: there is nothing to guess. A slow
//! hash would add its cost to every request, and give attackers with wrong secrets a lever.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::{NoRandomness, hex, random, sha256};

/// The SHA-256 of a secret's bytes.
#[derive(Debug, Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of an unused slot: no known input hashes to it.
    pub const UNMATCHED: Self = Self([0; 32]);
    /// The form of a digest, to complete a sentence.
    pub const EXPECTED: &'static str = "\"sha256:\" and 64 lower-case hex digits, the SHA-256 of the secret; \
                                        `lingpai client add` makes both";

    /// Parses `sha256:<64 hex digits>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64)?.as_bytes();
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |b: u8| match b {
                b'0'..=b'9' => Some(b - b'0'),
                b'a'..=b'f' => Some(b - b'a' + 10),
                _ => None,
            };
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(digest))
    }

    /// Formats as `sha256:<64 hex digits>`.
    #[must_use]
    pub fn written(&self) -> String {
        format!("sha256:{}", hex(&self.0))
    }

    /// Returns the digest of `secret`.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }

    /// Compares in constant time, a word at a time.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }

    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }
}

/// A new secret, to be shown once.
pub struct NewSecret(Zeroizing<String>);

impl NewSecret {
    /// How a secret begins, so that it is recognized where it does not belong.
    pub const PREFIX: &'static str = "lps_";

    /// Generates [`NewSecret::PREFIX`] and 43 base64url characters.
    ///
    /// # Errors
    /// The system's random number generator fails.
    pub fn generate() -> Result<Self, NoRandomness> {
        let bytes = Zeroizing::new(random::<32>()?);
        Ok(Self(Zeroizing::new(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bytes.as_slice())))))
    }

    /// Returns the secret.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns its digest, for the configuration.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(SecretDigest::of(b"abc").written(), abc);
        assert!(SecretDigest::parse(abc).unwrap().equals(&SecretDigest::of(b"abc")));
        assert!(!SecretDigest::parse(abc).unwrap().equals(&SecretDigest::of(b"abd")));
        for at in 0..32 {
            let mut other = SecretDigest::of(b"abc");
            other.0[at] ^= 0x80;
            assert!(!SecretDigest::of(b"abc").equals(&other), "{at}");
        }
        let short = abc.get(..70).unwrap();
        for wrong in ["", "sha256:", short, &abc.to_uppercase(), &abc.replace("sha256", "sha512"), &format!("{abc}0")] {
            assert!(SecretDigest::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn new_secrets() {
        let (one, two) = (NewSecret::generate().unwrap(), NewSecret::generate().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), 47);
        assert!(one.reveal().starts_with("lps_"));
        assert!(one.digest().equals(&SecretDigest::of(one.reveal().as_bytes())));
    }
}
