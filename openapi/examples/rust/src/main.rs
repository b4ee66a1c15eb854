//! Gets a token from lingpai, keeps it fresh, and calls an API that verifies it offline with the published keys.
//!
//! ```sh
//! CLIENT_ID=shop CLIENT_SECRET=lps_… cargo run --locked
//! ```
//!
//! `cargo run --locked -- api` only serves the API, and needs no secret. `ISSUER` is what tokens say in `iss`;
//! `TOKENS_URL` is where lingpai is reached, if not there; `PORT` is the API's.

use std::collections::{HashMap, HashSet};
use std::env;
use std::iter;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Mutex, RwLock};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const AUDIENCE: &str = "https://orders.example.com";
const SCOPE: &str = "orders:read";

static ISSUER: LazyLock<String> =
    LazyLock::new(|| env::var("ISSUER").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned()));
static TOKENS_URL: LazyLock<String> = LazyLock::new(|| env::var("TOKENS_URL").unwrap_or_else(|_| ISSUER.clone()));

// ---- The client

/// An access token for one audience that is always fresh.
struct Tokens {
    http: Client,
    audience: &'static str,
    held: Mutex<Option<Held>>,
}

struct Held {
    pair: TokenPair,
    renew_at: Timestamp,
}

#[derive(Deserialize)]
struct TokenPair {
    value: String,
    refresh: String,
    expire: Timestamp,
}

impl Tokens {
    fn new(http: &Client, audience: &'static str) -> Self {
        Self { http: http.clone(), audience, held: Mutex::default() }
    }

    /// Callers that come while a token is on its way wait for the lock, and find it.
    async fn get(&self) -> Result<String> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Timestamp::now() < held.renew_at) {
            return Ok(held.pair.value.clone());
        }
        let pair = self.renew(held.as_ref().map(|held| &held.pair)).await?;
        // Half a minute early, so that no request carries a token that ends on its way.
        let left = pair.expire.duration_since(Timestamp::now());
        let renew_at = pair.expire - (left / 2).min(SignedDuration::from_secs(30));
        Ok(held.insert(Held { pair, renew_at }).pair.value.clone())
    }

    async fn renew(&self, old: Option<&TokenPair>) -> Result<TokenPair> {
        if let Some(old) = old {
            let refresh = format!("Token {}", old.refresh);
            // A refused refresh token only says that the session has ended: begin another.
            if let Some(pair) = self.request(Method::PUT, |put| put.header(AUTHORIZATION, refresh)).await? {
                return Ok(pair);
            }
        }
        let (id, secret) = (env::var("CLIENT_ID")?, env::var("CLIENT_SECRET")?);
        let body = json!({ "audience": [self.audience], "scope": [SCOPE] });
        let pair = self.request(Method::POST, |post| post.basic_auth(id, Some(secret)).json(&body)).await?;
        pair.ok_or_else(|| "the secret is refused".into())
    }

    /// Nothing where the credentials are refused.
    async fn request(
        &self,
        method: Method,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Option<TokenPair>> {
        let url = format!("{}/token", *TOKENS_URL);
        let response = with(self.http.request(method.clone(), url)).send().await?;
        println!("{method} /token: {}", response.status().as_u16());
        if response.status() == StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        if !response.status().is_success() {
            return Err(format!("no token: {} {}", response.status(), response.text().await?).into());
        }
        Ok(Some(response.json().await?))
    }
}

// ---- The API

/// The shortest time between two fetches of the same.
const PAUSE: Duration = Duration::from_secs(5);

/// lingpai's public keys, for as long as its `Cache-Control` says.
struct Keys {
    http: Client,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<String, DecodingKey>,
    fresh_until: Option<Instant>,
    fetch_at: Option<Instant>,
}

enum Refusal {
    NoToken,
    Invalid,
    Scope,
    /// Without keys, or a list that there should be, nothing can be said about the token.
    Unavailable,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    scope: String,
    iat: i64,
    jti: String,
    client_id: String,
    sid: Option<String>,
    #[serde(flatten)]
    actor: Actor,
}

/// What a token is about, or what acts for it.
#[derive(Deserialize)]
struct Actor {
    sub: String,
    act: Option<Box<Actor>>,
}

impl Keys {
    async fn key(&self, id: &str) -> Result<DecodingKey, Refusal> {
        let mut cache = self.cache.lock().await;
        let now = Instant::now();
        let stale = |cache: &Cache| cache.fresh_until.is_none_or(|until| Instant::now() >= until);
        // An unknown key may be a new one, but made-up ids must not cause a fetch each time.
        if (stale(&cache) || !cache.keys.contains_key(id)) && cache.fetch_at.is_none_or(|at| now >= at) {
            cache.fetch_at = Some(now + PAUSE);
            let (keys, age) = self.fetch().await.map_err(|_| Refusal::Unavailable)?;
            cache.keys = keys;
            cache.fresh_until = Some(Instant::now() + age);
        }
        if stale(&cache) {
            return Err(Refusal::Unavailable);
        }
        cache.keys.get(id).cloned().ok_or(Refusal::Invalid)
    }

