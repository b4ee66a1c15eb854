//! Public documents: keys, health, the specification and its pages.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;
use poem::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::web::Data;
use poem::{Endpoint, Request, Response};
use poem_openapi::{Object, OpenApi, OpenApiService, Tags};
use serde::Serialize;
use tokio::sync::OnceCell;

use super::cacheable;
use super::context::RequestContext;
use super::cors::ANY_ORIGIN;
use super::docs::Docs;
use super::problem::{Failure, JSON, Problem, WithNothing};
use super::reply::{Answer, Reply};
use super::routes::Routes;
use super::spec;
use crate::service::State;

#[derive(Tags)]
enum Tag {
    /// The public keys, for verifying tokens offline.
    Keys,
    /// Whether the service is healthy.
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
    /// All keys that may have signed a valid access token, as a JSON Web Key Set.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "getJwks", tag = "Tag::Keys")]
    async fn jwks(
        &self,
        headers: &HeaderMap,
        context: Data<&RequestContext>,
    ) -> Result<Reply<JwkSet>, Failure<WithNothing>> {
        let snapshot = context.snapshot();
        let jwks = snapshot.keys.jwks(context.now());
        Ok(cacheable::reply(headers, jwks.document(), snapshot.jwks_max_age)?)
    }

    /// Ask whether the process runs
    ///
    /// 200 while the process answers: restart it if it does not.
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth", tag = "Tag::Health")]
    async fn health(&self) -> Result<Reply<Health>, Failure<WithNothing>> {
        Ok(Reply::json(&Health { status: "ok".to_owned() })?)
    }

    /// Ask whether tokens can be issued
    ///
    /// 200 while a key signs: route no requests to it otherwise.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness", tag = "Tag::Health")]
    async fn readiness(&self, context: Data<&RequestContext>) -> Result<Reply<Health>, Failure<WithNothing>> {
        if let Some(why) = self.state.unready(context.snapshot(), context.now()) {
            return Err(Problem::Unavailable(why).into());
        }
        Ok(Reply::json(&Health { status: "ok".to_owned() })?)
    }
}

/// Whether the service is healthy.
#[derive(Debug, Object, Serialize)]
pub(super) struct Health {
    /// `ok`.
    pub(super) status: String,
}

impl Answer for Health {
    const MEANING: &'static str = "It is.";
}

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Debug, Object)]
pub(super) struct JwkSet {
    /// Every key that signs, will sign, or has signed tokens that may still be valid.
    pub(super) keys: Vec<Jwk>,
}

impl Answer for JwkSet {
    const MEANING: &'static str = "The published keys.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("ETag", "The version of the set, for `If-None-Match`."),
        ("Cache-Control", "How long the set may be cached."),
    ];
    const CACHEABLE: bool = true;
}

/// A public key (RFC 7517 §4).
#[derive(Debug, Object)]
pub(super) struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    pub(super) kty: String,
    /// The key's id: its RFC 7638 thumbprint.
    pub(super) kid: String,
    /// `ES256`, `EdDSA` or `RS256`.
    pub(super) alg: String,
    /// `sig`.
    #[oai(rename = "use")]
    pub(super) use_: String,
    /// The curve of an EC or OKP key: `P-256` or `Ed25519`.
    pub(super) crv: Option<String>,
    /// The x coordinate of an EC key, or an OKP key, in base64url.
    pub(super) x: Option<String>,
    /// The y coordinate of an EC key, in base64url.
    pub(super) y: Option<String>,
    /// The modulus of an RSA key, in base64url.
    pub(super) n: Option<String>,
    /// The exponent of an RSA key, in base64url.
    pub(super) e: Option<String>,
}

/// Static pages, built on first use: a server that only signs never builds them.
pub(super) struct Pages {
    built: OnceCell<HashMap<&'static str, Page>>,
    build: fn() -> HashMap<&'static str, Page>,
}

/// A page, and its compressed form if that is worthwhile.
pub(super) struct Page {
    headers: HeaderMap,
    body: Bytes,
    gzip: Option<Bytes>,
}

/// Their paths.
const PAGES: [&str; 3] = ["/docs", "/openapi.json", "/openapi.yaml"];

impl Pages {
    /// The pages that `build` will make.
    pub(super) fn new(build: fn() -> HashMap<&'static str, Page>) -> Self {
        Self { built: OnceCell::new(), build }
    }

    /// Adds a route for each page.
    pub(super) fn add_to(self, routes: Routes) -> Routes {
        let pages = Arc::new(self);
        PAGES.into_iter().fold(routes, |routes, path| routes.page(path, At { pages: Arc::clone(&pages), path }))
    }
}

/// One of the pages.
struct At {
    pages: Arc<Pages>,
    path: &'static str,
}

/// Builds the pages that describe `service`.
pub(super) fn pages<A: OpenApi>(service: &OpenApiService<A, ()>) -> HashMap<&'static str, Page> {
    let document = spec::document(service);
    let docs = Docs::new(&document, &service.swagger_ui_html());
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let yaml = HeaderValue::from_static("application/yaml");
    let public = |media_type| [(CONTENT_TYPE, media_type), (ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN)];
    #[expect(clippy::expect_used, reason = "digests in base64 between fixed words")]
    let policy = HeaderValue::try_from(docs.policy).expect("a header's value");
    let mut page = Page::new([(CONTENT_TYPE, html), (CONTENT_SECURITY_POLICY, policy)], docs.html);
    page.gzip = Some(docs.gzip.into());
    HashMap::from([
        ("/docs", page),
        ("/openapi.json", Page::new(public(JSON), spec::json(&document))),
        ("/openapi.yaml", Page::new(public(yaml), spec::yaml(&document))),
    ])
}

impl Page {
    fn new<const N: usize>(headers: [(HeaderName, HeaderValue); N], body: String) -> Self {
        Self { headers: headers.into_iter().collect(), body: body.into(), gzip: None }
    }

    fn response(&self, request: &HeaderMap) -> Response {
        let mut response = Response::default();
        *response.headers_mut() = self.headers.clone();
        let Some(gzip) = &self.gzip else {
            response.set_body(self.body.clone());
            return response;
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        if takes_gzip(request) {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.set_body(gzip.clone());
        } else {
            response.set_body(self.body.clone());
        }
        response
    }
}

/// Whether `Accept-Encoding` lists gzip with a weight above zero (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = weight.trim().trim_start_matches(['q', 'Q', '=']).parse().is_ok_and(|weight: f32| weight <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

impl Endpoint for At {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let Self { pages, path } = self;
        // Compressing takes a while, and would block other requests on this thread.
        let built = pages.built.get_or_try_init(|| tokio::task::spawn_blocking(pages.build)).await;
        let built = built.map_err(|_| Problem::Internal("pages_not_built"))?;
        let page = built.get(path).ok_or(Problem::NotFound)?;
        Ok(page.response(request.headers()))
    }
}
