//! Bound tokens and their proofs at `/token` and in introspection (RFC 9449 §7).

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use super::{
    CLIENT_CREDENTIALS, FORM, THUMBPRINT, TOKEN_URL, ask_proved, bound_token, fresh, fresh_for, header_line, inspect,
    start, with,
};
use crate::app::{SECRET, START, TOKEN, basic};
use crate::dpop::{Prover, hash};
use crate::forge::{Forge, claims as token_claims};

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
        ("?htm=GET", "htm and htu must be sent together"),
        ("?htu=https://a.example/", "htm and htu must be sent together"),
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
            app.send(method, "/token", &[&authorization, proof], "").assert_says(
                400,
                "BadRequest",
                "DPoP is not accepted here",
            );
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
