//! The body: its form, its media type and its size.

use super::bare;
use crate::app::{TestApp, chunked};

#[test]
fn bodies_of_another_form() {
    let app = TestApp::start();
    let list = |count: usize| (0..count).map(|i| format!("\"s{i}\"")).collect::<Vec<_>>().join(",");
    let deep = |open: &str| format!("{{\"claims\":{{\"tenant\":{}", open.repeat(30_000 / open.len()));
    let table: &[(&str, &str)] = &[
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ("\"x\"", "JSON object"),
        (" ", "JSON"),
        ("{", "JSON"),
        ("{}{}", "JSON"),
        ("{\"scope\":[\"a\"],}", "JSON"),
        ("{'scope':1}", "JSON"),
        ("\u{feff}{}", "JSON"),
        ("{\"scopes\":[]}", "scopes"),
        ("{\"Scope\":[\"a\"]}", "Scope"),
        ("{\"\":1}", "member"),
        ("{\"scope\":[\"a\"],\"scope\":[\"a\"]}", "duplicate member \"scope\""),
        ("{\"subject\":\"a\",\"s\\u0075bject\":\"a\"}", "duplicate member \"subject\""),
        ("{\"scope\":null}", "scope must be"),
        ("{\"scope\":[]}", "scope must be"),
        ("{\"scope\":\"orders:read\"}", "scope must be"),
        ("{\"scope\":{\"0\":\"a\"}}", "scope must be"),
        ("{\"scope\":[null]}", "scope must be"),
        ("{\"scope\":[\"\"]}", "scope must be"),
        ("{\"scope\":[\"orders:read orders:write\"]}", "scope must be"),
        ("{\"scope\":[\"a\\\"b\"]}", "scope must be"),
        ("{\"scope\":[\"a\\\\b\"]}", "scope must be"),
        ("{\"scope\":[\"\u{e9}\"]}", "scope must be"),
        (&format!("{{\"scope\":[\"{}\"]}}", "a".repeat(129)), "scope must be"),
        (&format!("{{\"scope\":[{}]}}", list(65)), "scope must be"),
        ("{\"audience\":null}", "audience must be"),
        ("{\"audience\":[]}", "audience must be"),
        ("{\"audience\":[\"\"]}", "audience must be"),
        ("{\"audience\":\"https://api.example.com\"}", "audience must be"),
        (&format!("{{\"audience\":[\"{}\"]}}", "a".repeat(256)), "audience must be"),
        (&format!("{{\"audience\":[{}]}}", list(9)), "audience must be"),
        ("{\"subject\":null}", "subject must be"),
        ("{\"subject\":7}", "subject must be"),
        ("{\"claims\":null}", "claims must be"),
        ("{\"claims\":[]}", "claims must be"),
        ("{\"client_id\":null,\"client_secret\":\"x\"}", "client_id must be"),
        ("{\"client_id\":\"x\",\"client_secret\":7}", "client_secret must be"),
        // However deep, also where it never ends.
        (&deep("["), "claims must be"),
        (&deep("{\"a\":"), "claims must be"),
        (&"[".repeat(60_000), "JSON object"),
        (&format!("{{\"x\":{}", "[".repeat(60_000)), "x"),
    ];
    for (body, part) in table {
        bare(&app, body).assert_says(400, "BadRequest", part);
    }
    let invalid = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"scope\":\"\xff\"}";
    assert_eq!(app.raw(invalid).assert_says(400, "BadRequest", "").status, 400);
    // At the limits the form is right, and the policy speaks.
    for body in [
        format!("{{\"scope\":[{}]}}", list(64)),
        format!("{{\"scope\":[\"{}\"]}}", "a".repeat(128)),
        format!("{{\"audience\":[{}]}}", list(8)),
        format!("{{\"audience\":[\"{}\"]}}", "\u{e9}".repeat(255)),
    ] {
        assert_eq!(app.create(&body).status, 403, "{body}");
    }
}

#[test]
fn the_media_type_counts_only_where_there_are_bytes() {
    let app = TestApp::start();
    let table: &[(&[&str], u16)] = &[
        (&["Content-Type: application/json"], 200),
        (&["Content-Type: APPLICATION/JSON"], 200),
        (&["Content-Type: application/json;charset=utf-8"], 200),
        (&["Content-Type: application/json; charset=\"UTF-8\""], 200),
        (&[], 415),
        (&["Content-Type:"], 415),
        (&["Content-Type: text/plain"], 415),
        (&["Content-Type: application/json;"], 200),
        (&["Content-Type: application/json; profile=\"a;charset=latin1\";charset=utf-8"], 200),
        (&["Content-Type: application/json; charset=latin1"], 415),
        (&["Content-Type: application/json; profile=a; charset=latin1"], 415),
        (&["Content-Type: application/json; charset=utf-16"], 415),
        (&["Content-Type: application/x-www-form-urlencoded"], 415),
        (&["Content-Type: application/merge-patch+json"], 415),
        (&["Content-Type: */*"], 415),
        (&["Content-Type: application/json", "Content-Type: text/plain"], 415),
        (&["Content-Type: application/json", "Content-Encoding: gzip"], 415),
        (&["Content-Type: application/json", "Content-Encoding: identity"], 415),
    ];
    for (headers, status) in table {
        let answer = app.send("POST", "/token", headers, "{}");
        assert_eq!(answer.status, *status, "{headers:?}: {answer:?}");
        if *status == 415 {
            answer.assert_says(415, "UnsupportedMediaType", "application/json");
        }
        assert_eq!(app.send("POST", "/token", headers, "").status, 200, "{headers:?} without a body");
        // Nor are there bytes in a body of no chunks.
        let head = headers.join("\r\n");
        let text = format!("POST /token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{head}");
        let end = if headers.is_empty() { "\r\n0\r\n\r\n" } else { "\r\n\r\n0\r\n\r\n" };
        assert_eq!(app.raw(format!("{text}{end}").as_bytes()).status, 200, "{headers:?} with no chunk");
    }
}

#[test]
fn bodies_up_to_64_kib() {
    let app = TestApp::start();
    let json = "Content-Type: application/json";
    let by_chunks = |body: &str| {
        let head = format!("POST /token HTTP/1.1\r\nHost: a\r\n{json}\r\nTransfer-Encoding: chunked\r\n\r\n");
        app.raw((head + &chunked(body)).as_bytes())
    };
    // The answer also arrives at a client that is still writing.
    for (length, status) in [(65_536, 200), (65_537, 413), (200_000, 413), (900_000, 413)] {
        let body = format!("{{{}}}", " ".repeat(length - 2));
        for answer in [bare(&app, &body), by_chunks(&body)] {
            assert_eq!(answer.status, status, "{length}: {answer:?}");
            if status == 413 {
                answer.assert_says(413, "PayloadTooLarge", "65536");
            }
        }
    }
    // And at one that has announced much and sent nothing yet.
    let head = format!("POST /token HTTP/1.1\r\nHost: a\r\n{json}\r\nContent-Length: 5000000000\r\n\r\n");
    app.raw(head.as_bytes()).assert_says(413, "PayloadTooLarge", "65536");
}
