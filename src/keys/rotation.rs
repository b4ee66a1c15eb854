//! Rotation: when a new key may start to sign, and when an old one may be deleted.

use std::path::{Path, PathBuf};

use super::error::KeyError;
use super::files::{Modes, delete, generate, leftovers, load_with};
use super::lint::{DAY, FAR, LATE};
use super::{Alg, FIRST_KEY_BACKDATE, Key, KeyName, KeyRing};
use crate::clock::Timestamp;

/// How long a retired key is kept, in seconds, to allow for clocks that are off.
const KEPT: i64 = 86_400;

/// When a new key is to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as possible without failures.
    InTime,
    /// At this instant.
    At(Timestamp),
    /// In this many seconds.
    In(i64),
    /// In this many seconds, whatever that breaks.
    Anyway(i64),
}

/// Why a new key may not start to sign at an instant, and what to choose instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwise {
    /// It is too far ahead to be intended.
    #[error(
        "{from} is more than {FAR} days ahead; nothing was written: is the year right, and this machine's clock, which says \
         {now}?"
    )]
    Far {
        /// The instant.
        from: Timestamp,
        /// The current second.
        now: Timestamp,
    },
    /// Running servers refuse a new key that is dated back.
    #[error(
        "{from} is more than {LATE} s back, and a running server refuses a new key that old; nothing was written: choose a \
         future instant"
    )]
    Late {
        /// The instant.
        from: Timestamp,
    },
    /// A later key already signs, or will.
    #[error(
        "a key from {from} on would never sign, because {signer} is not older; nothing was written: choose a later instant, \
         and check this machine's clock, which says {now}"
    )]
    Never {
        /// The instant.
        from: Timestamp,
        /// The name of the key that signs.
        signer: KeyName,
        /// The current second.
        now: Timestamp,
    },
    /// Verifiers would not know the key yet.
    #[error(
        "a key from {from} on would sign in {lead} s, and verifiers may keep the keys without it for {needed} s \
         (jwks_max_age): they would refuse its tokens until then; nothing was written: choose an instant from {earliest} on, \
         or in an emergency `lingpai keys rotate --now`"
    )]
    Early {
        /// The instant.
        from: Timestamp,
        /// Seconds until then.
        lead: i64,
        /// Seconds that verifiers may take.
        needed: i64,
        /// The first instant that is not too early.
        earliest: Timestamp,
    },
}

/// How fast news of a key travels, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long verifiers may cache the JWKS.
    pub jwks_max_age: i64,
    /// How long a replica may take to see a file, plus how far its clock may be off.
    pub replicas: i64,
}

impl Pace {
    /// Twice the time in which every replica gets the file and then every verifier
    /// fetches the JWKS again.
    fn lead(self) -> i64 {
        2 * (self.jwks_max_age + self.replicas)
    }
}

impl KeyRing {
    /// Returns when a new key of `alg` is to start to sign.
    ///
    /// # Errors
    /// Why verifiers, or nobody, would notice, and what to choose instead.
    pub fn instant(&self, alg: Alg, when: When, pace: Pace, now: Timestamp) -> Result<Timestamp, Unwise> {
        let signer = self.signer(alg, now).filter(|_| self.uses(alg));
        let from = match when {
            When::At(at) => at,
            When::In(seconds) | When::Anyway(seconds) => now.plus(seconds),
            When::InTime if self.is_empty() => now.plus(-FIRST_KEY_BACKDATE),
            When::InTime if signer.is_none() && self.uses(alg) => now,
            // Rounded to the minute, so that two machines that do this at once choose the same name, and one loses.
            When::InTime => Timestamp::from_unix((now.plus(pace.lead()).unix() + 59) / 60 * 60),
        };
        if from.since(now) > FAR * DAY {
            return Err(Unwise::Far { from, now });
        }
        if from.since(now) < -LATE && when != When::InTime && !self.is_empty() {
            return Err(Unwise::Late { from });
        }
        let Some(signer) = signer.map(Key::name) else { return Ok(from) };
        if from <= signer.from {
            return Err(Unwise::Never { from, signer, now });
        }
        let (lead, needed) = (from.since(now), pace.jwks_max_age);
        if lead < needed && !matches!(when, When::Anyway(_)) {
            return Err(Unwise::Early { from, lead, needed, earliest: now.plus(needed) });
        }
        Ok(from)
    }

    /// Returns the files in `folder`, the folder of these keys, that may be deleted: keys
    /// that have been retired for a day, and files that a killed process left that long ago.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn prunable(&self, folder: &Path, now: Timestamp) -> Result<Vec<PathBuf>, KeyError> {
        let schedule = self.schedule(now).into_iter();
        let retired = schedule.filter(|one| one.verifies_until.is_some_and(|end| end.plus(KEPT) <= now));
        let mut files: Vec<_> = retired.map(|one| folder.join(one.key.name().to_string())).collect();
        files.extend(leftovers(folder, now.plus(-KEPT))?);
        Ok(files)
    }
}

/// Makes the next key of `alg`, and deletes it again if another process has
/// scheduled an earlier one meanwhile. It has not signed anything by then.
///
/// # Errors
/// The other key ([`KeyError::is_taken`]), or what the system refused.
pub fn schedule(folder: &Path, modes: Modes, alg: Alg, from: Timestamp, now: Timestamp) -> Result<Key, KeyError> {
    let key = generate(folder, alg, from)?;
    let earlier = |other: &Key| other.name().alg == alg && other.name().from > now && other.name().from < from;
    match load_with(folder, modes)?.into_iter().find(earlier) {
        None => Ok(key),
        Some(rival) => {
            delete(folder, &folder.join(key.name().to_string()))?;
            Err(KeyError::taken(folder.join(rival.name().to_string()), "was just scheduled by another process"))
        }
    }
}
