//! What everybody may read: keys, health, the specification and its pages.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use poem::http::{HeaderMap, HeaderValue, StatusCode};
use poem::{Request, Response, Route};
use poem_openapi::{OpenApi, OpenApiService, Tags};

use super::problem::{Failure, JSON, Problem, WithNothing};
use super::reply::Reply;
use super::state::State;
use super::wire::{Health, JwkSet};

const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

#[derive(Tags)]
enum Tag {
    /// The public keys, to verify tokens without asking.
    Keys,
    /// Whether the service works.
    Health,
}

pub(super) struct Public {
    state: Arc<State>,
}

impl Public {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[expect(clippy::unused_async, reason = "poem-openapi takes async handlers")]
#[OpenApi]
impl Public {
    /// Read the public keys
    ///
    /// Every key with which a valid access token may be signed, as a JSON Web Key Set.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "getJwks", tag = "Tag::Keys")]
    async fn jwks(&self, headers: &HeaderMap) -> Result<Reply<JwkSet>, Failure<WithNothing>> {
        let (snapshot, now) = self.state.now();
        let jwks = snapshot.keys.jwks(now);
        let reply = if names(headers, jwks.etag()) {
            Reply::not_modified()
        } else {
            Reply::bytes(jwks.body().to_owned().into())
        };
        let text = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::Internal("header_not_written"));
        Ok(reply
            .header(ETAG, text(jwks.etag())?)
            .header(CACHE_CONTROL, text(&format!("public, max-age={}", snapshot.jwks_max_age))?)
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN))
    }

    /// Ask whether the process runs
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth", tag = "Tag::Health")]
    async fn health(&self) -> Result<Reply<Health>, Failure<WithNothing>> {
        Ok(Reply::json(&Health { status: "ok".to_owned() })?)
    }

    /// Ask whether tokens can be issued
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness", tag = "Tag::Health")]
    async fn readiness(&self) -> Result<Reply<Health>, Failure<WithNothing>> {
        let (snapshot, now) = self.state.now();
        if snapshot.keys.signer(now).is_none() {
            return Err(Problem::Unavailable("no_key_signs").into());
        }
        Ok(Reply::json(&Health { status: "ok".to_owned() })?)
    }
}

/// Whether `If-None-Match` names `etag` (RFC 9110 §13.1.2, weak comparison).
fn names(headers: &HeaderMap, etag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = listed.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Pages that never change while the process runs, each in one buffer.
pub(super) struct Assets {
    json: String,
    yaml: String,
    docs: String,
}

impl Assets {
    pub(super) const PATHS: [&'static str; 4] = ["/", "/docs", "/openapi.json", "/openapi.yaml"];

    pub(super) fn new<A: OpenApi>(service: &OpenApiService<A, ()>) -> Self {
        Self { json: service.spec(), yaml: service.spec_yaml(), docs: service.swagger_ui_html() }
    }

    pub(super) fn mount(self, route: Route) -> Route {
        let yaml = HeaderValue::from_static("application/yaml");
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        route
            .at("/", make_sync(|_| to_docs()))
            .at("/docs", page(self.docs, html, false))
            .at("/openapi.json", page(self.json, JSON, true))
            .at("/openapi.yaml", page(self.yaml, yaml, true))
    }
}

fn to_docs() -> Response {
    let mut response = Response::default();
    response.set_status(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("docs"));
    response
}

fn page(content: String, media_type: HeaderValue, for_any_origin: bool) -> impl poem::Endpoint<Output = Response> {
    let content = hyper::body::Bytes::from(content);
    make_sync(move |_: Request| {
        let mut response = Response::default();
        response.headers_mut().insert(CONTENT_TYPE, media_type.clone());
        if for_any_origin {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
        }
        response.set_body(content.clone());
        response
    })
}
