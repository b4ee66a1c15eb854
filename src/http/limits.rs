//! Sizes of requests.

/// Bodies over this many bytes are answered with 413.
pub const MAX_BODY: usize = 64 << 10;
/// Heads over this many bytes are answered with 431.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// Targets over this many bytes are answered with 414.
pub(super) const MAX_TARGET: usize = 8 << 10;
