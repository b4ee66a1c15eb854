//! The public, signed revocation list: signed once for many readers.

use std::sync::Arc;

use super::{SignedList, Snapshot, State};
use crate::clock::Timestamp;
use crate::crypto::{hex, sha256};
use crate::revocation::Head;

/// Seconds for which a reader may cache the list; it is also how often the list is signed.
pub const LIST_MAX_AGE: i64 = 60;
/// Seconds after which a verifier must no longer trust the list.
const LIST_LIFETIME: i64 = 600;

/// Why there is no signed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// Publishing is off, or the list has too many entries.
    Absent,
    /// No key signs at this instant.
    NoKey,
    /// The system's random number generator failed.
    NoRandomness,
}

impl State {
    /// Returns the signed revocation list at `now`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn published(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Arc<SignedList>, PublishError> {
        if !snapshot.publishes_revocations {
            return Err(PublishError::Absent);
        }
        let list = self.revocations();
        let key = snapshot.keys.signer(snapshot.registry.algorithm(), now).ok_or(PublishError::NoKey)?;
        let issued = now.plus(-now.unix().rem_euclid(LIST_MAX_AGE));
        let longest = snapshot.longest_session();
        let parts = [&list.digest[..], key.kid().as_str().as_bytes(), &issued.unix().to_be_bytes()].concat();
        let made_of = sha256(&[&parts[..], &longest.to_be_bytes(), snapshot.issuer.as_bytes()].concat());
        if let Some(known) = self.signed.load_full().filter(|known| known.key == made_of) {
            return Ok(known);
        }
        let head = Head { issuer: &snapshot.issuer, issued, expires: issued.plus(LIST_LIFETIME) };
        let jwt = list.entries.signed(key, head, longest).ok_or(PublishError::Absent)?;
        let jwt = jwt.map_err(|_| PublishError::NoRandomness)?;
        let etag = format!("W/\"{}\"", hex(made_of.split_at(16).0));
        let signed = Arc::new(SignedList { jwt: jwt.into(), etag, key: made_of });
        self.signed.store(Some(Arc::clone(&signed)));
        Ok(signed)
    }
}
