//! The public keys of a client or an issuer (RFC 7517), parsed strictly and checked once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};
use x509_cert::der::Decode as _;

use super::unverified::{Jws, algorithm};
use super::{Rejected, decoy, json, provider};
use crate::crypto::{self, Digester, agreement};

/// Maximum keys in a set, including unusable ones.
pub const MAX_KEYS: usize = 100;
/// Maximum size of a set's JSON text, in bytes.
pub const MAX_KEY_SET: usize = 1 << 20;

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

/// Public keys, ready to verify signatures.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    /// The SHA-256 of the first certificate in `x5c` of each of a client's keys.
    certificates: Vec<[u8; 32]>,
    passed_over: Vec<(usize, Unusable)>,
}

#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    kid: Option<String>,
    /// The algorithms that a token may name. The key decides; the token's header must agree.
    algorithms: &'static [Algorithm],
    pub(super) key: DecodingKey,
}

/// Why a set is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetError {
    /// It is longer than [`MAX_KEY_SET`].
    TooLarge,
    /// It is not an object with an array `keys` of objects, or an object has a duplicate name.
    NotAKeySet,
    /// It has more than [`MAX_KEYS`] keys.
    TooManyKeys,
    /// The key at `index` has a member of a private or symmetric key.
    Private {
        /// Its position, from 0.
        index: usize,
        /// The member's name.
        member: &'static str,
    },
    /// A client's set has this member of a private or symmetric key next to `keys`.
    PrivateBeside(&'static str),
    /// Two usable keys share this `kid`.
    RepeatedKid(String),
    /// A client's key at `index` equals the one at `first`, so a token without `kid` would be
    /// ambiguous.
    RepeatedKey {
        /// Its position, from 0.
        index: usize,
        /// The position of the equal key before it.
        first: usize,
    },
    /// A client's key at `index` cannot be used.
    Unusable {
        /// Its position, from 0.
        index: usize,
        /// The reason.
        why: Unusable,
    },
    /// A client's set has no key.
    Empty,
}

/// Why a key is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Its `kty` or `crv` is not supported.
    Kind,
    /// `use` or `key_ops` does not allow verification.
    Use,
    /// Its `alg` does not fit its kind.
    Algorithm,
    /// This member is missing or malformed.
    Member(&'static str),
    /// Its point is not on the curve.
    NotOnCurve,
    /// It is an Ed25519 point of low order, or not in canonical form.
    WeakPoint,
    /// The modulus is even, or does not have 2048 to 4096 bits.
    Modulus,
    /// The modulus was made by a generator whose keys can be factored (ROCA, CVE-2017-15361).
    WeakModulus,
    /// The exponent is not an odd number from 65537 to 2^33 - 1.
    Exponent,
    /// `x5c` does not begin with a certificate of this key.
    Certificate,
}

impl KeySet {
    /// Parses the JSON text of a set.
    ///
    /// # Errors
    /// What is wrong with the set as a whole or, for a client's, with one of its keys.
    pub fn parse(text: &[u8], owner: Owner) -> Result<Self, KeySetError> {
        if text.len() > MAX_KEY_SET {
            return Err(KeySetError::TooLarge);
        }
        let set = json::object(text).ok_or(KeySetError::NotAKeySet)?;
        if let (Owner::Client, Some(member)) = (owner, private_member(&set)) {
            return Err(KeySetError::PrivateBeside(member));
        }
        let written = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotAKeySet)?;
        if written.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut all = Self::none();
        for (index, jwk) in written.iter().enumerate() {
            let jwk = jwk.as_object().ok_or(KeySetError::NotAKeySet)?;
            if let Some(member) = private_member(jwk) {
                return Err(KeySetError::Private { index, member });
            }
            match PublicKey::read(jwk, owner) {
                Ok(key) => {
                    if let Some(chain) = jwk.get("x5c").filter(|_| owner == Owner::Client) {
                        let why = Unusable::Certificate;
                        let digest = certificate(chain, &key.key).ok_or(KeySetError::Unusable { index, why })?;
                        all.certificates.push(digest);
                    }
                    all.add(key, owner)?;
                }
                Err(why) if owner == Owner::Client => return Err(KeySetError::Unusable { index, why }),
                Err(why) => all.passed_over.push((index, why)),
            }
        }
        if owner == Owner::Client && all.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(all)
    }

    /// Refuses keys that a token could not tell apart: two with the same `kid`, and a client's key
    /// that appears twice without a `kid` for each.
    fn add(&mut self, key: PublicKey, owner: Owner) -> Result<(), KeySetError> {
        if let Some(kid) = key.kid.as_ref().filter(|_| self.keys.iter().any(|other| other.kid == key.kid)) {
            return Err(KeySetError::RepeatedKid(kid.clone()));
        }
        if let (Owner::Client, Some(first)) = (owner, self.keys.iter().position(|other| other.is_confused_with(&key))) {
            return Err(KeySetError::RepeatedKey { index: self.keys.len(), first });
        }
        self.keys.push(key);
        Ok(())
    }

    /// Returns a set without keys, in place of a missing one: every token is refused, and costs as
    /// much as one with a wrong signature.
    #[must_use]
    pub const fn none() -> Self {
        Self { keys: Vec::new(), certificates: Vec::new(), passed_over: Vec::new() }
    }

    /// Returns the number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no usable keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the certificate with this SHA-256 comes first in `x5c` of one of a client's keys
    /// (RFC 7517 §4.7).
    #[must_use]
    pub fn has_certificate(&self, digest: &[u8; 32]) -> bool {
        self.certificates.contains(digest)
    }

    /// Whether one of a client's keys has a certificate.
    #[must_use]
    pub fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a usable key has this `kid`.
    #[must_use]
    pub fn has_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Returns an issuer's unusable keys: their positions in the set, from 0, and why.
    #[must_use]
    pub fn passed_over(&self) -> &[(usize, Unusable)] {
        &self.passed_over
    }

    /// Adds everything that affects verification: each key, its `kid` and its algorithms.
    pub fn digest(&self, all: &mut Digester) {
        self.certificates.iter().for_each(|digest| all.add(digest));
        for PublicKey { kid, algorithms, key } in &self.keys {
            all.add(format!("{kid:?} {algorithms:?}").as_bytes());
            match key.kind() {
                DecodingKeyKind::SecretOrDer(point) => all.add(point),
                DecodingKeyKind::RsaModulusExponent { n, e } => {
                    all.add(n);
                    all.add(e);
                }
            }
        }
    }

    /// Checks the signature. Without a matching key it still costs one check.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), Rejected> {
        let (kid, algorithm) = (jws.header.kid.as_deref(), jws.header.algorithm);
        let key = self.candidate(kid, algorithm).and_then(|key| key.accepts(algorithm).map(|()| key));
        match key {
            Ok(key) => key.verify(jws),
            Err(why) => {
                decoy::check(jws.message.as_bytes(), algorithm);
                Err(why)
            }
        }
    }

    /// Returns the only key that the token can mean. Never tries several.
    pub(super) fn candidate(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, Rejected> {
        if kid.is_some() {
            return self.keys.iter().find(|key| key.kid.as_deref() == kid).ok_or(Rejected::UnknownKey);
        }
        let mut candidates = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        let first = candidates.next().ok_or(Rejected::UnknownKey)?;
        if candidates.next().is_some() { Err(Rejected::AmbiguousKey) } else { Ok(first) }
    }
}

