//! HTTP/1.1 messages and where they end (RFC 9112).

use std::io::{Read as _, Write as _};

use super::{JSON, every_error, request};
use crate::app::{SECRET, TestApp, answers, basic, read_answer, standard};

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

/// A body may come seconds after its head. "An issued `exp` is always later than now."
#[test]
fn a_call_is_decided_when_its_body_has_come() {
    let app = TestApp::start();
    let sent_late = |authorization: &str, body: &str, meanwhile: &dyn Fn()| {
        let mut stream = app.connect();
        let fields = format!("{authorization}\r\n{JSON}\r\nExpect: 100-continue\r\nContent-Length: {}", body.len());
        write!(stream, "POST /token HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; "HTTP/1.1 100 Continue\r\n\r\n".len()]).unwrap();
        meanwhile();
        stream.write_all(body.as_bytes()).unwrap();
        read_answer(&mut stream)
    };
    let orders = basic("orders", SECRET);
    let answer = sent_late(&orders, r#"{"lifetime":1}"#, &|| _ = app.at(3));
    assert_eq!(answer.text("expire"), "2026-06-01T12:00:04.000Z");
    // The client is gone.
    let answer = sent_late(&orders, "{}", &|| app.reconfigure(&standard().replacen("\"orders\"", "\"others\"", 1)));
    assert_eq!(answer.status, 401);
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
