//! Cryptography: the signing crate behind one alias; digests, hexadecimal digits, random bytes.
//!
//! A ground room: it imports no other. What is signed, and with which key, must not enter.

mod document;
#[cfg(test)]
pub(crate) mod effort;
mod hash;
mod provider;
mod random;

pub use document::Document;
pub use hash::{Digester, hex, sha256};
pub use provider::{
    agreement, digest, error, hkdf, hmac, is_point, p256_pair, rand, rsa_length, signature, signature_in_range,
};
pub use random::{NoRandomness, random, unique};

pub(crate) use provider::tls;