    async fn fetch(&self) -> Result<(HashMap<String, DecodingKey>, Duration)> {
        let url = format!("{}/.well-known/jwks.json", *TOKENS_URL);
        let response = self.http.get(url).send().await?.error_for_status()?;
        let age = fresh_for(&response);
        let set: JwkSet = response.json().await?;
        let keys =
            set.keys.iter().filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)));
        Ok((keys.collect(), age))
    }

    /// The claims of a JWT of this type that lingpai signed.
    async fn decode<C: DeserializeOwned>(&self, token: &str, typ: &str, audience: Option<&str>) -> Result<C, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid)?;
        // With another `typ`, other tokens of the same issuer would do.
        if header.typ.as_deref() != Some(typ) {
            return Err(Refusal::Invalid);
        }
        let key = self.key(header.kid.as_deref().unwrap_or_default()).await?;
        // The algorithm is the one that this service was told to expect, never what the token says.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.set_issuer(&[ISSUER.as_str()]);
        if let Some(audience) = audience {
            validation.required_spec_claims.insert("aud".to_owned());
            validation.set_audience(&[audience]);
        }
        validation.leeway = 5;
        Ok(jsonwebtoken::decode(token, &key, &validation).map_err(|_| Refusal::Invalid)?.claims)
    }

    async fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        self.decode(token, "at+jwt", Some(AUDIENCE)).await
    }
}

/// What lingpai has revoked, where it publishes a list.
struct Revocations {
    keys: Arc<Keys>,
    held: RwLock<List>,
}

#[derive(Deserialize, Default)]
struct List {
    exp: u64,
    revoked: Revoked,
}

#[derive(Deserialize, Default)]
struct Revoked {
    jti: HashSet<String>,
    session: HashSet<String>,
    client: HashMap<String, i64>,
    subject: HashMap<String, i64>,
}

impl Revocations {
    /// Keeps the list fresh beside the requests, so that none waits for it.
    async fn follow(self: Arc<Self>, mut pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            pause = self.renew().await;
        }
    }

    /// Fetches the list, and says after how long to do so again.
    async fn renew(&self) -> Duration {
        match self.fetch().await {
            Ok((list, again)) => {
                *self.held.write().await = list;
                again
            }
            Err(error) => {
                eprintln!("no revocations: {error}"); // the list at hand is good until its `exp`
                PAUSE
            }
        }
    }

    async fn fetch(&self) -> Result<(List, Duration)> {
        let minute = Duration::from_secs(60);
        let response = self.keys.http.get(format!("{}/.well-known/revocations", *TOKENS_URL)).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok((List { exp: u64::MAX, ..List::default() }, minute)); // none is published
        }
        let response = response.error_for_status()?;
        let again = fresh_for(&response).min(minute);
        let list = self.keys.decode(&response.text().await?, "revocations+jwt", None).await;
        Ok((list.map_err(|_| "the list is not signed as it should be, or it is too old")?, again))
    }

    /// Refuses a token that has been revoked.
    async fn check(&self, token: &Claims) -> Result<(), Refusal> {
        let List { exp, revoked } = &*self.held.read().await;
        if jsonwebtoken::get_current_timestamp() >= *exp {
            return Err(Refusal::Unavailable);
        }
        // `sid` is the second in which the session began, a dot and an id. A refresh makes no token older.
        let began = match token.sid.as_deref().and_then(|sid| sid.split_once('.')) {
            Some((second, _)) => second.parse().map_err(|_| Refusal::Invalid)?,
            None => token.iat,
        };
        let subjects = iter::successors(Some(&token.actor), |actor| actor.act.as_deref()).map(|actor| &actor.sub);
        let early = subjects.chain([&token.client_id]).any(|name| {
            [&revoked.client, &revoked.subject].into_iter().filter_map(|of| of.get(name)).any(|before| began < *before)
        });
        let named =
            revoked.jti.contains(&token.jti) || token.sid.as_ref().is_some_and(|id| revoked.session.contains(id));
        if early || named { Err(Refusal::Invalid) } else { Ok(()) }
    }
}

/// How long an answer may be kept.
fn fresh_for(response: &reqwest::Response) -> Duration {
    let control = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let age = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(age.unwrap_or(0)).max(PAUSE)
}

async fn orders(State(revocations): State<Arc<Revocations>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(Refusal::NoToken)?;
    let (_, token) =
        header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).ok_or(Refusal::NoToken)?;
    let claims = revocations.keys.verify(token).await?;
    revocations.check(&claims).await?;
    if !claims.scope.split(' ').any(|scope| scope == SCOPE) {
        return Err(Refusal::Scope);
    }
    Ok(Json(json!({ "orders": ["tea"] })).into_response())
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, challenge) = match self {
            Refusal::NoToken => (StatusCode::UNAUTHORIZED, "Bearer"),
            Refusal::Invalid => (StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
            Refusal::Scope => (StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\""),
            Refusal::Unavailable => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        };
        (status, [(WWW_AUTHENTICATE, challenge)]).into_response()
    }
}

// ---- Both

async fn call(http: &Client, url: &str, tokens: &Tokens) -> Result<u16> {
    Ok(http.get(url).bearer_auth(tokens.get().await?).send().await?.status().as_u16())
}

#[tokio::main]
async fn main() -> Result<()> {
    let http = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let port: u16 = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}/orders", listener.local_addr()?);
    println!("API at {url}");
    let keys = Arc::new(Keys { http: http.clone(), cache: Mutex::default() });
    let revocations = Arc::new(Revocations { keys, held: RwLock::default() });
    tokio::spawn(Arc::clone(&revocations).follow(revocations.renew().await));
    let api = axum::serve(listener, Router::new().route("/orders", get(orders)).with_state(revocations));
    if env::args().nth(1).as_deref() == Some("api") {
        return Ok(api.await?);
    }
    tokio::spawn(api.into_future());

    let tokens = Tokens::new(&http, AUDIENCE);
    for round in 0..3 {
        if round > 0 {
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
        let (one, other) = tokio::try_join!(call(&http, &url, &tokens), call(&http, &url, &tokens))?;
        println!("two callers at once: {one} {other}");
    }
    let elsewhere = Tokens::new(&http, "https://billing.example.com");
    println!("a token for another API: {}", call(&http, &url, &elsewhere).await?);
    Ok(())
}
