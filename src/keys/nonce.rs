//! Nonces for DPoP proofs (RFC 9449 §8): no memory is needed to know one's own, or another replica's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::KeyRing;
use crate::clock::Timestamp;
use crate::crypto::hmac;

/// Seconds of a step. A nonce is good in its own step, in the one before (for a replica whose clock is behind) and in
/// the one after.
const STEP: i64 = 60;

impl KeyRing {
    /// The nonce of the step of `now`: an HMAC-SHA256 of its number, in base64url. None if no key signs.
    #[must_use]
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        let signer = self.plan.algorithms.iter().find_map(|alg| self.signer(*alg, now))?;
        let tag = hmac::sign(signer.nonce_secret(), &message(step(now)));
        Some(URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether `nonce` was made by a key whose tokens are accepted at `now`, in the last, the current or the next step.
    #[must_use]
    pub fn accepts_nonce(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let longest = self.longest_window();
        let secrets = self.entries.iter().filter(|entry| !entry.is_retired(longest, now));
        let current = step(now);
        secrets
            // The likeliest first.
            .flat_map(|entry| [current, current - 1, current + 1].map(|step| (entry.key.nonce_secret(), message(step))))
            .any(|(secret, message)| hmac::verify(secret, &message, &tag).is_ok())
    }
}

fn step(now: Timestamp) -> i64 {
    now.unix().div_euclid(STEP)
}

/// The number of a step, in eight bytes, big-endian.
fn message(step: i64) -> [u8; 8] {
    step.to_be_bytes()
}
