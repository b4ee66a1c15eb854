//! What every answer has in common: errors, their order, and the connection.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::app::{Answer, BASIC, SECRET, TOKEN, TestApp, UNAUTHORIZED, answers, basic, read_answer};

const JSON: &str = "Content-Type: application/json";
const PATHS: [&str; 8] =
    ["/token", "/.well-known/jwks.json", "/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/docs", "/"];

/// A request as it stands on the wire.
fn request(line: &str, headers: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let line = format!("{line} HTTP/1.1");
    let mut lines = [&[&*line, "Host: a"], headers].concat();
    if !body.is_empty() {
        lines.push(&length);
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

/// One request for every status that can be had without waiting.
fn every_error() -> Vec<(String, u16, &'static str)> {
    let large = "x".repeat(200_000);
    let long = format!("GET /{}", "a".repeat(9_000));
    let head = format!("X-Long: {}", "a".repeat(17_000));
    let beyond = r#"{"scope":["beyond"]}"#;
    vec![
        (request("POST /token", &[JSON], "{"), 400, "BadRequest"),
        (request("GET /token?x=1", &[], ""), 400, "BadRequest"),
        (request("POST /token", &["Authorization: x"], ""), 401, "Unauthorized"),
        (request("GET /token", &[], ""), 401, "Unauthorized"),
        (request("PUT /token", &["Authorization: Token x"], ""), 401, "Unauthorized"),
        (request("POST /token", &[JSON], beyond), 403, "Forbidden"),
        (request("GET /nothing", &[], ""), 404, "NotFound"),
        (request("POST /nothing", &[JSON], &large), 404, "NotFound"),
        (request("DELETE /token", &[], ""), 405, "MethodNotAllowed"),
        (request("BREW /token", &[], ""), 405, "MethodNotAllowed"),
        (request("POST /docs", &[JSON], &large), 405, "MethodNotAllowed"),
        (request("POST /token", &[JSON], &large), 413, "PayloadTooLarge"),
        (request("PUT /token", &[JSON], &large), 413, "PayloadTooLarge"),
        (request(&long, &[], ""), 414, "UriTooLong"),
        (request("POST /token", &["Content-Type: text/plain"], "{}"), 415, "UnsupportedMediaType"),
        (request("GET /healthz", &[&head], ""), 431, "HeadersTooLarge"),
    ]
}

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

#[test]
fn http_1_0_is_answered_and_closed() {
    let app = TestApp::start();
    for connection in ["", "Connection: keep-alive\r\n"] {
        for target in ["/healthz", "/token", "/nothing", "/docs"] {
            let said = app.until_closed(format!("GET {target} HTTP/1.0\r\n{connection}\r\n").as_bytes());
            let answers = answers(&said);
            assert_eq!(answers.len(), 1, "{target}");
            assert!(answers[0].status >= 200 && !answers[0].body.is_empty(), "{target}: {answers:?}");
            assert_eq!(answers[0].header("transfer-encoding"), None);
            // An idle connection would be closed too, but later.
            assert_ne!(answers[0].header("connection"), Some("keep-alive"), "{target}");
        }
    }
    let body = "{\"scope\":[\"guest\"]}";
    let head = format!("POST /token HTTP/1.0\r\n{JSON}\r\nContent-Length: {}\r\n\r\n", body.len());
    assert_eq!(answers(&app.until_closed((head + body).as_bytes()))[0].status, 200);
}

#[test]
fn after_an_error_the_connection_is_usable_or_says_that_it_closes() {
    let app = TestApp::start();
    let announced = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n".to_owned();
    let unread = "GET /token HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n".to_owned() + &"x".repeat(70_000);
    let mut requests: Vec<_> = every_error().into_iter().map(|(request, ..)| request).collect();
    requests.extend([announced, unread]);
    for request in requests {
        let mut stream = app.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert!(answer.status >= 400, "{answer:?}");
        if answer.header("connection") == Some("close") {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        } else {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let next = read_answer(&mut stream);
            assert_eq!((next.status, &*next.body), (200, r#"{"status":"ok"}"#), "after {answer:?}");
        }
    }
}

/// Small errors are no reason to close, so a pipeline goes on behind them.
#[test]
fn requests_in_one_go_are_answered_in_order() {
    let app = TestApp::start();
    let token = format!("Authorization: Token {}", app.create("").text("value"));
    let chunks = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                  1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: 1\r\n\r\n";
    let requests = [
        (request("GET /healthz", &[], ""), 200),
        (request("GET /token", &[], ""), 401),
        (request("GET /token", &[&token, JSON], "{\"ignored\":true}"), 200),
        (request("POST /token", &[JSON], "{\"x\":1}"), 400),
        (request("POST /nothing", &[JSON], "{\"GET / HTTP/1.1\":1}"), 404),
        (chunks.to_owned(), 200),
        (request("PATCH /token", &[JSON], "{}"), 405),
        (request("OPTIONS /token", &[], ""), 204),
        (request("PUT /token", &["Content-Type: text/plain"], "x"), 415),
        (request("GET /readyz", &["Connection: close"], ""), 200),
    ];
    let (sent, expected): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    let said = answers(&app.until_closed(sent.concat().as_bytes()));
    assert_eq!(said.iter().map(|answer| answer.status).collect::<Vec<_>>(), expected);
}

/// Whichever of the two the server believes, a proxy before it may have believed
/// the other (RFC 9112 §6.3).
#[test]
fn two_lengths_are_answered_once() {
    let app = TestApp::start();
    let orders = ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"];
    for lengths in orders {
        // By one length the body ends before the first letter, by the other after it.
        for method in ["GET", "XGET"] {
            let text = format!(
                "POST /token HTTP/1.1\r\nHost: a\r\n{JSON}\r\n{lengths}\r\n\r\n\
                 0\r\n\r\n{method} /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            let said = app.until_closed(text.as_bytes());
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
        }
    }
}

#[test]
fn heads_up_to_16_kib_and_targets_up_to_8_kib() {
    let app = TestApp::start();
    let status = |text: String| app.raw(text.as_bytes()).status;
    for (length, expected) in [(8_192, 404), (8_193, 414), (15_000, 414)] {
        assert_eq!(status(request(&format!("GET /{}", "a".repeat(length - 1)), &[], "")), expected, "{length}");
    }
    let query = |length: usize| format!("GET /healthz?{}", "a".repeat(length - "/healthz?".len()));
    assert_eq!(status(request(&query(8_192), &[], "")), 200);
    assert_eq!(status(request(&query(8_193), &[], "")), 414);
    // With or without the empty line at the end counted.
    for (length, expected) in [(16_384, 200), (16_387, 431), (60_000, 431)] {
        let rest = request("GET /healthz", &["X-Long: "], "").len();
        let long = format!("X-Long: {}", "a".repeat(length - rest));
        let text = request("GET /healthz", &[&long], "");
        assert_eq!(text.len(), length);
        assert_eq!(status(text), expected, "{length}");
    }
    // Many short fields are as long as a long one.
    let many = vec!["X-A: 0123456789012345678901234567890123456789012345678901234567890123456789"; 90];
    assert_eq!(status(request("GET /healthz", &many, "")), 200);
    let longer: Vec<_> = many.iter().map(|field| format!("{field}{}", "a".repeat(110))).collect();
    assert_eq!(status(request("GET /healthz", &longer.iter().map(|s| &**s).collect::<Vec<_>>(), "")), 431);
}

/// The parser's own refusals have an empty body or none, and an end.
#[test]
fn what_is_no_http_does_not_hang() {
    let app = TestApp::start();
    let fields = "X-A: 1\r\n".repeat(101);
    let head = |fields: &str| format!("POST /token HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let requests = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\x00\x00\x00\x00\r\n\r\n".to_vec(),
        b"HELLO\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /heal thz HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nX : 1\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nX: a\0b\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nX: a\r\n folded\r\n\r\n".to_vec(),
        head("Content-Length: -1\r\n").into(),
        head("Content-Length: +5\r\n").into(),
        head("Content-Length: 5, 6\r\n").into(),
        head("Content-Length: 5\r\nContent-Length: 6\r\n").into(),
        head("Transfer-Encoding: gzip\r\n").into(),
        head(&fields).into(),
        head(&format!("X-Long: {}\r\n", "a".repeat(70_000))).into(),
    ];
    for bytes in requests {
        let said = app.until_closed(&bytes);
        let shown = String::from_utf8_lossy(bytes.get(..60).unwrap_or(&bytes)).into_owned();
        for answer in answers(&said) {
            assert!(matches!(answer.status, 400 | 431), "{shown:?}: {answer:?}");
            assert_eq!(answer.body, "", "{shown:?}");
        }
    }
    let said = app.until_closed(head(&fields).as_bytes());
    assert_eq!(answers(&said)[0].status, 431);
    assert_eq!(app.send("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn a_body_that_is_not_framed_as_announced() {
    let app = TestApp::start();
    let head = format!("POST /token HTTP/1.1\r\nHost: a\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for body in ["zz\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "1\r\n{}\r\n0\r\n\r\n", "fffffffffffffffff\r\n{}"] {
        let said = answers(&app.until_closed(format!("{head}{body}").as_bytes()));
        assert_eq!(said.len(), 1, "{body:?}: {said:?}");
        said[0].assert_says(400, "BadRequest", "body");
    }
}

#[test]
fn a_client_that_waits_for_100_continue() {
    let app = TestApp::start();
    let body = r#"{"scope":["guest"]}"#;
    let head = |length: usize| {
        format!("POST /token HTTP/1.1\r\nHost: a\r\n{JSON}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut stream = app.connect();
    stream.write_all(head(body.len()).as_bytes()).unwrap();
    let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);

    // Nobody asks for a body that is not wanted.
    for (text, status) in [(head(70_000), 413), (head(10).replace("/token", "/nothing"), 404)] {
        let said = app.until_closed(text.as_bytes());
        let said = answers(&said);
        assert_eq!((said.len(), said[0].status), (1, status));
        assert_eq!(said[0].header("connection"), Some("close"));
    }
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

/// What two readers could take for two messages is refused (RFC 9112 §3.2, §6.1).
#[test]
fn a_message_that_could_be_two_is_refused() {
    let app = TestApp::start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (head, status) in [
        ("Host: a\r\n", 200),
        ("", 400),
        ("Host: a\r\nHost: b\r\n", 400),
        (&*format!("Host: a\r\n{chunked}"), 200),
        (&*format!("Host: a\r\n{chunked}{chunked}"), 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 400),
    ] {
        let body = if head.contains("chunked") { "0\r\n\r\n" } else { "" };
        let answer = app.raw(format!("POST /token HTTP/1.1\r\nConnection: close\r\n{head}\r\n{body}").as_bytes());
        assert_eq!(answer.status, status, "{head:?}: {answer:?}");
        let asked = if status == 200 { 204 } else { status };
        let answer = app.raw(format!("OPTIONS /token HTTP/1.1\r\nConnection: close\r\n{head}\r\n{body}").as_bytes());
        assert_eq!(answer.status, asked, "OPTIONS {head:?}: {answer:?}");
    }
    // Wherever the bytes of a target stand, they count.
    let target = format!("http://{}/token", "a".repeat(8_200));
    let answer = app.raw(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
    answer.assert_error(414, "UriTooLong", "the request target is longer than 8192 bytes");
}

/// Where readers may disagree about the end of a message, nothing after it is taken for a request.
#[test]
fn what_follows_an_unclear_end_is_not_read() {
    let app = TestApp::start();
    for codings in ["gzip, chunked", "chunked\r\nTransfer-Encoding: chunked", "identity, chunked"] {
        let hidden = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let message =
            format!("POST /token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {codings}\r\n\r\n0\r\n\r\n{hidden}");
        let said = answers(&app.until_closed(message.as_bytes()));
        assert_eq!(said.len(), 1, "{codings}: {said:?}");
        assert_eq!((said[0].status, said[0].header("connection")), (400, Some("close")), "{codings}");
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
