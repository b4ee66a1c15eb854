//! What a reload refuses: what was in force stays so.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg};
use serde_json::Value;

use super::{DAY, KEY};
use crate::app::{SECRET, START, TestApp, copy_key, edited, segment, standard, vectors};

#[test]
fn a_bad_configuration_is_refused() {
    let app = TestApp::start();
    let unknown = edited("[anonymous]", "[anonymous]\nscopes = []");
    for (content, expected) in [
        (String::new(), "`issuer` is missing"),
        (unknown, "lingpai.toml:6:1: unknown field `scopes`"),
        (standard()[..standard().len() / 2].to_owned(), "lingpai.toml:"),
        (standard().replace("[token]", "[token]\nalgorithm = \"EdDSA\""), "holds no EdDSA key"),
        (edited("scope = [\"bills\"]", "scope = [\"bi lls\"]"), "lingpai.toml:17:10: expected a scope token"),
        ("\0".to_owned(), "lingpai.toml:1:"),
    ] {
        app.write(&content).assert_refused(&["lingpai.toml", expected][1..], || {
            app.write(&standard());
        });
    }
    fs::remove_file(app.folder.path().join("lingpai.toml")).unwrap();
    app.assert_refused(&["lingpai.toml: there is no such file"], || {
        app.write(&standard());
    });
}

#[test]
fn a_bad_key_is_refused() {
    let app = TestApp::start();
    let good = fs::read(vectors("keys").join("2026-01-01T00-00-00Z.eddsa.pem")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let made = keys::generate(elsewhere.path(), Alg::Es256, Timestamp::from_unix(START)).unwrap();
    let another_es256 = fs::read(elsewhere.path().join(made.name().to_string())).unwrap();
    for (name, content, mode, expected) in [
        ("2026-07-01T00-00-00Z.es256.pem", &b"garbage"[..], 0o600, "is not PEM"),
        ("2026-07-01T00-00-00Z.eddsa.pem", &good[..good.len() / 2], 0o600, "is cut off"),
        ("2026-07-01T00-00-00Z.eddsa.pem", &good, 0o644, "has mode 0644"),
        ("next.pem", &good, 0o600, "expected a name such as"),
        ("2026-06-01T11-58-59Z.eddsa.pem", &good, 0o600, "is new, and dated more than 60 s back"),
        ("2020-06-01T11-58-59Z.eddsa.pem", &good, 0o600, "is new, and dated"),
        // It would be retired already.
        ("2020-06-01T11-58-59Z.es256.pem", &another_es256, 0o600, "is new, and dated"),
    ] {
        let path = app.key(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        app.assert_refused(&[name, expected], || fs::remove_file(&path).unwrap());
    }
    let dangling = app.key("2026-07-01T00-00-00Z.es256.pem");
    symlink("nowhere", &dangling).unwrap();
    app.assert_refused(&["2026-07-01T00-00-00Z.es256.pem: cannot be opened"], || fs::remove_file(&dangling).unwrap());
    copy_key(KEY, &app.key("2026-07-01T00-00-00Z.es256.pem"));
    app.assert_refused(&["holds the same key as"], || fs::remove_file(&dangling).unwrap());

    // What signs is gone: all of it, or the newest of two.
    fs::rename(app.key(""), app.folder.path().join("away")).unwrap();
    app.assert_refused(&["holds no ES256 key"], || {
        fs::rename(app.folder.path().join("away"), app.key("")).unwrap();
    });
    let new = app.add_key(-59);
    app.look();
    assert_eq!(app.kid(), new);
    let path = app.key("2026-06-01T11-59-01Z.es256.pem");
    fs::rename(&path, app.folder.path().join("away")).unwrap();
    app.assert_refused(&["would sign again", &new, KEY], || {
        fs::rename(app.folder.path().join("away"), &path).unwrap();
    });
    // Unless it was stolen.
    fs::remove_file(&path).unwrap();
    app.write(&format!("{}\n[keys]\nrevoked = [{new:?}]", standard())).look();
    assert_eq!(app.ready()["reload_error"], Value::Null);
    assert_ne!(app.kid(), new);
}

/// Some of what is refused becomes good without a change of the files, as time goes by.
#[test]
fn a_refusal_is_not_for_ever() {
    let app = TestApp::start();
    let eddsa = standard().replace("[token]", "[token]\nalgorithm = \"EdDSA\"");
    keys::generate(&app.key(""), Alg::EdDsa, Timestamp::from_unix(START + 100)).unwrap();
    app.write(&eddsa).look();
    assert!(app.ready()["reload_error"].as_str().unwrap().contains("holds no EdDSA key"));
    // It says what time it is, and is counted once all the same.
    app.at(99).look();
    assert!(app.ready()["reload_error"].as_str().unwrap().contains("2026-06-01T12:01:39Z"));
    assert_eq!(app.metric("lingpai_reload_failures_total"), 1);
    app.at(100).look();
    assert_eq!(app.ready()["reload_error"], Value::Null);
    assert_eq!(segment(&app.create("").text("value"), 0)["alg"], "EdDSA");
}

/// What is wrong with the certificate holds back no client's removal, and the reverse.
#[test]
fn each_part_is_refused_by_itself() {
    let failed = |app: &TestApp, part: &str| app.metric(&format!("lingpai_reload_failures_total{{part={part:?}}}"));
    let with_tls = |config: &str| format!("{config}[tls]\ncert = \"tls.crt\"\nkey = \"tls.key\"\n");
    let app = TestApp::with(&with_tls(&standard()), &[KEY]);
    let shown = || app.tls.as_ref().unwrap().files();
    let (first, error) = (shown(), || app.ready()["reload_error"].as_str().unwrap_or_default().to_owned());

    // It expires while it is in force; and a client is removed, whose secret leaked.
    app.at(DAY).look();
    assert!(
        error().starts_with("tls: ") && error().contains("tls.crt: expired at 2026-06-02T00:00:00Z"),
        "{}",
        error()
    );
    app.write(&with_tls(&edited("id = \"billing\"", "id = \"invoices\""))).look().ask();
    assert_eq!((app.create_as("billing", SECRET, "").status, app.create_as("invoices", SECRET, "").status), (401, 200));
    assert!(error().starts_with("tls: ") && shown() == first);
    // It is said once, and again on request.
    assert_eq!((failed(&app, "tls"), failed(&app, "configuration")), (2, 0));
    assert_eq!(app.metric("lingpai_last_reload_successful"), 0);

    // A certificate is renewed while the configuration is wrong.
    app.write("typo").certify("second").look();
    assert!(error().starts_with("configuration: ") && error().contains("lingpai.toml:1:"), "{}", error());
    assert!(!error().contains("tls:") && shown() != first);
    let second = shown();
    fs::write(app.folder.path().join("tls.key"), "half a").unwrap();
    app.look();
    assert!(!error().contains("tls:") && app.warns("tls.key: was written in place"));
    app.look();
    assert!(error().contains("lingpai.toml:1:") && error().contains("; tls: ") && shown() == second, "{}", error());
    assert_eq!((failed(&app, "tls"), failed(&app, "configuration")), (3, 1));
    app.certify("second").look();
    assert!(error().starts_with("configuration: ") && !error().contains("tls:"));
    app.write(&with_tls(&standard())).look();
    assert_eq!((app.ready()["reload_error"].clone(), app.metric("lingpai_last_reload_successful")), (Value::Null, 1));
}
