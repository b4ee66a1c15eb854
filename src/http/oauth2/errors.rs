//! Errors in OAuth 2.0: the one table (RFC 6749 §5.2, RFC 8707 §2).

use std::borrow::Cow;

use poem::Response;
use poem::http::StatusCode;
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use serde_json::{Value, json};

use crate::clients::Refusal;
use crate::http::problem::{
    BASIC, Cause, JSON, NO_STORE, Problem, content, described, retry_after, server_failed, whole_seconds,
};
use crate::service::{Denied, Unauthenticated, Unproven};
use crate::token::{Actor, MAX_TOKEN, MintError};

/// What went wrong (RFC 6749 §5.2).
#[derive(Debug, Object, Serialize)]
pub(super) struct OAuthError {
    /// The kind of error: `invalid_request`, `invalid_client`, `invalid_grant`, `invalid_scope`, `invalid_target`,
    /// `unauthorized_client`, `unsupported_grant_type`, `use_dpop_nonce`, `invalid_dpop_proof`,
    /// `temporarily_unavailable` or `server_error`.
    error: String,
    /// What is wrong and what would be right. Never says why a credential failed.
    error_description: String,
}

/// A refusal in this dialect.
#[derive(Debug)]
pub(super) struct OAuthFailure {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    /// The cause, for the log.
    cause: &'static str,
    /// Whether to add `WWW-Authenticate: Basic …`.
    is_challenge: bool,
    /// Seconds until a retry may succeed.
    retry_after: Option<u64>,
}

impl OAuthFailure {
    /// Returns a 400 whose cause is the error code.
    fn new(error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description: description.into(),
            cause: error,
            is_challenge: false,
            retry_after: None,
        }
    }

    /// A malformed request.
    pub(super) fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid_request", description)
    }

    /// An unknown grant.
    pub(super) fn unsupported_grant_type(description: String) -> Self {
        Self::new("unsupported_grant_type", description)
    }

    /// A malformed scope.
    pub(super) fn invalid_scope(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid_scope", description)
    }

    /// A malformed audience or resource.
    pub(super) fn invalid_target(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid_target", description)
    }

    /// No client authenticated: the same for every cause. Only an `Authorization` header is
    /// answered with a challenge, because client libraries hide the error code behind one.
    pub(super) fn invalid_client(in_header: bool, why: Unauthenticated) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            is_challenge: in_header,
            cause: why.word(),
            ..Self::new("invalid_client", "client authentication failed")
        }
    }

    /// Translates a refusal; `in_header` if the client authenticated by an `Authorization` header.
    pub(super) fn of(denied: Denied, in_header: bool) -> Self {
        Self { cause: denied.word(), ..Self::said_of(denied, in_header) }
    }

    fn said_of(denied: Denied, in_header: bool) -> Self {
        match denied {
            Denied::Client(Unauthenticated::IssuerUnavailable) => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: Some(5),
                ..Self::new("temporarily_unavailable", "the issuer's keys are unavailable at the moment")
            },
            Denied::Client(why) => Self::invalid_client(in_header, why),
            Denied::Limited(wait) => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(whole_seconds(wait)),
                ..Self::new("temporarily_unavailable", "too many requests; try again later")
            },
            Denied::Policy(refusal) => Self::refused(&refusal),
            Denied::MissingScope(scope) => Self::refused(&Refusal::Scope(scope)),
            Denied::GrantType => {
                let description = "the client may not use this grant; its setting grants must list it";
                Self::new("unauthorized_client", description)
            }
            Denied::Unproven(why) => Self::unproven(why),
            Denied::BoundClient => {
                let description = "the client's tokens are bound to their sender; get them at /oauth2/token";
                Self::new("unauthorized_client", description)
            }
            Denied::Malformed
            | Denied::Token(_)
            | Denied::Revoked(_)
            | Denied::Session(_)
            | Denied::OtherAudience
            | Denied::OtherDialect
            | Denied::OtherClient
            | Denied::WrongScheme
            | Denied::OtherSender => Self::new("invalid_grant", "the token is not accepted"),
            Denied::Assertion(_) => Self::new("invalid_grant", "the assertion is not accepted"),
            Denied::SubjectToken(_) => Self::new("invalid_request", "the subject_token is not accepted"),
            Denied::ActorToken(_) | Denied::DelegatedActor => {
                Self::new("invalid_request", "the actor_token is not accepted")
            }
            Denied::NoLifetime => Self::new("invalid_request", "nothing is left of the tokens' lifetime"),
            Denied::TooManyActors => {
                let description = format!("the token would name more than {} actors", Actor::MAX);
                Self::new("invalid_request", description)
            }
            Denied::Mint(MintError::TooLarge) => Self::invalid_request(format!(
                "the token would be longer than {MAX_TOKEN} bytes; ask for less scope or audience"
            )),
            Denied::Mint(MintError::NoKey) => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: Some(1),
                ..Self::new("temporarily_unavailable", "no key signs at the moment")
            },
            Denied::Mint(MintError::NoRandomness) => {
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::new("server_error", "the server failed") }
            }
        }
    }

    /// The sender's proof or certificate is not accepted (RFC 9449 §5 and §8).
    fn unproven(why: Unproven) -> Self {
        let (error, description) = match why {
            Unproven::Nonce => ("use_dpop_nonce", "the proof must have the nonce of the header DPoP-Nonce"),
            Unproven::NoProof => {
                ("invalid_dpop_proof", "the tokens are bound to a key: send a proof in the header DPoP")
            }
            Unproven::Malformed | Unproven::Rejected(_) | Unproven::Replayed => {
                ("invalid_dpop_proof", "DPoP must be one proof, made for this request and not used before")
            }
            Unproven::NotByProof => ("invalid_request", "the client's tokens are bound to its certificate; omit DPoP"),
            Unproven::NoCertificate => {
                ("invalid_request", "the client's tokens are bound to its certificate, which the connection lacks")
            }
        };
        Self::new(error, description)
    }

    fn refused(refusal: &Refusal) -> Self {
        let error = match refusal {
            Refusal::Scope(_) => "invalid_scope",
            Refusal::Audience(_) => "invalid_target",
            Refusal::Subject(_) => "invalid_grant",
            Refusal::Claim(_) | Refusal::Anonymous(_) | Refusal::Lifetime(_) => "invalid_request",
        };
        Self::new(error, refusal.to_string())
    }

    fn respond(self) -> Response {
        let mut response = Response::default();
        response.set_status(self.status);
        response.set_data(Cause(self.cause));
        let headers = response.headers_mut();
        if self.is_challenge {
            headers.insert(WWW_AUTHENTICATE, BASIC);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        write(&mut response, self.error, &self.description);
        response
    }
}

