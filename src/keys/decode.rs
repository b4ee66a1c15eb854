//! What a key file holds: one PKCS#8 structure in PEM, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto_bigint::{BoxedUint, CheckedSub as _, ConcatenatingMul as _, Lcm as _, NonZero};
use pkcs8::der::Decode;
use pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::error::{ENCRYPTED, InvalidKey, NO_KEY, NO_PEM, NOT_P256, UNUSABLE_RSA};
use super::pem;
use crate::crypto::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use crate::crypto::{self, rand::SystemRandom};

pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key pair of one of the algorithms.
pub(super) enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// What is read from the PKCS#8 structure.
pub(super) struct Parts {
    pub(super) pair: Pair,
    pub(super) public: UnparsedPublicKey<Vec<u8>>,
    pub(super) private_bytes: Zeroizing<Vec<u8>>,
    /// The required members in the order of their names (RFC 7638 §3.2).
    pub(super) thumbprint_input: String,
    pub(super) jwk: serde_json::Map<String, serde_json::Value>,
}

fn members<const N: usize>(of: [(&str, &str); N]) -> serde_json::Map<String, serde_json::Value> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

pub(super) fn es256(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
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

pub(super) fn eddsa(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
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

pub(super) fn rs256(info: &PrivateKeyInfoRef<'_>, der: &[u8]) -> Result<Parts, InvalidKey> {
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
pub(super) fn is_usual(key: &pkcs1::RsaPrivateKeyRef<'_>) -> bool {
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
pub(super) fn least_exponent(key: &pkcs1::RsaPrivateKeyRef<'_>) -> Option<Zeroizing<Vec<u8>>> {
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

/// The one block of a PEM text, which holds a PKCS#8 structure.
pub(super) fn document(text: &[u8]) -> Result<pem::Block, InvalidKey> {
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
