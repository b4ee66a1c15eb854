//! Exchanged tokens, where tokens are revoked or bound: they end with what they came from, and a bound one is exchanged by
//! its holder alone.

use lingpai::clients::SecretDigest;
use lingpai::keys::Purpose;
use serde_json::json;

use crate::app::{Answer, SECRET, START, TestApp, basic, replace, segment, standard};
use crate::dpop::{Prover, claims};
use crate::forge::{self, Forge};
use crate::oauth2::OAuth as _;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const LATER: &str = "2026-07-01T00:00:00Z";

/// `gate` and `stock` serve an API of `orders`; all may exchange. There is an empty list of revocations.
fn service() -> TestApp {
    let grants = format!("grants = [\"client_credentials\", \"{EXCHANGE}\"]");
    let digest = SecretDigest::of(SECRET.as_bytes()).written();
    let standard = standard().replacen("id = \"orders\"", &format!("id = \"orders\"\n{grants}"), 1);
    let listed = standard.replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1);
    let other = |id: &str| {
        format!(
            "\n[[clients]]\nid = \"{id}\"\nsecrets = [\"{digest}\"]\n{grants}\naccepts = [\"https://orders.example.com\"]\n\
         audience = [\"https://orders.example.com\"]\nscope = [\"orders:read\"]\n"
        )
    };
    TestApp::with_files(&(listed + &other("gate") + &other("stock")), &[KEY], &[("revoked", Vec::new())])
}

fn exchange(app: &TestApp, client: &str, token: &str, more: &str, proof: Option<&str>) -> Answer {
    let form = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}{more}");
    let proof = proof.map(|proof| format!("DPoP: {proof}"));
    let headers = [Some(basic(client, SECRET)), proof];
    app.form("/oauth2/token", &headers.iter().flatten().map(String::as_str).collect::<Vec<_>>(), &form)
}

fn of_user(app: &TestApp) -> String {
    app.create(r#"{"subject":"user:7","audience":["https://orders.example.com"]}"#).text("value")
}

fn list(app: &TestApp, line: &str) {
    replace(&app.folder.path().join("revoked"), format!("{line}\n"));
    app.look();
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.text("error").as_str()), (400, "invalid_request"), "{answer:?}");
}

/// A proof that nobody has seen.
fn fresh(prover: &Prover, id: &str) -> String {
    let asked = json!({"jti": id, "htm": "POST", "htu": "https://tokens.example.com/oauth2/token"});
    prover.sign(&prover.header(), &claims(&asked))
}

/// Contract: the new token has "the subject token's `sid`"; a line ends "all that grew from one POST, and by exchange".
#[test]
fn what_was_exchanged_ends_with_its_session() {
    let app = service();
    let token = of_user(&app);
    let new = exchange(&app, "gate", &token, "", None).text("access_token");
    let sid = segment(&token, 1)["sid"].clone();
    assert!(sid.is_string() && segment(&new, 1)["sid"] == sid);
    assert_eq!(app.inspect(&new, "").status, 200);
    list(&app, &format!("session {} {LATER}", sid.as_str().unwrap()));
    app.inspect(&new, "").assert_invalid_token(None);
    refused(&exchange(&app, "gate", &token, "", None));
}

/// "A `subject` or `client` line matches `sub`, `client_id` and every `act.sub`."
#[test]
fn every_actor_is_matched() {
    let app = service();
    let token = of_user(&app);
    let new = exchange(&app, "gate", &token, "", None).text("access_token");
    let again = exchange(&app, "stock", &new, "", None).text("access_token");
    assert_eq!(segment(&again, 1)["act"], json!({"sub": "stock", "act": {"sub": "gate"}}));
    for kind in ["client", "subject"] {
        list(&app, &format!("{kind} gate before {LATER}"));
        for token in [&new, &again] {
            app.inspect(token, "").assert_invalid_token(None);
        }
        assert_eq!(app.inspect(&token, "").status, 200);
    }
}

/// "`actor_token` obeys the list too."
#[test]
fn an_actor_token_that_was_revoked() {
    let app = service();
    let token = of_user(&app);
    let form = "grant_type=client_credentials";
    let actor = app.form("/oauth2/token", &[&basic("gate", SECRET)], form).text("access_token");
    let acting = format!("&actor_token={actor}&actor_token_type={ACCESS_TOKEN}");
    assert_eq!(exchange(&app, "gate", &token, &acting, None).status, 200);
    list(&app, &format!("jti {} {LATER}", segment(&actor, 1)["jti"].as_str().unwrap()));
    refused(&exchange(&app, "gate", &token, &acting, None));
}

