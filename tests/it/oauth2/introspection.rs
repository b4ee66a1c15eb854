//! `/oauth2/introspect`.

use serde_json::json;

use super::{CLIENT_CREDENTIALS, OAuth as _, start};
use crate::app::{Answer, ISSUER, SECRET, START, TestApp, basic, segment, standard};

/// "Active when the access token is good and for an audience in the caller's `accepts`, or was issued to the caller;
/// everything else, refresh tokens too, is exactly `{"active":false}`."
#[test]
fn introspection() {
    let app = start();
    let pair =
        app.create(r#"{"audience":["https://orders.example.com"],"claims":{"tenant":"acme"},"subject":"user:7"}"#);
    let token = pair.text("value");
    let active = app.introspect_as("gate", &token);
    assert_eq!(active.header("cache-control"), Some("no-store"));
    let claims = segment(&token, 1);
    let expected = json!({
        "active": true, "scope": "orders:read orders:write", "client_id": "orders", "sub": "user:7",
        "aud": "https://orders.example.com", "iss": ISSUER, "exp": START + 600, "iat": START, "jti": claims["jti"],
        "token_type": "Bearer", "tenant": "acme",
    });
    assert_eq!((active.status, active.json()), (200, expected.clone()));
    // Asked again, it is known; and its own client may ask too.
    assert_eq!(app.introspect_as("gate", &token).json(), expected);
    assert_eq!(app.introspect_as("orders", &token).json(), expected);
    let hinted = format!("token={token}&token_type_hint=refresh_token");
    assert_eq!(app.form("/oauth2/introspect", &[&basic("gate", SECRET)], &hinted).json(), expected);

    let inactive = |answer: Answer| assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"active":false}"#));
    let elsewhere = app.create(r#"{"audience":["https://stock.example.com"]}"#);
    for token in [
        elsewhere.text("value"),
        pair.text("refresh"),
        app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token"),
        token[..token.len() - 2].to_owned(),
        format!("{token}x"),
        "x".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ] {
        inactive(app.introspect_as("gate", &token));
    }
    inactive(app.introspect_as("other", &token));
    app.form("/oauth2/introspect", &[], &format!("token={token}")).assert_invalid_client(false);
    app.form("/oauth2/introspect", &[&basic("gate", "wrong")], &format!("token={token}")).assert_invalid_client(true);
    app.introspect_as("gate", "").assert_oauth(400, "invalid_request");
    app.at(605);
    inactive(app.introspect_as("gate", &token));
}

/// "And extra claims that do not collide."
#[test]
fn introspection_has_its_own_members_alone() {
    let names = "claims = [\"tenant\", \"active\", \"token_type\", \"username\"]";
    let config = standard().replacen("claims = [\"tenant\", \"groups\"]", names, 1);
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let claims = r#"{"claims":{"tenant":["a",1,true],"active":false,"token_type":"DPoP","username":"root"}}"#;
    let token = app.create(claims).text("value");
    let told = app.introspect_as("orders", &token).json();
    assert_eq!(
        (&told["active"], &told["token_type"], &told["tenant"]),
        (&json!(true), &json!("Bearer"), &json!(["a", 1, true]))
    );
    assert!(told.get("username").is_none(), "{told}");
    // A token without scope says so.
    let bare = standard().replacen("scope = [\"bills\"]\n", "", 1);
    app.reconfigure(&bare);
    let token = app.create_as("billing", SECRET, "").text("value");
    assert_eq!(app.introspect_as("billing", &token).json()["scope"], "");
}

/// A gone client's tokens, and those issued before its `not_before`, are not active.
#[test]
fn introspection_looks_at_the_client() {
    let app = start();
    let token = app.create("").text("value");
    assert_eq!(app.introspect_as("gate", &token).json()["active"], true);
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    let later = config.replacen("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:01Z\"", 1);
    app.reconfigure(&later);
    assert_eq!(app.introspect_as("gate", &token).json(), json!({"active": false}));
    app.inspect(&token, "").assert_invalid_token(None);
    app.reconfigure(&config.replacen("id = \"orders\"", "id = \"orders2\"", 1));
    assert_eq!(app.introspect_as("gate", &token).json(), json!({"active": false}));
    app.inspect(&token, "").assert_invalid_token(None);
    app.reconfigure(&config);
    assert_eq!(app.introspect_as("gate", &token).json()["active"], true);
}
