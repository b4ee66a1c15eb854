//! `POST /token`

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lingpai::clients::SecretDigest;
use serde_json::{Map, Value, json};

use crate::app::{Answer, BASIC, ISSUER, SECRET, START, TestApp, basic, chunked, edited, segment};

#[test]
fn a_client_gets_all_that_it_may_have() {
    let app = TestApp::start();
    let answer = app.create("");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body.starts_with("{\"value\":\""), "{}", answer.body);
    let names: Vec<_> = answer.body.split("\":\"").filter_map(|part| part.rsplit('"').next()).take(3).collect();
    assert_eq!(names, ["value", "refresh", "expire"]);
    assert_eq!(answer.text("expire"), "2026-06-01T12:10:00.000Z");

    let claims = segment(&answer.text("value"), 1);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], "orders");
    assert_eq!(claims["client_id"], "orders");
    assert_eq!(claims["scope"], "orders:read orders:write");
    assert_eq!(claims["aud"], json!(["https://orders.example.com", "https://stock.example.com"]));
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(START), Some(START + 600)));
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22));
    assert_eq!(claims.as_object().map(Map::len), Some(8));
}

const KEYS: &[&str] = &["2026-01-01T00-00-00Z.es256.pem"];

/// `POST /token` with this header line, a JSON body and nothing else.
fn post(app: &TestApp, authorization: &str, body: &str) -> Answer {
    app.send("POST", "/token", &[authorization, "Content-Type: application/json"], body)
}

/// `POST /token` without an `Authorization` header.
fn bare(app: &TestApp, body: &str) -> Answer {
    app.send("POST", "/token", &["Content-Type: application/json"], body)
}

fn claims(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    segment(&answer.text("value"), 1)
}

#[test]
fn credentials_stand_in_the_header_or_in_the_body() {
    let app = TestApp::start();
    let encoded = STANDARD.encode(format!("orders:{SECRET}"));
    for scheme in ["Basic", "basic", "BASIC"] {
        let answer = post(&app, &format!("Authorization: {scheme} {encoded}"), "{}");
        assert_eq!(claims(&answer)["client_id"], "orders", "{scheme}");
    }
    let members = json!({"client_id": "orders", "client_secret": SECRET, "scope": ["orders:read"]}).to_string();
    assert_eq!(claims(&bare(&app, &members))["client_id"], "orders");

    let only = |name: &str| json!({name: "orders"}).to_string();
    bare(&app, &only("client_id")).assert_says(400, "BadRequest", "client_secret must");
    bare(&app, &only("client_secret")).assert_says(400, "BadRequest", "client_id must");

    // Together they are 400, whichever is good, and even if the header is malformed.
    for header in [&basic("orders", SECRET), &basic("orders", "wrong"), "Authorization: Basic ?", "Authorization: x"] {
        for body in [&members, &only("client_id"), &only("client_secret")] {
            post(&app, header, body).assert_says(400, "BadRequest", "client_id");
        }
    }
}

/// The standard configuration gives anonymous tokens, and none of these gets one.
#[test]
fn a_malformed_authorization_is_never_anonymous() {
    let app = TestApp::start();
    let good = STANDARD.encode(format!("orders:{SECRET}"));
    let values = [
        String::new(),
        "Basic".into(),
        "Basic ".into(),
        "Basic ?".into(),
        "Basic \u{e9}".into(),
        "Basic Og".into(),
        format!("Basic {}", STANDARD.encode("orders")),
        format!("Basic {}", good.trim_end_matches('=').get(..good.len() - 3).unwrap()),
        format!("Basic {good}="),
        format!("Basic {good}, Basic {good}"),
        format!("Basic {good} {good}"),
        format!("Basic\t{good}"),
        format!("Basic={good}"),
        format!("Basic:{good}"),
        format!("Basic \"{good}\""),
        format!("Basic {}", STANDARD.encode([&b"\xff\xfe:"[..], SECRET.as_bytes()].concat())),
        good.clone(),
        format!("Bearer {good}"),
        format!("Token {good}"),
        format!("orders:{SECRET}"),
        format!("Basic orders:{SECRET}"),
        "Negotiate".into(),
        "Digest username=\"orders\"".into(),
    ];
    for value in values {
        for body in ["", "{}"] {
            post(&app, &format!("Authorization: {value}"), body).assert_unauthorized(&BASIC);
        }
    }
}

