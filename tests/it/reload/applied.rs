//! What a reload applies, and what waits for a restart.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg};
use serde_json::{Value, json};

use super::{DAY, KEY};
use crate::app::{ISSUER, SECRET, START, TestApp, copy_key, edited, segment, standard};

#[test]
fn what_a_reload_applies() {
    let app = TestApp::start();
    let (token, reloads) = (app.create("").text("value"), app.metric("lingpai_reloads_total"));
    app.look();
    assert_eq!(app.metric("lingpai_reloads_total"), reloads, "nothing has changed");

    app.write(&edited("[\"orders:read\", \"orders:write\"]", "[\"orders:read\"]")).look();
    assert_eq!(app.metric("lingpai_reloads_total"), reloads + 1);
    app.create(r#"{"scope":["orders:write"]}"#).assert_error(403, "Forbidden", "the scope orders:write is not allowed");
    assert_eq!(app.inspect(&token, "?scope=orders:write").status, 200, "it was given before");

    app.write(&edited("[token]", "[keys]\njwks_max_age = \"7m\"\n[token]\naccess_lifetime = \"1m\"")).look();
    let jwks = app.send("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(jwks.header("cache-control"), Some("public, max-age=420"));
    assert_eq!(app.create("").text("expire"), "2026-06-01T12:01:00.000Z");

    app.write(&edited("[anonymous]\nscope = [\"guest\"]\n", "")).look();
    assert_eq!(app.send("POST", "/token", &[], "").status, 401);
    app.write(&edited("id = \"billing\"", "id = \"invoices\"")).look();
    assert_eq!((app.create_as("billing", SECRET, "").status, app.create_as("invoices", SECRET, "").status), (401, 200));

    // A key, and then its revocation.
    let new = app.add_key(400);
    app.look();
    assert_eq!(app.at(399).kid(), app.at(0).kid());
    assert_eq!(app.at(400).kid(), new);
    app.write(&format!("{}\n[keys]\nrevoked = [{new:?}]", standard())).look();
    assert_ne!(app.kid(), new);
    assert_eq!(app.ready()["keys"][1]["state"], "revoked");
}

#[test]
fn what_only_a_restart_changes() {
    let app = TestApp::start();
    let token = app.create("").text("value");
    fs::create_dir(app.folder.path().join("others")).unwrap();
    let changed = edited(
        &format!("issuer = \"{ISSUER}\""),
        "issuer = \"https://other.example\"\nlisten = \"127.0.0.1:1\"\nproxy_protocol = true",
    );
    app.write(&(changed + "[keys]\npath = \"others\"\n[ops]\nlisten = \"127.0.0.1:2\"\n[drain]\nlimit = \"9s\"\n[limits]\nconnections = 9\n\
        [tls]\ncert = \"a\"\nkey = \"b\"")).look();
    let said = app.ready();
    let warnings: Vec<_> = said["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for what in ["issuer", "listen", "ops.listen", "drain", "limits.connections", "proxy_protocol", "tls", "keys.path"]
    {
        let expected = format!("restart needed: `{what}` has changed, and the old value is in force");
        assert!(warnings.contains(&expected.as_str()), "{what} in {warnings:?}");
    }
    assert_eq!((said["reload_error"].clone(), app.metric("lingpai_warnings")), (Value::Null, 8));
    assert_eq!(segment(&app.create("").text("value"), 1)["iss"], ISSUER);
    assert_eq!(app.inspect(&token, "").status, 200);
    // The default audience is the issuer that is in force.
    assert_eq!(segment(&app.create_as("billing", SECRET, "").text("value"), 1)["aud"], "https://api.example.com");
    app.write(&standard()).look();
    assert_eq!(app.ready()["warnings"], json!([]));
}

/// What the messages advise is what a server then applies.
#[test]
fn what_was_lost_is_put_back() {
    let app = TestApp::start();
    app.add_key(-59);
    app.look();
    // A retiring key that is put back is no new one.
    let away = app.folder.path().join("away");
    fs::rename(app.key(KEY), &away).unwrap();
    assert!(app.look().ready()["warnings"].to_string().contains("is gone, and tokens"));
    fs::rename(&away, app.key(KEY)).unwrap();
    assert_eq!((&app.look().ready()["reload_error"], &app.ready()["warnings"]), (&Value::Null, &json!([])));

    // A folder that was lost whole is made anew, with a first key that is dated back.
    fs::rename(app.key(""), &away).unwrap();
    assert!(app.look().ready()["reload_error"].as_str().unwrap().contains("put it back, or make one with"));
    let first = app.add_key(-300);
    assert_eq!((&app.look().ready()["reload_error"], app.kid()), (&Value::Null, first));
    assert!(app.ready()["warnings"].to_string().contains("is gone, and tokens"));
}

/// What has retired is not kept, comes back when lifetimes grow or the clock is put back, and is never a new key.
#[test]
fn retired_keys() {
    let app = TestApp::start();
    app.add_key(1_000);
    app.look();
    let old = app.create("").text("value");
    let states = |app: &TestApp| {
        let keys = app.look().ready()["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&app), ["signing", "upcoming"]);
    let digest = app.ready()["keys_digest"].clone();
    app.at(1_000 + DAY + 4);
    assert_eq!(states(&app), ["retiring", "signing"]);
    app.at(1_000 + DAY + 5);
    assert_eq!(app.ready()["keys"][0]["state"], "retired");
    assert_eq!((states(&app), app.metric("lingpai_keys{state=\"retired\"}")), (vec!["signing".to_owned()], 0));
    assert_eq!(app.ready()["keys_digest"], digest, "the files are the same");

    app.write(&edited("[token]", "[token]\nrefresh_lifetime = \"3d\"")).look();
    assert_eq!(
        (states(&app), &app.ready()["reload_error"]),
        (vec!["retiring".to_owned(), "signing".to_owned()], &Value::Null)
    );
    app.write(&standard());
    assert_eq!(states(&app), ["signing"]);
    app.at(10);
    assert_eq!(states(&app), ["signing", "upcoming"]);
    assert_eq!(app.inspect(&old, "").status, 200);
}

/// As kubelet does it: names are links into a folder that is swapped by one rename.
#[test]
fn a_secret_volume_is_swapped() {
    let app = TestApp::start();
    let folder = app.key("");
    let version = |name: &str, from: i64| {
        fs::create_dir(folder.join(name)).unwrap();
        copy_key(KEY, &folder.join(name).join(KEY));
        let key = keys::generate(&folder.join(name), Alg::Es256, Timestamp::from_unix(START + from)).unwrap();
        let file = key.name().to_string();
        fs::set_permissions(folder.join(name).join(&file), fs::Permissions::from_mode(0o440)).unwrap();
        symlink(format!("..data/{file}"), folder.join(&file)).unwrap();
        (key.kid().to_string(), folder.join(file))
    };
    fs::remove_file(folder.join(KEY)).unwrap();
    symlink("..one", folder.join("..data")).unwrap();
    symlink(format!("..data/{KEY}"), folder.join(KEY)).unwrap();
    let (first, link) = version("..one", 400);
    app.look();
    assert_eq!(app.ready()["keys"][1]["kid"], *first);

    fs::remove_file(link).unwrap();
    let (second, _) = version("..two", 500);
    symlink("..two", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    app.look();
    assert_eq!((&app.ready()["keys"][1]["kid"], &app.ready()["reload_error"]), (&json!(second), &Value::Null));
}
