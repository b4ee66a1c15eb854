//! The service's side: tokens that are bound, proofs at `/oauth2/token` and at `GET /token`. Each test quotes the
//! sentence that it asks about.

use std::sync::atomic::{AtomicU32, Ordering};

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use super::{Prover, claims, hash};
use crate::app::{Answer, BASIC, DPOP, ISSUER, SECRET, START, TOKEN, TestApp, basic, quiet, segment, standard};
use crate::forge::{Forge, claims as token_claims};
use crate::home::Home;

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

/// "a client may still bind a token by a DPoP proof … `cnf` has exactly one member. The refresh token remembers only that
/// its session is bound and how"
#[test]
fn a_proof_binds_a_token_to_its_key() {
    let app = start();
    for prover in Prover::all() {
        let answer = ask_proved(&app, "orders", CLIENT_CREDENTIALS, &prover);
        assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "DPoP"), "{answer:?}");
        let access = segment(&answer.text("access_token"), 1);
        assert_eq!(access["cnf"], json!({"jkt": prover.thumbprint}));
        let refresh = segment(&answer.text("refresh_token"), 1);
        assert_eq!((&refresh["sender"], refresh.get("cnf")), (&json!("dpop"), None));
        assert!(!refresh.to_string().contains(&prover.thumbprint), "{refresh}");
        answer.nonce();
    }
    let plain = ask(&app, "orders", CLIENT_CREDENTIALS, &[]);
    assert_eq!((plain.status, plain.text("token_type").as_str()), (200, "Bearer"));
    assert_eq!(segment(&plain.text("access_token"), 1).get("cnf"), None);
    assert_eq!(segment(&plain.text("refresh_token"), 1).get("sender"), None);
    assert_eq!(plain.header("dpop-nonce"), None);
    assert_eq!(app.metric("lingpai_dpop_proofs_total"), 3);
}

/// "refresh needs a proof or certificate, by any key, and the new access token carries that one"
#[test]
fn a_bound_session_goes_on_with_a_proof_by_any_key() {
    let app = start();
    let [first, second, _] = Prover::all();
    let refresh = ask_proved(&app, "orders", CLIENT_CREDENTIALS, &first).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
    let answer = ask_proved(&app, "orders", &form, &second);
    assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "DPoP"), "{answer:?}");
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": second.thumbprint}));
    let form = format!("grant_type=refresh_token&refresh_token={}", answer.text("refresh_token"));
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");

    // A session that is not bound can be bound, and is from then on.
    let refresh = ask(&app, "orders", CLIENT_CREDENTIALS, &[]).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let answer = ask_proved(&app, "orders", &form, &first);
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": first.thumbprint}));
    let form = format!("grant_type=refresh_token&refresh_token={}", answer.text("refresh_token"));
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
}

/// "A proof's (client, `jkt`, `jti`) is refused when seen again: checked and entered in one step, after everything else
/// about the request, nonce included, holds"
#[test]
fn a_proof_is_good_once_and_not_used_up_by_a_refusal() {
    let app = start();
    let [first, second, _] = Prover::all();
    let claims = fresh("POST", TOKEN_URL);
    let line = header_line(&first, &claims);
    ask(&app, "orders", "grant_type=client_credentials&scope=never", &[&line]).assert_refused("invalid_scope").nonce();
    let wrong_nonce = header_line(&first, &with(claims.clone(), "nonce", json!("wrong")));
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&wrong_nonce]).assert_refused("use_dpop_nonce");
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).status, 200);
    let replay = ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]);
    assert_eq!(
        replay.assert_refused("invalid_dpop_proof").json()["error_description"],
        "DPoP must be one proof, made for this request and not used before"
    );
    // Another signature over the same `jti` is the same proof; another key or client is another.
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&first, &claims)]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&second, &claims)]).status, 200);
    assert_eq!(ask(&app, "bound", CLIENT_CREDENTIALS, &[&line]).status, 200);
    app.at(60);
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).assert_refused("invalid_dpop_proof");
    app.at(61);
    let later = header_line(&first, &with(claims, "iat", json!(START + 61)));
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&later]).status, 200);
    assert_eq!(app.metric("lingpai_dpop_proofs_total{result=\"replayed\"}"), 3);
}

