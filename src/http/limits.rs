//! Size limits of requests.

/// Maximum size of a body in bytes; larger ones are 413.
pub const MAX_BODY: usize = 64 << 10;
/// Maximum size of a head in bytes; larger ones are 431.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// Maximum length of a target in bytes; longer ones are 414.
pub(super) const MAX_TARGET: usize = 8 << 10;
