//! What the operator is told of requests and tokens: the log and the metrics.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lingpai::clock::Timestamp;
use serde_json::{Value, json};

use crate::app::{SECRET, START, TestApp, basic, quiet, read_answer, segment, standard};
use crate::home::{Home, KEY};

/// The lines of a log that say `message`.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let all = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    all.filter(|line| line["message"] == message).collect()
}

/// The log names what the policy refused.
#[test]
fn a_line_names_what_is_not_allowed() {
    let server = Home::standard().serve(&[]);
    let headers = ["Content-Type: application/json", &basic("orders", SECRET)].join("\r\n");
    let expected = [("scope", "a:b"), ("audience", "https://b.example"), ("subject", "root"), ("claim", "shoe_size")];
    for (member, value) in expected {
        let body = match member {
            "claim" => json!({"claims": {value: 43}}),
            "subject" => json!({member: value}),
            _ => json!({member: [value]}),
        };
        assert_eq!(server.send("POST", "/token", &headers, &body.to_string()).status, 403, "{body}");
    }
    for name in ["a\u{85}b", "a\u{202e}b", "Bearer eyJ.eyJ.x", "lps_x"] {
        server.send("POST", "/token", &headers, &json!({"claims": {name: 43}}).to_string());
    }
    let log = server.stop("TERM").err;
    let refused = lines(&log, "refused");
    let said: Vec<_> = refused.iter().map(|line| (line["cause"].clone(), line["refused"].clone())).collect();
    assert!(said[4..].iter().all(|(_, value)| value.is_null()) && said.len() == 8, "{log}");
    assert_eq!(said[..4], expected.map(|(member, value)| (json!(format!("{member}_not_allowed")), json!(value))));
}

/// The log says why introspection said that a token is not active; the answer does not.
#[test]
fn a_line_names_why_a_token_is_not_active() {
    let server = Home::standard().serve(&[]);
    let token = server.create("orders", SECRET);
    let (value, refresh) = (token.text("value"), token.text("refresh"));
    let headers = ["Content-Type: application/x-www-form-urlencoded", &basic("orders", SECRET)].join("\r\n");
    for token in [&value, "x", &refresh, &value[..value.len() - 2]] {
        assert_eq!(server.send("POST", "/oauth2/introspect", &headers, &format!("token={token}")).status, 200);
    }
    let log = server.stop("TERM").err;
    let answered = lines(&log, "answered");
    let causes: Vec<_> = answered[1..].iter().map(|line| line["cause"].as_str()).collect();
    assert_eq!(causes, [None, Some("malformed_token"), Some("wrong_kind"), Some("bad_signature")], "{log}");
}