#[test]
fn wrong_credentials() {
    let app = TestApp::start();
    let pairs = [
        ("orders", "wrong"),
        ("orders", ""),
        ("nobody", SECRET),
        ("nobody", "wrong"),
        ("", SECRET),
        ("", ""),
        ("Orders", SECRET),
        ("orders ", SECRET),
        ("anonymous", SECRET),
        ("anonymous", ""),
    ];
    for (id, secret) in pairs {
        app.create_as(id, secret, "").assert_unauthorized(&BASIC);
        let members = json!({"client_id": id, "client_secret": secret}).to_string();
        bare(&app, &members).assert_unauthorized(&BASIC);
    }
    app.create_as("orders", &format!("{SECRET}\n"), "").assert_unauthorized(&BASIC);
}

/// Even where somebody has configured the digest of nothing.
#[test]
fn an_empty_secret_is_a_wrong_one() {
    let app = TestApp::with(&two_secrets(b"", SECRET.as_bytes()), KEYS);
    assert_eq!(app.create("").status, 200);
    app.create_as("orders", "", "").assert_unauthorized(&BASIC);
    bare(&app, r#"{"client_id":"orders","client_secret":""}"#).assert_unauthorized(&BASIC);
}

#[test]
fn an_unknown_client_and_a_wrong_secret_look_the_same() {
    let app = TestApp::start();
    let without_id = |id: &str| {
        let mut answer = app.create_as(id, "wrong", "");
        answer.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_ascii_lowercase().as_str()));
        (answer.status, answer.headers, answer.body)
    };
    assert_eq!(without_id("orders"), without_id("nobody"));
}

fn two_secrets(old: &[u8], new: &[u8]) -> String {
    let written = |secret| SecretDigest::of(secret).written();
    let one = format!("secrets = [\"{}\"]", written(SECRET.as_bytes()));
    edited(&one, &format!("secrets = [\"{}\", \"{}\"]", written(old), written(new)))
}

#[test]
fn two_secrets_while_one_is_being_replaced() {
    // A secret may have colons and bytes that are no text.
    let odd = b"with:colons:\xff\xfe";
    let app = TestApp::with(&two_secrets(SECRET.as_bytes(), odd), KEYS);
    let with_odd = || {
        let encoded = STANDARD.encode([b"orders:", &odd[..]].concat());
        app.send("POST", "/token", &[&format!("Authorization: Basic {encoded}")], "")
    };
    assert_eq!((app.create("").status, with_odd().status), (200, 200));
    app.create_as("orders", "neither", "").assert_unauthorized(&BASIC);
    // The replaced one goes at the next reload.
    app.reconfigure(&two_secrets(odd, odd));
    app.create("").assert_unauthorized(&BASIC);
    assert_eq!(with_odd().status, 200);
}

