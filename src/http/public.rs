//! What everybody may read: keys, health, the specification and its pages.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;
use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};
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

/// Pages that never change while the process runs, each in one buffer, before
/// the endpoint that answers everything else.
pub(super) struct Pages<E> {
    pages: HashMap<&'static str, Page>,
    others: E,
}

struct Page {
    headers: HeaderMap,
    body: Bytes,
}

impl<E> Pages<E> {
    /// The pages that describe `service`, before `others`.
    pub(super) fn new<A: OpenApi>(service: &OpenApiService<A, ()>, others: E) -> Self {
        let yaml = HeaderValue::from_static("application/yaml");
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let pages = HashMap::from([
            ("/docs", page([(CONTENT_TYPE, html)], service.swagger_ui_html())),
            ("/openapi.json", page([(CONTENT_TYPE, JSON), (ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN)], service.spec())),
            (
                "/openapi.yaml",
                page([(CONTENT_TYPE, yaml), (ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN)], service.spec_yaml()),
            ),
            // Relative, so that it also works behind a proxy that strips a prefix.
            ("/", page([(LOCATION, HeaderValue::from_static("docs"))], String::new())),
        ]);
        Self { pages, others }
    }

    /// Where they are.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.pages.keys().copied()
    }
}

fn page<const N: usize>(headers: [(HeaderName, HeaderValue); N], body: String) -> Page {
    Page { headers: headers.into_iter().collect(), body: body.into() }
}

impl<E: Endpoint<Output = Response>> Endpoint for Pages<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let Some(page) = self.pages.get(request.uri().path()) else { return self.others.call(request).await };
        let mut response = Response::default();
        if page.headers.contains_key(LOCATION) {
            response.set_status(StatusCode::FOUND);
        }
        *response.headers_mut() = page.headers.clone();
        response.set_body(page.body.clone());
        Ok(response)
    }
}
