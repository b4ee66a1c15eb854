//! Public, cacheable documents: `ETag`, 304, `max-age`.

use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use poem::http::{HeaderMap, HeaderValue};

use super::cors::ANY_ORIGIN;
use super::problem::Problem;
use super::reply::{Answer, Reply};
use crate::crypto::Document;

/// Returns `document`, the JSON of a `T`, or 304 if `request` names a current copy. Caches may keep
/// either for `max_age` seconds.
pub(super) fn reply<T: Answer>(request: &HeaderMap, document: &Document, max_age: i64) -> Result<Reply<T>, Problem> {
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::Internal("header_not_written"));
    let reply = if names(request, document.etag()) {
        Reply::not_modified()
    } else {
        Reply::bytes(document.body().clone().into())
    };
    Ok(reply
        .header(ETAG, text(document.etag())?)
        .header(CACHE_CONTROL, text(&format!("public, max-age={max_age}"))?)
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN))
}

/// Whether `If-None-Match` matches `etag` (RFC 9110 §13.1.2, weak comparison).
pub(super) fn names(headers: &HeaderMap, etag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = listed.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