/// A request that finds no place has no line of its own. One warning says that no place was left.
#[test]
fn a_line_says_that_requests_found_no_place() {
    let home = Home::standard();
    home.write("lingpai.toml", &(quiet() + "\n[limits]\nrequests = 1\n"));
    let server = home.serve(&[]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut refused = 0;
    while refused < 3 {
        assert!(Instant::now() < deadline);
        // It takes the place until its body has come, unless the request before still has it: then this one is refused.
        let mut waiting = server.connect();
        write!(waiting, "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").unwrap();
        refused += u32::from(server.send("GET", "/token", "", "").status == 503);
    }
    let log = server.stop("TERM").err;
    assert_eq!(
        lines(&log, "no place of `limits.requests` is left: some requests are refused, with 503 or REFUSED_STREAM")
            .len(),
        1
    );
}

#[test]
fn a_line_for_every_request_and_every_token() {
    let server = Home::standard().serve(&[]);
    let created = server.create("orders", SECRET);
    let (value, refresh) = (created.text("value"), created.text("refresh"));
    let renewed = server.send("PUT", "/token", &format!("Authorization: Token {refresh}"), "");
    assert_eq!(server.send("GET", "/token", &format!("Authorization: Token {value}"), "").status, 200);
    assert_eq!(server.send("GET", "/token?scope=x", &format!("Authorization: Token {value}"), "").status, 403);
    assert_eq!(server.create("orders", "wrong").status, 401);
    assert_eq!(server.send("GET", "/nowhere", "", "").status, 404);
    let log = server.stop("TERM").err;

    let answered = lines(&log, "answered");
    let expected = [("POST", "orders"), ("PUT", "orders"), ("GET", "orders")];
    assert_eq!(answered.len(), expected.len(), "{log}");
    for (line, (method, client)) in answered.iter().zip(expected) {
        assert_eq!((&line["method"], &line["route"], &line["status"]), (&method.into(), &"/token".into(), &200.into()));
        assert_eq!((&line["client"], &line["address"]), (&client.into(), &"127.0.0.1".into()));
        assert!(line["micros"].as_u64().unwrap() > 0 && !line["request_id"].as_str().unwrap().is_empty(), "{line}");
    }
    let refused = lines(&log, "refused");
    let said: Vec<_> =
        refused.iter().map(|line| (line["status"].as_u64().unwrap(), line["cause"].as_str().unwrap())).collect();
    assert_eq!(said, [(403, "missing_scope"), (401, "wrong_secret"), (404, "NotFound")], "{log}");
    assert_eq!((&refused[0]["client"], &refused[0]["refused"]), (&"orders".into(), &"x".into()));
    assert_eq!((&refused[1]["client"], &refused[1]["refused"]), (&"orders".into(), &Value::Null));
    assert_eq!((&refused[2]["route"], &refused[2]["address"]), (&"".into(), &"127.0.0.1".into()));

    let tokens = lines(&log, "token");
    assert_eq!(tokens.len(), 2);
    for (line, (event, token)) in tokens.iter().zip([("issued", value), ("refreshed", renewed.text("value"))]) {
        let claims = segment(&token, 1);
        let audience = match &claims["aud"] {
            Value::String(one) => vec![one.as_str()],
            several => several.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
        };
        for (member, expected) in [
            ("event", &event.into()),
            ("client", &claims["client_id"]),
            ("subject", &claims["sub"]),
            ("scope", &claims["scope"]),
            ("jti", &claims["jti"]),
            ("kid", &segment(&token, 0)["kid"]),
            ("audience", &audience.join(" ").into()),
            ("address", &"127.0.0.1".into()),
        ] {
            assert_eq!(&line[member], expected, "{member} in {line}");
        }
        assert_eq!(line["request_id"], answered[usize::from(event == "refreshed")]["request_id"]);
    }
}

/// Whom a trusted proxy names is who called; whom anybody else names is nobody.
#[test]
fn the_callers_address() {
    for (trusted, expected) in [("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")] {
        let home = Home::standard();
        home.write("lingpai.toml", &format!("trusted_proxies = [{trusted:?}]\n{}", standard()));
        let server = home.serve(&[]);
        let header = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: a lié, 203.0.113.7, 127.0.0.9";
        server.send("POST", "/token", header, "");
        let log = server.stop("TERM").err;
        assert_eq!(lines(&log, "answered")[0]["address"], expected, "{log}");
        assert_eq!(lines(&log, "token")[0]["address"], expected, "{log}");
    }
}

/// A load balancer that passes bytes on says from whom they come, before anything else.
#[test]
fn the_proxy_protocol() {
    let home = Home::standard();
    home.write("lingpai.toml", &format!("proxy_protocol = true\n{}", standard()));
    let server = home.serve(&[]);
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let version_2 = |command: u8, rest: &[u8]| [&signature[..], &[command], rest].concat();
    let addresses = [&[0x11, 0, 12][..], &[203, 0, 113, 8, 127, 0, 0, 1], &[18, 52, 0, 80]].concat();
    for header in [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2(0x21, &addresses),
        version_2(0x20, &[0, 0, 0]),
    ] {
        // In two pieces, with the request behind the second.
        let mut stream = server.connect();
        stream.write_all(&header[..9]).unwrap();
        stream.write_all(&[&header[9..], request].concat()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200, "{}", String::from_utf8_lossy(&header));
    }
    let with_request = [b"PROXY UNKNOWN \n\ra", &request[..]].concat();
    for wrong in [&request[..], b"PROXY TCP4 a b c d\r\n", b"PROXY TCP4 203.0.113.7", &[0; 4_000], &with_request] {
        let mut stream = server.connect();
        let _ = stream.write_all(wrong);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{wrong:?} was answered");
    }
    let log = server.stop("TERM").err;
    let said: Vec<_> =
        lines(&log, "answered").iter().map(|line| line["address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, ["203.0.113.7", "2001:db8::7", "127.0.0.1", "203.0.113.8", "127.0.0.1"], "{log}");
}

#[test]
fn what_is_counted() {
    let app = TestApp::start();
    let pair = app.create("");
    app.inspect(&pair.text("value"), "");
    app.inspect("wrong", "");
    app.refresh(&pair.text("refresh"), "");
    app.send("BREW", "/token", &[], "");
    app.send("GET", "/CANARY", &[], "");
    for (metric, count) in [
        ("lingpai_requests_total{method=\"POST\",route=\"/token\",status=\"200\"}", 1),
        ("lingpai_requests_total{method=\"GET\",route=\"/token\",status=\"200\"}", 1),
        ("lingpai_requests_total{method=\"GET\",route=\"/token\",status=\"401\"}", 1),
        ("lingpai_requests_total{method=\"other\",route=\"/token\",status=\"405\"}", 1),
        ("lingpai_requests_total{method=\"other\",route=\"other\",status=\"404\"}", 1),
        ("lingpai_tokens_total{dialect=\"native\",event=\"issued\"}", 1),
        ("lingpai_tokens_total{dialect=\"native\",event=\"refreshed\"}", 1),
        ("lingpai_tokens_total{dialect=\"native\",event=\"verified\"}", 1),
        ("lingpai_refusals_total{reason=\"malformed_token\"}", 1),
        ("lingpai_request_duration_seconds_count{method=\"POST\",route=\"/token\"}", 1),
        ("lingpai_log_lines_dropped", 0),
    ] {
        assert_eq!(app.metric(metric), count, "{metric}");
    }
    assert!(!app.operator("/metrics").body.contains("CANARY"));
}

/// Of every algorithm that signs, and of no other.
#[test]
fn how_old_the_newest_keys_are() {
    const RS256: &str = "2026-01-01T00-00-00Z.rs256.pem";
    let own = standard().replace("id = \"billing\"", "id = \"billing\"\nalgorithm = \"RS256\"");
    let app = TestApp::with(&own, &[KEY, RS256]);
    let newest = |alg| format!("lingpai_newest_key_start_timestamp_seconds{{alg=\"{alg}\"}}");
    let since = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap().unix();
    assert_eq!([app.metric(&newest("ES256")), app.metric(&newest("RS256"))], [since, since]);
    app.add_key(1_000);
    app.reconfigure(&standard());
    assert_eq!(app.metric(&newest("ES256")), START + 1_000);
    for absent in ["RS256", "EdDSA"] {
        assert!(!app.operator("/metrics").body.contains(&newest(absent)), "{absent}");
    }
}

/// Whoever reads the log may stand still: lines are dropped and counted, and nobody waits.
#[test]
fn a_log_that_nobody_reads() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[ops]\nlisten = \"127.0.0.1:0\""));
    let mut child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let (mut first, unread) = (String::new(), child.stderr.take());
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    let mut addresses = first.split("http://").skip(1).map(|rest| rest.split([',', '\n', ' ']).next().unwrap());
    let (public, ops) = (addresses.next().unwrap(), addresses.next().unwrap());
    let ask = |address: &str, request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    // More lines than a pipe and the buffer take.
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500);
    for _ in 0..24 {
        let mut said = String::new();
        let last = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        ask(public, &(request.clone() + last)).read_to_string(&mut said).unwrap();
        assert_eq!(said.matches("HTTP/1.1 200 ").count(), 501);
    }
    let metrics = read_answer(&mut ask(ops, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).body;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("lingpai_log_lines_dropped ")).unwrap();
    assert!(dropped.parse::<u64>().unwrap() > 0, "{metrics}");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(unread);
}
