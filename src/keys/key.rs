//! A key that is parsed once, and then signs, verifies and describes itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::der::EncodePem;
use pkcs8::der::asn1::{AnyRef, BitStringRef};
use pkcs8::{AlgorithmIdentifierRef, LineEnding, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};

use super::decode::{EC, ED25519_OID, P256, Pair, RSA, document, eddsa, es256, rs256};
use super::error::{InvalidKey, NO_PKCS8};
use super::purpose::Seal;
use super::{Alg, KeyName, Kid, Purpose};
use crate::crypto::signature::{KeyPair as _, RSA_PKCS1_SHA256, UnparsedPublicKey};
use crate::crypto::{self, NoRandomness, hkdf, hmac, rand::SystemRandom, sha256};

/// Maximum length of a signature in bytes: RS256 with a key of 4096 bits.
pub const MAX_SIGNATURE: usize = 512;

/// HKDF's `info` before the `kid`, for the secret of a key's nonces.
const NONCE: &[u8] = b"lingpai dpop nonce v1\0";

/// What a key has for one purpose.
struct Sealing {
    /// The first segment of every token.
    header: String,
    /// None where the private key signs.
    secret: Option<hmac::Key>,
}

/// A parsed private key, with everything precomputed that does not change.
pub struct Key {
    name: KeyName,
    kid: Kid,
    pair: Pair,
    public: UnparsedPublicKey<Vec<u8>>,
    sealing: [Sealing; Purpose::ALL.len()],
    nonce_secret: hmac::Key,
    jwk: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Key {
    /// Parses the PEM text of a key file named `name`.
    ///
    /// # Errors
    /// What is wrong with the file and what would be right.
    pub fn from_pem(name: KeyName, pem: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Self::from_pkcs8(name, document(pem.as_ref())?.der())
    }

    fn from_pkcs8(name: KeyName, der: &[u8]) -> Result<Self, InvalidKey> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| InvalidKey(NO_PKCS8))?;
        let parts = match name.alg {
            Alg::Es256 => es256(&info, der),
            Alg::EdDsa => eddsa(&info, der),
            Alg::Rs256 => rs256(&info, der),
        }?;
        let kid = Kid(URL_SAFE_NO_PAD.encode(sha256(parts.thumbprint_input.as_bytes())).into());
        let mut jwk = parts.jwk;
        for (member, value) in [("kid", kid.as_str()), ("alg", name.alg.name()), ("use", "sig")] {
            jwk.insert(member.to_owned(), value.into());
        }
        let sealing = |purpose: Purpose| {
            let (typ, seal) = purpose.row();
            Ok::<_, InvalidKey>(match seal {
                Seal::Signature => Sealing { header: header(name.alg.name(), &kid, typ), secret: None },
                Seal::Mac(label) => Sealing {
                    header: header("HS256", &kid, typ),
                    secret: Some(derived_secret(&parts.private_bytes, label, &kid)?),
                },
            })
        };
        Ok(Self {
            sealing: [sealing(Purpose::Access)?, sealing(Purpose::Refresh)?, sealing(Purpose::Revocations)?],
            nonce_secret: derived_secret(&parts.private_bytes, NONCE, &kid)?,
            public: parts.public,
            pair: parts.pair,
            jwk: serde_json::Value::from(jwk).to_string(),
            kid,
            name,
        })
    }

    /// Returns the name of the key's file.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// Returns the key's id.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Returns the first segment of every token that this key signs for `purpose`.
    #[must_use]
    pub fn header(&self, purpose: Purpose) -> &str {
        &self.sealing(purpose).header
    }

    pub(super) fn nonce_secret(&self) -> &hmac::Key {
        &self.nonce_secret
    }

    #[expect(clippy::indexing_slicing, reason = "there is a place for each purpose")]
    fn sealing(&self, purpose: Purpose) -> &Sealing {
        &self.sealing[purpose as usize]
    }

    /// Returns the public key as a serialised JWK (RFC 7517 §4).
    #[must_use]
    pub fn jwk(&self) -> &str {
        &self.jwk
    }

    /// Returns the public key as a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) in PEM, which
    /// most tools read.
    ///
    /// # Errors
    /// Only if the encoder fails, which cannot happen for a parsed key.
    pub fn public_pem(&self) -> Result<String, InvalidKey> {
        let (oid, parameters, public) = match &self.pair {
            Pair::Es256(pair) => (EC, Some(AnyRef::from(&P256)), pair.public_key().as_ref()),
            Pair::EdDsa(pair) => (ED25519_OID, None, pair.public_key().as_ref()),
            Pair::Rs256(pair) => (RSA, Some(AnyRef::NULL), pair.public_key().as_ref()),
        };
        let algorithm = AlgorithmIdentifierRef { oid, parameters };
        BitStringRef::from_bytes(public)
            .and_then(|public| SubjectPublicKeyInfoRef { algorithm, subject_public_key: public }.to_pem(LineEnding::LF))
            .map_err(|_| InvalidKey("its public part cannot be written as PEM"))
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// Only if the system's random number generator failed.
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        if let Some(secret) = &self.sealing(purpose).secret {
            return Ok(hmac::sign(secret, message).as_ref().to_vec());
        }
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; crypto::rsa_length(pair)];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        };
        signature.map_err(|_| NoRandomness)
    }

    /// Whether `signature` is this key's signature of `message` for `purpose`.
    #[must_use]
    pub fn verifies(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> bool {
        match &self.sealing(purpose).secret {
            None => {
                #[cfg(test)]
                crypto::effort::count();
                self.public.verify(message, signature).is_ok()
            }
            Some(secret) => hmac::verify(secret, message, signature).is_ok(),
        }
    }

    /// Checks a wrong signature of an access token over `message`, so that what is refused without a check costs as
    /// much as what is refused by one.
    pub fn check_decoy(&self, message: &[u8]) {
        let length = match &self.pair {
            Pair::Es256(_) | Pair::EdDsa(_) => 64,
            Pair::Rs256(pair) => crypto::rsa_length(pair),
        };
        std::hint::black_box(self.verifies(Purpose::Access, message, &crypto::signature_in_range(length)));
    }
}

/// A secret for one purpose: 32 bytes of HKDF-SHA256 (RFC 5869) over the private key's own bytes.
/// Replicas with the same keys agree on it.
fn derived_secret(private_bytes: &[u8], label: &[u8], kid: &Kid) -> Result<hmac::Key, InvalidKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]);
    let info = [label, kid.as_str().as_bytes()];
    let secret = salt.extract(private_bytes);
    let okm = secret.expand(&info, hmac::HMAC_SHA256).map_err(|_| InvalidKey("cannot derive a secret from it"))?;
    Ok(hmac::Key::from(okm))
}

fn header(alg: &str, kid: &Kid, typ: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{typ}"}}"#))
}
