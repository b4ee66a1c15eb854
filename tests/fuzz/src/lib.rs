//! What the targets share: genuine tokens, the service without a socket, and JSON read without mercy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use lingpai::clients::SecretDigest;
use lingpai::clock::{Clock, Timestamp};
use lingpai::config::{Config, Overrides};
use lingpai::service::Snapshot;
use lingpai::token::Verifying;
use lingpai::{app, http};
use poem::endpoint::BoxEndpoint;
use poem::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use poem::http::uri::Scheme;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint as _, EndpointExt as _, Request, Response};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use tokio::runtime::{Builder, Runtime};

/// The issuer of everything here.
pub const ISSUER: &str = "https://tokens.example.com";
/// 2026-06-01T12:00:00Z, when every token of [`TOKENS`] is valid.
pub const NOW: i64 = 1_780_315_200;
/// The client of every token of [`TOKENS`].
pub const CLIENT: &str = "orders";
/// Its secret.
pub const SECRET: &str = "lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
/// The lifetime of its access tokens, in seconds.
pub const ACCESS_LIFETIME: i64 = 600;
/// The scope that it may have.
pub const SCOPE: [&str; 2] = ["orders:read", "orders:write"];
/// The audiences that it may name.
pub const AUDIENCE: [&str; 2] = ["https://orders.example.com", "https://stock.example.com"];
/// The extra claims that it may set.
pub const CLAIMS: [&str; 2] = ["groups", "tenant"];
/// The 401 of every cause.
pub const UNAUTHORIZED: &str = r#"{"name":"Unauthorized","message":"authentication failed","stack":[]}"#;

/// The vectors' tokens that are accepted at [`NOW`], byte for byte as the service writes them.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Access tokens.
    pub access: BTreeSet<String>,
    /// Refresh tokens.
    pub refresh: BTreeSet<String>,
}

/// Every genuine token that there is.
pub static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let text = fs::read_to_string(beside("../vectors/tokens.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut tokens = Tokens::default();
    for vector in file["vectors"].as_array().unwrap() {
        let is_access = vector["kind"] == "access";
        let is_access = match vector["expected"].get("refused").and_then(serde_json::Value::as_str) {
            // At another second.
            None | Some("expired") => is_access,
            Some("wrong_kind") => !is_access,
            Some(_) => continue,
        };
        let of_kind = if is_access { &mut tokens.access } else { &mut tokens.refresh };
        of_kind.insert(vector["token"].as_str().unwrap().to_owned());
    }
    tokens
});

/// The service, with nothing special about it.
pub static SERVICE: LazyLock<Service> = LazyLock::new(|| Service::new(""));

fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Writes a file that only its owner can read, as key files must be.
pub fn write_private(path: &Path, content: &[u8]) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content)).unwrap();
}

/// The service with the keys of the vectors, at [`NOW`], asked without a socket.
pub struct Service {
    /// What its requests are decided by.
    pub snapshot: Arc<Snapshot>,
    routes: BoxEndpoint<'static, Response>,
    runtime: Runtime,
}

