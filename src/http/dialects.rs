//! Which dialect a path speaks, and how each says an error.

use poem::Response;
use serde_json::Value;

use super::oauth2;
use super::problem::Problem;
use crate::token::Dialect;

/// Every path under this one speaks OAuth 2.0, whether there is a route or not.
const OAUTH2: &str = "/oauth2/";

/// The dialect of the errors at `path`.
pub(super) fn at(path: &str) -> Dialect {
    if path.starts_with(OAUTH2) { Dialect::OAuth2 } else { Dialect::Native }
}

/// The answer about `problem` at `path`.
pub(super) fn respond(problem: Problem, path: &str) -> Response {
    match at(path) {
        Dialect::Native => problem.native(),
        Dialect::OAuth2 => oauth2::shape(problem),
    }
}

/// An error with this status in the words of `dialect`, for the specification: with `message`, or with what such an
/// error always says.
pub(super) fn example(status: &str, message: Option<String>, dialect: Dialect) -> Option<Value> {
    let (problem, message) = Problem::listed(status, message)?;
    match dialect {
        Dialect::Native => serde_json::to_value(problem.body(message)).ok(),
        Dialect::OAuth2 => Some(oauth2::example(problem.status(), &message)),
    }
}
