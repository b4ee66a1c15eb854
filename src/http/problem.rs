//! The error table: every status of 400 or more comes from here.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::time::Duration;

use poem::Response;
use poem::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{HeaderValue, StatusCode};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use super::limits::{MAX_BODY, MAX_HEAD, MAX_TARGET};
use crate::foreign::CLIENT_ALGORITHMS;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The challenge to authenticate as a client (RFC 7617 §2).
pub(super) const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"lingpai\", charset=\"UTF-8\"");

/// What went wrong.
#[derive(Debug, Object, Serialize)]
pub(super) struct ApiError {
    /// The kind of error, for programs: `BadRequest`, `Unauthorized`, `Forbidden`, …
    name: String,
    /// What is wrong and what would be right, for people.
    message: String,
    /// Always empty: internals stay in the server's log.
    stack: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub(super) enum Problem {
    /// The message names the invalid member and says what would be right.
    BadRequest(Cow<'static, str>),
    /// Authentication failed. The cause is for the log; the body is always the same.
    Unauthorized(Challenge, &'static str),
    /// The message says what is not allowed.
    Forbidden(String, Option<Challenge>),
    NotFound,
    /// The value of `Allow`.
    MethodNotAllowed(HeaderValue),
    RequestTimeout,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    /// Seconds until a retry may succeed.
    TooManyRequests(u64),
    HeadersTooLarge,
    /// The cause is for the log.
    Internal(&'static str),
    /// The cause is for the log.
    Unavailable(&'static str),
}

/// How to authenticate, and what was wrong with the attempt (RFC 9110 §11.6.1,
/// RFC 6750 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    /// At POST: with a client's id and secret.
    Basic,
    /// At GET and PUT: with a token; none was presented.
    Token,
    /// The presented token is not accepted, with a description or without.
    InvalidToken(Option<&'static str>),
    /// The token lacks a scope token of the question.
    InsufficientScope,
    /// The token's sender is not proved (RFC 9449 §7.1); the error code for the proof.
    Proof(&'static str),
}

/// Status, name, default message, and description for the specification.
type Row = (StatusCode, &'static str, &'static str, &'static str);

/// Formats a sentence that contains a limit.
macro_rules! sentence {
    ($format:literal) => {{
        static TEXT: LazyLock<String> = LazyLock::new(|| format!($format));
        TEXT.as_str()
    }};
}

fn row(problem: &Problem) -> Row {
    match problem {
        Problem::BadRequest(_) => (
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "",
            "The request is malformed. The message names the member that is wrong and says what would be right.",
        ),
        Problem::Unauthorized(..) => (
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "authentication failed",
            "Authentication failed. The body is the same for every cause; `WWW-Authenticate` says how to authenticate.",
        ),
        Problem::Forbidden(..) => (
            StatusCode::FORBIDDEN,
            "Forbidden",
            "",
            "Authenticated, but not allowed. The message names what is not allowed.",
        ),
        Problem::NotFound => (StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path", "No such path."),
        Problem::MethodNotAllowed(_) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "this path does not support this method; `Allow` lists those that it does",
            "The path does not support this method.",
        ),
        Problem::RequestTimeout => (
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "the request took too long to arrive",
            "The request took too long to arrive.",
        ),
        Problem::PayloadTooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLarge",
            sentence!("the body is larger than {MAX_BODY} bytes"),
            sentence!("The body is larger than {MAX_BODY} bytes."),
        ),
        Problem::UriTooLong => (
            StatusCode::URI_TOO_LONG,
            "UriTooLong",
            sentence!("the request target is longer than {MAX_TARGET} bytes"),
            sentence!("The request target is longer than {MAX_TARGET} bytes."),
        ),
        Problem::TooManyRequests(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            "too many requests; try again later",
            "Too many requests of this client, or too many failed attempts from this address. `Retry-After` says in how \
             many seconds to try again.",
        ),
        Problem::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "the body must be application/json in UTF-8, without a content encoding",
            "The body is not `application/json` in UTF-8, or has a content encoding.",
        ),
        Problem::HeadersTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "HeadersTooLarge",
            sentence!("the request head is larger than {MAX_HEAD} bytes"),
            sentence!("The request head is larger than {MAX_HEAD} bytes."),
        ),
        Problem::Internal(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "the server failed; its log has the details under this request's id",
            "The server failed.",
        ),
        Problem::Unavailable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "the service cannot answer at the moment",
            "The service cannot answer at the moment. `Retry-After` says when to try again.",
        ),
    }
}

/// The cause of a refusal, from a closed set, for the log. Attached to the response.
#[derive(Clone, Copy)]
pub(super) struct Cause(pub(super) &'static str);

impl Problem {
    /// Returns a 400 with `message`.
    pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(message.into())
    }

    fn cause(&self) -> &'static str {
        match self {
            Self::Unauthorized(_, cause) | Self::Internal(cause) | Self::Unavailable(cause) => cause,
            other => row(other).1,
        }
    }
}

impl Problem {
    /// Returns the answer in the native dialect.
    pub(super) fn native(self) -> Response {
        let body = self.body(self.message().into_owned());
        let mut response = self.head();
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        #[expect(clippy::expect_used, reason = "strings")]
        response.set_body(serde_json::to_vec(&body).expect("JSON"));
        response
    }

    /// Returns the body in the native dialect.
    pub(super) fn body(&self, message: String) -> ApiError {
        ApiError { name: row(self).1.to_owned(), message, stack: Vec::new() }
    }

    /// Returns the error with this status in the specification, and its text: `message`, or its
    /// constant one.
    pub(super) fn listed(status: &str, message: Option<String>) -> Option<(&'static Self, String)> {
        const ANY: &Problem = &Problem::Unavailable("");
        let mut listed = WithBody::PROBLEMS.iter();
        let problem = match status {
            "5XX" => ANY,
            status => listed.find(|problem| problem.status().as_str() == status)?,
        };
        let constant = Some(row(problem).2).filter(|constant| !constant.is_empty());
        Some((problem, message.or(constant.map(str::to_owned))?))
    }

    pub(super) fn status(&self) -> StatusCode {
        row(self).0
    }

    /// Returns the message for the client.
    pub(super) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::BadRequest(said) => said.clone(),
            Self::Forbidden(said, _) => said.clone().into(),
            other => row(other).2.into(),
        }
    }

