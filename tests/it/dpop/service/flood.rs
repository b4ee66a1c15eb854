//! Clients that send too much: too many requests, and proofs that are too long.

use serde_json::json;

use super::{
    CLIENT_CREDENTIALS, TOKEN_URL, ask, ask_proved, bound_token, configuration, fresh, fresh_for, header_line, inspect,
    start, with,
};
use crate::dpop::Prover;

/// "Every answer to a good proof carries `DPoP-Nonce`", also a 429.
#[test]
fn a_client_over_its_rate_gets_a_nonce() {
    let app = start();
    let prover = Prover::es256();
    app.reconfigure(&configuration("").replacen("id = \"bound\"", "id = \"bound\"\nrate = 1", 1));
    // Another is allowed each second, so on a busy machine more than the second.
    let mut answers = (0..100).map(|_| ask_proved(&app, "bound", CLIENT_CREDENTIALS, &prover));
    let limited = answers.find(|answer| answer.status == 429).unwrap();
    assert_eq!(limited.text("error"), "temporarily_unavailable");
    assert_eq!(limited.header("retry-after"), Some("1"));
    limited.nonce();
}

/// "Tokens over 8192 bytes are neither issued … nor read": a longer proof is one that is not good; a head over 16 KiB is
/// 431.
#[test]
fn a_long_proof_is_refused() {
    let app = start();
    let prover = Prover::es256();
    let token = bound_token(&app, &prover);
    let padded = |length: usize| json!("x".repeat(length));
    for (length, status) in [(5_000, 200), (6_000, 400), (9_000, 400), (13_000, 431)] {
        let claims = with(fresh("POST", TOKEN_URL), "x", padded(length));
        let answer = ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&prover, &claims)]);
        assert_eq!(answer.status, status, "{length}");
        if status == 400 {
            answer.assert_refused("invalid_dpop_proof");
        }
    }
    inspect(&app, &token, "", &prover, &with(fresh_for(&token), "x", padded(6_000)))
        .assert_unproved("invalid_dpop_proof");
}
