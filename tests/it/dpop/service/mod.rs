//! The service's side: tokens that are bound, proofs at `/oauth2/token` and at `GET /token`. Each test quotes the
//! sentence that it asks about.

mod bound_tokens;
mod flood;
mod nonces;
mod token_endpoint;

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Prover, claims, hash};
use crate::app::{Answer, DPOP, SECRET, TOKEN, TestApp, basic, standard};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";
const TOKEN_URL: &str = "https://tokens.example.com/oauth2/token";
const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// `orders` may bind its tokens, `bound` must.
fn configuration(dpop: &str) -> String {
    let grants = "grants = [\"client_credentials\", \"refresh_token\"]";
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    let standard = standard().replacen("id = \"orders\"", &format!("id = \"orders\"\n{grants}"), 1);
    let dpop = standard.replacen("[token]", &format!("{dpop}\n[token]"), 1);
    format!(
        "{dpop}\n[[clients]]\nid = \"bound\"\nsecrets = [\"{digest}\"]\nscope = [\"a\", \"b\"]\n{grants}\nsender = \"dpop\"\n\
         [[clients]]\nid = \"certified\"\nsecrets = [\"{digest}\"]\n{grants}\nsender = \"mtls\"\n"
    )
}

fn start_with(dpop: &str) -> TestApp {
    TestApp::with(&configuration(dpop), &["2026-01-01T00-00-00Z.es256.pem"])
}

fn start() -> TestApp {
    start_with("")
}

/// The claims of a proof that nobody has seen, for a request of this method to this URL.
fn fresh(method: &str, url: &str) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    claims(&json!({"jti": id, "htm": method, "htu": url}))
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn header_line(prover: &Prover, claims: &Value) -> String {
    format!("DPoP: {}", prover.sign(&prover.header(), claims))
}

/// `POST /oauth2/token` by HTTP Basic, with these more header lines.
fn ask(app: &TestApp, client: &str, form: &str, more: &[&str]) -> Answer {
    app.send("POST", "/oauth2/token", &[&[FORM, &basic(client, SECRET)], more].concat(), form)
}

/// The same with a new proof.
fn ask_proved(app: &TestApp, client: &str, form: &str, prover: &Prover) -> Answer {
    ask(app, client, form, &[&header_line(prover, &fresh("POST", TOKEN_URL))])
}

/// An access token of `orders` that is bound to the prover's key.
fn bound_token(app: &TestApp, prover: &Prover) -> String {
    ask_proved(app, "orders", CLIENT_CREDENTIALS, prover).text("access_token")
}

/// The claims of a new proof for `GET /token` with this token.
fn fresh_for(token: &str) -> Value {
    with(fresh("GET", "https://tokens.example.com/token"), "ath", json!(hash(token)))
}

/// `GET /token` under `DPoP`.
fn inspect(app: &TestApp, token: &str, query: &str, prover: &Prover, claims: &Value) -> Answer {
    let lines = [&format!("Authorization: DPoP {token}"), &header_line(prover, claims)];
    app.send("GET", &format!("/token{query}"), &lines.map(String::as_str), "")
}

impl Answer {
    /// Asserts a 400 of the token endpoint, without a challenge.
    #[track_caller]
    fn assert_refused(&self, error: &str) -> &Self {
        assert_eq!((self.status, self.json()["error"].as_str()), (400, Some(error)), "{self:?}");
        assert_eq!(self.all("www-authenticate"), [""; 0], "{self:?}");
        self
    }

    /// Asserts the 401 of a proof that is not accepted.
    #[track_caller]
    fn assert_unproved(&self, error: &str) {
        let [bearer, token, _] = TOKEN;
        self.assert_unauthorized(&[&format!("{DPOP}, error=\"{error}\""), bearer, token]);
    }

    #[track_caller]
    fn nonce(&self) -> Value {
        json!(self.header("dpop-nonce").unwrap_or_else(|| panic!("no nonce: {self:?}")))
    }
}
