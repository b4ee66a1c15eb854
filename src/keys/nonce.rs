//! Nonces for DPoP proofs (RFC 9449 §8): no memory is needed to know one's own, or another replica's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::{KeyRing, Kid};
use crate::clock::Timestamp;
use crate::crypto::hmac;

/// Seconds of a step. A nonce is good in its own step, in the one before (for a replica whose clock is behind) and in
/// the one after.
const STEP: i64 = 60;

/// A nonce to offer: an HMAC-SHA256 of the number of a step, in base64url.
#[derive(Debug)]
pub struct Nonce {
    text: String,
    /// Which key made it.
    kid: Kid,
    step: i64,
}

impl Nonce {
    /// Whether `text` is this nonce, compared in constant time.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.text.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// Returns its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl KeyRing {
    /// Returns the nonce of the step of `now`, which is computed once. None if no key signs.
    #[must_use]
    pub fn nonce(&self, now: Timestamp) -> Option<Arc<Nonce>> {
        let signer = self.plan.algorithms.iter().find_map(|alg| self.signer(*alg, now))?;
        let (step, kid) = (step(now), signer.kid());
        if let Some(last) = self.nonce.load().as_ref().filter(|last| last.step == step && last.kid == *kid) {
            return Some(Arc::clone(last));
        }
        let text = URL_SAFE_NO_PAD.encode(hmac::sign(signer.nonce_secret(), &message(step)));
        let nonce = Arc::new(Nonce { text, kid: kid.clone(), step });
        self.nonce.store(Some(Arc::clone(&nonce)));
        Some(nonce)
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
