//! Which dialect a path speaks, and how each writes errors.

use poem::Response;
use serde_json::Value;

use super::oauth2;
use super::problem::Problem;
use crate::token::Dialect;

/// Every path under this prefix speaks OAuth 2.0, including unknown ones.
const OAUTH2: &str = "/oauth2/";

/// Returns the dialect of errors at `path`.
pub(super) fn at(path: &str) -> Dialect {
    if path.starts_with(OAUTH2) { Dialect::OAuth2 } else { Dialect::Native }
}

/// Returns the answer for `problem` at `path`.
pub(super) fn respond(problem: Problem, path: &str) -> Response {
    match at(path) {
        Dialect::Native => problem.native(),
        Dialect::OAuth2 => oauth2::shape(problem),
    }
}

/// Returns an error with this status in `dialect`, for the specification: with `message`, or with
/// its constant text.
pub(super) fn example(status: &str, message: Option<String>, dialect: Dialect) -> Option<Value> {
    let (problem, message) = Problem::listed(status, message)?;
    match dialect {
        Dialect::Native => serde_json::to_value(problem.body(message)).ok(),
        Dialect::OAuth2 => Some(oauth2::example(problem.status(), &message)),
    }
}
