//! Credentials, and anonymous tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lingpai::clients::SecretDigest;
use serde_json::json;

use super::{KEYS, bare, claims, post};
use crate::app::{BASIC, SECRET, START, TestApp, basic, edited};

#[test]
fn credentials_stand_in_the_header_or_in_the_body() {
    let app = TestApp::start();
    let encoded = STANDARD.encode(format!("orders:{SECRET}"));
    for scheme in ["Basic", "basic", "BASIC"] {
        let answer = post(&app, &format!("Authorization: {scheme} {encoded}"), "{}");
        assert_eq!(claims(&answer)["client_id"], "orders", "{scheme}");
    }
    let members = json!({"client_id": "orders", "client_secret": SECRET, "scope": ["orders:read"]}).to_string();
    assert_eq!(claims(&bare(&app, &members))["client_id"], "orders");

    let only = |name: &str| json!({name: "orders"}).to_string();
    bare(&app, &only("client_id")).assert_says(400, "BadRequest", "client_secret is required");
    bare(&app, &only("client_secret")).assert_says(400, "BadRequest", "client_id is required");

    // Together they are 400, whichever is good, and even if the header is malformed.
    for header in [&basic("orders", SECRET), &basic("orders", "wrong"), "Authorization: Basic ?", "Authorization: x"] {
        for body in [&members, &only("client_id"), &only("client_secret")] {
            post(&app, header, body).assert_says(400, "BadRequest", "client_id");
        }
    }
}

/// The standard configuration gives anonymous tokens, and none of these gets one.
#[test]
fn a_malformed_authorization_is_never_anonymous() {
    let app = TestApp::start();
    let good = STANDARD.encode(format!("orders:{SECRET}"));
    let values = [
        String::new(),
        "Basic".into(),
        "Basic ".into(),
        "Basic ?".into(),
        "Basic \u{e9}".into(),
        "Basic Og".into(),
        format!("Basic {}", STANDARD.encode("orders")),
        format!("Basic {}", good.trim_end_matches('=').get(..good.len() - 3).unwrap()),
        format!("Basic {good}="),
        format!("Basic {good}, Basic {good}"),
        format!("Basic {good} {good}"),
        format!("Basic\t{good}"),
        format!("Basic={good}"),
        format!("Basic:{good}"),
        format!("Basic \"{good}\""),
        format!("Basic {}", STANDARD.encode([&b"\xff\xfe:"[..], SECRET.as_bytes()].concat())),
        good.clone(),
        format!("Bearer {good}"),
        format!("Token {good}"),
        format!("orders:{SECRET}"),
        format!("Basic orders:{SECRET}"),
        "Negotiate".into(),
        "Digest username=\"orders\"".into(),
    ];
    for value in values {
        for body in ["", "{}"] {
            post(&app, &format!("Authorization: {value}"), body).assert_unauthorized(&BASIC);
        }
    }
}

#[test]
fn wrong_credentials() {
    let app = TestApp::start();
    let pairs = [
        ("orders", "wrong"),
        ("orders", ""),
        ("nobody", SECRET),
        ("nobody", "wrong"),
        ("", SECRET),
        ("", ""),
        ("Orders", SECRET),
        ("orders ", SECRET),
        ("anonymous", SECRET),
        ("anonymous", ""),
    ];
    for (id, secret) in pairs {
        app.create_as(id, secret, "").assert_unauthorized(&BASIC);
        let members = json!({"client_id": id, "client_secret": secret}).to_string();
        bare(&app, &members).assert_unauthorized(&BASIC);
    }
    app.create_as("orders", &format!("{SECRET}\n"), "").assert_unauthorized(&BASIC);
}

/// Even where somebody has configured the digest of nothing.
#[test]
fn an_empty_secret_is_a_wrong_one() {
    let app = TestApp::with(&two_secrets(b"", SECRET.as_bytes()), KEYS);
    assert_eq!(app.create("").status, 200);
    app.create_as("orders", "", "").assert_unauthorized(&BASIC);
    bare(&app, r#"{"client_id":"orders","client_secret":""}"#).assert_unauthorized(&BASIC);
}

#[test]
fn an_unknown_client_and_a_wrong_secret_look_the_same() {
    let app = TestApp::start();
    let without_id = |id: &str| {
        let mut answer = app.create_as(id, "wrong", "");
        answer.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_ascii_lowercase().as_str()));
        (answer.status, answer.headers, answer.body)
    };
    assert_eq!(without_id("orders"), without_id("nobody"));
}

fn two_secrets(old: &[u8], new: &[u8]) -> String {
    let written = |secret| SecretDigest::of(secret).written();
    let one = format!("secrets = [\"{}\"]", written(SECRET.as_bytes()));
    edited(&one, &format!("secrets = [\"{}\", \"{}\"]", written(old), written(new)))
}

#[test]
fn two_secrets_while_one_is_being_replaced() {
    // A secret may have colons and bytes that are no text.
    let odd = b"with:colons:\xff\xfe";
    let app = TestApp::with(&two_secrets(SECRET.as_bytes(), odd), KEYS);
    let with_odd = || {
        let encoded = STANDARD.encode([b"orders:", &odd[..]].concat());
        app.send("POST", "/token", &[&format!("Authorization: Basic {encoded}")], "")
    };
    assert_eq!((app.create("").status, with_odd().status), (200, 200));
    app.create_as("orders", "neither", "").assert_unauthorized(&BASIC);
    // The replaced one goes at the next reload.
    app.reconfigure(&two_secrets(odd, odd));
    app.create("").assert_unauthorized(&BASIC);
    assert_eq!(with_odd().status, 200);
}

#[test]
fn anonymous_tokens() {
    let app = TestApp::start();
    for answer in [app.send("POST", "/token", &[], ""), bare(&app, "{}"), bare(&app, r#"{"scope":["guest"]}"#)] {
        let claims = claims(&answer);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("anonymous"), &json!("anonymous")));
        assert_eq!((&claims["scope"], &claims["aud"]), (&json!("guest"), &json!("https://api.example.com")));
        assert_eq!(app.refresh(&answer.text("refresh"), "").status, 200);
    }
    assert_eq!(claims(&bare(&app, r#"{"lifetime":7}"#))["exp"], START + 7);
    for (body, named) in [
        (r#"{"scope":["orders:read"]}"#, "orders:read"),
        (r#"{"scope":["guest","orders:read"]}"#, "orders:read"),
        (r#"{"audience":["https://api.example.com"]}"#, "audience"),
        (r#"{"subject":"anonymous"}"#, "subject"),
        (r#"{"subject":"user:1"}"#, "subject"),
        (r#"{"claims":{}}"#, "claims"),
        (r#"{"claims":{"tenant":"a"}}"#, "claims"),
    ] {
        bare(&app, body).assert_says(403, "Forbidden", named);
    }
    bare(&app, r#"{"lifetime":601}"#).assert_says(400, "BadRequest", "lifetime must");
    bare(&app, r#"{"claims":{"exp":1}}"#).assert_says(400, "BadRequest", "claims must");
}

#[test]
fn no_anonymous_tokens_where_they_are_not_configured() {
    let app = TestApp::with(&edited("[anonymous]\nscope = [\"guest\"]\n", ""), KEYS);
    for body in ["", "{}", r#"{"scope":["guest"]}"#, r#"{"subject":"user:1"}"#] {
        bare(&app, body).assert_unauthorized(&BASIC);
    }
}
