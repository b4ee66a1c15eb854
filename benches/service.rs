//! The service without a socket, and what it is asked through each of its doors.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Once};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use lingpai::clients::{GrantRequest, SecretDigest, decide};
use lingpai::clock::{Clock, Timestamp};
use lingpai::config::{Config, Overrides};
use lingpai::service::Snapshot;
use lingpai::token::{Access, Grant, Pair, Session};
use lingpai::{app, http, telemetry, token};
use poem::endpoint::BoxEndpoint;
use poem::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use poem::http::uri::Scheme;
use poem::http::{HeaderName, HeaderValue, Method, Uri};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint as _, EndpointExt as _, Request, Response};
use tokio::runtime::{Builder, Runtime};

use crate::others::{ProofOf, Signer};

const ISSUER: &str = "https://tokens.example.com";
/// The client with a secret, and the one with a key.
const CLIENT: &str = "orders";
const SIGNER: &str = "signer";
const SECRET: &str = "lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const KEY_PEM: &[u8] = include_bytes!("../tests/vectors/keys/2026-01-01T00-00-00Z.es256.pem");
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// 2026-06-01T12:00:00Z
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_780_315_200)
}

/// Trusted issuers, and how many rules each of them has. A job comes from the last issuer, and the last rule is its own.
#[derive(Clone, Copy)]
pub(crate) struct Trusting {
    pub(crate) issuers: usize,
    pub(crate) rules: usize,
}

impl Trusting {
    pub(crate) const NOBODY: Self = Self { issuers: 0, rules: 0 };
    pub(crate) const ONE: Self = Self { issuers: 1, rules: 1 };
    pub(crate) const MANY: Self = Self { issuers: 50, rules: 10 };

    fn issuer(number: usize) -> String {
        format!("https://issuer-{number:02}.example.net")
    }

    fn repository(number: usize) -> String {
        format!("shop-{number:02}")
    }

    /// The last issuer's identity of the job that only its last rule matches.
    fn identity(self, signer: &Signer) -> String {
        signer.identity(&Self::issuer(self.issuers), &Self::repository(self.rules), ISSUER, now())
    }

    /// Its part of the configuration.
    fn written(self) -> String {
        if self.issuers == 0 {
            return String::new();
        }
        let rule = |number| {
            format!(
                r#"
[[issuers.rules]]
match = {{ repository_owner_id = "1234", sub = "repo:acme/{}:ref:refs/heads/main" }}
client = "deploy"
subject = "ci:{{repository_id}}"
scope = ["orders:read", "orders:write"]
"#,
                Self::repository(number)
            )
        };
        let rules: String = (1..=self.rules).map(rule).collect();
        let issuer =
            |number| format!("[[issuers]]\nissuer = \"{}\"\njwks_file = \"ci.json\"{rules}", Self::issuer(number));
        let client = "[[clients]]\nid = \"deploy\"\nsubjects = [\"ci:*\"]\n".to_owned();
        (1..=self.issuers).map(issuer).fold(client + ALLOWED, |all, one| all + &one)
    }
}

/// What each client may have.
const ALLOWED: &str = r#"scope = ["orders:read", "orders:write"]
audience = ["https://orders.example.com"]
"#;

/// The service, a session of its client, and those whose signatures it believes.
pub(crate) struct Service {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) session: Session,
    /// Signs for the client, the issuers and the holder of the bound token.
    pub(crate) signer: Signer,
    routes: BoxEndpoint<'static, Response>,
    runtime: Runtime,
    trusting: Trusting,
    /// An access token that is bound to the signer's key.
    bound: String,
    nonce: String,
}

impl Service {
    /// A service that has answered one request through each door.
    pub(crate) fn new(trusting: Trusting) -> Self {
        log_nothing();
        let (folder, signer) = (tempfile::tempdir().unwrap(), Signer::new());
        let config = written(folder.path(), &signer, trusting);
        let state = app::state(app::snapshot(&config, now()).unwrap(), Clock::manual(now()));
        let snapshot = state.snapshot();
        let client = snapshot.registry.named(CLIENT).unwrap();
        let session = decide(&snapshot.registry, client, GrantRequest::default(), now()).unwrap();
        let mut service = Self {
            nonce: snapshot.keys.nonce(now()).unwrap().as_str().to_owned(),
            routes: http::routes(&state, http::RequestIds::new().unwrap()).boxed(),
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            bound: String::new(),
            snapshot,
            session,
            signer,
            trusting,
        };
        service.warm_up();
        service
    }

    fn warm_up(&mut self) {
        let body = self.answer(self.dpop_issue()).into_body().into_bytes().now_or_never().unwrap().unwrap();
        let issued: serde_json::Value = serde_json::from_slice(&body).unwrap();
        issued["access_token"].as_str().unwrap().clone_into(&mut self.bound);
        let access = self.mint().access;
        for request in [
            post(),
            get(&access),
            client_credentials(),
            introspection(&access),
            self.private_key_jwt(),
            self.dpop_get(),
        ] {
            self.answer(request);
        }
        if self.trusting.issuers > 0 {
            self.answer(self.federated());
        }
    }