/// Replaces characters that the RFC excludes: quotation marks, backslashes, anything but visible
/// ASCII and spaces.
fn in_the_set(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' ' | '!' | '#'..='[' | ']'..='~') { c } else { '?' }).collect()
}

fn write(response: &mut Response, error: &str, description: &str) {
    let body = OAuthError { error: error.to_owned(), error_description: in_the_set(description) };
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    #[expect(clippy::expect_used, reason = "two strings")]
    response.set_body(serde_json::to_vec(&body).expect("JSON"));
}

/// Translates what the layers around the handlers refuse. Status and headers are as in every
/// dialect.
pub(in crate::http) fn shape(problem: Problem) -> Response {
    let (error, description) = words(problem.status(), problem.message());
    let mut response = problem.head();
    write(&mut response, error, &description);
    response
}

/// The same for the specification.
pub(in crate::http) fn example(status: StatusCode, message: &str) -> Value {
    let (error, description) = words(status, message.to_owned().into());
    json!({"error": error, "error_description": in_the_set(&description)})
}

fn words(status: StatusCode, message: Cow<'static, str>) -> (&'static str, Cow<'static, str>) {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ("temporarily_unavailable", message),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("invalid_request", UNSUPPORTED_MEDIA_TYPE.into()),
        status if status.is_server_error() => ("server_error", message),
        _ => ("invalid_request", message),
    }
}

const UNSUPPORTED_MEDIA_TYPE: &str =
    "the body must be application/x-www-form-urlencoded in UTF-8, without a content encoding";

impl From<OAuthFailure> for poem::Error {
    fn from(failure: OAuthFailure) -> Self {
        let cause = Cause(failure.cause);
        let mut error = Self::from_response(failure.respond());
        // Data on the response itself is lost on the way.
        error.set_data(cause);
        error
    }
}

impl ApiResponse for OAuthFailure {
    fn meta() -> MetaResponses {
        let response = |status, description, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: content::<OAuthError>(),
            headers,
        };
        let challenge =
            described("WWW-Authenticate", "Sent where an `Authorization` header was (RFC 6749 §5.2).", false);
        let responses = vec![
            response(400, "The request is refused; `error` says how (RFC 6749 §5.2).", Vec::new()),
            response(401, "`invalid_client`: client authentication failed, whatever the cause.", vec![challenge]),
            response(408, "The request took too long to arrive.", Vec::new()),
            response(413, "The body is too large.", Vec::new()),
            response(414, "The request target is too long.", Vec::new()),
            response(415, "The body is not a form in UTF-8, or has a content encoding.", Vec::new()),
            response(429, "Too many requests of this client, or too many failed attempts.", vec![retry_after()]),
            response(431, "The request head is too large.", Vec::new()),
            server_failed::<OAuthError>(),
        ];
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        OAuthError::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, `Retry-After` and body.
    fn said(problem: Problem) -> (u16, Option<String>, serde_json::Value) {
        let response = shape(problem);
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().into_vec()).unwrap();
        (status, wait, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn the_cause_of_a_failure_is_for_the_log() {
        let (status, wait, body) = said(Problem::Internal("the cause"));
        assert_eq!((status, wait), (500, None));
        assert_eq!(body["error"], "server_error");
        assert!(!body.to_string().contains("the cause"), "{body}");
        let (status, wait, body) = said(Problem::Unavailable("the cause"));
        assert_eq!((status, wait.as_deref()), (503, Some("1")));
        assert_eq!(body["error"], "temporarily_unavailable");
        assert!(!body.to_string().contains("the cause"), "{body}");
    }
}