/// "`invalid_dpop_proof` [is] 400 without a challenge at the token endpoint"; "`htu` is compared with the issuer's URL,
/// never with Host"
#[test]
fn a_proof_for_another_request_is_refused_at_the_token_endpoint() {
    let app = start();
    let prover = Prover::es256();
    for (method, url) in [
        ("GET", TOKEN_URL.to_owned()),
        ("POST", format!("{ISSUER}/token")),
        ("POST", format!("{ISSUER}/oauth2/introspect")),
        ("POST", format!("http://{}/oauth2/token", app.address)),
    ] {
        let line = header_line(&prover, &fresh(method, &url));
        ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).assert_refused("invalid_dpop_proof");
    }
    let line = header_line(&prover, &fresh("POST", TOKEN_URL));
    for lines in [&["DPoP: x"][..], &["DPoP:"], &[&line, &line], &[&line, "DPoP: x"], &["DPoP: é"]] {
        ask(&app, "orders", CLIENT_CREDENTIALS, lines).assert_refused("invalid_dpop_proof");
    }
    // Who the client is comes first, and a proof says nothing about that.
    let lines = [FORM, &basic("orders", "wrong"), &line];
    let answer = app.send("POST", "/oauth2/token", &lines, CLIENT_CREDENTIALS);
    assert_eq!((answer.status, answer.all("www-authenticate")), (401, BASIC.to_vec()), "{answer:?}");
    assert_eq!(answer.header("dpop-nonce"), None);
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).status, 200);
    let old = header_line(&prover, &with(fresh("POST", TOKEN_URL), "iat", json!(START - 61)));
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&old]).assert_refused("invalid_dpop_proof");
}

/// "`[dpop] nonce` = "required", "offered" (default) or "off""; "Every answer to a good proof carries `DPoP-Nonce` unless
/// off. `use_dpop_nonce` … [is] 400 without a challenge at the token endpoint"
#[test]
fn nonces_are_required_offered_or_off() {
    let prover = Prover::es256();
    let ask_at = |app: &TestApp, seconds: i64, nonce: Option<Value>| {
        let claims = with(fresh("POST", TOKEN_URL), "iat", json!(START + seconds));
        let claims = nonce.map_or(claims.clone(), |nonce| with(claims, "nonce", nonce));
        ask(app.at(seconds), "orders", CLIENT_CREDENTIALS, &[&header_line(&prover, &claims)])
    };
    let required = start_with("[dpop]\nnonce = \"required\"");
    let refused = ask_at(&required, 0, None);
    let nonce = refused.assert_refused("use_dpop_nonce").nonce();
    assert_eq!(nonce, "ZEeAyJO9_uavTttFc6y9n2APhY5P3v8l2kISK4VcmsA", "a known answer, which no release changes");
    assert_eq!(ask_at(&required, 0, Some(nonce.clone())).status, 200);
    assert_eq!(ask_at(&required, 119, Some(nonce.clone())).status, 200);
    let newer = ask_at(&required, 120, Some(nonce.clone())).assert_refused("use_dpop_nonce").nonce();
    assert_ne!(newer, nonce);
    assert_eq!(ask_at(&required, 120, Some(newer.clone())).nonce(), newer);
    ask_at(&required, 120, Some(json!(7))).assert_refused("invalid_dpop_proof");
    // No proof, no nonce: it would not help.
    assert_eq!(ask(&required, "orders", CLIENT_CREDENTIALS, &[]).header("dpop-nonce"), None);
    // A replica with the same keys knows it, and is not asked.
    let other = start_with("[dpop]\nnonce = \"required\"");
    assert_eq!(ask_at(&other, 60, Some(newer.clone())).status, 200);
    let eddsa = configuration("[dpop]\nnonce = \"required\"").replacen("[token]", "[token]\nalgorithm = \"EdDSA\"", 1);
    let stranger = TestApp::with(&eddsa, &["2026-01-01T00-00-00Z.eddsa.pem"]);
    ask_at(&stranger, 120, Some(newer)).assert_refused("use_dpop_nonce");

    let offered = start();
    let answer = ask_at(&offered, 0, None);
    assert_eq!((answer.status, answer.nonce()), (200, nonce.clone()));
    assert_eq!(ask_at(&offered, 0, Some(nonce.clone())).status, 200);
    ask_at(&offered, 0, Some(json!("wrong"))).assert_refused("use_dpop_nonce").nonce();

    let off = start_with("[dpop]\nnonce = \"off\"");
    for nonce in [None, Some(json!("wrong"))] {
        let answer = ask_at(&off, 0, nonce);
        assert_eq!((answer.status, answer.header("dpop-nonce")), (200, None));
    }
}

