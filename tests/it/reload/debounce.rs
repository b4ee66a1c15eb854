//! Changes that are not whole yet wait.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::KEY;
use crate::app::{SECRET, TestApp, edited, replace, standard, vectors};

/// Each prefix that ends between two lines, most of which are valid, is on the disk for a look.
#[test]
fn a_file_that_is_being_written_is_not_applied() {
    let app = TestApp::start();
    let stolen = app.add_key(-59);
    let token = app.look().create("").text("value");
    let with = |config: String| format!("{config}[keys]\nrevoked = [{stolen:?}]\n");
    let mut configs = [with(standard()), with(edited("id = \"billing\"", "id = \"invoices\""))];
    app.write(&configs[0]).look();
    let path = app.folder.path().join("lingpai.toml");
    let all = |app: &TestApp| {
        let statuses = ["orders", "billing", "invoices"].map(|id| app.create_as(id, SECRET, "").status);
        let ready = app.ready();
        (statuses, app.inspect(&token, "").status, ready["configuration_digest"].clone(), ready["reload_error"].clone())
    };
    // As cp onto the file does it; and vim, git, and mv from another file system.
    for anew in [false, true] {
        let before = all(&app);
        assert_eq!((before.1, &before.3), (401, &Value::Null));
        if anew {
            fs::remove_file(&path).unwrap();
        }
        let mut file = File::create(&path).unwrap();
        for (number, line) in configs[1].split_inclusive('\n').enumerate() {
            file.write_all(line.as_bytes()).unwrap();
            if number % 2 == 0 {
                app.look()
            } else {
                app.ask()
            };
            assert_eq!(all(&app), before, "after line {number}");
            assert!(app.warns("lingpai.toml: was written in place"));
        }
        let whole = all(app.look());
        assert_ne!((&whole.2, whole.0), (&before.2, before.0));
        assert_eq!((whole.1, &whole.3, &app.ready()["warnings"]), (401, &Value::Null, &json!([])));
        configs.swap(0, 1);
    }
}

