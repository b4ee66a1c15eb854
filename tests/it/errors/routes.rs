//! Methods and paths.

use crate::app::{Answer, TestApp};

const PATHS: [&str; 8] =
    ["/token", "/.well-known/jwks.json", "/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/docs", "/"];

#[test]
fn a_405_says_what_is_allowed() {
    let app = TestApp::start();
    for path in PATHS {
        let token = path == "/token";
        let allowed = if token { "GET, HEAD, OPTIONS, POST, PUT" } else { "GET, HEAD, OPTIONS" };
        let others =
            if token { &["DELETE", "PATCH", "TRACE", "get", "BREW"][..] } else { &["POST", "PUT", "DELETE"][..] };
        for method in others {
            let answer = app.send(method, path, &[], "");
            answer.assert_says(405, "MethodNotAllowed", "Allow");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        }
        let answer = app.send("OPTIONS", path, &["Origin: https://a.example"], "");
        assert_eq!((answer.status, &*answer.body), (204, ""), "{path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
        for absent in ["content-type", "content-length", "transfer-encoding"] {
            assert_eq!(answer.header(absent), None, "{path}");
        }
        // As the answer to GET says it.
        let is_public = path.starts_with("/.well-known/") || path.starts_with("/openapi.");
        assert_eq!(answer.header("access-control-allow-origin"), is_public.then_some("*"), "{path}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let app = TestApp::start();
    let authorization = format!("Authorization: Token {}", app.create("").text("value"));
    let with_token = [&*authorization];
    let mut cases: Vec<(&str, &[&str])> = PATHS.iter().map(|path| (*path, &[][..])).collect();
    cases.extend([
        ("/token", &with_token[..]),
        ("/token?scope=beyond", &with_token),
        ("/token?x=1", &[]),
        ("/token?token=1", &[]),
        ("/nothing", &[]),
        ("/.well-known/jwks.json", &["If-None-Match: *"]),
    ]);
    for (target, headers) in cases {
        let known = |answer: &Answer| {
            let mut all = answer.headers.clone();
            all.retain(|(name, _)| name != "date" && name != "x-request-id");
            all.sort();
            all
        };
        let (get, head) = (app.send("GET", target, headers, ""), app.send("HEAD", target, headers, ""));
        assert_eq!((head.status, &*head.body), (get.status, ""), "{target}");
        assert_eq!(known(&head), known(&get), "{target}");
        let length = head.header("content-length").map(|length| length.parse().unwrap());
        assert!(length.is_none_or(|length: usize| length == get.body.len()), "{target}: {head:?}");
        assert!(length.is_some() || get.body.is_empty(), "{target}: {head:?}");
    }
}

#[test]
fn paths_are_exact() {
    let app = TestApp::start();
    for path in [
        "/token/",
        "//token",
        "/%74oken",
        "/token%2F",
        "/token;a=1",
        "/Token",
        "/tokens",
        "/token/x",
        "/./token",
        "/x/../token",
        "/healthz/",
        "/docs/",
        "/docs/oauth-receiver.html",
        "/openapi",
        "/metrics",
        "/.well-known/",
        "/.well-known",
        "/.well-known/jwks.json/",
        "//",
        "/%",
        "/%2e",
        "/\u{4ee4}\u{724c}",
        "/favicon.ico",
        "healthz",
        "*",
    ] {
        for method in ["GET", "POST", "OPTIONS", "HEAD"] {
            let answer = app.send(method, path, &[], "");
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
            if method != "HEAD" {
                answer.assert_says(404, "NotFound", "");
            }
        }
    }
    // A proxy's form of the target names the same path.
    assert_eq!(app.send("GET", "http://tokens.example.com/healthz", &[], "").status, 200);
    assert_eq!(app.send("GET", "/healthz?", &[], "").status, 200);
}
