//! Whose instructions `benches/instructions/run` counts: the steps behind `/token`, and its handlers, from a request to
//! the answer, with its metrics and its line in the log. Each is done [`OPERATIONS`] times.
//!
//! Counted is the thread that asks, inside of the functions that are marked: not what was made before, nor what only a
//! first time costs, nor the thread that writes the log. No two tokens are alike, because what it costs to verify a
//! signature depends on its bits.
#![expect(missing_docs, clippy::must_use_candidate, reason = "the macros make public items")]
#![expect(clippy::unwrap_used, reason = "a measurement stops when it is wrong")]

use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use gungraun::{Callgrind, EntryPoint, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use lingpai::clients::{GrantRequest, SecretDigest, decide, renew};
use lingpai::clock::{Clock, Timestamp};
use lingpai::config::{Config, Overrides};
use lingpai::service::Snapshot;
use lingpai::token::{AccessClaims, Compact, Fingerprint, Grant, Kind, Pair, RefreshClaims, Session, Verified};
use lingpai::{app, http, telemetry, token};
use poem::endpoint::BoxEndpoint;
use poem::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, Method, Uri};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint as _, EndpointExt as _, Request, Response};
use tokio::runtime::{Builder, Runtime};

const OPERATIONS: usize = 100;
const CLIENT: &str = "orders";
const SECRET: &str = "lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

/// 2026-06-01T12:00:00Z
fn now() -> Timestamp {
    Timestamp::from_unix(1_780_315_200)
}

/// The service without a socket, and a session of its client.
struct Service {
    snapshot: Arc<Snapshot>,
    routes: BoxEndpoint<'static, Response>,
    runtime: Runtime,
    session: Session,
}

