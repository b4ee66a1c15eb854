//! Errors of key sets and their keys.

/// Maximum keys in a set, including unusable ones.
pub const MAX_KEYS: usize = 100;
/// Maximum size of a set's JSON text, in bytes.
pub const MAX_KEY_SET: usize = 1 << 20;

/// Why a set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is longer than [`MAX_KEY_SET`].
    #[error("the key set is longer than {MAX_KEY_SET} bytes")]
    TooLarge,
    /// It is not an object with an array `keys` of objects, or an object has a duplicate name.
    #[error("not a JSON Web Key Set; expected an object with an array \"keys\" of objects, without duplicate names")]
    NotAKeySet,
    /// It has more than [`MAX_KEYS`] keys.
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// The key at `index` has a member of a private or symmetric key.
    #[error("keys[{index}] has the private member \"{member}\"; expected public keys only")]
    Private {
        /// Its position, from 0.
        index: usize,
        /// The member's name.
        member: &'static str,
    },
    /// A client's set has this member of a private or symmetric key next to `keys`.
    #[error("the key set has the private member \"{0}\" next to \"keys\"; expected public keys only")]
    PrivateBeside(&'static str),
    /// Two usable keys share this `kid`.
    #[error("two keys have the kid {0:?}; expected a distinct kid for each key")]
    RepeatedKid(String),
    /// A client's key at `index` equals the one at `first`, so a token without `kid` would be
    /// ambiguous.
    #[error("keys[{index}] is the same key as keys[{first}]; expected each key once, or a distinct kid for each")]
    RepeatedKey {
        /// Its position, from 0.
        index: usize,
        /// The position of the equal key before it.
        first: usize,
    },
    /// A client's key at `index` is unusable.
    #[error("keys[{index}] is unusable: {why}")]
    Unusable {
        /// Its position, from 0.
        index: usize,
        /// The reason.
        #[source]
        why: Unusable,
    },
    /// A client's set has no key.
    #[error("the key set has no key")]
    Empty,
}

/// Why a key is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its `kty` or `crv` is not supported.
    #[error("expected kty EC with crv P-256, OKP with crv Ed25519, or RSA")]
    Kind,
    /// `use` or `key_ops` does not allow verification.
    #[error("expected use \"sig\" or none, and key_ops with \"verify\" or none")]
    Use,
    /// Its `alg` does not fit its kind.
    #[error("expected alg ES256 for P-256, EdDSA or Ed25519 for Ed25519, RS256 or PS256 for RSA")]
    Algorithm,
    /// This member is missing or malformed.
    #[error("{0} is missing or malformed for this kind of key")]
    Member(&'static str),
    /// Its point is not on the curve.
    #[error("x and y are not a point on the curve")]
    NotOnCurve,
    /// It is an Ed25519 point of low order, or not in canonical form.
    #[error("x is a point of low order, or not in its canonical form")]
    WeakPoint,
    /// The modulus is even, or does not have 2048 to 4096 bits.
    #[error("n is not an odd number of 2048 to 4096 bits")]
    Modulus,
    /// The modulus was made by a generator whose keys can be factored (ROCA, CVE-2017-15361).
    #[error("n was made by a generator whose keys can be factored (ROCA)")]
    WeakModulus,
    /// The exponent is not an odd number from 65537 to 2^33 - 1.
    #[error("e is not an odd number from 65537 to 2^33 - 1")]
    Exponent,
    /// `x5c` does not begin with a certificate of this key.
    #[error("x5c does not begin with a certificate of this key")]
    Certificate,
}