    /// All that its session may have.
    pub(crate) fn grant(&self) -> Grant<'_> {
        let client = self.snapshot.registry.named(CLIENT).unwrap();
        Grant::whole(&self.session, client.algorithm, client.lifetimes.access, client.lifetimes.refresh)
    }

    pub(crate) fn mint(&self) -> Pair {
        token::mint(&self.snapshot.keys, ISSUER, &self.session, &self.grant(), now()).unwrap()
    }

    pub(crate) fn mint_access(&self) -> Access {
        token::mint_access(&self.snapshot.keys, ISSUER, &self.session, &self.grant(), now()).unwrap()
    }

    /// The answer, for which nothing is waited.
    pub(crate) fn answer(&self, request: Request) -> Response {
        let _inside = self.runtime.enter();
        let response = self.routes.get_response(request).now_or_never().unwrap();
        assert!(response.is_success());
        response
    }

    /// `POST /oauth2/token` with an assertion that the client has signed.
    pub(crate) fn private_key_jwt(&self) -> Request {
        asserted(&self.assertion())
    }

    /// `POST /oauth2/token` with an identity that an issuer has signed.
    pub(crate) fn federated(&self) -> Request {
        asserted(&self.identity())
    }

    /// `POST /oauth2/token` with the client's secret and a proof.
    pub(crate) fn dpop_issue(&self) -> Request {
        let proof = self.proof(None);
        form("/oauth2/token", [(AUTHORIZATION, basic()), (DPOP, proof)], CLIENT_CREDENTIALS.to_owned())
    }

    /// `GET /token` with a proof for the bound token.
    pub(crate) fn dpop_get(&self) -> Request {
        let proof = self.proof(Some(&self.bound));
        with("/token", Method::GET, [(AUTHORIZATION, format!("DPoP {}", self.bound)), (DPOP, proof)], Body::empty())
    }

    pub(crate) fn assertion(&self) -> String {
        self.signer.assertion(SIGNER, ISSUER, now())
    }

    pub(crate) fn identity(&self) -> String {
        self.trusting.identity(&self.signer)
    }

    /// A proof for `GET /token` with `access_token`, otherwise for `POST /oauth2/token`. It has the nonce that the last
    /// answer brought, as RFC 9449 §8.2 has it.
    pub(crate) fn proof(&self, access_token: Option<&str>) -> String {
        let (method, path) = if access_token.is_some() { ("GET", "/token") } else { ("POST", "/oauth2/token") };
        self.signer.proof(ProofOf { method, url: &format!("{ISSUER}{path}"), access_token, nonce: &self.nonce }, now())
    }
}

/// Blocks the thread that writes the log at its first line. Otherwise it would sleep at times, and the next line would
/// also pay for waking it, by chance.
fn log_nothing() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::mem::forget((telemetry::start(true), std::io::stderr().lock())));
}

/// The configuration, with its files in `folder`.
fn written(folder: &Path, signer: &Signer, trusting: Trusting) -> Config {
    let key = folder.join("keys").join(KEY);
    fs::create_dir(folder.join("keys")).unwrap();
    fs::write(&key, KEY_PEM).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["client.json", "ci.json"] {
        fs::write(folder.join(name), signer.jwks()).unwrap();
    }
    let content = format!(
        r#"
issuer = "{ISSUER}"
[[clients]]
id = "{CLIENT}"
secrets = ["{}"]
{ALLOWED}
[[clients]]
id = "{SIGNER}"
jwks = "client.json"
{ALLOWED}
{}"#,
        SecretDigest::of(SECRET.as_bytes()).written(),
        trusting.written(),
    );
    Config::parse(&folder.join("lingpai.toml"), content, Overrides::default()).unwrap()
}

const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";

/// `POST /token`
pub(crate) fn post() -> Request {
    with("/token", Method::POST, [(AUTHORIZATION, basic())], Body::empty())
}

/// `POST /token` for one scope token.
pub(crate) fn post_for_scope() -> Request {
    let body = r#"{"scope":["orders:read"]}"#;
    let mut request = with("/token", Method::POST, [(AUTHORIZATION, basic())], body.into());
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

/// `GET /token`
pub(crate) fn get(access: &str) -> Request {
    with("/token", Method::GET, [(AUTHORIZATION, format!("Bearer {access}"))], Body::empty())
}

/// `POST /oauth2/token` with the client's secret.
pub(crate) fn client_credentials() -> Request {
    form("/oauth2/token", [(AUTHORIZATION, basic())], CLIENT_CREDENTIALS.to_owned())
}

/// The same for one scope token.
pub(crate) fn client_credentials_for_scope() -> Request {
    form("/oauth2/token", [(AUTHORIZATION, basic())], format!("{CLIENT_CREDENTIALS}&scope=orders%3Aread"))
}

/// `POST /oauth2/introspect` with the client's secret.
pub(crate) fn introspection(access: &str) -> Request {
    form("/oauth2/introspect", [(AUTHORIZATION, basic())], format!("token={access}"))
}

fn asserted(assertion: &str) -> Request {
    let body = format!("{CLIENT_CREDENTIALS}&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}");
    form("/oauth2/token", [], body)
}

fn form<const N: usize>(path: &'static str, headers: [(HeaderName, String); N], body: String) -> Request {
    // Clients announce the length.
    let length = HeaderValue::from(body.len());
    let mut request = with(path, Method::POST, headers, body.into());
    request.headers_mut().insert(CONTENT_LENGTH, length);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request
}

/// A request as curl sends it, with these headers beside its own.
pub(crate) fn with<const N: usize>(
    path: &'static str,
    method: Method,
    headers: [(HeaderName, String); N],
    body: Body,
) -> Request {
    let mut head = poem::http::Request::new(()).into_parts().0;
    (head.method, head.uri) = (method, Uri::from_static(path));
    head.headers = HeaderMap::from_iter([
        (HOST, HeaderValue::from_static("tokens.example.com")),
        (USER_AGENT, HeaderValue::from_static("curl/7.88.1")),
        (ACCEPT, HeaderValue::from_static("*/*")),
    ]);
    head.headers.extend(headers.map(|(name, value)| (name, HeaderValue::try_from(value).unwrap())));
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let parts = (head, LocalAddr::default(), RemoteAddr(peer.into()), Scheme::HTTP).into();
    Request::from_parts(parts, body)
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")))
}
