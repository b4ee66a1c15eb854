//! CORS (fetch standard §3.2): the pages of which origins may read answers. None, unless
//! the configuration lists them; what everybody may read says so itself.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method};

/// What a page may send beside the few headers that every page may.
const SENT: HeaderValue = HeaderValue::from_static("authorization, content-type, x-request-id, traceparent");
/// What it may read.
const READ: HeaderValue = HeaderValue::from_static(
    "www-authenticate, retry-after, x-request-id, x-token-subject, x-token-client, x-token-scope",
);
/// Seconds that a browser may keep the answer to a preflight.
const KEPT: HeaderValue = HeaderValue::from_static("600");

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
    pub(super) fn allow(self, origins: &[Box<str>], headers: &mut HeaderMap) {
        if origins.is_empty() || headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        let listed = |origin: &HeaderValue| origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
        let Some(origin) = self.origin.filter(listed) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !self.is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        } else if let Some(methods) = headers.get(ALLOW).cloned() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            headers.insert(ACCESS_CONTROL_MAX_AGE, KEPT);
        }
    }
}
