//! What the new token says: scope, audience, subject, lifetimes and extra claims.

use serde_json::{Map, json};

use super::{KEYS, claims};
use crate::app::{BASIC, ISSUER, SECRET, START, TestApp, edited, segment};

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
