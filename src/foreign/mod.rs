//! Tokens that others signed: a strict look at their form, then jsonwebtoken for the signature.
//!
//! This room owns what a foreign token and a foreign key set must look like. It knows nothing of clients, HTTP, files
//! and clocks: the caller says whose keys count, what the claims must agree with, and what time it is. A token is
//! [`Unverified`] until [`verify`] makes it [`Verified`]; what the first says of itself chooses a [`KeySet`], no more.
//!
//! Of jsonwebtoken the room uses the check of a signature, with the crate that signs behind it. Its `decode` is not
//! asked. Measured on 11.1.0 (2026-11-28), with every check of its `Validation` on, it lets these through, and
//! `tests/it/foreign/` measures them anew:
//!
//! - in the header: `alg` as an object (`{"ES256":null}`) or spelt with escapes, names spelt with escapes; unknown
//!   members twice, nested ones too; `crit`, known or not, `b64`, `zip`, `enc`, `jwk`, `jku`, `x5u`; any `typ`; any
//!   `kid`, which it does not compare with the key's;
//! - in the payload: an array in place of an object; unknown members twice; `exp` with a fraction or an exponent,
//!   and in the year 58000; an `exp` that is exactly `leeway` seconds past; `iat` of any type, and in the
//!   future; `nbf` with a fraction; several audiences; `iss` as an array;
//! - in a key: any `use`, `key_ops`, `alg` and `d`; EC coordinates of 33 and 31 bytes; Ed25519 points of
//!   low order, for which a signature that nobody made is good; of two keys with one `kid` the first.
//!
//! It also refuses the algorithm name `Ed25519` (RFC 9864), and a malformed `x5c`, which is to be ignored.

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
pub use verify::{Assertion, MaxAge, Rules, Verified, verify, verify_signature};
