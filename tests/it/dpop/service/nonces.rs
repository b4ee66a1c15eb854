//! Nonces (RFC 9449 §8): required, offered or off.

use serde_json::{Value, json};

use super::{CLIENT_CREDENTIALS, TOKEN_URL, ask, configuration, fresh, header_line, start, start_with, with};
use crate::app::{START, TestApp};
use crate::dpop::Prover;

/// "`[dpop] nonce` = "required", "offered" (default) or "off""; "Every answer to a good proof carries `DPoP-Nonce` unless
/// off. `use_dpop_nonce` … [is] 400 without a challenge at the token endpoint"
#[test]
fn nonces_are_required_offered_or_off() {
    let prover = Prover::es256();
    let ask_at = |app: &TestApp, seconds: i64, nonce: Option<Value>| {
        let claims = with(fresh("POST", TOKEN_URL), "iat", json!(START + seconds));
        let claims = nonce.map_or(claims.clone(), |nonce| with(claims, "nonce", nonce));
        ask(app.at(seconds), "orders", CLIENT_CREDENTIALS, &[&header_line(&prover, &claims)])
    };
    let required = start_with("[dpop]\nnonce = \"required\"");
    let refused = ask_at(&required, 0, None);
    let nonce = refused.assert_refused("use_dpop_nonce").nonce();
    assert_eq!(nonce, "ZEeAyJO9_uavTttFc6y9n2APhY5P3v8l2kISK4VcmsA", "a known answer, which no release changes");
    assert_eq!(ask_at(&required, 0, Some(nonce.clone())).status, 200);
    assert_eq!(ask_at(&required, 119, Some(nonce.clone())).status, 200);
    let newer = ask_at(&required, 120, Some(nonce.clone())).assert_refused("use_dpop_nonce").nonce();
    assert_ne!(newer, nonce);
    assert_eq!(ask_at(&required, 120, Some(newer.clone())).nonce(), newer);
    ask_at(&required, 120, Some(json!(7))).assert_refused("invalid_dpop_proof");
    // No proof, no nonce: it would not help.
    assert_eq!(ask(&required, "orders", CLIENT_CREDENTIALS, &[]).header("dpop-nonce"), None);
    // A replica with the same keys knows it, and is not asked.
    let other = start_with("[dpop]\nnonce = \"required\"");
    assert_eq!(ask_at(&other, 60, Some(newer.clone())).status, 200);
    let eddsa = configuration("[dpop]\nnonce = \"required\"").replacen("[token]", "[token]\nalgorithm = \"EdDSA\"", 1);
    let stranger = TestApp::with(&eddsa, &["2026-01-01T00-00-00Z.eddsa.pem"]);
    ask_at(&stranger, 120, Some(newer)).assert_refused("use_dpop_nonce");

    let offered = start();
    let answer = ask_at(&offered, 0, None);
    assert_eq!((answer.status, answer.nonce()), (200, nonce.clone()));
    assert_eq!(ask_at(&offered, 0, Some(nonce.clone())).status, 200);
    ask_at(&offered, 0, Some(json!("wrong"))).assert_refused("use_dpop_nonce").nonce();

    let off = start_with("[dpop]\nnonce = \"off\"");
    for nonce in [None, Some(json!("wrong"))] {
        let answer = ask_at(&off, 0, nonce);
        assert_eq!((answer.status, answer.header("dpop-nonce")), (200, None));
    }
}

/// "accepted under every key of the token table"
#[test]
fn a_nonce_outlives_the_key_that_made_it() {
    let app = start_with("[dpop]\nnonce = \"required\"");
    let prover = Prover::es256();
    let line = |seconds: i64, nonce: Value| {
        let claims = with(fresh("POST", TOKEN_URL), "iat", json!(START + seconds));
        header_line(&prover, &with(claims, "nonce", nonce))
    };
    let nonce =
        ask(&app, "orders", CLIENT_CREDENTIALS, &[&line(0, json!("x"))]).assert_refused("use_dpop_nonce").nonce();
    app.add_key(30);
    app.reconfigure(&configuration("[dpop]\nnonce = \"required\""));
    let answer = ask(app.at(29), "orders", CLIENT_CREDENTIALS, &[&line(29, nonce.clone())]);
    assert_eq!((answer.status, answer.nonce()), (200, nonce.clone()));
    let answer = ask(app.at(31), "orders", CLIENT_CREDENTIALS, &[&line(31, nonce.clone())]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.nonce(), nonce, "the newer key makes it, though the step is the same");
}