#[test]
fn what_was_written_in_place_is_not_applied_on_request() {
    let app = TestApp::start();
    let path = app.folder.path().join("lingpai.toml");
    let is_there = |id: &str| app.create_as(id, SECRET, "").status == 200;
    let with = |id: &str| edited("id = \"billing\"", &format!("id = {id:?}"));
    app.write(&with("renamed")).ask();
    assert!(is_there("renamed"));
    fs::write(&path, with("in-place")).unwrap();
    app.ask().ask();
    assert!(is_there("renamed") && app.warns("rename files into place to apply them at once"));
    app.look();
    assert!(is_there("in-place"));
    // Unless it has been the same for longer than an interval.
    fs::write(&path, with("asked-twice")).unwrap();
    app.ask().at(2).ask();
    assert!(is_there("in-place"));
    app.at(3).ask();
    assert!(is_there("asked-twice"));

    // A key that is half there is none that is wrong.
    let pem = fs::read(vectors("keys").join("2026-01-01T00-00-00Z.eddsa.pem")).unwrap();
    let key = app.key("2026-07-01T00-00-00Z.eddsa.pem");
    let mut file = File::create(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for chunk in pem.chunks(40) {
        file.write_all(chunk).unwrap();
        app.look();
    }
    assert_eq!((app.ready()["keys"].as_array().unwrap().len(), app.metric("lingpai_reload_failures_total")), (1, 0));
    assert_eq!(app.look().ready()["keys"].as_array().unwrap().len(), 2);
}

/// A file that never stays the same for two looks holds back every change, so after a minute that is a refusal.
#[test]
fn a_file_that_is_written_without_end_is_refused_each_minute() {
    let including = format!("include = [\"team.toml\"]\n{}", standard());
    let app = TestApp::with_files(&including, &[KEY], &[("team.toml", Vec::new())]);
    let write = |second: i64| {
        fs::write(app.folder.path().join("team.toml"), format!("# {second}\n")).unwrap();
        app.at(second)
    };
    let said = |app: &TestApp| {
        let metrics = ["lingpai_reload_failures_total{part=\"configuration\"}", "lingpai_last_reload_successful"];
        (metrics.map(|name| app.metric(name)), app.ready()["reload_error"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |app: &TestApp, failures: i64, seconds: i64| {
        let (metrics, error) = said(app);
        assert_eq!(metrics, [failures, 0]);
        let expected = format!("team.toml: is being written; for {seconds} s no look has found every file complete");
        assert!(error.starts_with("configuration: ") && error.contains(&expected), "{error}");
    };
    for second in 0..60 {
        assert_eq!(said(write(second).look()), ([0, 1], String::new()), "{second}");
    }
    for second in 60..120 {
        refused(write(second).look(), 1, 60);
    }
    refused(write(120).look(), 2, 120);
    // On request it is said again.
    refused(write(121).ask(), 3, 121);
    assert_eq!(said(app.look()), ([3, 1], String::new()));
    // The minute starts over, also where the clock is set back.
    write(200).look();
    write(100).look();
    assert_eq!(said(write(159).look()), ([3, 1], String::new()));
    refused(write(160).look(), 4, 60);
    replace(&app.folder.path().join("team.toml"), "");
    assert_eq!(said(app.look()), ([4, 1], String::new()));
}

/// A list of clients or of revoked keys that is gone is perhaps still to come.
#[test]
fn what_looks_like_half_of_a_change_waits_for_a_minute() {
    let app = TestApp::start();
    let standard = standard();
    let nobody = standard.split("[[clients]]").next().unwrap();
    let is_there = |app: &TestApp| app.create("").status == 200;
    let reloads = app.metric("lingpai_reloads_total");
    assert!(is_there(app.write(nobody).look()));
    assert!(app.warns("configuration: reload held back until 2026-06-01T12:01:00Z"), "{}", app.ready());
    assert!(app.warns("it removes every client (2 of 2)"));
    let metrics = ["lingpai_warnings", "lingpai_reload_failures_total", "lingpai_last_reload_successful"];
    assert_eq!(metrics.map(|name| app.metric(name)), [1, 0, 1]);
    assert!(is_there(app.at(59).look().ask()));
    assert_eq!(app.metric("lingpai_reloads_total"), reloads);
    assert!(!is_there(app.at(60).look()));
    assert_eq!(app.ready()["warnings"], json!([]));

    // The rest comes; or more of a change, and the minute begins anew; or the clock is put back.
    assert!(is_there(app.write(&standard).look()));
    assert!(is_there(app.write(nobody).look()) && app.warns("held back"));
    assert!(is_there(app.at(100).write(&format!("{nobody}# more\n")).look().at(159).look()));
    assert!(is_there(app.write(&standard).look()));
    assert_eq!(app.ready()["warnings"], json!([]));
    assert!(is_there(app.write(nobody).look().at(-1_000).look()));
    assert!(is_there(app.at(-941).look()) && !is_there(app.at(-940).look()));
    // Where there was no client, none is missed. And a start needs no minute.
    app.write(&format!("{nobody}# still none\n")).look();
    assert_eq!(app.ready()["warnings"], json!([]));
    assert_eq!(TestApp::with(nobody, &[KEY]).create("").status, 401);
}

#[test]
fn a_revocation_that_is_dropped_waits_for_a_minute() {
    let app = TestApp::start();
    let stolen = app.add_key(-59);
    let token = app.look().create("").text("value");
    let revoked = format!("{}\n[keys]\nrevoked = [{stolen:?}]", standard());
    let status = |app: &TestApp| app.inspect(&token, "").status;
    assert_eq!(status(app.write(&revoked).look()), 401);
    assert_eq!(status(app.write(&standard()).look()), 401);
    assert!(app.warns(&format!("it takes {stolen} out of `revoked`, and the key is still in the folder")));
    assert_eq!((status(app.at(59).look()), status(app.at(60).look())), (401, 200));
    assert!(!app.warns("held back"));
    // A key that is gone with its line is no danger.
    app.write(&revoked).look();
    app.write(&standard()).look();
    assert!(app.warns("held back"));
    fs::remove_file(app.key("2026-06-01T11-59-01Z.es256.pem")).unwrap();
    assert!(!app.look().warns("held back"));
    assert_eq!((app.ready()["keys"].as_array().unwrap().len(), status(&app)), (1, 401));
}
