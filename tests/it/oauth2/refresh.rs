//! Refresh tokens.

use serde_json::json;

use super::{CLIENT_CREDENTIALS, OAuth as _, start};
use crate::app::{Answer, START, segment};

/// "The refresh token is §2's with `"dialect": "oauth2"` and its client bound: another client, or the other dialect, is
/// `invalid_grant` (natively 401). `scope` may only narrow the new access token; the new refresh token keeps the session."
#[test]
fn refresh_tokens() {
    let app = start();
    let refresh = |id: &str, token: &str, more: &str| {
        app.token_as(id, &format!("grant_type=refresh_token&refresh_token={token}{more}"))
    };
    let first = app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token");
    app.at(60);
    let narrow = refresh("orders", &first, "&scope=orders:read");
    assert_eq!((narrow.status, narrow.json()["scope"].clone()), (200, json!("orders:read")), "{narrow:?}");
    let second = narrow.text("refresh_token");
    assert_eq!(refresh("orders", &second, "").json()["scope"], "orders:read orders:write");
    assert_eq!(segment(&second, 1)["session_start"], START);
    refresh("orders", &second, "&scope=bills").assert_oauth(400, "invalid_scope");

    let not_accepted = |answer: Answer| {
        assert_eq!(answer.assert_oauth(400, "invalid_grant"), "the token is not accepted");
    };
    not_accepted(refresh("other", &second, ""));
    app.refresh(&second, "").assert_invalid_token(None);
    let native = app.create("");
    not_accepted(refresh("orders", &native.text("refresh"), ""));
    not_accepted(refresh("orders", &native.text("value"), ""));
    not_accepted(refresh("orders", &second[..second.len() - 1], ""));
    not_accepted(refresh("orders", "x", ""));
    refresh("orders", "", "").assert_oauth(400, "invalid_request");
    app.form("/oauth2/token", &[], &format!("grant_type=refresh_token&refresh_token={second}"))
        .assert_invalid_client(false);
    app.at(86_400 + 66);
    not_accepted(refresh("orders", &second, ""));
}

/// "The new refresh token keeps the session (§1.3)": the client is looked up again, and what it may no longer have is gone.
#[test]
fn refresh_looks_at_the_client_again() {
    let app = start();
    let token = app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token");
    let refresh = || app.token_as("orders", &format!("grant_type=refresh_token&refresh_token={token}"));
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    let change = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        app.reconfigure(&config.replacen(from, to, 1));
    };
    change("\"orders:read\", \"orders:write\"", "\"orders:read\", \"orders:new\"");
    let less = refresh();
    assert_eq!((less.status, &less.json()["scope"]), (200, &json!("orders:read")), "{less:?}");
    assert_eq!(segment(&less.text("refresh_token"), 1)["scope"], "orders:read orders:write");
    change("\"https://orders.example.com\", \"https://stock", "\"https://stock");
    assert_eq!(segment(&refresh().text("access_token"), 1)["aud"], "https://stock.example.com");
    for (from, to) in [
        ("\"https://orders.example.com\", \"https://stock.example.com\"", "\"https://new.example.com\""),
        ("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:01Z\""),
    ] {
        change(from, to);
        assert_eq!(refresh().assert_oauth(400, "invalid_grant"), "the token is not accepted");
    }
    change("grants = [\"client_credentials\", \"refresh_token\"]", "grants = [\"client_credentials\"]");
    refresh().assert_oauth(400, "unauthorized_client");
    change("id = \"orders\"", "id = \"orders2\"");
    refresh().assert_invalid_client(true);
    app.reconfigure(&config);
    assert_eq!(refresh().json()["scope"], "orders:read orders:write");
}
