//! Gets a token that is bound to a key (DPoP, RFC 9449), and calls an API that wants a proof beside it.
//!
//! ```sh
//! CLIENT_ID=shop CLIENT_SECRET=lps_… cargo run --locked --bin dpop
//! ```
//!
//! A stolen token is worth nothing without the key. The API asks lingpai about each request, which checks the token and
//! the proof, and remembers the proof; `python/dpop.py` beside it checks both offline.

use std::collections::HashMap;
use std::env;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp, jwk::Jwk};
use reqwest::{Client, Url};
use serde_json::{Value, json};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const AUDIENCE: &str = "https://orders.example.com";
const SCOPE: &str = "orders:read";
const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

static ISSUER: LazyLock<String> =
    LazyLock::new(|| env::var("ISSUER").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned()));
static TOKENS_URL: LazyLock<String> = LazyLock::new(|| env::var("TOKENS_URL").unwrap_or_else(|_| ISSUER.clone()));

// ---- The client

/// A key, and the proofs that it makes. The key may live as long as the process does.
struct Prover {
    key: EncodingKey,
    header: Header,
    /// By the host that gave it.
    nonces: HashMap<String, String>,
}

impl Prover {
    fn new() -> Result<Self> {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        let key = EncodingKey::from_ec_der(pair.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let header = Header { typ: Some("dpop+jwt".to_owned()), jwk: Some(jwk), ..Header::new(Algorithm::ES256) };
        Ok(Self { key, header, nonces: HashMap::new() })
    }

    /// A proof for one request. `url` is where the receiver believes that it is, without query.
    fn proof(&self, method: &str, url: &str, token: Option<&str>) -> Result<String> {
        let id: [u8; 16] = rand::generate(&SystemRandom::new())?.expose();
        let now = get_current_timestamp();
        let mut claims = json!({ "jti": URL_SAFE_NO_PAD.encode(id), "htm": method, "htu": url, "iat": now });
        if let Some(token) = token {
            claims["ath"] = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())).into();
        }
        if let Some(nonce) = self.nonces.get(&host(url)?) {
            claims["nonce"] = nonce.as_str().into();
        }
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }

    /// Every answer may have the nonce for the next proof. Whether it is another than before.
    fn learn(&mut self, url: &str, answer: &reqwest::Response) -> Result<bool> {
        let Some(nonce) = answer.headers().get(DPOP_NONCE) else { return Ok(false) };
        let nonce = nonce.to_str()?.to_owned();
        Ok(self.nonces.insert(host(url)?, nonce.clone()).is_none_or(|old| old != nonce))
    }
}

fn host(url: &str) -> Result<String> {
    Ok(Url::parse(url)?.origin().ascii_serialization())
}

async fn bound_token(http: &Client, prover: &mut Prover) -> Result<String> {
    let (id, secret) = (env::var("CLIENT_ID")?, env::var("CLIENT_SECRET")?);
    let form = format!("grant_type=client_credentials&scope={SCOPE}&audience={AUDIENCE}");
    // The proof is for the issuer's URL, wherever lingpai is reached.
    let url = format!("{}/oauth2/token", *ISSUER);
    loop {
        let request = http.post(format!("{}/oauth2/token", *TOKENS_URL)).basic_auth(&id, Some(&secret));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone());
        let answer = request.header(DPOP, prover.proof("POST", &url, None)?).send().await?;
        println!("POST /oauth2/token: {}", answer.status().as_u16());
        // Once more with the nonce that it wants, and has then told.
        if prover.learn(&url, &answer)? && answer.status() == StatusCode::BAD_REQUEST {
            continue;
        }
        if !answer.status().is_success() {
            return Err(format!("no token: {} {}", answer.status(), answer.text().await?).into());
        }
        let token: Value = answer.json().await?;
        if token["token_type"] != "DPoP" {
            return Err("the server binds no tokens".into());
        }
        return Ok(token["access_token"].as_str().ok_or("no token")?.to_owned());
    }
}

// ---- The API

struct Api {
    http: Client,
    /// Its own name, and not what the caller says in Host.
    origin: String,
}

impl Api {
    /// Lingpai's answer to what the caller presents: whether that is good for this very request.
    async fn ask(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<reqwest::Response> {
        let url = format!("{}{path}", self.origin);
        let query = [("audience", AUDIENCE), ("scope", SCOPE), ("htm", method.as_str()), ("htu", &url)];
        let mut request = self.http.get(Url::parse_with_params(&format!("{}/token", *TOKENS_URL), query)?);
        for name in [AUTHORIZATION, DPOP] {
            for value in headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        Ok(request.send().await?)
    }
}

async fn orders(State(api): State<&'static Api>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let Ok(answer) = api.ask(&method, uri.path(), &headers).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut response = match answer.status() {
        StatusCode::OK => Json(json!({ "orders": ["tea"] })).into_response(),
        status if status.is_client_error() => status.into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    // The challenges, and the nonce for the caller's next proof.
    for name in [WWW_AUTHENTICATE, DPOP_NONCE] {
        for value in answer.headers().get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

/// Serves the API. Where it is.
async fn serve(http: &Client) -> Result<String> {
    let port: u16 = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let api: &Api = Box::leak(Box::new(Api { http: http.clone(), origin: origin.clone() }));
    tokio::spawn(axum::serve(listener, Router::new().route("/orders", get(orders)).with_state(api)).into_future());
    Ok(format!("{origin}/orders"))
}

// ---- Both

#[tokio::main]
async fn main() -> Result<()> {
    let http = Client::builder().timeout(Duration::from_secs(10)).build()?;
    let url = serve(&http).await?;
    let (mut prover, mut thief) = (Prover::new()?, Prover::new()?);
    let token = bound_token(&http, &mut prover).await?;
    let call = async |scheme: &str, proof: &str| {
        let request = http.get(format!("{url}?page=2")).header(AUTHORIZATION, format!("{scheme} {token}"));
        request.header(DPOP, proof).send().await
    };
    // The API wants lingpai's nonce too, and tells it when it refuses the first proof.
    for one in [&mut prover, &mut thief] {
        let proof = one.proof("GET", &url, Some(&token))?;
        one.learn(&url, &call("DPoP", &proof).await?)?;
    }

    let proof = prover.proof("GET", &url, Some(&token))?;
    for (what, scheme, proof) in [
        ("the token and a proof", "DPoP", proof.clone()),
        ("the same proof again", "DPoP", proof),
        ("a proof for another method", "DPoP", prover.proof("POST", &url, Some(&token))?),
        ("a proof for another path", "DPoP", prover.proof("GET", &format!("{url}/7"), Some(&token))?),
        ("a proof by another key", "DPoP", thief.proof("GET", &url, Some(&token))?),
        ("as a bearer's token", "Bearer", prover.proof("GET", &url, Some(&token))?),
    ] {
        println!("{what}: {}", call(scheme, &proof).await?.status().as_u16());
    }
    Ok(())
}
