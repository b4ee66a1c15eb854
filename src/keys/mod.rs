//! Keys: files, their schedule, signatures and the JWKS.
//!
//! The only room that touches private keys. It owns what a key file is called
//! and may contain, which key signs at an instant, and what is published. What
//! a token says must not enter: this room signs bytes. The crate that does the
//! cryptography is named once, in [`crate::crypto`].
//!
//! The schedule is in the files' names, so replicas with the same files agree by
//! the clock alone. The state of a key is a function of the instant asked for,
//! and a [`KeyRing`] never changes: a reload makes a new one and swaps it in.

mod alg;
mod decode;
mod encode;
mod error;
mod export;
mod files;
mod jwks;
mod key;
mod keyring;
mod kid;
mod lint;
mod name;
mod nonce;
pub(crate) mod pem;
mod purpose;
mod rotation;

pub use alg::Alg;
pub use error::{InvalidKey, KeyError};
pub use export::{Exported, export};
pub use files::{Folder, Import, Modes, delete, generate, load, load_with, lock};
pub(crate) use files::{exposed, is_exposed};
pub use jwks::Jwks;
pub use key::{Key, MAX_SIGNATURE};
pub use keyring::{KeyRing, Plan, Scheduled, State, Verifier};
pub use kid::Kid;
pub use lint::{Finding, Gravity};
pub use name::KeyName;
pub use nonce::Nonce;
pub use purpose::Purpose;
pub use rotation::{Pace, Unwise, When, schedule};

/// Seconds by which the first key of a folder is backdated, so that it signs at once
/// on replicas whose clocks are slightly behind.
pub const FIRST_KEY_BACKDATE: i64 = 300;
