//! `GET /token`

use std::collections::BTreeSet;

use serde_json::json;

use crate::app::{Answer, TOKEN, TestApp, edited, segment, standard};

/// A service, and an access token of `user:7` with all of the scope.
fn with_token() -> (TestApp, String) {
    let app = TestApp::start();
    let answer = app.create(r#"{"subject":"user:7","claims":{"tenant":"t1","groups":["a",1,true]}}"#);
    let token = answer.text("value");
    (app, token)
}

/// `GET /token` with this `Authorization`.
fn present(app: &TestApp, authorization: &str) -> Answer {
    app.send("GET", "/token", &[&format!("Authorization: {authorization}")], "")
}

#[test]
fn a_token_is_described_in_the_body_and_in_headers() {
    let (app, token) = with_token();
    let answer = app.at(60).inspect(&token, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let expected = json!({
        "expire": "2026-06-01T12:10:00.000Z",
        "scope": ["orders:read", "orders:write"],
        "subject": "user:7",
        "client": "orders",
        "audience": ["https://orders.example.com", "https://stock.example.com"],
        "issued": "2026-06-01T12:00:00.000Z",
        "id": segment(&token, 1)["jti"],
        "claims": {"tenant": "t1", "groups": ["a", 1, true]},
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("x-token-subject"), Some("user:7"));
    assert_eq!(answer.header("x-token-client"), Some("orders"));
    assert_eq!(answer.header("x-token-scope"), Some("orders:read orders:write"));

    // One audience, and no claims, have the same types.
    let anonymous = app.send("POST", "/token", &[], "").text("value");
    let answer = app.inspect(&anonymous, "");
    assert_eq!(answer.json()["audience"], json!(["https://api.example.com"]));
    assert_eq!(answer.json()["claims"], json!({}));
    assert_eq!(answer.header("x-token-subject"), Some("anonymous"));
    let names: BTreeSet<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, expected.as_object().unwrap().keys().cloned().collect());
}

#[test]
fn three_schemes_in_any_case() {
    let (app, token) = with_token();
    for scheme in ["Token", "token", "TOKEN", "Toekn", "toekn", "TOEKN", "Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(present(&app, &format!("{scheme} {token}")).status, 200, "{scheme}");
    }
}

#[test]
fn a_malformed_authorization() {
    let (app, token) = with_token();
    let values = [
        String::new(),
        "Token".into(),
        "Token ".into(),
        token.clone(),
        format!(" {token}"),
        format!("Basic {token}"),
        format!("Tokens {token}"),
        format!("Token:{token}"),
        format!("Token={token}"),
        format!("Token\t{token}"),
        format!("Token \t{token}"),
        format!("Token {token} {token}"),
        format!("Token {token}, {token}"),
        format!("Token {token},Token {token}"),
        format!("Token Token {token}"),
        format!("Token \"{token}\""),
        format!("Token token={token}"),
        format!("Token {token}\u{e9}"),
        format!("T\u{f6}ken {token}"),
        "Bearer \u{4ee4}\u{724c}".into(),
    ];
    for value in values {
        present(&app, &value).assert_invalid_token(None);
        app.send("PUT", "/token", &[&format!("Authorization: {value}")], "").assert_invalid_token(None);
    }
}

#[test]
fn no_authorization_is_asked_for_one_without_an_error() {
    let (app, _) = with_token();
    for query in ["", "?", "?scope=a", "?audience=a"] {
        app.send("GET", &format!("/token{query}"), &[], "").assert_unauthorized(&TOKEN);
    }
}

#[test]
fn two_authorizations_are_400_even_if_they_are_equal() {
    let (app, token) = with_token();
    let good = format!("Authorization: Token {token}");
    for other in [&good, "Authorization: Token x", "authorization:"] {
        for method in ["GET", "PUT", "POST"] {
            let answer = app.send(method, "/token", &[&good, other], "");
            answer.assert_says(400, "BadRequest", "Authorization");
        }
    }
}

#[test]
fn only_this_service_s_access_tokens() {
    let (app, token) = with_token();
    let refresh = app.create("").text("refresh");
    let parts: Vec<_> = token.split('.').collect();
    let with = |header: &str, payload: &str, signature: &str| format!("{header}.{payload}.{signature}");
    let other = app.create("").text("value");
    let rs256 = edited("[token]", "[token]\nalgorithm = \"RS256\"");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    for wrong in [
        refresh.clone(),
        "x".into(),
        "a.b.c".into(),
        "..".into(),
        with(none, parts[1], ""),
        with(parts[0], parts[1], ""),
        with(parts[0], parts[1], other.split('.').nth(2).unwrap()),
        with(parts[0], other.split('.').nth(1).unwrap(), parts[2]),
        with(refresh.split('.').next().unwrap(), parts[1], parts[2]),
        format!("{token}."),
        format!("{token}="),
        format!(".{token}"),
        token[..token.len() - 2].into(),
        // Signed with a key that is not here.
        TestApp::with(&rs256, &["2026-01-01T00-00-00Z.rs256.pem"]).create("").text("value"),
        format!("{token}{}", "A".repeat(8192)),
    ] {
        present(&app, &format!("Token {wrong}")).assert_invalid_token(None);
    }
}

#[test]
fn times() {
    let (app, token) = with_token();
    // Five seconds of leeway at both ends.
    for seconds in [-5, 0, 599, 604] {
        assert_eq!(app.at(seconds).inspect(&token, "").status, 200, "{seconds}");
    }
    for seconds in [605, 100_000] {
        app.at(seconds).inspect(&token, "").assert_invalid_token(Some("the token has expired"));
    }
    for seconds in [-6, -100_000] {
        app.at(seconds).inspect(&token, "").assert_invalid_token(Some("the token is not yet valid"));
    }
    // The first failure speaks: the time before the audience, the signature before all.
    app.at(605).inspect(&token, "?audience=x").assert_invalid_token(Some("the token has expired"));
    let forged = format!("{}{}", &token[..token.len() - 10], "AAAAAAAAAA");
    app.at(605).inspect(&forged, "?audience=x").assert_invalid_token(None);
}

#[test]
fn questions_about_scope_and_audience() {
    let (app, token) = with_token();
    for query in [
        "?",
        "?scope=orders:read",
        "?scope=orders%3Aread",
        "?scope=orders:read&scope=orders:write&scope=orders:read",
        "?scope=orders:read%20orders:write",
        "?scope=orders:read+orders:write&scope=orders:read",
        "?audience=https://orders.example.com",
        "?audience=https%3A%2F%2Fstock.example.com&scope=orders:write",
    ] {
        let answer = app.inspect(&token, query);
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert_eq!(answer.header("x-token-scope"), Some("orders:read orders:write"), "{query}");
    }
    for (query, lacking) in [
        ("?scope=bills", "bills"),
        ("?scope=orders", "orders"),
        ("?scope=Orders:read", "Orders:read"),
        ("?scope=orders:read&scope=bills&scope=x", "bills"),
        ("?scope=orders:read%20bills", "bills"),
        ("?scope=bills+orders:read", "bills"),
        ("?audience=https://orders.example.com&scope=bills", "bills"),
    ] {
        let answer = app.inspect(&token, query);
        answer.assert_says(403, "Forbidden", lacking);
        let challenges = TOKEN.map(|scheme| format!("{scheme}, error=\"insufficient_scope\""));
        assert_eq!(answer.all("www-authenticate"), challenges);
    }
    for query in [
        "?audience=https://api.example.com",
        "?audience=https://orders.example.com/",
        "?audience=HTTPS://orders.example.com",
        // Both fail: audience speaks.
        "?audience=x&scope=bills",
        "?scope=bills&audience=x",
    ] {
        app.inspect(&token, query).assert_invalid_token(Some("the token is for another audience"));
    }
}

/// Whether the token is good or not: what is asked must be clear first.
#[test]
fn a_typo_answers_no_question() {
    let (app, token) = with_token();
    let queries = [
        "scopes=orders:read",
        "Scope=orders:read",
        "scope",
        "scope=",
        "scope=orders:read++orders:write",
        "scope=orders:read%20",
        "scope=+orders:read",
        "scope=orders:read%09orders:write",
        "scope=orders:read,orders:write%22",
        "scope[]=orders:read",
        "scope=orders:read&",
        "&scope=orders:read",
        "scope=orders:read&&scope=orders:write",
        "=",
        "audience=",
        "audience",
        "audience=https://orders.example.com&audience=https://orders.example.com",
        "aud=https://orders.example.com",
        "scope=%",
        "scope=%6",
        "scope=%zz",
        "scope=%ff",
        "audience=%ff",
        "audience=%00",
        "audience=a%0d%0ab",
        "_=1",
    ];
    for query in queries {
        app.inspect(&token, &format!("?{query}")).assert_says(400, "BadRequest", "");
        app.send("GET", &format!("/token?{query}"), &[], "").assert_says(400, "BadRequest", "");
    }
    for (name, longest) in [("scope", 128), ("audience", 255)] {
        let query = |length| format!("?{name}={}", "a".repeat(length));
        assert_ne!(app.inspect(&token, &query(longest)).status, 400);
        app.inspect(&token, &query(longest + 1)).assert_says(400, "BadRequest", name);
    }
}

#[test]
fn credentials_never_stand_in_a_query() {
    let (app, token) = with_token();
    for name in ["access_token", "token", "refresh", "client_id", "client_secret", "%74oken"] {
        let shown = if name == "%74oken" { "token" } else { name };
        for query in [format!("?{name}={token}"), format!("?{name}"), format!("?scope=orders:read&{name}=")] {
            app.inspect(&token, &query).assert_says(400, "BadRequest", shown);
            app.send("GET", &format!("/token{query}"), &[], "").assert_says(400, "BadRequest", shown);
            for (method, path) in [
                ("POST", "/token"),
                ("PUT", "/token"),
                ("GET", "/healthz"),
                ("GET", "/readyz"),
                ("GET", "/.well-known/jwks.json"),
                ("GET", "/docs"),
                ("GET", "/openapi.json"),
                ("GET", "/"),
            ] {
                let answer = app.send(method, &format!("{path}{query}"), &[], "");
                answer.assert_says(400, "BadRequest", shown);
                assert!(!answer.body.contains(&token), "{answer:?}");
            }
        }
    }
}

#[test]
fn a_body_and_its_type_are_ignored() {
    let (app, token) = with_token();
    let authorization = format!("Authorization: Token {token}");
    for (header, body) in [
        ("Content-Type: application/json", "{\"scope\":[]}"),
        ("Content-Type: text/plain", "{"),
        ("Content-Encoding: gzip", "nothing of that kind"),
        // The seed's own request has a type and no body.
        ("Content-Type: application/json", ""),
    ] {
        assert_eq!(app.send("GET", "/token", &[&authorization, header], body).status, 200, "{header}");
    }
}

/// "A token of a client that is gone, or issued before its client's `not_before`, is 401 with `error="invalid_token"` and
/// no description": at once, known or not.
#[test]
fn an_access_token_ends_with_its_client() {
    let (app, token) = with_token();
    let anonymous = app.send("POST", "/token", &[], "").text("value");
    assert_eq!((app.inspect(&token, "").status, app.inspect(&anonymous, "").status), (200, 200));
    app.reconfigure(&edited("id = \"orders\"", "id = \"other\"").replace("[anonymous]\nscope = [\"guest\"]\n", ""));
    app.inspect(&token, "?scope=orders:write").assert_invalid_token(None);
    app.inspect(&anonymous, "?scope=guest").assert_invalid_token(None);
    app.reconfigure(&edited("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:01Z\""));
    app.inspect(&token, "").assert_invalid_token(None);
    assert_eq!(app.inspect(&anonymous, "").status, 200);
    let renewed = app.at(1).create("").text("value");
    assert_eq!(app.inspect(&renewed, "").status, 200);
    app.reconfigure(&edited("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:00Z\""));
    assert_eq!(app.inspect(&token, "").status, 200);
}

fn lookups(app: &TestApp, result: &str) -> i64 {
    app.metric(&format!("lingpai_cache_lookups_total{{result=\"{result}\"}}"))
}

/// It is known; whether it is good is asked each time.
#[test]
fn a_token_that_comes_again() {
    let (app, token) = with_token();
    let first = app.inspect(&token, "");
    let again = app.inspect(&token, "");
    assert_eq!((lookups(&app, "miss"), lookups(&app, "hit")), (1, 1));
    assert_eq!((again.status, &again.body), (200, &first.body));
    for name in ["content-type", "cache-control", "x-token-subject", "x-token-client", "x-token-scope"] {
        assert_eq!(again.all(name), first.all(name), "{name}");
    }
    app.inspect(&token, "?audience=x").assert_invalid_token(Some("the token is for another audience"));
    assert_eq!(app.inspect(&token, "?scope=bills").status, 403);
    assert_eq!(lookups(&app, "hit"), 3);
    app.at(605).inspect(&token, "").assert_invalid_token(Some("the token has expired"));
    app.at(-6).inspect(&token, "").assert_invalid_token(Some("the token is not yet valid"));
    assert_eq!((app.at(0).inspect(&token, "").status, lookups(&app, "hit")), (200, 4));
    // One digit more or less is another token, and a bad one stays so.
    for other in [format!("{token}A"), token[1..].to_owned(), token.to_lowercase()] {
        for _ in 0..2 {
            app.inspect(&other, "").assert_invalid_token(None);
        }
    }
    assert_eq!(lookups(&app, "hit"), 4);
}

/// What was found good by other keys, or another configuration, is asked anew.
#[test]
fn a_known_token_whose_key_is_gone() {
    let app =
        TestApp::with(&edited("[token]", "[token]\naccess_lifetime = \"1h\""), &["2026-01-01T00-00-00Z.es256.pem"]);
    let token = app.create("").text("value");
    let kid = segment(&token, 0)["kid"].clone();
    app.add_key(100);
    // A key verifies for as long as tokens live now, which is less than this one was given.
    app.reconfigure(&standard());
    for seconds in [0, 704] {
        assert_eq!(app.at(seconds).inspect(&token, "").status, 200);
    }
    assert_eq!(lookups(&app, "hit"), 1);
    app.at(705).inspect(&token, "").assert_invalid_token(None);
    assert_eq!(app.at(704).inspect(&token, "").status, 200);
    app.reconfigure(&edited("[token]", &format!("[keys]\nrevoked = [{kid}]\n[token]")));
    app.inspect(&token, "").assert_invalid_token(None);
}

#[test]
fn without_a_cache_every_token_is_verified() {
    let app = TestApp::with(&edited("[token]", "[token]\ncache = 0"), &["2026-01-01T00-00-00Z.es256.pem"]);
    let token = app.create("").text("value");
    for _ in 0..3 {
        assert_eq!(app.inspect(&token, "").status, 200);
    }
    assert_eq!(lookups(&app, "miss"), 3);
}