/// "accepted under every key of the token table"
#[test]
fn a_nonce_outlives_the_key_that_made_it() {
    let app = start_with("[dpop]\nnonce = \"required\"");
    let prover = Prover::es256();
    let line = |seconds: i64, nonce: Value| {
        let claims = with(fresh("POST", TOKEN_URL), "iat", json!(START + seconds));
        header_line(&prover, &with(claims, "nonce", nonce))
    };
    let nonce =
        ask(&app, "orders", CLIENT_CREDENTIALS, &[&line(0, json!("x"))]).assert_refused("use_dpop_nonce").nonce();
    app.add_key(30);
    app.reconfigure(&configuration("[dpop]\nnonce = \"required\""));
    let answer = ask(app.at(31), "orders", CLIENT_CREDENTIALS, &[&line(31, nonce.clone())]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.nonce(), nonce);
}

/// "`ath` required at `GET /token`"; "a token with `cnf.jkt` under `Bearer` or `Token`, and one without it under `DPoP`,
/// is 401"
#[test]
fn a_bound_token_is_good_beside_a_proof_by_its_key_alone() {
    let app = start();
    let [first, second, _] = Prover::all();
    let token = bound_token(&app, &first);
    let answer = inspect(&app, &token, "", &first, &fresh_for(&token));
    assert_eq!((answer.status, answer.text("client").as_str()), (200, "orders"), "{answer:?}");
    answer.nonce();
    for scheme in ["Bearer", "Token", "Toekn"] {
        let lines = [format!("Authorization: {scheme} {token}"), header_line(&first, &fresh_for(&token))];
        app.send("GET", "/token", &lines.each_ref().map(String::as_str), "").assert_invalid_token(None);
        app.send("GET", "/token", &[&lines[0]], "").assert_invalid_token(None);
    }
    inspect(&app, &token, "", &second, &fresh_for(&token)).assert_invalid_token(None);
    let unbound = app.create("").text("value");
    inspect(&app, &unbound, "", &first, &fresh_for(&unbound)).assert_invalid_token(None);
    let lines = [format!("Authorization: dPoP {token}"), header_line(&first, &fresh_for(&token))];
    assert_eq!(app.send("GET", "/token", &lines.each_ref().map(String::as_str), "").status, 200);
    let proof = with(fresh_for(&token), "htm", json!("HEAD"));
    let lines = [format!("Authorization: DPoP {token}"), header_line(&first, &proof)];
    let answer = app.send("HEAD", "/token", &lines.each_ref().map(String::as_str), "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// "`invalid_dpop_proof` [is] … 401 with a `DPoP` challenge at `/token`, whose challenges gain a third line, `DPoP
/// algs="…"`"
#[test]
fn a_proof_that_is_not_good_is_refused_at_token() {
    let app = start();
    let prover = Prover::es256();
    let token = bound_token(&app, &prover);
    let good = fresh_for(&token);
    for (name, value) in [
        ("ath", json!(hash("another"))),
        ("ath", Value::Null),
        ("htm", json!("POST")),
        ("htm", json!("HEAD")),
        ("htu", json!(TOKEN_URL)),
        ("iat", json!(START - 61)),
        ("jti", json!("")),
    ] {
        inspect(&app, &token, "", &prover, &with(good.clone(), name, value)).assert_unproved("invalid_dpop_proof");
    }
    let authorization = format!("Authorization: DPoP {token}");
    let line = header_line(&prover, &good);
    for lines in [&[][..], &["DPoP: x"], &[&line, &line]] {
        let lines = [&[authorization.as_str()], lines].concat();
        app.send("GET", "/token", &lines, "").assert_unproved("invalid_dpop_proof");
    }
    let refused = inspect(&app, &token, "", &prover, &with(good.clone(), "nonce", json!("x")));
    refused.assert_unproved("use_dpop_nonce");
    let nonce = refused.nonce();
    // What is refused for another reason uses no proof up.
    let forbidden = inspect(&app, &token, "?scope=never", &prover, &good);
    let challenges = TOKEN.map(|scheme| format!("{scheme}, error=\"insufficient_scope\""));
    assert_eq!(
        (forbidden.status, forbidden.all("www-authenticate")),
        (403, challenges.each_ref().map(String::as_str).to_vec())
    );
    assert_eq!(forbidden.nonce(), nonce);
    let elsewhere = inspect(&app, &token, "?audience=x", &prover, &good);
    elsewhere.assert_invalid_token(Some("the token is for another audience"));
    assert_eq!(inspect(&app, &token, "", &prover, &good).status, 200);
    inspect(&app, &token, "", &prover, &good).assert_unproved("invalid_dpop_proof");
    // The token itself speaks first.
    inspect(app.at(605), &token, "", &prover, &good).assert_invalid_token(Some("the token has expired"));
}

/// "the proof is checked for this very request, or for the one that the query names, `htm` and `htu` (both or none), so
/// that a reverse proxy can ask"
#[test]
fn a_proxy_asks_about_the_request_that_it_received() {
    let app = start();
    let prover = Prover::es256();
    let token = bound_token(&app, &prover);
    let api = "https://api.example.com/orders/7";
    let query = "?htm=DELETE&htu=https%3A%2F%2Fapi.example.com%2Forders%2F7%3Fx%3D1&scope=orders:read";
    let proof = |method: &str, url: &str| with(fresh(method, url), "ath", json!(hash(&token)));
    assert_eq!(inspect(&app, &token, query, &prover, &proof("DELETE", api)).status, 200);
    for (method, url) in [
        ("GET", api),
        ("DELETE", "https://api.example.com/orders/8"),
        ("DELETE", "https://other.example.com/orders/7"),
        ("GET", "https://tokens.example.com/token"),
    ] {
        inspect(&app, &token, query, &prover, &proof(method, url)).assert_unproved("invalid_dpop_proof");
    }
    let used = proof("DELETE", api);
    assert_eq!(inspect(&app, &token, query, &prover, &used).status, 200);
    inspect(&app, &token, query, &prover, &used).assert_unproved("invalid_dpop_proof");
    // A proxy asks in one way, however the token comes.
    let unbound = app.create("").text("value");
    assert_eq!(app.inspect(&unbound, query).status, 200);
    app.inspect(&token, query).assert_invalid_token(None);
    for (wrong, says) in [
        ("?htm=GET", "htm and htu must be there together"),
        ("?htu=https://a.example/", "htm and htu must be there together"),
        ("?htm=GET&htm=GET&htu=https://a.example/", "at most once"),
        ("?htm=GET&htu=https://a.example/&htu=https://a.example/", "at most once"),
        ("?htm=&htu=https://a.example/", "htm must be the method"),
        ("?htm=G%20T&htu=https://a.example/", "htm must be the method"),
        ("?htm=GET&htu=", "htu must be the URL"),
        ("?htm=GET&htu=/orders", "htu must be the URL"),
        ("?htm=GET&htu=ftp://a.example/", "htu must be the URL"),
    ] {
        app.inspect(&unbound, wrong).assert_says(400, "BadRequest", says);
    }
}

/// "A `DPoP` header on POST or PUT `/token` is 400."
#[test]
fn natively_nothing_is_bound() {
    let app = start();
    let prover = Prover::es256();
    let line = header_line(&prover, &fresh("POST", "https://tokens.example.com/token"));
    let refresh = app.create("").text("refresh");
    for (method, authorization) in
        [("POST", basic("orders", SECRET)), ("PUT", format!("Authorization: Token {refresh}"))]
    {
        for proof in [&line, "DPoP: x"] {
            app.send(method, "/token", &[&authorization, proof], "").assert_says(400, "BadRequest", "DPoP must not");
        }
    }
    // Nor is a refresh token presented beside a proof.
    app.send("PUT", "/token", &[&format!("Authorization: DPoP {refresh}")], "").assert_invalid_token(None);
    // A session of the other dialect is not continued here, bound or not.
    let bound = ask_proved(&app, "orders", CLIENT_CREDENTIALS, &prover).text("refresh_token");
    app.refresh(&bound, "").assert_invalid_token(None);
}

/// "A token with `cnf.jkt` is active with `token_type` `DPoP`: the caller checks the proof."
#[test]
fn introspection_says_whom_a_token_is_bound_to() {
    let app = start();
    let prover = Prover::es256();
    let told = |token: &str| {
        app.send("POST", "/oauth2/introspect", &[FORM, &basic("orders", SECRET)], &format!("token={token}")).json()
    };
    let bound = told(&bound_token(&app, &prover));
    assert_eq!((&bound["active"], &bound["token_type"]), (&json!(true), &json!("DPoP")));
    assert_eq!(bound["cnf"], json!({"jkt": prover.thumbprint}));
    let plain = told(&app.create("").text("value"));
    assert_eq!((&plain["active"], &plain["token_type"], plain.get("cnf")), (&json!(true), &json!("Bearer"), None));
    let certified = Forge::es256().sign_payload(
        Purpose::Access,
        token_claims(Purpose::Access).with("cnf", format!(r#"{{"x5t#S256":"{THUMBPRINT}"}}"#)).to_string(),
    );
    let certified_told = told(&certified);
    assert_eq!((&certified_told["active"], &certified_told["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(certified_told["cnf"], json!({"x5t#S256": THUMBPRINT}));
    // "One with `cnf.x5t#S256` … needs its certificate, else 401".
    app.inspect(&certified, "").assert_invalid_token(None);
    inspect(&app, &certified, "", &prover, &fresh_for(&certified)).assert_invalid_token(None);
}

/// "`sender = "dpop"` or `"mtls"` on a client: it gets no other tokens, and none natively (403)"; "`sender` as it is now
/// holds at refresh"
#[test]
fn a_client_with_a_sender_gets_no_other_tokens() {
    let app = start();
    let prover = Prover::es256();
    ask(&app, "bound", CLIENT_CREDENTIALS, &[]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask_proved(&app, "bound", CLIENT_CREDENTIALS, &prover).text("token_type"), "DPoP");
    let says = "bound to their sender; get them at /oauth2/token";
    for id in ["bound", "certified"] {
        app.create_as(id, SECRET, "").assert_says(403, "Forbidden", says);
    }
    ask(&app, "certified", CLIENT_CREDENTIALS, &[]).assert_refused("invalid_request");
    let answer = ask_proved(&app, "certified", CLIENT_CREDENTIALS, &prover);
    assert!(answer.assert_refused("invalid_request").text("error_description").contains("leave DPoP out"));

    // Sessions that began before the setting.
    let native = app.create("").text("refresh");
    let refresh = ask(&app, "orders", CLIENT_CREDENTIALS, &[]).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let stricter = configuration("").replacen("id = \"orders\"", "id = \"orders\"\nsender = \"dpop\"", 1);
    app.reconfigure(&stricter);
    app.refresh(&native, "").assert_says(403, "Forbidden", says);
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask_proved(&app, "orders", &form, &prover).status, 200);
    app.reconfigure(&stricter.replacen("sender = \"dpop\"", "sender = \"mtls\"", 1));
    ask_proved(&app, "orders", &form, &prover).assert_refused("invalid_request");
}

/// Metadata: "algorithms and methods listed are exactly those that work".
#[test]
fn metadata_list_the_algorithms_of_proofs() {
    let app = start();
    let metadata = app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
    let listed = json!(["ES256", "EdDSA", "Ed25519", "PS256", "RS256"]);
    assert_eq!(metadata["dpop_signing_alg_values_supported"], listed);
}

/// "`check` warns of a client that could not get a token any more".
#[test]
fn check_warns_of_a_client_that_could_not_get_a_token_any_more() {
    let home = Home::standard();
    let check = |lines: &str| {
        home.write("lingpai.toml", &quiet().replacen("id = \"orders\"", &format!("id = \"orders\"\n{lines}"), 1));
        home.run(&["check"]).assert(0).err.clone()
    };
    assert_eq!(check("sender = \"dpop\""), "");
    assert_eq!(check("sender = \"dpop\"\ngrants = [\"refresh_token\", \"client_credentials\"]"), "");
    for grants in ["[]", "[\"refresh_token\"]"] {
        let said = check(&format!("sender = \"dpop\"\ngrants = {grants}"));
        assert!(said.starts_with("lingpai: warning: client orders: sender: the client can get no token"), "{said}");
    }
    let said = check("sender = \"mtls\"");
    assert!(said.starts_with("lingpai: warning: client orders: sender = \"mtls\": no token can be got"), "{said}");
    home.write("lingpai.toml", &quiet().replacen("id = \"orders\"", "id = \"orders\"\nsender = \"DPoP\"", 1));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:", "expected \"dpop\" or \"mtls\""]);
    home.write("lingpai.toml", &quiet().replacen("[token]", "[dpop]\nnonce = \"always\"\n[token]", 1));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:", "expected \"required\", \"offered\" or \"off\""]);
}
