//! CORS (fetch standard §3.2): which origins' pages may read answers. Public documents are open to
//! all origins; everything else to the configured ones.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method};

/// Every origin.
pub(super) const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// Headers that a page may send, besides those that need no permission.
const SENT: HeaderValue =
    HeaderValue::from_static("authorization, content-type, dpop, x-request-id, traceparent, tracestate, baggage");
/// Headers that a page may send for a public document, where none can do harm. The wildcard does
/// not include `Authorization`.
const SENT_TO_PUBLIC: HeaderValue = HeaderValue::from_static("*, authorization");
/// Headers that a page may read.
const READ: HeaderValue = HeaderValue::from_static(
    "www-authenticate, dpop-nonce, retry-after, x-request-id, x-token-subject, x-token-client, x-token-scope, x-token-actor",
);
/// Seconds for which a browser may cache a preflight's answer.
const KEPT: HeaderValue = HeaderValue::from_static("600");

/// Whether every origin may read `path`: a preflight is then answered like GET.
pub(super) fn is_public(path: &str) -> bool {
    path.starts_with("/.well-known/") || matches!(path, "/openapi.json" | "/openapi.yaml")
}

/// What a request says about the page that sent it.
pub(super) struct Page {
    origin: Option<HeaderValue>,
    /// Whether the request is a preflight.
    is_preflight: bool,
}

impl Page {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none()).cloned();
        let is_preflight = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin, is_preflight }
    }

    /// Adds the `headers` of an answer that let the page read it, if it may.
    pub(super) fn allow(&self, origins: &[Box<str>], headers: &mut HeaderMap) {
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return self.allow_preflight(SENT_TO_PUBLIC, headers);
        }
        if origins.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        let listed = |origin: &HeaderValue| origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
        let Some(origin) = self.origin.as_ref().filter(|origin| listed(origin)) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if !self.is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
        self.allow_preflight(SENT, headers);
    }

    /// Adds the headers of a preflight's answer: the page may use the path's methods, and send the
    /// headers `sent`.
    fn allow_preflight(&self, sent: HeaderValue, headers: &mut HeaderMap) {
        if self.is_preflight
            && let Some(methods) = headers.get(ALLOW).cloned()
        {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sent);
            headers.insert(ACCESS_CONTROL_MAX_AGE, KEPT);
        }
    }
}
