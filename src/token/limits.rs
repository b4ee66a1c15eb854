//! The domain's hard limits, which no configuration can exceed.

/// Maximum length of a token that is issued or read, in bytes.
pub const MAX_TOKEN: usize = 8_192;
/// Maximum lifetime of an access token, in seconds: 24 hours.
pub const ACCESS_CAP: i64 = 86_400;
/// Maximum lifetime of a refresh token, in seconds: 90 days.
pub const REFRESH_CAP: i64 = 90 * 86_400;
/// Maximum lifetime of a session, in seconds: 365 days.
pub const SESSION_CAP: i64 = 365 * 86_400;
/// Maximum configured difference between clocks, in seconds.
pub const LEEWAY_CAP: i64 = 60;
