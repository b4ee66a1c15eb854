//! Tokens that must not be accepted. All are signed with the real key, where
//! the attack is not the signature itself, so that only the rule under test can
//! refuse them; each table begins with a token that is accepted.

mod claims;
mod encoding;
mod headers;
mod signatures;

use lingpai::keys::Purpose;

use crate::app::{Answer, TestApp, standard};
use crate::forge::{Forge, KEYS};

const BOTH: [Purpose; 2] = [Purpose::Access, Purpose::Refresh];
const EXPIRED: Option<&str> = Some("the token has expired");
const NOT_YET: Option<&str> = Some("the token is not yet valid");

/// A service that holds every committed key.
fn service() -> TestApp {
    // Ids at their limits, whose tokens must be accepted.
    let more = ["x".repeat(64), "a.b_c~d-9".to_owned()].map(|id| {
        let digest = lingpai::clients::SecretDigest::of(id.as_bytes()).written();
        format!("[[clients]]\nid = \"{id}\"\nsecrets = [\"{digest}\"]\n")
    });
    TestApp::with(&(standard() + &more.concat()), &KEYS)
}

/// Presents a token where its kind belongs.
fn present(app: &TestApp, purpose: Purpose, token: &str) -> Answer {
    match purpose {
        Purpose::Access => app.inspect(token, ""),
        Purpose::Refresh => app.refresh(token, ""),
        Purpose::Revocations => unreachable!("nobody presents a list"),
    }
}

/// The title is printed first: in a failed test's output the last one is it.
#[track_caller]
fn accepted(app: &TestApp, purpose: Purpose, title: &str, token: &str) -> Answer {
    eprintln!("accepted, {purpose:?}: {title}");
    let answer = present(app, purpose, token);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[track_caller]
fn refused(app: &TestApp, purpose: Purpose, title: &str, token: &str, description: Option<&str>) {
    eprintln!("refused, {purpose:?}: {title}");
    present(app, purpose, token).assert_invalid_token(description);
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn cut(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_right_token_of_every_key_is_accepted() {
    let app = service();
    for forge in Forge::all() {
        let told = accepted(&app, Purpose::Access, forge.alg, &forge.right(Purpose::Access));
        assert_eq!(told.text("subject"), "user:7");
        let pair = accepted(&app, Purpose::Refresh, forge.alg, &forge.right(Purpose::Refresh));
        accepted(&app, Purpose::Access, "as issued", &pair.text("value"));
        accepted(&app, Purpose::Refresh, "as issued", &pair.text("refresh"));
    }
}

/// Whatever was wrong, the answer's head and body tell nothing but the challenge.
#[test]
fn no_cause_shows() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let [h, p, _] = cut(&right);
    let causes = [
        "a".to_owned(),
        forge.right(Purpose::Refresh),
        format!("{h}.{p}.AAAA"),
        forge.sign_payload(Purpose::Access, "{}"),
        forge.token(Purpose::Access, "{}", "{}"),
        "x".repeat(8_193),
    ];
    let told = causes.map(|token| {
        let mut answer = app.inspect(&token, "");
        answer.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_lowercase().as_str()));
        answer.assert_invalid_token(None);
        (answer.headers, answer.body)
    });
    assert!(told.iter().all(|other| *other == told[0]), "{told:#?}");
}