impl PublicKey {
    /// Whether both are the same key, and a token without `kid` could mean either.
    fn is_confused_with(&self, other: &Self) -> bool {
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
        if PRIVATE.into_iter().any(|member| jwk.contains_key(member)) {
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

    fn accepts(&self, algorithm: Algorithm) -> Result<(), Rejected> {
        if self.algorithms.contains(&algorithm) { Ok(()) } else { Err(Rejected::WrongAlgorithm) }
    }

    fn read(jwk: &Map<String, Value>, owner: Owner) -> Result<Self, Unusable> {
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

fn private_member(object: &Map<String, Value>) -> Option<&'static str> {
    PRIVATE.into_iter().find(|member| object.contains_key(*member))
}

/// Returns the SHA-256 of a chain's first certificate (RFC 7517 §4.7), which must be for this key.
fn certificate(chain: &Value, key: &DecodingKey) -> Option<[u8; 32]> {
    let der = STANDARD.decode(chain.as_array()?.first()?.as_str()?).ok()?;
    let certificate = x509_cert::Certificate::from_der(&der).ok()?;
    let public = certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    let is_of_key = match key.kind() {
        DecodingKeyKind::SecretOrDer(point) => public == point,
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let public = pkcs1::RsaPublicKeyRef::from_der(public).ok()?;
            public.modulus.as_bytes() == n && public.public_exponent.as_bytes() == e
        }
    };
    is_of_key.then(|| crypto::sha256(&der))
}

/// Returns the SHA-256 of a key's required members, sorted by name (RFC 7638 §3.2, RFC 8037 §2).
/// They were parsed strictly, so a key has exactly one thumbprint.
fn thumbprint(jwk: &Map<String, Value>) -> Option<[u8; 32]> {
    let names: &[&str] = match jwk.get("kty").and_then(Value::as_str)? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members: Option<Map<_, _>> =
        names.iter().map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect();
    Some(crypto::sha256(Value::Object(members?).to_string().as_bytes()))
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

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the key set is longer than {MAX_KEY_SET} bytes"),
            Self::NotAKeySet => f.write_str(
                "not a JSON Web Key Set; expected an object with an array \"keys\" of objects, without duplicate names",
            ),
            Self::TooManyKeys => write!(f, "the key set has more than {MAX_KEYS} keys"),
            Self::Private { index, member } => {
                write!(f, "keys[{index}] has the private member \"{member}\"; expected public keys only")
            }
            Self::PrivateBeside(member) => {
                write!(f, "the key set has the private member \"{member}\" next to \"keys\"; expected public keys only")
            }
            Self::RepeatedKid(kid) => write!(f, "two keys have the kid {kid:?}; expected a distinct kid for each key"),
            Self::RepeatedKey { index, first } => write!(
                f,
                "keys[{index}] is the same key as keys[{first}]; expected each key once, or a distinct kid for each"
            ),
            Self::Unusable { index, why } => write!(f, "keys[{index}] is unusable: {why}"),
            Self::Empty => f.write_str("the key set has no key"),
        }
    }
}

impl std::error::Error for KeySetError {}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "expected kty EC with crv P-256, OKP with crv Ed25519, or RSA",
            Self::Use => "expected use \"sig\" or none, and key_ops with \"verify\" or none",
            Self::Algorithm => "expected alg ES256 for P-256, EdDSA or Ed25519 for Ed25519, RS256 or PS256 for RSA",
            Self::Member(name) => return write!(f, "{name} is missing or malformed for this kind of key"),
            Self::NotOnCurve => "x and y are not a point on the curve",
            Self::WeakPoint => "x is a point of low order, or not in its canonical form",
            Self::Modulus => "n is not an odd number of 2048 to 4096 bits",
            Self::WeakModulus => "n was made by a generator whose keys can be factored (ROCA)",
            Self::Certificate => "x5c does not begin with a certificate of this key",
            Self::Exponent => "e is not an odd number from 65537 to 2^33 - 1",
        })
    }
}
