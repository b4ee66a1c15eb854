//! Revocations: tokens, sessions, clients and subjects that were ended before they expired.
//!
//! This room owns the list's grammar, its form in memory, lookups, and its signed form. Files, the
//! clock and the form of refusals must not enter.
//!
//! A list has one entry per line, with blanks between fields. Empty lines and lines that begin with
//! `#` are skipped:
//!
//! ```text
//! jti     <id>       <until>              one access token
//! session <id>       <until>              all that grew from one session
//! client  <id>       before <instant>     tokens and sessions of a client that began earlier
//! subject <subject>  before <instant>     the same of a subject
//! ```
//!
//! An entry counts as long as it is listed; `<until>` tells when it may be dropped.

mod entry;
mod list;
mod signed;

pub use entry::{Entry, Kind};
pub use list::{Builder, LineError, Lost, MAX_ENTRIES, Marks, Revocations, TooMany};
pub use signed::{Head, MAX_SIGNED};