    /// Returns the answer without its body: status, cause, and the headers that say what to do.
    pub(super) fn head(self) -> Response {
        let mut response = Response::default();
        response.set_status(self.status());
        response.set_data(Cause(self.cause()));
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized(challenge, _) | Self::Forbidden(_, Some(challenge)) => challenge.write(headers),
            Self::MethodNotAllowed(allowed) => _ = headers.insert(ALLOW, allowed),
            Self::TooManyRequests(seconds) => _ = headers.insert(RETRY_AFTER, seconds.into()),
            Self::Unavailable(_) => _ = headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => {}
        }
        response
    }
}

/// Rounds up to whole seconds, for `Retry-After`.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Challenge {
    fn write(self, headers: &mut poem::http::HeaderMap) {
        let parameters = match self {
            Self::Basic => {
                headers.insert(WWW_AUTHENTICATE, BASIC);
                return;
            }
            Self::Token | Self::Proof(_) => "",
            Self::InvalidToken(None) => ", error=\"invalid_token\"",
            Self::InvalidToken(Some(description)) => {
                &format!(", error=\"invalid_token\", error_description=\"{description}\"")
            }
            Self::InsufficientScope => ", error=\"insufficient_scope\"",
        };
        let algs = CLIENT_ALGORITHMS.join(" ");
        let [bearer, token] = ["Bearer", "Token"].map(|scheme| format!("{scheme} realm=\"lingpai\"{parameters}"));
        let all = match self {
            // First, because nginx before 1.23 passes on only the first line.
            Self::Proof(error) => [format!("DPoP algs=\"{algs}\", error=\"{error}\""), bearer, token],
            _ => [bearer, token, format!("DPoP algs=\"{algs}\"{parameters}")],
        };
        for challenge in all {
            #[expect(clippy::expect_used, reason = "the descriptions are visible ASCII")]
            headers.append(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).expect("a header's value"));
        }
    }
}

