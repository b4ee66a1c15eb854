//! CORS (fetch standard §3.2): which origins' pages may read answers. Pages of every origin may read
//! the public documents; for everything else the configuration lists the origins.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method};

/// Every origin.
pub(super) const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// What a page may send beside the few headers that every page may.
const SENT: HeaderValue =
    HeaderValue::from_static("authorization, content-type, dpop, x-request-id, traceparent, tracestate, baggage");
/// What it may send to a public document, where no header has a meaning that could do harm. The
/// wildcard does not include `Authorization`.
const SENT_TO_PUBLIC: HeaderValue = HeaderValue::from_static("*, authorization");
/// What it may read.
const READ: HeaderValue = HeaderValue::from_static(
    "www-authenticate, dpop-nonce, retry-after, x-request-id, x-token-subject, x-token-client, x-token-scope, x-token-actor",
);
/// Seconds that a browser may keep the answer to a preflight.
const KEPT: HeaderValue = HeaderValue::from_static("600");

/// Whether pages of every origin may read what is at `path`: then a preflight is answered as GET is.
pub(super) fn is_public(path: &str) -> bool {
    path.starts_with("/.well-known/") || matches!(path, "/openapi.json" | "/openapi.yaml")
}

/// What a request says of the page that sends it.
pub(super) struct Page {
    origin: Option<HeaderValue>,
    /// It only asks what it may send.
    is_preflight: bool,
}

impl Page {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none()).cloned();
        let is_preflight = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self { origin, is_preflight }
    }

    /// Says in the `headers` of an answer whether the page may read it.
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

    /// Says in the answer to a preflight that the page may send the path's methods, with the
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