impl Service {
    fn new() -> Self {
        // Until the process ends. The thread that writes the log stands still at the first line: when it sleeps, who has
        // a line for it must wake it, and when it does is chance.
        std::mem::forget((telemetry::start(true), std::io::stderr().lock()));
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("keys").join(KEY);
        fs::create_dir(folder.path().join("keys")).unwrap();
        fs::copy(format!("{}/tests/vectors/keys/{KEY}", env!("CARGO_MANIFEST_DIR")), &key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let content = format!(
            r#"
issuer = "https://tokens.example.com"
[[clients]]
id = "{CLIENT}"
secrets = ["{}"]
scope = ["orders:read", "orders:write"]
audience = ["https://orders.example.com"]
"#,
            SecretDigest::of(SECRET.as_bytes()).written()
        );
        let config = Config::parse(&folder.path().join("lingpai.toml"), content, Overrides::default()).unwrap();
        let state = app::state(app::snapshot(&config, now()).unwrap(), Clock::manual(now()));
        let snapshot = state.snapshot();
        let client = snapshot.registry.named(CLIENT).unwrap();
        let session = decide(&snapshot.registry, client, GrantRequest::default(), now()).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        Self { snapshot, routes: http::routes(&state, http::RequestIds::new().unwrap()).boxed(), runtime, session }
    }

    fn mint(&self) -> Pair {
        let client = self.snapshot.registry.named(CLIENT).unwrap();
        let grant = Grant::whole(&self.session, client.algorithm, client.lifetimes.access, client.lifetimes.refresh);
        token::mint(&self.snapshot.keys, &self.snapshot.issuer, &self.session, &grant, now()).unwrap()
    }

    fn verify<K: Kind>(&self, token: &str) -> Verified<K> {
        token::verify(Compact::parse(token).unwrap(), &self.snapshot.keys, self.snapshot.verifying(now())).unwrap()
    }

    fn refresh(&self, token: &str) -> Pair {
        let session = self.verify::<RefreshClaims>(token).into_claims().session;
        let renewal = renew(&self.snapshot.registry, session, now()).unwrap();
        token::mint(&self.snapshot.keys, &self.snapshot.issuer, &renewal.session, &renewal.grant(), now()).unwrap()
    }

    /// The answer, for which nothing is waited.
    fn answer(&self, request: Request) -> Response {
        let _inside = self.runtime.enter();
        let response = self.routes.get_response(request).now_or_never().unwrap();
        assert!(response.is_success());
        response
    }
}

fn request(method: Method, authorization: &str) -> Request {
    request_to("/token", method, authorization, Body::empty())
}

fn form(path: &'static str, body: String) -> Request {
    let mut request = request_to(path, Method::POST, &basic(), body.into());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request
}

fn for_client_credentials(_: &Pair) -> Request {
    form("/oauth2/token", "grant_type=client_credentials".to_owned())
}

fn for_introspection(pair: &Pair) -> Request {
    form("/oauth2/introspect", format!("token={}", pair.access))
}

fn request_to(path: &'static str, method: Method, authorization: &str, body: Body) -> Request {
    let mut head = poem::http::Request::new(()).into_parts().0;
    (head.method, head.uri) = (method, Uri::from_static(path));
    head.headers.insert(HOST, HeaderValue::from_static("tokens.example.com"));
    head.headers.insert(USER_AGENT, HeaderValue::from_static("curl/7.88.1"));
    head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    head.headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let parts = (head, LocalAddr::default(), RemoteAddr(peer.into()), Scheme::HTTP).into();
    Request::from_parts(parts, body)
}

/// A service that has done everything once, and a pair of tokens for each operation.
fn minted() -> (Service, Vec<Pair>) {
    let service = Service::new();
    let pairs = (0..OPERATIONS).map(|_| service.mint()).collect();
    let pair = service.refresh(&service.mint().refresh);
    for (method, authorization) in
        [(Method::POST, basic()), (Method::GET, bearer(&pair.access)), (Method::PUT, bearer(&pair.refresh))]
    {
        service.answer(request(method, &authorization));
    }
    service.answer(for_client_credentials(&pair));
    service.answer(for_introspection(&pair));
    (service, pairs)
}

/// A service that has seen every access token before.
fn seen() -> (Service, Vec<Pair>) {
    let (service, pairs) = minted();
    for pair in &pairs {
        service.answer(request(Method::GET, &bearer(&pair.access)));
        service.answer(for_introspection(pair));
    }
    (service, pairs)
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[library_benchmark]
#[bench::es256(minted())]
fn mint((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for _ in 0..OPERATIONS {
        black_box(service.mint());
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(minted())]
fn verify((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        black_box(service.verify::<AccessClaims>(&pair.access));
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(seen())]
fn verify_again((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        let fingerprint = Fingerprint::of::<AccessClaims>(&pair.access);
        black_box(service.snapshot.inspected.get(&fingerprint, now()).unwrap().claims());
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(minted())]
fn refresh((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        black_box(service.refresh(&pair.refresh));
    }
    (service, pairs)
}

#[library_benchmark(config = counting("*::answer_one"))]
#[bench::post(minted(), |_| request(Method::POST, &basic()))]
#[bench::get(minted(), |pair| request(Method::GET, &bearer(&pair.access)))]
#[bench::get_again(seen(), |pair| request(Method::GET, &bearer(&pair.access)))]
#[bench::put(minted(), |pair| request(Method::PUT, &bearer(&pair.refresh)))]
#[bench::client_credentials(minted(), for_client_credentials)]
#[bench::introspect_again(seen(), for_introspection)]
fn answer((service, pairs): (Service, Vec<Pair>), request: fn(&Pair) -> Request) {
    for pair in &pairs {
        answer_one(&service, request(pair));
    }
}

#[inline(never)]
fn answer_one(service: &Service, request: Request) {
    black_box(service.answer(request));
}

/// Counts inside of one function only.
fn counting(function: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.entry_point(EntryPoint::Custom(function.to_owned()));
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

library_benchmark_group!(name = path, benchmarks = [mint, verify, verify_again, refresh, answer]);
main!(library_benchmark_groups = path);
