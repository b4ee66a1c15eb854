//! `POST /token`

mod authentication;
mod bodies;
mod claims;

use serde_json::Value;

use crate::app::{Answer, TestApp, segment};

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
