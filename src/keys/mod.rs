//! Keys: files, their schedule, signatures and the JWKS.
//!
//! The only room that touches private keys. It owns what a key file is called
//! and may contain, which key signs at an instant, and what is published. What
//! a token says must not enter: this room signs bytes. The crate that does the
//! cryptography is named once, in [`crypto`].
//!
//! The schedule is in the files' names, so replicas with the same files agree by
//! the clock alone. The state of a key is a function of the instant asked for,
//! and a [`KeyRing`] never changes: a reload makes a new one and swaps it in.

pub mod crypto;
mod export;
mod files;
mod jwks;
mod key;
mod keyring;
mod lint;
mod name;
mod rotation;

pub use export::{Exported, export};
pub use files::{Folder, Import, KeyError, delete, generate, load, lock};
pub use jwks::Jwks;
pub use key::{Alg, Key, Kid, MAX_SIGNATURE, Purpose};
pub use keyring::{KeyRing, Plan, Scheduled, State, Verifier};
pub use lint::{Finding, Gravity};
pub use name::KeyName;
pub use rotation::{Pace, When, schedule};

use std::cell::RefCell;
use std::fmt::Write as _;

use crypto::rand::{SecureRandom, SystemRandom};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

/// The system has no random bytes to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

/// `N` bytes from the system's random number generator, or from AWS-LC's, which
/// the system seeds.
///
/// # Errors
/// Only if the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// How often [`unique`] is asked on one thread before the system is asked for a new seed.
const UNIQUE_BEFORE_SEED: u16 = 4_096;

/// `N` bytes that nobody else has: for ids, which are not secret. From a generator of this thread, whose seeds are the
/// system's, so that the system is not asked each time.
///
/// # Errors
/// Only if the system has no seed to give.
pub fn unique<const N: usize>() -> Result<[u8; N], NoRandomness> {
    thread_local! {
        static GENERATOR: RefCell<Option<(StdRng, u16)>> = const { RefCell::new(None) };
    }
    GENERATOR.with_borrow_mut(|seeded| {
        if seeded.as_ref().is_none_or(|(_, left)| *left == 0) {
            *seeded = Some((StdRng::from_seed(random()?), UNIQUE_BEFORE_SEED));
        }
        let Some((generator, left)) = seeded else { return Err(NoRandomness) };
        *left -= 1;
        let mut bytes = [0; N];
        generator.fill_bytes(&mut bytes);
        Ok(bytes)
    })
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(crypto::digest::digest(&crypto::digest::SHA256, bytes).as_ref());
    out
}

/// `bytes` as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A SHA-256 over parts, each with its length before it, so that no two lists of
/// parts are alike.
pub struct Digester(crypto::digest::Context);

impl Default for Digester {
    fn default() -> Self {
        Self(crypto::digest::Context::new(&crypto::digest::SHA256))
    }
}

impl Digester {
    /// Adds one part.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    /// The digest of all parts.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// How many seconds back the first key of a folder is dated, so that it signs
/// at once on replicas whose clocks are a little behind.
pub const FIRST_KEY_BACKDATE: i64 = 300;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_on_all_threads_and_after_a_new_seed() {
        let many = || (0..2 * u32::from(UNIQUE_BEFORE_SEED)).map(|_| unique::<16>().unwrap()).collect::<Vec<_>>();
        let threads = [(); 3].map(|()| std::thread::spawn(many));
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