impl Service {
    /// A service whose configuration begins with `settings`.
    #[must_use]
    pub fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        for alg in ["es256", "eddsa", "rs256"] {
            let name = format!("2026-01-01T00-00-00Z.{alg}.pem");
            let pem = fs::read(beside("../vectors/keys").join(&name)).unwrap();
            write_private(&folder.path().join("keys").join(name), &pem);
        }
        let digest = SecretDigest::of(SECRET.as_bytes()).written();
        let content = format!(
            r#"
issuer = "{ISSUER}"
{settings}
[limits]
failures = 0
[token]
access_lifetime = "{ACCESS_LIFETIME}s"
[anonymous]
scope = ["guest"]
[[clients]]
id = "{CLIENT}"
secrets = ["{digest}"]
scope = {SCOPE:?}
audience = {AUDIENCE:?}
subjects = ["user:*"]
claims = {CLAIMS:?}
"#
        );
        let config = Config::parse(&folder.path().join("lingpai.toml"), content, Overrides::default()).unwrap();
        let now = Timestamp::from_unix(NOW);
        let state = app::state(app::snapshot(&config, now).unwrap(), Clock::manual(now));
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        Self {
            snapshot: state.snapshot(),
            routes: http::routes(&state, http::RequestIds::new().unwrap()).boxed(),
            runtime,
        }
    }

    /// What a token must agree with.
    #[must_use]
    pub fn verifying(&self) -> Verifying<'_> {
        self.snapshot.verifying(Timestamp::from_unix(NOW))
    }

    /// Asks `/token`, as a client of `peer`.
    #[must_use]
    pub fn ask(&self, peer: SocketAddr, method: Method, fields: Vec<(HeaderName, HeaderValue)>, body: &[u8]) -> Answer {
        self.ask_at("/token", peer, method, fields, body)
    }

    /// Asks `path`, as a client of `peer`.
    #[must_use]
    pub fn ask_at(
        &self,
        path: &'static str,
        peer: SocketAddr,
        method: Method,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: &[u8],
    ) -> Answer {
        let mut head = poem::http::Request::new(()).into_parts().0;
        (head.method, head.uri) = (method, Uri::from_static(path));
        head.headers.insert(HOST, HeaderValue::from_static("tokens.example.com"));
        for (name, value) in fields {
            head.headers.append(name, value);
        }
        let parts = (head, LocalAddr::default(), RemoteAddr(peer.into()), Scheme::HTTP).into();
        let request = Request::from_parts(parts, Body::from(body.to_vec()));
        self.runtime.block_on(async {
            let mut response = self.routes.get_response(request).await;
            let body = response.take_body().into_string().await.unwrap();
            Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
        })
    }

    /// Asks `/token` with these `Authorization` fields and a JSON body or none.
    #[must_use]
    pub fn ask_as(&self, method: Method, authorization: &[HeaderValue], body: &[u8]) -> Answer {
        let mut fields: Vec<_> = authorization.iter().map(|value| (AUTHORIZATION, value.clone())).collect();
        if !body.is_empty() {
            fields.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let answer = self.ask(([192, 0, 2, 1], 4711).into(), method, fields, body);
        answer.assert_form();
        answer
    }
}

/// What the service said.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A string member of the body.
    #[must_use]
    pub fn text(&self, member: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}")).to_owned()
    }

    /// The challenges of a 401 or a 403.
    #[must_use]
    pub fn challenges(&self) -> Vec<&str> {
        self.headers.get_all(WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// What holds for every answer of `/token`, whatever was asked.
    fn assert_form(&self) {
        assert!(self.status < 500, "{self:?}");
        assert_eq!(self.headers[CONTENT_TYPE], "application/json", "{self:?}");
        assert_eq!(self.headers[CACHE_CONTROL], "no-store", "{self:?}");
        assert!(self.headers.contains_key("x-request-id"), "{self:?}");
        if self.status < 400 {
            return;
        }
        assert!(self.body.ends_with(r#","stack":[]}"#), "{self:?}");
        assert_eq!(self.status == 401, self.body == UNAUTHORIZED, "{self:?}");
        let message = self.text("message");
        // Neither a type nor a library's words; a 403 repeats what was asked for, and so does one 400.
        let repeats = self.status == 403 || message.starts_with("unknown member");
        for word in ["::", "serde", "poem", "invalid type", "i64", "u64", "/src"] {
            assert!(repeats || !message.contains(word), "{self:?}");
        }
    }
}

/// JSON with all that stands in it: members that are there twice, in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// An integer without fraction and exponent.
    Integer(i128),
    /// Any other number.
    Number,
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads one value. None for what is no JSON, or nested too deep.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The members of an object, if none of them is there twice.
    #[must_use]
    pub fn members(&self) -> Option<BTreeMap<&str, &Self>> {
        let Self::Object(all) = self else { return None };
        let members: BTreeMap<_, _> = all.iter().map(|(name, value)| (name.as_str(), value)).collect();
        (members.len() == all.len()).then_some(members)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Json::Object(all))
    }
}