/// A problem travels inside the framework's error until the shell, which knows the dialect,
/// answers.
impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        Self::new(problem, status)
    }
}

impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let status = error.status();
        error.downcast().unwrap_or_else(|_| Self::from(status))
    }
}

/// The problem that a framework's error stands for. The error's text is not passed on.
impl From<StatusCode> for Problem {
    fn from(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            status if status.is_client_error() => Self::bad("the request is malformed"),
            _ => Self::Internal("framework"),
        }
    }
}

/// The failures of an operation, for its signature and the specification.
pub(super) struct Failure<Of>(Problem, PhantomData<fn() -> Of>);

/// The problems of an operation, besides those of every path.
pub(super) trait Fails {
    const PROBLEMS: &'static [Problem];
}

/// An operation that takes credentials and a body.
pub(super) struct WithBody;
/// An operation that takes a token and a query.
pub(super) struct WithQuestion;
/// An operation that takes nothing.
pub(super) struct WithNothing;

const MALFORMED: Problem = Problem::BadRequest(Cow::Borrowed(""));
const REFUSED: Problem = Problem::Forbidden(String::new(), None);
const UNKNOWN: Problem = Problem::Unauthorized(Challenge::Token, "");

impl Fails for WithBody {
    const PROBLEMS: &'static [Problem] = &[
        MALFORMED,
        UNKNOWN,
        REFUSED,
        Problem::RequestTimeout,
        Problem::PayloadTooLarge,
        Problem::UriTooLong,
        Problem::UnsupportedMediaType,
        Problem::TooManyRequests(0),
        Problem::HeadersTooLarge,
    ];
}

impl Fails for WithQuestion {
    const PROBLEMS: &'static [Problem] = &[MALFORMED, UNKNOWN, REFUSED, Problem::UriTooLong, Problem::HeadersTooLarge];
}

impl Fails for WithNothing {
    const PROBLEMS: &'static [Problem] = &[MALFORMED, Problem::UriTooLong, Problem::HeadersTooLarge];
}

impl<Of> From<Problem> for Failure<Of> {
    fn from(problem: Problem) -> Self {
        Self(problem, PhantomData)
    }
}

impl<Of> From<Failure<Of>> for poem::Error {
    fn from(failure: Failure<Of>) -> Self {
        failure.0.into()
    }
}

/// Returns the content of an error with a `T` as its body, for the specification.
pub(super) fn content<T: Type>() -> Vec<MetaMediaType> {
    vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }]
}

/// Returns an answer's header, for the specification.
pub(super) fn described(name: &str, text: &str, required: bool) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(text.to_owned()),
        required,
        deprecated: false,
        schema: String::schema_ref(),
    }
}

/// Returns `Retry-After`, for the specification.
pub(super) fn retry_after() -> MetaHeader {
    described("Retry-After", "Seconds until it may be tried again (RFC 9110 §10.2.3).", true)
}

/// Returns the description of all failures of the server, for the specification.
pub(super) fn server_failed<T: Type>() -> MetaResponse {
    MetaResponse {
        description: "The server failed, or cannot answer at the moment (503, with `Retry-After`).",
        status: None,
        status_range: Some("5XX".to_owned()),
        content: content::<T>(),
        headers: Vec::new(),
    }
}

impl<Of: Fails> ApiResponse for Failure<Of> {
    fn meta() -> MetaResponses {
        let mut responses: Vec<_> = Of::PROBLEMS
            .iter()
            .map(|problem| {
                let (status, _, _, description) = row(problem);
                let headers = match problem {
                    Problem::Unauthorized(..) => {
                        vec![described("WWW-Authenticate", "How to authenticate (RFC 9110 §11.6.1).", true)]
                    }
                    Problem::TooManyRequests(_) => vec![retry_after()],
                    _ => Vec::new(),
                };
                MetaResponse {
                    description,
                    status: Some(status.as_u16()),
                    status_range: None,
                    content: content::<ApiError>(),
                    headers,
                }
            })
            .collect();
        responses.push(server_failed::<ApiError>());
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ApiError::register(registry);
    }
}
