//! The native dialect's body of an error.

use poem_openapi::Object;
use serde::Serialize;

/// What went wrong.
#[derive(Debug, Object, Serialize)]
pub(in crate::http) struct ApiError {
    /// The kind of error, for programs: `BadRequest`, `Unauthorized`, `Forbidden`, …
    pub(in crate::http) name: String,
    /// What is wrong and what would be right, for people.
    pub(in crate::http) message: String,
    /// Always empty: internals stay in the server's log.
    pub(in crate::http) stack: Vec<String>,
}