#[test]
fn anonymous_tokens() {
    let app = TestApp::start();
    for answer in [app.send("POST", "/token", &[], ""), bare(&app, "{}"), bare(&app, r#"{"scope":["guest"]}"#)] {
        let claims = claims(&answer);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("anonymous"), &json!("anonymous")));
        assert_eq!((&claims["scope"], &claims["aud"]), (&json!("guest"), &json!("https://api.example.com")));
        assert_eq!(app.refresh(&answer.text("refresh"), "").status, 200);
    }
    assert_eq!(claims(&bare(&app, r#"{"lifetime":7}"#))["exp"], START + 7);
    for (body, named) in [
        (r#"{"scope":["orders:read"]}"#, "orders:read"),
        (r#"{"scope":["guest","orders:read"]}"#, "orders:read"),
        (r#"{"audience":["https://api.example.com"]}"#, "audience"),
        (r#"{"subject":"anonymous"}"#, "subject"),
        (r#"{"subject":"user:1"}"#, "subject"),
        (r#"{"claims":{}}"#, "claims"),
        (r#"{"claims":{"tenant":"a"}}"#, "claims"),
    ] {
        bare(&app, body).assert_says(403, "Forbidden", named);
    }
    bare(&app, r#"{"lifetime":601}"#).assert_says(400, "BadRequest", "lifetime must");
    bare(&app, r#"{"claims":{"exp":1}}"#).assert_says(400, "BadRequest", "claims must");
}

#[test]
fn no_anonymous_tokens_where_they_are_not_configured() {
    let app = TestApp::with(&edited("[anonymous]\nscope = [\"guest\"]\n", ""), KEYS);
    for body in ["", "{}", r#"{"scope":["guest"]}"#, r#"{"subject":"user:1"}"#] {
        bare(&app, body).assert_unauthorized(&BASIC);
    }
}

#[test]
fn what_is_asked_for_is_all_or_nothing() {
    let app = TestApp::start();
    for (body, refused) in [
        (r#"{"scope":["bills"]}"#, "bills"),
        (r#"{"scope":["orders:read","zebra","bills"]}"#, "zebra"),
        (r#"{"scope":["ORDERS:READ"]}"#, "ORDERS:READ"),
        (r#"{"scope":["orders"]}"#, "orders"),
        (r#"{"audience":["https://api.example.com"]}"#, "https://api.example.com"),
        (r#"{"audience":["https://orders.example.com","b","a"]}"#, "audience b"),
        (r#"{"audience":["https://orders.example.com/"]}"#, "https://orders.example.com/"),
    ] {
        app.create(body).assert_says(403, "Forbidden", refused);
    }
    let one = claims(&app.create(r#"{"scope":["orders:write"],"audience":["https://stock.example.com"]}"#));
    assert_eq!((&one["scope"], &one["aud"]), (&json!("orders:write"), &json!("https://stock.example.com")));
    // A client without an audience of its own has the service's, as a string where it is one.
    assert_eq!(claims(&app.create_as("billing", SECRET, ""))["aud"], "https://api.example.com");
}

#[test]
fn scope_and_audience_are_sets() {
    let scope = r#"scope = ["~", "a", "B", "a1", "a-b", "a:b"]"#;
    let app = TestApp::with(&edited(r#"scope = ["orders:read", "orders:write"]"#, scope), KEYS);
    assert_eq!(claims(&app.create(""))["scope"], "B a a-b a1 a:b ~");
    let asked =
        r#"{"scope":["~","a","B","a","a1","~"],"audience":["https://stock.example.com","https://stock.example.com"]}"#;
    let answer = app.create(asked);
    assert_eq!(claims(&answer)["scope"], "B a a1 ~");
    assert_eq!(claims(&answer)["aud"], "https://stock.example.com");
    assert_eq!(app.inspect(&answer.text("value"), "").json()["scope"], json!(["B", "a", "a1", "~"]));
}

#[test]
fn a_token_without_scope() {
    let app = TestApp::with(&edited(r#"scope = ["bills"]"#, "scope = []"), KEYS);
    let answer = app.create_as("billing", SECRET, "");
    assert_eq!(claims(&answer).get("scope"), None);
    let described = app.inspect(&answer.text("value"), "");
    assert_eq!(described.json()["scope"], json!([]));
    assert_eq!(described.header("x-token-scope"), Some(""));
    assert_eq!(app.refresh(&answer.text("refresh"), "").status, 200);
}

#[test]
fn subjects() {
    let app = TestApp::start();
    let long = "u".repeat(255);
    let table = [
        ("orders", "user:1", 200),
        ("orders", "user:*", 200),
        ("orders", "user:!~\"\\", 200),
        ("orders", "user:", 403), // the star stands for one character or more
        ("orders", "user", 403),
        ("orders", "User:1", 403),
        ("orders", "a-user:1", 403),
        ("orders", "robot", 200),
        ("orders", "robots", 403),
        ("orders", "orders", 200), // its own id needs no pattern
        ("orders", "billing", 403),
        ("orders", "anonymous", 403),
        ("billing", "x", 200),
        ("billing", &long, 200),
        ("billing", "billing", 200),
        ("billing", "orders", 403), // whatever the pattern says
        ("billing", "anonymous", 403),
        ("billing", "Anonymous", 200),
        ("billing", "", 400),
        ("billing", "a b", 400),
        ("billing", "\u{e9}", 400),
        ("billing", "a\u{7f}", 400),
        ("billing", "a\n", 400),
        ("billing", &format!("{long}u"), 400),
    ];
    for (client, subject, status) in table {
        let answer = app.create_as(client, SECRET, &json!({"subject": subject}).to_string());
        assert_eq!(answer.status, status, "{client} as {subject}: {answer:?}");
        match status {
            200 => assert_eq!(claims(&answer)["sub"], subject),
            403 => _ = answer.assert_says(403, "Forbidden", subject),
            _ => _ = answer.assert_says(400, "BadRequest", "subject must be"),
        }
    }
    // What a removed client was called is free again.
    app.reconfigure(&edited("id = \"orders\"", "id = \"shop\""));
    assert_eq!(app.create_as("billing", SECRET, r#"{"subject":"orders"}"#).status, 200);
    assert_eq!(app.create_as("billing", SECRET, r#"{"subject":"shop"}"#).status, 403);
}

#[test]
fn lifetimes() {
    let app = TestApp::with(&edited("claims = [", "access_lifetime = \"5m\"\nclaims = ["), KEYS);
    for seconds in [1, 299, 300] {
        let answer = app.create(&json!({"lifetime": seconds}).to_string());
        assert_eq!(claims(&answer)["exp"], START + seconds);
    }
    assert_eq!(claims(&app.create(""))["exp"], START + 300);
    assert_eq!(claims(&app.create_as("billing", SECRET, ""))["exp"], START + 600);

    // Too much depends on the client, so it comes after authentication; the form comes before.
    let too_much = r#"{"lifetime":301}"#;
    app.create(too_much).assert_says(400, "BadRequest", "lifetime must be at most 300 ");
    app.create_as("orders", "wrong", too_much).assert_unauthorized(&BASIC);
    app.create(r#"{"lifetime":9007199254740993}"#).assert_says(400, "BadRequest", "lifetime must be");
    for wrong in ["0", "-1", "1.0", "1.5", "1e2", "\"60\"", "null", "true", "[60]", "99999999999999999999", "-0"] {
        let body = format!("{{\"lifetime\":{wrong}}}");
        app.create(&body).assert_says(400, "BadRequest", "lifetime must be");
        app.create_as("orders", "wrong", &body).assert_says(400, "BadRequest", "lifetime must be");
    }
}

#[test]
fn the_clock_and_the_ids() {
    let app = TestApp::start();
    let first = claims(&app.create(""));
    // Over the end of a leap year's February, and far into another year.
    for (seconds, expire) in [(-80 * 86_400, "2026-03-13T12:10:00.000Z"), (640 * 86_400, "2028-03-02T12:10:00.000Z")] {
        let answer = app.at(seconds).create("");
        assert_eq!(answer.text("expire"), expire);
        let claims = claims(&answer);
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(START + seconds), &json!(START + seconds + 600)));
        assert_ne!(claims["jti"], first["jti"]);
    }
}

#[test]
fn extra_claims() {
    let names: Vec<_> = (0..17).map(|i| format!("c{i}")).collect();
    let app =
        TestApp::with(&edited("\"tenant\", \"groups\"", &format!("\"tenant\", \"{}\"", names.join("\", \""))), KEYS);
    let values = [
        json!("x"),
        json!(""),
        json!("\u{4ee4}".repeat(255)),
        json!(true),
        json!(0),
        json!(9_007_199_254_740_991_i64),
        json!(-9_007_199_254_740_991_i64),
        json!([]),
        json!(["a", false, -1]),
        json!(vec![1; 32]),
    ];
    for value in values {
        let answer = app.create(&json!({"claims": {"tenant": value}}).to_string());
        assert_eq!(claims(&answer)["tenant"], value);
        assert_eq!(app.inspect(&answer.text("value"), "").json()["claims"], json!({"tenant": value}));
    }
    assert_eq!(claims(&app.create(r#"{"claims":{}}"#)).as_object().unwrap().len(), 8);

    let many =
        |count: usize| json!({"claims": names[..count].iter().map(|n| (n.clone(), json!(1))).collect::<Map<_, _>>()});
    assert_eq!(app.create(&many(16).to_string()).status, 200);
    app.create(&many(17).to_string()).assert_says(400, "BadRequest", "claims must be");

    for name in ["groups", "Tenant", "tenant ", "c17", "x5t"] {
        app.create(&json!({"claims": {"tenant": 1, name: 1}}).to_string()).assert_says(403, "Forbidden", name);
    }
}

#[test]
fn claims_that_no_client_may_set() {
    let app = TestApp::start();
    let reserved =
        "iss sub aud exp nbf iat jti client_id scope cnf act may_act auth_time acr amr azp nonce sid events typ";
    for name in reserved.split(' ') {
        // Of form, so before the secret is looked at.
        let body = json!({"claims": {name: "x"}}).to_string();
        app.create_as("orders", "wrong", &body).assert_says(400, "BadRequest", "claims must be");
    }
    let long = "x".repeat(256);
    for value in [
        "null",
        "1.5",
        "1e3",
        "1.0",
        "9007199254740992",
        "-9007199254740992",
        "{}",
        "[[]]",
        "[null]",
        "[{}]",
        &format!("\"{long}\""),
        &format!("[\"{long}\"]"),
        &format!("[{}]", ["1"; 33].join(",")),
        "1,\"tenant\":1",
        "1,\"t\\u0065nant\":1",
    ] {
        app.create(&format!("{{\"claims\":{{\"tenant\":{value}}}}}")).assert_says(400, "BadRequest", "claims must be");
    }
}

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
fn a_token_that_would_be_too_long() {
    let scope: Vec<_> = (0..64).map(|i| format!("{i:0128}")).collect();
    let written = format!("scope = [\"{}\"]", scope.join("\", \""));
    let app = TestApp::with(&edited(r#"scope = ["bills"]"#, &written), KEYS);
    app.create_as("billing", SECRET, "").assert_says(400, "BadRequest", "8192");
    let some = app.create_as("billing", SECRET, &json!({"scope": scope[..40]}).to_string());
    assert_eq!(some.status, 200, "{some:?}");
    let (value, refresh) = (some.text("value"), some.text("refresh"));
    assert!(value.len() > 6_000 && refresh.len() <= 8_192);
    assert_eq!((app.inspect(&value, "").status, app.refresh(&refresh, "").status), (200, 200));
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
