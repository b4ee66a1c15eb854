//! An error in the words of its dialect: the one place that knows both.

use poem::Response;
use serde_json::Value;

use super::oauth2;
use super::problem::Problem;
use crate::token::Dialect;

/// The answer, as `dialect` says it.
pub(super) fn respond(problem: Problem, dialect: Dialect) -> Response {
    match dialect {
        Dialect::Native => problem.native(),
        Dialect::OAuth2 => oauth2::shape(problem),
    }
}

/// An error with this status in the words of `dialect`, for the specification: with `message`, or with what such an error
/// always says.
pub(super) fn example(status: &str, message: Option<String>, dialect: Dialect) -> Option<Value> {
    let (problem, message) = Problem::example(status, message)?;
    match dialect {
        Dialect::Native => serde_json::to_value(problem.body(message)).ok(),
        Dialect::OAuth2 => Some(oauth2::example(problem.status(), &message)),
    }
}
