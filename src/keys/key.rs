//! A key that is parsed once, and then signs, verifies and describes itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto_bigint::{BoxedUint, CheckedSub as _, ConcatenatingMul as _, Lcm as _, NonZero};
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use pkcs8::der::{Decode, Encode, EncodePem, SecretDocument};
use pkcs8::{AlgorithmIdentifierRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::{Alg, KeyName, pem};
use crate::crypto::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use crate::crypto::{self, NoRandomness, hkdf, hmac, rand::SystemRandom, random, sha256};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Maximum length of a signature in bytes: RS256 with a key of 4096 bits.
pub const MAX_SIGNATURE: usize = 512;

/// A key's id: its RFC 7638 thumbprint with SHA-256, in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kid(String);

impl Kid {
    /// Reads a thumbprint of 43 base64url characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The thumbprint.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// HKDF's `info` before the `kid`, for the secret of a key's nonces.
const NONCE: &[u8] = b"lingpai dpop nonce v1\0";

/// What a signature is for. No two purposes share a secret or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An access token, signed so that everybody can verify it.
    Access,
    /// A refresh token, authenticated with a secret that only holders of the
    /// private key can derive.
    Refresh,
    /// A list of revocations, signed so that everybody can verify it.
    Revocations,
}

/// How tokens of a purpose are authenticated.
enum Seal {
    /// With the private key, so that everybody can verify it.
    Signature,
    /// With HMAC-SHA256 and a secret derived from the private key under this label (HKDF's `info`, before the `kid`).
    Mac(&'static [u8]),
}

impl Purpose {
    /// Every purpose, in the order of their places in an array.
    pub const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::Revocations];

    /// Returns the `typ` of its tokens, and how they are authenticated.
    const fn row(self) -> (&'static str, Seal) {
        match self {
            Self::Access => ("at+jwt", Seal::Signature),
            Self::Refresh => ("rt+jwt", Seal::Mac(b"lingpai refresh v1\0")),
            Self::Revocations => ("revocations+jwt", Seal::Signature),
        }
    }
}

/// What a key has for one purpose.
struct Sealing {
    /// The first segment of every token.
    header: String,
    /// None where the private key signs.
    secret: Option<hmac::Key>,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
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
        let kid = Kid(URL_SAFE_NO_PAD.encode(sha256(parts.thumbprint_input.as_bytes())));
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
    /// Only if the system has no random bytes to give.
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

/// What is wrong with a private key, and what would be right. The file's path stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidKey(&'static str);

impl From<&'static str> for InvalidKey {
    fn from(problem: &'static str) -> Self {
        Self(problem)
    }
}

/// What is read from the PKCS#8 structure.
struct Parts {
    pair: Pair,
    public: UnparsedPublicKey<Vec<u8>>,
    private_bytes: Zeroizing<Vec<u8>>,
    /// The required members in the order of their names (RFC 7638 §3.2).
    thumbprint_input: String,
    jwk: serde_json::Map<String, serde_json::Value>,
}

fn members<const N: usize>(of: [(&str, &str); N]) -> serde_json::Map<String, serde_json::Value> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn es256(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
    if info.algorithm.oid != EC || info.algorithm.parameters_oid() != Ok(P256) {
        return Err(NOT_P256.into());
    }
    let rejected = "is not a usable P-256 key in the form that `openssl genpkey` writes";
    let inner = sec1::EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(|_| InvalidKey(rejected))?;
    if inner.public_key.is_none() {
        return Err("does not hold its public part; `lingpai keys import` adds it".into());
    }
    let pair = crypto::p256_pair(der).map_err(|_| InvalidKey(rejected))?;
    let point = pair.public_key().as_ref();
    // aws-lc-rs takes other forms too; the refresh secret is of exactly these bytes.
    if info.public_key.is_some() || inner.private_key.len() != 32 || inner.public_key != Some(point) {
        return Err(rejected.into());
    }
    let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else { return Err(rejected.into()) };
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    Ok(Parts {
        public: UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.to_vec()),
        private_bytes: Zeroizing::new(inner.private_key.to_vec()),
        thumbprint_input: format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
        jwk: members([("kty", "EC"), ("crv", "P-256"), ("x", &x), ("y", &y)]),
        pair: Pair::Es256(pair),
    })
}

