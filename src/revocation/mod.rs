//! Revocations: which tokens, sessions, clients and subjects have ended before their time.
//!
//! This room owns the list's grammar, how it is kept in memory, how a token is looked up in it, and its signed form.
//! Files, the clock and what a refusal looks like must not enter.
//!
//! A list has one entry a line. Fields have blanks between; lines that begin with `#` and empty
//! lines are passed over:
//!
//! ```text
//! jti     <id>       <until>              one access token
//! session <id>       <until>              all that grew from one session
//! client  <id>       before <instant>     tokens and sessions of a client that began earlier
//! subject <subject>  before <instant>     the same of a subject
//! ```
//!
//! An entry counts for as long as it is there; `<until>` tells when it may be dropped.

mod entry;
mod list;
mod signed;

pub use entry::{Entry, Kind};
pub use list::{Builder, LineError, MAX_ENTRIES, Marks, Revocations};
pub use signed::{Head, MAX_SIGNED};
