//! Tokens that others signed: a strict check of their form, then jsonwebtoken for the signature.
//!
//! This room owns the accepted forms of foreign tokens and key sets. It knows nothing of clients,
//! HTTP, files and clocks: the caller passes the keys, what the claims must agree with, and the
//! time. A token is [`Unverified`] until [`verify`] makes it [`Verified`]; until then its claims
//! serve only to choose a [`KeySet`].
//!
//! Only jsonwebtoken's signature check is used, with our signing crate behind it, not its `decode`.
//! Measured on 11.1.0 (2026-11-28) with every check of its `Validation` on, `decode` accepts the
//! following, and `tests/it/foreign/` repeats the measurement:
//!
//! - in the header: `alg` as an object (`{"ES256":null}`) or spelt with escapes, names spelt with escapes; unknown
//!   members twice, nested ones too; `crit`, known or not, `b64`, `zip`, `enc`, `jwk`, `jku`, `x5u`; any `typ`; any
//!   `kid`, which it does not compare with the key's;
//! - in the payload: an array in place of an object; unknown members twice; `exp` with a fraction or an exponent,
//!   and in the year 58000; an `exp` that is exactly `leeway` seconds past; `iat` of any type, and in the
//!   future; `nbf` with a fraction; several audiences; `iss` as an array;
//! - in a key: any `use`, `key_ops`, `alg` and `d`; EC coordinates of 33 and 31 bytes; Ed25519 points of
//!   low order, for which anyone can make a signature; of two keys with one `kid` the first.
//!
//! It also refuses the algorithm name `Ed25519` (RFC 9864), and a malformed `x5c`, which should be
//! ignored.

mod decoy;
mod json;
mod keyset;
mod keyset_error;
mod proof;
mod provider;
mod public_key;
mod rejected;
mod target;
mod unverified;
mod verify;
#[cfg(test)]
mod wycheproof;

pub use keyset::KeySet;
pub use keyset_error::{KeySetError, MAX_KEY_SET, MAX_KEYS, Unusable};
pub use proof::{Proof, ProofRules, verify_proof};
pub use public_key::Owner;
pub use rejected::Rejected;
pub use target::TargetUrl;
pub use unverified::{CLIENT_ALGORITHMS, HeaderPolicy, Unverified};
pub use verify::{Assertion, MaxAge, Rules, Verified, check_claims, verify, verify_signature};