fn eddsa(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
    if info.algorithm.oid != ED25519_OID {
        return Err("is not an Ed25519 key, which its name says; expected what \
                    `openssl genpkey -algorithm ed25519` writes"
            .into());
    }
    let rejected = "is not a usable Ed25519 key";
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| InvalidKey(rejected))?;
    let seed = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(|_| InvalidKey(rejected))?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    Ok(Parts {
        public: UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec()),
        private_bytes: Zeroizing::new(seed.as_bytes().to_vec()),
        thumbprint_input: format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
        jwk: members([("kty", "OKP"), ("crv", "Ed25519"), ("x", &x)]),
        pair: Pair::EdDsa(pair),
    })
}

fn rs256(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
    if info.algorithm.oid != RSA {
        return Err("is not an RSA key, which its name says; expected what \
                    `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` writes"
            .into());
    }
    let inner = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| InvalidKey(UNUSABLE_RSA))?;
    if info.algorithm.parameters != Some(AnyRef::NULL) || info.public_key.is_some() || !is_usual(&inner) {
        return Err(UNUSABLE_RSA.into());
    }
    let damaged = || InvalidKey("is damaged: its parts do not belong together, so it cannot sign");
    let private_bytes = least_exponent(&inner).ok_or_else(damaged)?;
    let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| damaged())?;
    // ring looks at some of its parts only when it signs.
    let mut signature = vec![0; crypto::rsa_length(&pair)];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &[], &mut signature).map_err(|_| damaged())?;
    let n = URL_SAFE_NO_PAD.encode(inner.modulus.as_bytes());
    let e = URL_SAFE_NO_PAD.encode(inner.public_exponent.as_bytes());
    Ok(Parts {
        public: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec()),
        private_bytes,
        thumbprint_input: format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        jwk: members([("kty", "RSA"), ("n", &n), ("e", &e)]),
        pair: Pair::Rs256(pair),
    })
}

/// Whether the sizes of an RSA key's parts are those that both crates of [`crate::crypto`] take:
/// ring takes a modulus that is a bit short as well, and aws-lc-rs much else.
fn is_usual(key: &pkcs1::RsaPrivateKeyRef<'_>) -> bool {
    let bits = |number: &[u8]| 8 * number.len() - number.first().map_or(0, |first| first.leading_zeros() as usize);
    let [n, e, d] = [key.modulus, key.public_exponent, key.private_exponent].map(|number| number.as_bytes());
    let half = bits(key.prime1.as_bytes());
    [1024, 1536, 2048].contains(&half)
        && bits(key.prime2.as_bytes()) == half
        && bits(n) >= 2048
        && bits(n).div_ceil(2) == half
        // At least 65537, because what is even cannot sign.
        && (17..=33).contains(&bits(e))
        && bits(d) > half
        && (d.len(), d) < (n.len(), n)
        && key.other_prime_infos.is_none()
}

