//! Nonces for DPoP proofs (RFC 9449 §8): no memory is needed to know one's own, or another replica's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::{Key, Kid};
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
    /// Returns the nonce of `key` for the step of `now`.
    pub(super) fn new(key: &Key, now: Timestamp) -> Self {
        let step = step(now);
        let text = URL_SAFE_NO_PAD.encode(hmac::sign(key.nonce_secret(), &message(step)));
        Self { text, kid: key.kid().clone(), step }
    }

    /// Whether it is the nonce of `key` for the step of `now`.
    pub(super) fn is_of(&self, key: &Key, now: Timestamp) -> bool {
        self.step == step(now) && self.kid == *key.kid()
    }

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

/// Whether `nonce` was made by one of `keys`, in the last, the current or the next step.
pub(super) fn is_by<'k>(keys: impl Iterator<Item = &'k Key>, nonce: &str, now: Timestamp) -> bool {
    let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
    // The likeliest first.
    let steps = [step(now), step(now) - 1, step(now) + 1];
    keys.flat_map(|key| steps.map(|step| (key.nonce_secret(), message(step))))
        .any(|(secret, message)| hmac::verify(secret, &message, &tag).is_ok())
}

fn step(now: Timestamp) -> i64 {
    now.unix().div_euclid(STEP)
}

/// The number of a step, in eight bytes, big-endian.
fn message(step: i64) -> [u8; 8] {
    step.to_be_bytes()
}
