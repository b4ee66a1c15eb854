//! `POST /token`

use crate::app::{ISSUER, START, TestApp, segment};

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
    assert_eq!(claims["aud"], serde_json::json!(["https://orders.example.com", "https://stock.example.com"]));
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(START), Some(START + 600)));
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22));
    assert_eq!(claims.as_object().map(serde_json::Map::len), Some(8));
}