/// The least private exponent of an RSA key, `e⁻¹ mod lcm(p - 1, q - 1)` (RFC 8017 §3.2), in as few
/// bytes as it takes. None if the key's private exponents are not those of its primes and its `e`.
///
/// A public key has many private exponents, and some programs write a larger one,
/// `e⁻¹ mod (p - 1)(q - 1)`. Refresh tokens are authenticated with what is derived from this one,
/// which is the same in every file of the same key, and is what OpenSSL writes.
fn least_exponent(key: &pkcs1::RsaPrivateKeyRef<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let number = |part: UintRef<'_>| Zeroizing::new(BoxedUint::from_be_slice_vartime(part.as_bytes()));
    let less_one = |prime| Some(Zeroizing::new(number(prime).checked_sub(&BoxedUint::one()).into_option()?));
    let modulus = |number: &BoxedUint| NonZero::new(number.clone()).into_option().map(Zeroizing::new);
    let (p, q) = (less_one(key.prime1)?, less_one(key.prime2)?);
    let both = modulus(&p.lcm(&q))?;
    let stored = number(key.private_exponent);
    let least = Zeroizing::new(stored.rem(&both));
    let product = Zeroizing::new(least.concatenating_mul(&*number(key.public_exponent)));
    let are_right = *Zeroizing::new(product.rem(&both)) == BoxedUint::one()
        && *Zeroizing::new(stored.rem(&*modulus(&p)?)) == *number(key.exponent1)
        && *Zeroizing::new(stored.rem(&*modulus(&q)?)) == *number(key.exponent2);
    // A small one can be found from the public key alone.
    let is_large = least.bit_width() > p.bit_width();
    (are_right && is_large).then(|| Zeroizing::new(least.to_be_bytes_trimmed_vartime().into_vec()))
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

const ENCRYPTED: &str = "is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and protect the file instead";
const NO_KEY: &str = "holds no private key; expected -----BEGIN PRIVATE KEY-----";
const NO_PEM: &str = "is not PEM; expected one block that begins with -----BEGIN PRIVATE KEY-----";
const NO_PKCS8: &str = "is not a PKCS#8 private key";
const NOT_P256: &str = "is not an EC key on P-256, the one curve of ES256; expected what \
                        `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes";
const UNUSABLE_RSA: &str =
    "is not a usable RSA key; expected 2048 to 4096 bits, two primes and an exponent of at least 65537";

/// The one block of a PEM text, which holds a PKCS#8 structure.
fn document(text: &[u8]) -> Result<pem::Block, InvalidKey> {
    let blocks = pem::blocks(text)?;
    let has = |labels: &[&str]| blocks.iter().any(|block| labels.contains(&block.label()));
    if blocks.iter().any(|block| block.is_private_key() && block.is_encrypted()) {
        return Err(ENCRYPTED.into());
    }
    if has(&["EC PRIVATE KEY", "RSA PRIVATE KEY"]) {
        return Err("is not PKCS#8; take it in with `lingpai keys import`, which writes PKCS#8".into());
    }
    if blocks.is_empty() {
        return Err(NO_PEM.into());
    }
    let [block] = <[_; 1]>::try_from(blocks)
        .map_err(|_| InvalidKey("holds more than one block; expected one block, -----BEGIN PRIVATE KEY-----"))?;
    if block.label() == "PRIVATE KEY" { Ok(block) } else { Err(NO_KEY.into()) }
}

/// The private key of a PEM text that was made elsewhere, in the form of PKCS#8 that is read here,
/// and what it signs with. The text may hold other blocks, such as `EC PARAMETERS`.
pub(super) fn to_pkcs8(text: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let blocks = pem::blocks(text)?;
    let mut keys = blocks.iter().filter(|block| block.is_private_key());
    let block = match (keys.next(), keys.next()) {
        (Some(block), None) => block,
        (Some(_), Some(_)) => return Err("holds more than one private key; expected one".into()),
        (None, _) if blocks.is_empty() => return Err(NO_PEM.into()),
        (None, _) => return Err(NO_KEY.into()),
    };
    if block.is_encrypted() {
        return Err(ENCRYPTED.into());
    }
    let other_kind = "is of another kind; expected an EC key on P-256, an Ed25519 key or an RSA key";
    match block.label() {
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::try_from(block.der()).map_err(|_| InvalidKey(NO_PKCS8))?;
            let key = info.private_key.as_bytes();
            match info.algorithm.oid {
                EC if info.algorithm.parameters_oid() != Ok(P256) => Err(NOT_P256.into()),
                EC => es256_pkcs8(key),
                ED25519_OID => {
                    // Looks at the public part, if there is one.
                    eddsa(&info, block.der())?;
                    let seed = <&OctetStringRef>::from_der(key).map_err(|_| InvalidKey(NO_PKCS8))?;
                    eddsa_pkcs8(seed.as_bytes()).map(|document| (Alg::EdDsa, document))
                }
                RSA => rs256_pkcs8(key),
                _ => Err(other_kind.into()),
            }
        }
        "EC PRIVATE KEY" => {
            let curves = blocks.iter().filter(|block| block.label() == "EC PARAMETERS").map(pem::Block::der);
            let curves: Vec<_> = curves.map(|curve| ObjectIdentifier::from_der(curve).ok()).collect();
            let inner = sec1::EcPrivateKey::from_der(block.der()).map_err(|_| InvalidKey(NOT_P256))?;
            let own = inner.parameters.map(sec1::EcParameters::named_curve);
            // At least one says it, and no other says otherwise.
            if own.iter().chain(&curves).any(|curve| *curve != Some(P256)) || (own.is_none() && curves.is_empty()) {
                return Err(NOT_P256.into());
            }
            es256_pkcs8(block.der())
        }
        "RSA PRIVATE KEY" => rs256_pkcs8(block.der()),
        _ => Err(other_kind.into()),
    }
}

