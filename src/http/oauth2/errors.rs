//! How an error is said in OAuth 2.0 (RFC 6749 §5.2).

use poem::Response;
use poem::http::StatusCode;
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use crate::http::problem::{JSON, NO_STORE, Problem};

/// The body of an error.
#[derive(Debug, Serialize)]
pub(in crate::http) struct OAuthError {
    /// The kind of error, from the RFC's closed set.
    error: &'static str,
    /// What is wrong and what would be right.
    #[serde(skip_serializing_if = "str::is_empty")]
    error_description: String,
}

impl OAuthError {
    /// What the layers around the handlers refuse, in this dialect's words. Status and headers are the native ones.
    pub(in crate::http) fn shape(problem: Problem) -> Response {
        let (status, message) = (problem.status(), problem.message().into_owned());
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request",
        };
        let mut response = problem.head();
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        // The RFC's set of characters has no quotation mark and no backslash.
        let error_description = message.replace(['"', '\\'], "'");
        #[expect(clippy::expect_used, reason = "two strings")]
        response.set_body(serde_json::to_vec(&Self { error, error_description }).expect("JSON"));
        response
    }
}
