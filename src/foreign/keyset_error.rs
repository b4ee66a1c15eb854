//! What may be wrong with a key set and its keys.

use std::fmt;

/// Maximum number of keys in a set, usable or not.
pub const MAX_KEYS: usize = 100;
/// Maximum size of a set's JSON text, in bytes.
pub const MAX_KEY_SET: usize = 1 << 20;

/// Why a set is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetError {
    /// It is longer than [`MAX_KEY_SET`].
    TooLarge,
    /// It is not an object with an array `keys` of objects, or a name occurs twice in an object.
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
    /// A client's set has this member of a private or symmetric key beside `keys`.
    PrivateBeside(&'static str),
    /// Two keys that can be used have this `kid`.
    RepeatedKid(String),
    /// A client's key at `index` is that at `first`, and a token without `kid` could not say which it means.
    RepeatedKey {
        /// Its position, from 0.
        index: usize,
        /// The position of the same key before it.
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

/// Why a key cannot be used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Its `kty` or `crv` is another.
    Kind,
    /// `use` or `key_ops` does not allow it to verify.
    Use,
    /// Its `alg` is none of its kind's.
    Algorithm,
    /// This member is absent or has another form.
    Member(&'static str),
    /// Its point is not on the curve.
    NotOnCurve,
    /// It is an Ed25519 point of low order or in a non-canonical form.
    WeakPoint,
    /// The modulus has not 2048 to 4096 bits, or is even.
    Modulus,
    /// The modulus was made by a generator whose keys can be factored (ROCA, CVE-2017-15361).
    WeakModulus,
    /// The exponent is not an odd number from 65537 to 2^33 - 1.
    Exponent,
    /// `x5c` does not begin with a certificate of this key.
    Certificate,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the key set is longer than {MAX_KEY_SET} bytes"),
            Self::NotAKeySet => f.write_str(
                "not a JSON Web Key Set; expected an object with an array \"keys\" of objects, and no name twice in one",
            ),
            Self::TooManyKeys => write!(f, "the key set has more than {MAX_KEYS} keys"),
            Self::Private { index, member } => {
                write!(f, "keys[{index}] has the private member \"{member}\"; expected public keys only")
            }
            Self::PrivateBeside(member) => {
                write!(f, "the key set has the private member \"{member}\" beside \"keys\"; expected public keys only")
            }
            Self::RepeatedKid(kid) => write!(f, "two keys have the kid {kid:?}; expected another kid for each key"),
            Self::RepeatedKey { index, first } => write!(
                f,
                "keys[{index}] is the same key as keys[{first}]; expected each key once, or a kid of its own for each"
            ),
            Self::Unusable { index, why } => write!(f, "keys[{index}] cannot be used: {why}"),
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
            Self::Member(name) => return write!(f, "{name} is absent or has another form than its kind of key wants"),
            Self::NotOnCurve => "x and y are no point of the curve",
            Self::WeakPoint => "x is a point of low order, or not in its canonical form",
            Self::Modulus => "n is not an odd number of 2048 to 4096 bits",
            Self::WeakModulus => "n was made by a generator whose keys can be factored (ROCA)",
            Self::Certificate => "x5c does not begin with a certificate of this key",
            Self::Exponent => "e is not an odd number from 65537 to 2^33 - 1",
        })
    }
}
