//! Memory limit of incomplete heads. A small one fits hyper's buffer; a large one takes one of a pool that all connections
//! share.

use std::sync::Arc;

use super::shares::{Caller, Held, Pool};

/// Initial size of hyper's buffer in bytes. A longer head needs more.
pub(super) const SMALL: usize = 8 << 10;
/// Bytes that hyper may read at once. Where a read fills its buffer, it doubles what it asks for: requests sent ahead of
/// their answers would take 64 KiB a connection. So no read does, and they wait in the kernel.
pub(super) const PIECE: u64 = SMALL as u64 - 1;
/// Bytes of HTTP/2 frames that a connection may send for each request: a head, a body, and what belongs to neither.
pub(super) const FRAMES: usize = 128 << 10;
/// Maximum requests at once on a connection of HTTP/2, and those in advance for which it may send frames.
pub(super) const STREAMS: u32 = 100;

/// The head that a connection is receiving.
pub(super) struct Heads {
    pool: Arc<Pool>,
    caller: Caller,
    /// Requests so far, and bytes since the last.
    asked: u32,
    unasked: usize,
    large: Option<Held>,
    /// Bytes of HTTP/2 frames that may still come.
    frames: usize,
}

impl Heads {
    pub(super) fn new(pool: Arc<Pool>, caller: Caller) -> Self {
        Self { pool, caller, asked: 0, unasked: 0, large: None, frames: 2 * FRAMES }
    }

    /// Releases the memory granted to a head, once it has become a request; `asked` is the number of requests so far.
    pub(super) fn settle(&mut self, asked: u32) {
        if self.asked != asked {
            let new = asked.wrapping_sub(self.asked).min(STREAMS) as usize;
            self.frames = (self.frames + new * FRAMES).min(STREAMS as usize * FRAMES);
            (self.asked, self.unasked, self.large) = (asked, 0, None);
        }
    }

    /// Records that so many bytes have arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.unasked = self.unasked.saturating_add(bytes);
    }

    /// Records that so many bytes of HTTP/2 frames have arrived.
    pub(super) fn frames_arrived(&mut self, bytes: usize) {
        self.frames = self.frames.saturating_sub(bytes);
    }

    /// Returns how many bytes of HTTP/2 frames may be read now; None if there were too many for so few requests.
    pub(super) fn frames(&self) -> Option<u64> {
        (self.frames > 0).then_some(PIECE)
    }

    /// Returns how many bytes may be read now; None if the head is large and this caller has its share of those.
    pub(super) fn room(&mut self) -> Option<u64> {
        if self.large.is_some() {
            return Some(PIECE);
        }
        let left = SMALL.saturating_sub(self.unasked) as u64;
        if left > 0 {
            return Some(left.min(PIECE));
        }
        self.large = self.pool.take(self.caller);
        self.large.as_ref().map(|_| PIECE)
    }
}
