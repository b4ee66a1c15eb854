//! The one shape of every error, the order of the checks, and request ids.

use std::collections::HashSet;

use serde_json::Value;

use super::{JSON, every_error};
use crate::app::{BASIC, SECRET, TOKEN, TestApp, UNAUTHORIZED, basic};

#[test]
fn one_shape() {
    let app = TestApp::start();
    for (request, status, name) in every_error() {
        let answer = app.raw(request.as_bytes());
        answer.assert_says(status, name, "");
        assert!(answer.body.starts_with(&format!(r#"{{"name":"{name}","message":""#)), "{}", answer.body);
        assert!(answer.body.ends_with(r#","stack":[]}"#), "{}", answer.body);
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        assert_eq!(answer.header("allow").is_some(), status == 405, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn no_key_signs_yet() {
    let app = TestApp::start();
    app.at(-200 * 86_400);
    for (method, path) in [("POST", "/token"), ("GET", "/readyz")] {
        let answer = app.send(method, path, &[], "");
        answer.assert_says(503, "ServiceUnavailable", "");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    }
    assert_eq!(app.send("GET", "/healthz", &[], "").status, 200);
}

/// Head and target; path and method; size, type, form; credentials; policy.
#[test]
fn what_is_wrong_first_speaks() {
    let app = TestApp::start();
    let large = "x".repeat(70_000);
    let long = format!("X-Long: {}", "a".repeat(17_000));
    let target = format!("/nothing?token={}", "a".repeat(9_000));
    let (good, wrong) = (basic("orders", SECRET), basic("orders", "wrong"));
    let text = "Content-Type: text/plain";
    let policy = r#"{"scope":["beyond"],"lifetime":601}"#;
    let refresh = format!("Authorization: Token {}", app.create("").text("refresh"));
    let access = format!("Authorization: Token {}", app.create("").text("value"));
    let table: &[(&str, &str, &[&str], &str, u16)] = &[
        ("BREW", "/nothing?token=x", &[&long, text], &large, 431),
        ("BREW", &target, &[text], &large, 414),
        ("BREW", "/nothing?token=x", &[text], &large, 404),
        ("BREW", "/token?token=x", &[text], &large, 405),
        ("POST", "/token?token=x", &[text, &good, &good], &large, 413),
        ("PUT", "/token?token=x", &[text, &good, &good], &large, 413),
        ("POST", "/token?token=x", &[text, &wrong, &good], "{", 415),
        ("PUT", "/token?token=x", &[text, &wrong, &good], "{", 415),
        ("POST", "/token?token=x", &[JSON, &wrong], "{}", 400),
        ("POST", "/token?token=x", &[&wrong], "", 400),
        ("POST", "/token", &[JSON, &wrong], "{", 400),
        ("POST", "/token", &[JSON, &wrong], r#"{"scope":[]}"#, 400),
        ("POST", "/token", &[JSON, &wrong], r#"{"claims":{"exp":1}}"#, 400),
        ("POST", "/token", &[&wrong, &good], "", 400),
        ("POST", "/token", &[JSON, &wrong], policy, 401),
        ("POST", "/token", &[JSON, "Authorization: x"], policy, 401),
        ("POST", "/token", &[JSON, &good], r#"{"scope":["beyond"]}"#, 403),
        ("PUT", "/token", &[JSON, "Authorization: x"], r#"{"scope":[]}"#, 400),
        ("PUT", "/token", &[JSON, "Authorization: x"], r#"{"scope":["beyond"]}"#, 401),
        ("PUT", "/token", &[JSON, &access], r#"{"scope":["beyond"]}"#, 401),
        ("PUT", "/token", &[JSON, &refresh], r#"{"scope":["beyond"]}"#, 403),
        ("GET", "/token?x=1", &["Authorization: x"], "", 400),
        ("GET", "/token?token=x", &[&access, &access], "", 400),
        ("GET", "/token?scope=beyond", &["Authorization: x"], "", 401),
        ("GET", "/token?scope=beyond", &[&access], "", 403),
        ("GET", "/token?scope=orders:read", &[text, &access], "{", 200),
    ];
    for (method, target, headers, body, status) in table {
        let answer = app.send(method, target, headers, body);
        let shown = target.get(..60).unwrap_or(target);
        assert_eq!(answer.status, *status, "{method} {shown}: {answer:?}");
    }
}

#[test]
fn a_401_is_the_same_for_every_cause() {
    let app = TestApp::start();
    let token = app.create("").text("value");
    let refresh = app.create(r#"{"subject":"user:7"}"#).text("refresh");
    app.send("POST", "/token", &[&basic("nobody", "x")], "").assert_unauthorized(&BASIC);
    app.send("GET", "/token", &[], "").assert_unauthorized(&TOKEN);
    app.reconfigure(&crate::app::edited("id = \"orders\"", "id = \"other\""));
    let answers = [
        app.create(""),
        app.send("POST", "/token", &["Authorization: ?"], ""),
        app.inspect("x", ""),
        app.inspect(&refresh, ""),
        app.inspect(&token, "?audience=x"),
        app.at(700).inspect(&token, ""),
        app.send("PUT", "/token", &[], ""),
        app.refresh(&token, ""),
        app.refresh(&refresh, ""),
        app.at(-700).refresh(&refresh, ""),
    ];
    for answer in answers {
        assert_eq!((answer.status, &*answer.body), (401, UNAUTHORIZED));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(!answer.all("www-authenticate").is_empty());
    }
}

#[test]
fn request_ids() {
    let app = TestApp::start();
    let longest = "a".repeat(64);
    let targets = ["/token", "/nothing", "/healthz", "/", "/.well-known/jwks.json"];
    for kept in ["7", "A-z_0.9", "..", &longest] {
        for target in targets {
            let answer = app.send("GET", target, &[&format!("X-Request-Id: {kept}")], "");
            assert_eq!(answer.header("x-request-id"), Some(kept), "{target}");
        }
        let options = app.send("OPTIONS", "/token", &[&format!("x-REQUEST-id: {kept}")], "");
        assert_eq!(options.header("x-request-id"), Some(kept));
    }
    let mut made = HashSet::new();
    for wrong in ["", "a b", "a/b", "a\"b", "\u{e9}", "a,b", "a\tb", "a\r\nX-Request-Id: b", &format!("{longest}a")] {
        for target in targets {
            let answer = app.send("GET", target, &[&format!("X-Request-Id: {wrong}")], "");
            made.insert(answer.header("x-request-id").unwrap().to_owned());
        }
    }
    for (request, ..) in every_error() {
        made.insert(app.raw(request.as_bytes()).header("x-request-id").unwrap().to_owned());
    }
    // Every one is new, and one that would be kept.
    assert_eq!(made.len(), 9 * targets.len() + every_error().len());
    let right = |id: &String| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    assert!(made.iter().all(right), "{made:?}");
}

#[test]
fn accept_is_ignored() {
    let app = TestApp::start();
    for accept in ["text/html", "image/*", "application/json;q=0", "", "?", "\u{e9}"] {
        let header = format!("Accept: {accept}");
        for (method, target, status) in [("POST", "/token", 200), ("GET", "/token", 401), ("GET", "/nothing", 404)] {
            let answer = app.send(method, target, &[&header, "Accept-Encoding: gzip, br"], "");
            assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")), "{accept}");
            assert_eq!(answer.header("content-encoding"), None);
            assert!(matches!(answer.json(), Value::Object(_)));
        }
    }
}

/// RFC 6749 §5.2, also where there is no route and no handler.
#[test]
fn under_oauth2_every_layer_speaks_its_dialect() {
    let app = TestApp::start();
    let answer = app.send("GET", "/oauth2/nothing", &[], "");
    assert_eq!(answer.status, 404);
    let expected =
        serde_json::json!({"error": "invalid_request", "error_description": "there is nothing at this path"});
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let long = app.send("GET", &format!("/oauth2/{}", "a".repeat(9_000)), &[], "");
    assert_eq!((long.status, long.text("error").as_str()), (414, "invalid_request"));
    app.send("GET", "/oauth2", &[], "").assert_says(404, "NotFound", "there is nothing at this path");
}
