//! What is logged, and what never is.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::app::{SECRET, UNAUTHORIZED, basic};
use crate::home::{Home, Server};

/// Requests with a word that must not be seen again, in every place where a
/// secret or a token may stand or be put by mistake.
fn with_canaries(value: &str, refresh: &str) -> Vec<String> {
    const C: &str = "CANARY-0123456789";
    let post = |headers: &str, body: &str| {
        format!("POST /token HTTP/1.1\r\nHost: a\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let json = "Content-Type: application/json";
    let get = |target: &str, header: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    let mut all = vec![
        post(&basic("orders", C), ""),
        post(&basic(C, SECRET), ""),
        post(&format!("Authorization: Basic {C}"), ""),
        post(&format!("Authorization: {C}"), ""),
        post(json, &format!(r#"{{"client_id":"orders","client_secret":"{C}"}}"#)),
        post(json, &format!(r#"{{"client_id":"{C}","client_secret":"{SECRET}"}}"#)),
        post(json, &format!(r#"{{"client_secret":"{SECRET}{C}"}}"#)),
        post(json, &format!(r#"{{"{C}":"{C}"}}"#)),
        post(json, &format!(r#"{{"scope":["{C}"]}}"#)),
        post(json, &format!(r#"{{"scope":"{C}"}}"#)),
        post(json, &format!("{C} {{")),
        post(&format!("Content-Type: {C}/{C}"), C),
        post(&format!("Content-Encoding: {C}\r\n{json}"), C),
        post(&format!("{}\r\n{json}", basic("orders", SECRET)), &format!(r#"{{"claims":{{"tenant":null,"{C}":1}}}}"#)),
        post(&format!("{}\r\n{json}", basic("orders", SECRET)), &format!(r#"{{"subject":"lps_{C}"}}"#)),
        // An id of another form is not kept, and so is not repeated.
        post(&format!("X-Request-Id: {C}+{C}"), "{"),
        post(&format!("X-Request-Id: {C}{}", "x".repeat(64)), "{"),
        get(&format!("/{C}"), "A: b"),
        get(&format!("/token/{C}"), "A: b"),
        get(&format!("/token?{C}={C}"), &format!("Authorization: Token {value}")),
        get(&format!("/{C}?access_token={C}"), "A: b"),
        get("/token", &format!("Cookie: {C}")),
        format!("{C} /{C} HTTP/1.1\r\nHost: {C}\r\n\r\n"),
        format!("GET /token HTTP/1.1\r\nHost: {C}\r\n{C} {C}\r\n\r\n"),
        format!("{C}\r\n\r\n"),
    ];
    for token in [value, refresh, &format!("{value}{C}"), &format!("{C}.{C}.{C}"), C] {
        for scheme in ["Token", "Bearer", "Basic", "Other"] {
            all.push(get("/token", &format!("Authorization: {scheme} {token}")));
            all.push(get("/token", &format!("Authorization: {scheme} {token}")).replacen("GET", "PUT", 1));
        }
        for name in ["access_token", "token", "refresh", "client_secret"] {
            all.push(get(&format!("/token?{name}={token}"), "A: b"));
        }
        all.push(post(json, &format!("{{\"token\":\"{token}\"}}")));
        all.push(get(&format!("/{token}"), "A: b"));
    }
    all
}

/// Asserts that nothing of `server`'s output after its first line has one of `words`.
#[track_caller]
fn assert_silent(server: Server, words: &[&str], least: usize) {
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.matches("\"refused\"").count() >= least, "too little was logged:\n{}", ran.err);
    for line in ran.out.lines().chain(ran.err.lines()) {
        assert!(!words.iter().any(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn no_secret_and_no_token_is_printed_or_logged() {
    let server = Home::standard().serve(&[]);
    let pair = server.create("orders", SECRET);
    let (value, refresh) = (pair.text("value"), pair.text("refresh"));
    let requests = with_canaries(&value, &refresh);
    for request in requests {
        let mut stream = server.connect();
        stream.write_all(request.replacen("Host:", "Connection: close\r\nHost:", 1).as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // The 401 is the same for all of them.
    assert_eq!(server.create("orders", "CANARY").body, UNAUTHORIZED);
    let parts: Vec<_> = value.split('.').chain(refresh.split('.')).collect();
    assert_silent(server, &[&["CANARY", SECRET, "lps_"], &parts[..]].concat(), 20);
}

/// "internals go to the log, under the request's id"
#[test]
fn every_refusal_is_logged_under_its_id() {
    let server = Home::standard().serve(&[]);
    let body = "{\"scope\":[\"x\"]}";
    let basic = basic("orders", SECRET);
    let cases = [
        ("a-404", "GET /nowhere", "", "", 404),
        ("a-405", "POST /healthz", "", "", 405),
        ("a-400", "GET /token?access_token=x", "", "", 400),
        ("b-400", "POST /token", "Content-Type: application/json\r\n", "{", 400),
        ("a-401", "POST /token", "Authorization: Basic x\r\n", "", 401),
        ("b-401", "GET /token", "Authorization: Token x\r\n", "", 401),
        ("a-403", "POST /token", &format!("{basic}\r\nContent-Type: application/json\r\n"), body, 403),
    ];
    for (id, line, headers, body, status) in cases {
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = server.raw(head.as_bytes());
        assert_eq!((answer.status, answer.header("x-request-id")), (status, Some(id)), "{answer:?}");
    }
    let ran = server.stop("TERM");
    let logged: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let silent: Vec<_> = cases.iter().filter(|case| !logged.iter().any(|line| line["request_id"] == case.0)).collect();
    assert!(silent.is_empty(), "not logged: {silent:?}\n{}", ran.err);
}

/// What a caller puts in place of the method is a caller's word too.
#[test]
fn no_invented_method_is_logged() {
    let server = Home::standard().serve(&[]);
    assert_eq!(server.send("CANARY-0123456789", "/token", "", "").status, 405);
    let (long, padding) = (format!("/CANARY/{}", "a".repeat(9_000)), format!("X: {}", "a".repeat(17_000)));
    assert_eq!(server.send("GET", &long, "", "").status, 414);
    assert_eq!(server.send("CANARY-0123456789", "/CANARY", &padding, "").status, 431);
    assert_silent(server, &["CANARY"], 3);
}

/// The access log can be off; what was issued, and what failed, has its line all the same.
#[test]
fn requests_have_no_line_where_the_access_log_is_off() {
    let home = Home::standard();
    home.write("lingpai.toml", &format!("{}\n[log]\naccess = false\n", home.text("lingpai.toml")));
    let server = home.serve(&[]);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.create("orders", "wrong").status, 401);
    let ran = server.stop("TERM");
    let lines: Vec<Value> = ran.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let count = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((count("answered"), count("refused"), count("token")), (0, 0, 1), "{}", ran.err);
}

/// A method that HTTP defines is logged, also where the path does not support it; metrics count both as `other`.
#[test]
fn a_method_that_is_refused_is_logged() {
    let server = Home::standard().serve(&[]);
    for (id, method) in [("defined", "DELETE"), ("invented", "PURGE")] {
        assert_eq!(server.send(method, "/token", &format!("X-Request-Id: {id}"), "").status, 405);
    }
    let ran = server.stop("TERM");
    let logged: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let method = |id: &str| &logged.iter().find(|line| line["request_id"] == id).unwrap()["method"];
    assert_eq!((method("defined"), method("invented")), (&"DELETE".into(), &"".into()), "{}", ran.err);
}