/// A token that would be refused at once, because its client or an actor was revoked after the session began, is not
/// given.
#[test]
fn no_exchanged_token_is_refused_at_once() {
    for end in [
        |app: &TestApp| list(app, "client gate before 2026-06-01T12:00:30Z"),
        |app: &TestApp| list(app, "subject gate before 2026-06-01T12:00:30Z"),
        |app: &TestApp| {
            let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
            let since = "id = \"gate\"\nnot_before = \"2026-06-01T12:00:30Z\"";
            app.reconfigure(&config.replacen("id = \"gate\"", since, 1));
        },
    ] {
        let app = service();
        let old = of_user(&app);
        end(app.at(60));
        assert_eq!([app.inspect(&old, "").status, exchange(&app, "stock", &old, "", None).status], [200; 2]);
        // Gate acts itself, or by a token that began later.
        let own = app.form("/oauth2/token", &[&basic("gate", SECRET)], "grant_type=client_credentials");
        let acting = format!("&actor_token={}&actor_token_type={ACCESS_TOKEN}", own.text("access_token"));
        let new = of_user(&app);
        for more in ["", &acting] {
            refused(&exchange(&app, "gate", &old, more, None));
            let good = exchange(&app, "gate", &new, more, None).text("access_token");
            assert_eq!(app.inspect(&good, "").status, 200);
        }
    }
}

/// A session that began in the future by this clock, more than clocks may differ: no replica would read a token of it
/// that says it was issued now.
#[test]
fn a_session_from_a_clock_that_is_ahead() {
    let app = service();
    let subject_token = |start: i64| {
        let sid = format!("\"{}.AAAAAAAAAAAAAAAAAAAAAA\"", START + start);
        let says = forge::claims(Purpose::Access).with("iat", START + 4).and("sid", &sid).to_string();
        Forge::es256().sign_payload(Purpose::Access, says)
    };
    for (start, status) in [(60, 200), (61, 400), (64, 400)] {
        let token = subject_token(start);
        assert_eq!(app.inspect(&token, "").status, 200);
        let answer = exchange(&app, "gate", &token, "", None);
        assert_eq!(answer.status, status, "{start} {answer:?}");
        if status == 200 {
            assert_eq!(app.inspect(&answer.text("access_token"), "").status, 200);
        }
    }
}

/// "A bound subject token that was issued to the caller needs the caller's proof by that key; one for an audience in
/// `accepts` needs none. The new token is bound to the caller's own proof."
#[test]
fn a_bound_token_is_exchanged_by_its_holder() {
    let app = service();
    let [prover, _, other] = Prover::all();
    let form = "grant_type=client_credentials";
    let proof = format!("DPoP: {}", fresh(&prover, "0"));
    let token = app.form("/oauth2/token", &[&basic("orders", SECRET), &proof], form).text("access_token");
    assert_eq!(segment(&token, 1)["cnf"], json!({"jkt": prover.thumbprint}));
    for (wrong, id) in [(None, ""), (Some(&other), "1")] {
        let proof = wrong.map(|prover| fresh(prover, id));
        refused(&exchange(&app, "orders", &token, "", proof.as_deref()));
    }
    let answer = exchange(&app, "orders", &token, "", Some(&fresh(&prover, "2")));
    assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "DPoP"), "{answer:?}");
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": prover.thumbprint}));
    let answer = exchange(&app, "gate", &token, "", None);
    assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "Bearer"), "{answer:?}");
    let answer = exchange(&app, "gate", &token, "", Some(&fresh(&other, "3")));
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": other.thumbprint}));
}

/// "`actor_token` … is an access token of ours that is good, unbound and was issued to the caller."
#[test]
fn an_actor_token_is_not_bound() {
    let app = service();
    let prover = Prover::es256();
    let proof = format!("DPoP: {}", fresh(&prover, "0"));
    let form = "grant_type=client_credentials";
    let actor = app.form("/oauth2/token", &[&basic("gate", SECRET), &proof], form).text("access_token");
    let acting = format!("&actor_token={actor}&actor_token_type={ACCESS_TOKEN}");
    for (proof, id) in [(false, ""), (true, "1")] {
        let proof = proof.then(|| fresh(&prover, id));
        refused(&exchange(&app, "gate", &of_user(&app), &acting, proof.as_deref()));
    }
}
