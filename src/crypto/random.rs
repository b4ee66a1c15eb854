//! Random bytes: secret ones, and merely unique ones.

use std::cell::RefCell;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use super::rand::{SecureRandom as _, SystemRandom};

/// The system's random number generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random bytes to give")]
pub struct NoRandomness;

/// Returns `N` bytes from the system's random number generator, or from AWS-LC's, which the system
/// seeds.
///
/// # Errors
/// The generator fails.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Calls of [`unique`] on one thread between two seeds from the system.
const UNIQUE_BEFORE_SEED: u16 = 4_096;

/// Returns `N` unique, non-secret bytes, for identifiers. They come from a generator of this thread
/// that the system seeds, so most calls need no system call. (`rand::rng()` is the same, but would
/// pull a second `getrandom` into the tree.)
///
/// # Errors
/// Seeding fails.
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
