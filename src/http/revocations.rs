//! `/.well-known/revocations`: the signed revocation list, where it is published. It is not in the
//! specification, because most services do not publish one.

use std::sync::Arc;

use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG};
use poem::http::{HeaderMap, HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};

use super::cacheable::names;
use super::context::RequestContext;
use super::cors::ANY_ORIGIN;
use super::problem::Problem;
use super::routes::Routes;
use crate::service::{LIST_MAX_AGE, PublishError, SignedList, State};

const PATH: &str = "/.well-known/revocations";

/// RFC 7519 §10.3.1.
const JWT: HeaderValue = HeaderValue::from_static("application/jwt");

/// Adds the route.
pub(super) fn add_to(routes: Routes, state: &Arc<State>) -> Routes {
    routes.page(PATH, Published { state: Arc::clone(state) })
}

struct Published {
    state: Arc<State>,
}

impl Endpoint for Published {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let context = RequestContext::of(&request)?;
        let list = self.state.published(context.snapshot(), context.now()).map_err(|why| match why {
            PublishError::Absent => Problem::NotFound,
            PublishError::NoKey => Problem::Unavailable("no_key_signs"),
            PublishError::NoRandomness => Problem::Internal("no_randomness"),
        })?;
        Ok(response(&list, request.headers())?)
    }
}

/// Returns the list, or 304 if `request` names a current copy.
fn response(list: &SignedList, request: &HeaderMap) -> Result<Response, Problem> {
    let mut response = Response::default();
    let etag = list.etag.strip_prefix("W/").unwrap_or(&list.etag);
    if names(request, etag) {
        response.set_status(StatusCode::NOT_MODIFIED);
    } else {
        response.headers_mut().insert(CONTENT_TYPE, JWT);
        response.set_body(list.jwt.clone());
    }
    let text = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::Internal("header_not_written"));
    response.headers_mut().insert(ETAG, text(&list.etag)?);
    response.headers_mut().insert(CACHE_CONTROL, text(&format!("public, max-age={LIST_MAX_AGE}"))?);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    Ok(response)
}
