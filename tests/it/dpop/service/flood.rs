//! A client that uses up its share of the proofs that are remembered.

use lingpai::clients::{Entry, Unentered};
use lingpai::clock::Timestamp;
use lingpai::token::{ClientId, Thumbprint};
use serde_json::json;

use super::{
    CLIENT_CREDENTIALS, TOKEN_URL, ask, ask_proved, bound_token, fresh, fresh_for, header_line, inspect, start, with,
};
use crate::app::{Answer, START, TestApp};
use crate::dpop::Prover;

/// Enters proofs of `client` until there is no room. How many that were.
fn fill(app: &TestApp, client: &str) -> usize {
    let (client, key) = (ClientId::parse(client).unwrap(), Thumbprint::new([7; 32]));
    let at = |second: i64| Timestamp::from_unix(START + second);
    for number in 0.. {
        let entry = Entry { thumbprint: &key, id: &number.to_string(), ends: at(61) };
        match app.state.proofs.enter(&client, 4, entry, at(0)) {
            Ok(()) => {}
            Err(Unentered::Full(_)) => return number,
            Err(Unentered::Replayed) => panic!("{number} is new"),
        }
    }
    unreachable!()
}

impl Answer {
    #[track_caller]
    fn assert_full(&self, member: &str, word: &str) {
        let said = (self.status, self.text(member), self.header("retry-after"));
        assert_eq!(said, (429, word.to_owned(), Some("61")), "{self:?}");
        self.nonce();
    }
}

/// "an unexpired entry is never dropped; a client that fills its share (100,000) gets 429, others notice nothing"
#[test]
fn a_client_that_fills_its_share_gets_429() {
    let app = start();
    let prover = Prover::es256();
    let once = header_line(&prover, &fresh("POST", TOKEN_URL));
    let token = ask(&app, "orders", CLIENT_CREDENTIALS, &[&once]).text("access_token");
    let others = ask_proved(&app, "bound", CLIENT_CREDENTIALS, &prover).text("access_token");
    assert_eq!(fill(&app, "orders"), 99_999, "one has come already");

    ask_proved(&app, "orders", CLIENT_CREDENTIALS, &prover).assert_full("error", "temporarily_unavailable");
    inspect(&app, &token, "", &prover, &fresh_for(&token)).assert_full("name", "TooManyRequests");
    // What it has sent is still known, and what needs no proof goes on.
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&once]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[]).status, 200);
    // Another client has room for all of its own requests.
    for _ in 0..20 {
        assert_eq!(ask_proved(&app, "bound", CLIENT_CREDENTIALS, &prover).status, 200);
        assert_eq!(inspect(&app, &others, "", &prover, &fresh_for(&others)).status, 200);
    }
    assert_eq!(app.metric("lingpai_dpop_proofs_total{result=\"limited\"}"), 2);

    app.at(61);
    let later = with(fresh("POST", TOKEN_URL), "iat", json!(START + 61));
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&prover, &later)]).status, 200);
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
