//! A public key (RFC 7517 §4): its kind, its numbers, and the signatures that it verifies.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};

use super::keyset_error::Unusable;
use super::unverified::{Jws, algorithm};
use super::{Rejected, provider};
use crate::crypto::{self, agreement};

/// Members of private and symmetric keys only (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2; `priv`
/// is that of the post-quantum keys of type AKP).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// The owner of a set, which decides how strictly it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A client, in a file that an operator wrote: every key must be usable. No ES384.
    Client,
    /// An issuer, which publishes keys for others too: unusable ones are skipped (RFC 7517 §5).
    Issuer,
}

/// A key of a set, ready to verify signatures.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    pub(super) kid: Option<String>,
    /// The algorithms that a token may name. The key decides; the token's header must agree.
    pub(super) algorithms: &'static [Algorithm],
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// Whether both are the same key, and a token without `kid` could mean either.
    pub(super) fn is_confused_with(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let is_same = match (self.key.kind(), other.key.kind()) {
            (SecretOrDer(one), SecretOrDer(two)) => one == two,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: other_n, e: other_e }) => {
                (n, e) == (other_n, other_e)
            }
            _ => false,
        };
        let is_named = self.kid.is_some() && other.kid.is_some();
        is_same && !is_named && self.algorithms.iter().any(|algorithm| other.algorithms.contains(algorithm))
    }

    /// Parses the key in a proof, and computes its thumbprint (RFC 7638). A private key is refused
    /// (RFC 9449 §4.3).
    pub(super) fn of_proof(jwk: &Value) -> Option<(Self, [u8; 32])> {
        let jwk = jwk.as_object()?;
        if private_member(jwk).is_some() {
            return None;
        }
        let key = Self::read(jwk, Owner::Client).ok()?;
        Some((key, thumbprint(jwk)?))
    }

    /// Checks the signature of `jws`, whose header must name one of the key's algorithms.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), Rejected> {
        let algorithm = jws.header.algorithm;
        self.accepts(algorithm)?;
        if !provider::verifies(jws.message.as_bytes(), jws.signature, &self.key, algorithm) {
            return Err(Rejected::BadSignature);
        }
        Ok(())
    }

    pub(super) fn accepts(&self, algorithm: Algorithm) -> Result<(), Rejected> {
        if self.algorithms.contains(&algorithm) { Ok(()) } else { Err(Rejected::WrongAlgorithm) }
    }

    pub(super) fn read(jwk: &Map<String, Value>, owner: Owner) -> Result<Self, Unusable> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let (key, of_kind): (_, &[Algorithm]) = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => (Kind::P256, &[Algorithm::ES256]),
            (Some("EC"), Some("P-384")) if owner == Owner::Issuer => (Kind::P384, &[Algorithm::ES384]),
            (Some("OKP"), Some("Ed25519")) => (Kind::Ed25519, &[Algorithm::EdDSA]),
            (Some("RSA"), _) => (Kind::Rsa, &[Algorithm::PS256, Algorithm::RS256]),
            _ => return Err(Unusable::Kind),
        };
        if !verifies(jwk) {
            return Err(Unusable::Use);
        }
        let algorithms = match jwk.get("alg") {
            None => of_kind,
            Some(name) => {
                let named = name.as_str().and_then(algorithm).ok_or(Unusable::Algorithm)?;
                of_kind.chunks(1).find(|one| one.contains(&named)).ok_or(Unusable::Algorithm)?
            }
        };
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Unusable::Member("kid")),
        };
        let key = match key {
            Kind::P256 => ec(jwk, 32, &agreement::ECDH_P256)?,
            Kind::P384 => ec(jwk, 48, &agreement::ECDH_P384)?,
            Kind::Ed25519 => ed25519(jwk)?,
            Kind::Rsa => rsa(jwk)?,
        };
        Ok(Self { kid, algorithms, key })
    }
}

/// Returns the first member of `object` that only private and symmetric keys have.
pub(super) fn private_member(object: &Map<String, Value>) -> Option<&'static str> {
    PRIVATE.into_iter().find(|member| object.contains_key(*member))
}

/// Returns the SHA-256 of a key's required members, sorted by name (RFC 7638 §3.2, RFC 8037 §2).
/// They were parsed strictly, so a key has exactly one thumbprint: they are known words and
/// base64url, in which JSON escapes nothing.
fn thumbprint(jwk: &Map<String, Value>) -> Option<[u8; 32]> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    let members = match text("kty")? {
        "EC" => format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, text("crv")?, text("x")?, text("y")?),
        "OKP" => format!(r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#, text("crv")?, text("x")?),
        "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e")?, text("n")?),
        _ => return None,
    };
    Some(crypto::sha256(members.as_bytes()))
}

enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// Whether `use` (RFC 7517 §4.2; `jwt-svid` is SPIFFE's) and `key_ops` (§4.3), if present, allow
/// verification.
fn verifies(jwk: &Map<String, Value>) -> bool {
    let by_use = match jwk.get("use") {
        None => true,
        Some(Value::String(of)) => of == "sig" || of == "jwt-svid",
        Some(_) => false,
    };
    let by_operations = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    };
    by_use && by_operations
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, Unusable> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(Unusable::Member(name))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unusable::Member(name))
}

fn bytes_of_length(jwk: &Map<String, Value>, name: &'static str, length: usize) -> Result<Vec<u8>, Unusable> {
    let bytes = bytes(jwk, name)?;
    if bytes.len() == length { Ok(bytes) } else { Err(Unusable::Member(name)) }
}

/// RFC 7518 §6.2.1: a coordinate has the full length of the field.
fn ec(jwk: &Map<String, Value>, length: usize, curve: &'static agreement::Algorithm) -> Result<DecodingKey, Unusable> {
    let (x, y) = (bytes_of_length(jwk, "x", length)?, bytes_of_length(jwk, "y", length)?);
    let point = [&[4], &*x, &*y].concat();
    if !crypto::is_point(curve, &point) {
        return Err(Unusable::NotOnCurve);
    }
    Ok(DecodingKey::from_ec_der(&point))
}

/// Anyone can make signatures that a key of low order accepts, and a key with two encodings has two
/// thumbprints. (An encoding that is no point at all verifies nothing.)
fn ed25519(jwk: &Map<String, Value>) -> Result<DecodingKey, Unusable> {
    let point = bytes_of_length(jwk, "x", 32)?;
    let y = big_endian_y(&point);
    if y >= P_25519 || LOW_ORDER_Y.contains(&y) {
        return Err(Unusable::WeakPoint);
    }
    Ok(DecodingKey::from_ed_der(&point))
}

/// 2^255 - 19, big-endian.
const P_25519: [u8; 32] = field(0x7f, 0xff, 0xed);
/// The `y` of the eight points whose order divides 8: two points each, except those with `x = 0`,
/// ±1.
const LOW_ORDER_Y: [[u8; 32]; 5] = [
    field(0, 0, 0),
    field(0, 0, 1),
    field(0x7f, 0xff, 0xec),
    [
        0x05, 0xfc, 0x53, 0x6d, 0x88, 0x02, 0x38, 0xb1, 0x39, 0x33, 0xc6, 0xd3, 0x05, 0xac, 0xdf, 0xd5, 0xf0, 0x98,
        0xef, 0xf2, 0x89, 0xf4, 0xc3, 0x45, 0xb0, 0x27, 0xb2, 0xc2, 0x8f, 0x95, 0xe8, 0x26,
    ],
    [
        0x7a, 0x03, 0xac, 0x92, 0x77, 0xfd, 0xc7, 0x4e, 0xc6, 0xcc, 0x39, 0x2c, 0xfa, 0x53, 0x20, 0x2a, 0x0f, 0x67,
        0x10, 0x0d, 0x76, 0x0b, 0x3c, 0xba, 0x4f, 0xd8, 0x4d, 0x3d, 0x70, 0x6a, 0x17, 0xc7,
    ],
];

const fn field(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [start, .., end] = &mut bytes;
    *start = first;
    *end = last;
    bytes
}

/// A point is `y` in little-endian order, with the sign of `x` in the highest bit (RFC 8032
/// §5.1.2).
fn big_endian_y(point: &[u8]) -> [u8; 32] {
    let mut y = [0; 32];
    for (to, from) in y.iter_mut().zip(point.iter().rev()) {
        *to = *from;
    }
    let [first, ..] = &mut y;
    *first &= 0x7f;
    y
}

/// RFC 7518 §6.3.1: numbers without leading zeros.
///
/// An exponent is at least 65537 (FIPS 186-5 §A.1.1) and less than 2^33 (ring and AWS-LC): a
/// smaller one demands more of everyone's padding checks, a larger one slows each verification, and
/// every known library uses 65537.
fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, Unusable> {
    let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) || !is_odd(&n) {
        return Err(Unusable::Modulus);
    }
    let exponent = e.iter().take(6).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    if !(65_537..1 << 33).contains(&exponent) || !is_odd(&e) {
        return Err(Unusable::Exponent);
    }
    if is_power_of_65537(&n) {
        return Err(Unusable::WeakModulus);
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn number(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, Unusable> {
    let number = bytes(jwk, name)?;
    if number.first().is_some_and(|first| *first != 0) { Ok(number) } else { Err(Unusable::Member(name)) }
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

/// Whether `n` is a power of 65537 modulo each of these primes. All moduli of the broken generator
/// are, and one in 2^27 others.
fn is_power_of_65537(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.into_iter().all(|prime| {
        let remainder = n.iter().fold(0, |sum, byte| (sum * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65_537 % prime) % prime));
        powers.take(prime as usize).any(|power| power == remainder)
    })
}
