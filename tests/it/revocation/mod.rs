//! Revocation: contract §9, sentence by sentence.

mod matching;
mod publish;
mod reload;
mod revoke;

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::app::{Answer, SECRET, TestApp, replace, segment, standard};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const LATER: &str = "2026-07-01T00:00:00Z";
const RANDOM: &str = "AAAAAAAAAAAAAAAAAAAAAA";

fn listed() -> String {
    // The client of these tests may use both dialects.
    let grants = "id = \"orders\"\ngrants = [\"client_credentials\", \"refresh_token\"]\n\
                  accepts = [\"https://orders.example.com\"]";
    let standard = standard().replacen("id = \"orders\"", grants, 1);
    standard.replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1)
}

/// A service with an empty list.
fn service() -> TestApp {
    TestApp::with_files(&listed(), &[KEY], &[("revoked", Vec::new())])
}

fn append(app: &TestApp, text: &str) {
    let mut file = OpenOptions::new().append(true).open(app.folder.path().join("revoked")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The list is this from now on, and was looked at.
fn list(app: &TestApp, text: &str) {
    replace(&app.folder.path().join("revoked"), text);
    app.look();
}

fn sid(token: &str) -> Option<String> {
    segment(token, 1)["sid"].as_str().map(str::to_owned)
}

fn jti(token: &str) -> String {
    segment(token, 1)["jti"].as_str().unwrap().to_owned()
}

fn pair(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    (answer.text("value"), answer.text("refresh"))
}

/// What GET says of an access token: 200, or 401 without a description.
#[track_caller]
fn is_good(app: &TestApp, access: &str) -> bool {
    judged(&app.inspect(access, ""))
}

#[track_caller]
fn goes_on(app: &TestApp, refresh: &str) -> bool {
    judged(&app.refresh(refresh, ""))
}

#[track_caller]
fn judged(answer: &Answer) -> bool {
    if answer.status != 200 {
        answer.assert_invalid_token(None);
    }
    answer.status == 200
}

fn oauth(app: &TestApp, path: &str, form: &str) -> Answer {
    let basic = crate::app::basic("orders", SECRET);
    app.send("POST", path, &[&basic, "Content-Type: application/x-www-form-urlencoded"], form)
}

/// What the operator is told is refused.
fn refusal(app: &TestApp) -> String {
    app.operator("/readyz").json()["reload_error"].as_str().unwrap_or_default().to_owned()
}

fn warnings(app: &TestApp) -> String {
    app.operator("/readyz").json()["warnings"].to_string()
}

fn failures(app: &TestApp) -> i64 {
    app.metric("lingpai_reload_failures_total{part=\"revocations\"}")
}
