//! The signed list.

use std::fs;

use serde_json::json;

use super::{KEY, LATER, RANDOM, append, goes_on, is_good, list, listed, service, warnings};
use crate::app::{Answer, START, TestApp, replace, segment};
use crate::forge::{DAY, Forge};

/// A service that publishes its list, and the list that everybody may read there.
fn publishing() -> TestApp {
    let config = listed().replacen("path = \"revoked\"", "path = \"revoked\"\npublish = true", 1);
    TestApp::with_files(&config, &[KEY], &[("revoked", Vec::new())])
}

fn published(app: &TestApp, headers: &[&str]) -> Answer {
    app.send("GET", "/.well-known/revocations", headers, "")
}

/// "With `publish = true`, `GET /.well-known/revocations` is a JWT (typ `revocations+jwt`; `iss`, `iat`, `exp`, no `sub`) of
/// up to 10,000 entries that still matter, else 404."
#[test]
fn the_signed_list() {
    let (app, other) = (publishing(), publishing());
    let ended = "2026-06-01T12:00:00Z";
    let text = format!(
        "jti {RANDOM} {LATER}\njti AAAAAAAAAAAAAAAAAAAAAQ {ended}\nsession 1.{RANDOM} {LATER}\n\
         client orders before {ended}\nclient orders before 2026-05-01T00:00:00Z\n\
         client old before 2026-01-01T00:00:00Z\nsubject user:7 before {LATER}\n"
    );
    list(&app, &text);
    list(&other, &text);
    let answer = published(&app, &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jwt")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let forge = Forge::es256();
    assert_eq!(segment(&answer.body, 0), json!({"alg": "ES256", "kid": forge.kid, "typ": "revocations+jwt"}));
    assert_eq!(
        segment(&answer.body, 1),
        json!({
            "iss": crate::app::ISSUER, "iat": START, "exp": START + 600,
            "revoked": {
                "jti": [RANDOM], "session": [format!("1.{RANDOM}")],
                "client": {"orders": START}, "subject": {"user:7": 1_782_864_000},
            },
        })
    );
    // The key is published, and signs it.
    let (message, signature) = answer.body.rsplit_once('.').unwrap();
    let signature = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, &forge.public);
    public.verify(message.as_bytes(), &signature).unwrap();
    // It is no token.
    assert!(!is_good(&app, &answer.body) && !goes_on(&app, &answer.body));

    // One signature a minute, and the same version on every replica.
    assert_eq!(published(app.at(59), &[]).body, answer.body);
    let etag = answer.header("etag").unwrap().to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    for service in [&app, &other] {
        let again = published(service, &[&format!("If-None-Match: {etag}")]);
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(etag.as_str())));
    }
    assert_eq!(segment(&published(app.at(60), &[]).body, 1)["iat"], START + 60);
    // What has ended since is left out, and a change of the list shows at once.
    let late = published(app.at(30 * DAY + 61), &[]);
    assert_eq!(segment(&late.body, 1)["revoked"]["client"], json!({}));
    append(&app, "client new before 2026-07-01T00:00:00Z\n");
    app.look();
    assert_eq!(segment(&published(&app, &[]).body, 1)["revoked"]["client"], json!({"new": 1_782_864_000}));
}

/// `revoked` "at once stops a key from signing", also within the minute that the list is good for.
#[test]
fn a_revoked_key_signs_no_list() {
    let app = publishing();
    let (old, new) = (Forge::es256().kid, app.add_key(-30));
    app.look();
    let signer = || segment(&published(&app, &[]).body, 0)["kid"].clone();
    assert_eq!(signer(), json!(new));
    let config = fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    replace(&app.folder.path().join("lingpai.toml"), format!("{config}\n[keys]\nrevoked = [{new:?}]\n"));
    app.look();
    assert_eq!(signer(), json!(old));
}

/// Lines that are gone are published as long as they count, and lines that were added at once.
#[test]
fn what_counts_is_published() {
    let app = publishing();
    let list = |subject: &str| list(&app, &format!("subject {subject} before {LATER}\n"));
    let subjects = || segment(&published(&app, &[]).body, 1)["revoked"]["subject"].clone();
    list("user:7");
    assert_eq!(subjects(), json!({"user:7": 1_782_864_000}));
    app.at(10);
    list("user:8");
    assert_eq!(subjects(), json!({"user:7": 1_782_864_000, "user:8": 1_782_864_000}));
    app.at(70).look();
    assert_eq!(subjects(), json!({"user:8": 1_782_864_000}));
}

#[test]
fn the_signed_list_is_bounded_and_off_by_default() {
    let missing = |answer: &Answer| {
        answer.assert_error(404, "NotFound", &answer.text("message"));
    };
    missing(&published(&service(), &[]));
    missing(&published(&TestApp::start(), &[]));
    let app = publishing();
    let many: Vec<_> = (0..10_000).map(|number| format!("client c{number} before {LATER}\n")).collect();
    let many = many.concat();
    list(&app, &many);
    assert_eq!((published(&app, &[]).status, warnings(&app).contains("not published")), (200, false));
    // What no longer matters does not count.
    append(&app, &format!("jti {RANDOM} 2026-01-01T00:00:00Z\nclient c1 before 2026-05-01T00:00:00Z\n"));
    app.look();
    assert_eq!(published(&app, &[]).status, 200);
    append(&app, &format!("jti {RANDOM} {LATER}\n"));
    app.look();
    missing(&published(&app, &[]));
    assert!(warnings(&app).contains("the list of revocations is not published"));
    // It may be published, or not, without a restart.
    list(&app, &many);
    replace(&app.folder.path().join("lingpai.toml"), listed());
    app.look();
    missing(&published(&app, &[]));
}