/// The P-256 key of a SEC 1 structure (RFC 5915 §3), with its public part.
fn es256_pkcs8(sec1: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let rejected = || InvalidKey("is not a usable P-256 key");
    let inner = sec1::EcPrivateKey::from_der(sec1).map_err(|_| rejected())?;
    // Some programs leave out zeros before the number, or write more of them.
    let zeros = inner.private_key.iter().take_while(|byte| **byte == 0).count();
    let (_, number) = inner.private_key.split_at(zeros);
    let mut scalar = Zeroizing::new([0; 32]);
    let at = scalar.len().checked_sub(number.len());
    let place = at.and_then(|at| scalar.get_mut(at..)).ok_or_else(rejected)?;
    place.copy_from_slice(number);
    let secret = p256::SecretKey::from_slice(scalar.as_slice()).map_err(|_| rejected())?;
    let public = secret.public_key();
    if let Some(stored) = inner.public_key
        && p256::PublicKey::from_sec1_bytes(stored) != Ok(public)
    {
        return Err("is damaged: its public part belongs to another key".into());
    }
    let public = public.to_sec1_bytes();
    let inner = sec1::EcPrivateKey { private_key: scalar.as_slice(), parameters: None, public_key: Some(&public) };
    let inner = inner.to_der().map(Zeroizing::new).map_err(not_encoded)?;
    pkcs8(EC, Some(AnyRef::from(&P256)), &inner).map(|document| (Alg::Es256, document))
}

/// The RSA key of a PKCS#1 structure (RFC 8017 §A.1.2), with its least private exponent.
fn rs256_pkcs8(pkcs1: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let mut key = pkcs1::RsaPrivateKeyRef::from_der(pkcs1).map_err(|_| InvalidKey(UNUSABLE_RSA))?;
    if !is_usual(&key) {
        return Err(UNUSABLE_RSA.into());
    }
    let least = least_exponent(&key).ok_or("is damaged: its parts do not belong together, so it cannot sign")?;
    key.private_exponent = UintRef::new(&least).map_err(not_encoded)?;
    let inner = key.to_der().map(Zeroizing::new).map_err(not_encoded)?;
    pkcs8(RSA, Some(AnyRef::NULL), &inner).map(|document| (Alg::Rs256, document))
}

/// Version 1 of the structure, without the public part: OpenSSL reads no other.
fn eddsa_pkcs8(seed: &[u8]) -> Result<SecretDocument, InvalidKey> {
    let inner = OctetStringRef::new(seed).and_then(|seed| seed.to_der());
    pkcs8(ED25519_OID, None, &inner.map(Zeroizing::new).map_err(not_encoded)?)
}

fn pkcs8(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<SecretDocument, InvalidKey> {
    let info =
        OctetStringRef::new(key).map(|key| PrivateKeyInfoRef::new(AlgorithmIdentifierRef { oid, parameters }, key));
    info.and_then(|info| SecretDocument::encode_msg(&info)).map_err(not_encoded)
}

fn not_encoded(_: pkcs8::der::Error) -> InvalidKey {
    InvalidKey("cannot be encoded")
}

/// A new private key in PKCS#8.
pub(super) fn new_pkcs8(alg: Alg) -> Result<SecretDocument, InvalidKey> {
    let no_randomness = || InvalidKey("the system has no random bytes to give");
    match alg {
        Alg::Es256 => {
            let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| no_randomness())?;
            SecretDocument::try_from(der.as_ref()).map_err(not_encoded)
        }
        Alg::EdDsa => {
            let seed = Zeroizing::new(random::<32>().map_err(|_| no_randomness())?);
            eddsa_pkcs8(seed.as_slice())
        }
        Alg::Rs256 => Err("RSA keys are not made here; make one with `openssl genpkey -algorithm RSA -pkeyopt \
                           rsa_keygen_bits:2048 -out FILE` and take it in with `lingpai keys import FILE`"
            .into()),
    }
}
