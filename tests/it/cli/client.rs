//! `lingpai client`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use lingpai::clients::SecretDigest;
use serde_json::json;

use crate::app::{ISSUER, SECRET, quiet, segment};
use crate::home::Home;

/// Adds a client to `before`, and asserts that all of it still stands before what was added.
#[track_caller]
fn assert_appended(before: &str) {
    let home = Home::standard();
    let path = home.write("lingpai.toml", before);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let lists = ["--scope", "a", "--scope", "b", "--subject", "user:*", "--claim", "t"];
    let ran = home.run(&[&["client", "add", "shop"], &lists[..]].concat());
    let (secret, after) = (ran.assert(0).secret(), home.text("lingpai.toml"));
    let digest = SecretDigest::of(secret.as_bytes()).written();
    assert!(!after.contains(&secret), "{after}");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
    home.run(&["check"]).assert(0);
    let kept = after.strip_prefix(before.trim_end());
    let appended = kept.unwrap_or_else(|| panic!("{before:?}\nbecame\n{after:?}"));
    let added = format!(
        "[[clients]]\nid = \"shop\"\nsecrets = [\"{digest}\"]\nscope = [\"a\", \"b\"]\nsubjects = [\"user:*\"]\nclaims = [\"t\"]\n"
    );
    assert_eq!(appended.trim_start(), added);
}

#[test]
fn client_add_keeps_the_file() {
    assert_appended(&quiet());
    assert_appended(quiet().trim_end());
    assert_appended(&format!("issuer = '{ISSUER}' # no client yet\n"));
    let commented = quiet().replace("[anonymous]", "  # guests\n[ anonymous ]  # why\t\n");
    assert_appended(&format!("# first line\n\n{}", commented.replace("\"bills\"", "\n  \"bills\", # all\n")));
}

#[test]
fn client_add_comes_after_the_last_comment() {
    assert_appended(&(quiet() + "\n# the last word\n"));
}

#[test]
fn client_add_comes_after_the_last_table() {
    assert_appended(&(quiet() + "[reload]\ninterval = \"3s\" # after the clients\n"));
}

#[test]
fn client_add_keeps_the_ends_of_lines() {
    let home = Home::standard();
    let before = quiet().replace('\n', "\r\n");
    home.write("lingpai.toml", &before);
    home.run(&["client", "add", "shop"]).assert(0);
    assert!(home.text("lingpai.toml").starts_with(before.trim_end()), "{:?}", home.text("lingpai.toml"));
}

#[test]
fn client_add_works_after_a_restart() {
    let home = Home::standard();
    let ran = home.run(&["client", "add", "shop", "--scope", "a", "--audience", "https://a.example", "--json"]);
    let said = ran.assert(0).json();
    assert_eq!(said["client_id"], "shop");
    let server = home.serve(&[]);
    let answer = server.create("shop", said["client_secret"].as_str().unwrap());
    let claims = segment(&answer.text("value"), 1);
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("a"), &json!("https://a.example")));
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn client_add_refuses() {
    let home = Home::standard();
    let link = home.path("elsewhere.toml");
    fs::rename(home.path("lingpai.toml"), &link).unwrap();
    symlink("elsewhere.toml", home.path("lingpai.toml")).unwrap();
    for (arguments, code, expected) in [
        (&["orders"][..], 1, "there is already a client \"orders\"; nothing was written"),
        (&["anonymous"], 2, "the id `anonymous` is reserved"),
        (&["a b"], 2, "expected a client id: 1 to 64 characters"),
        (&[""], 2, "expected a client id"),
        (&["shop", "--scope", "a b"], 2, "; write each as a string of its own (--scope may be repeated)"),
        (&["shop", "--scope", ""], 2, "expected a scope token"),
        (&["shop", "--audience", ""], 2, "expected an audience"),
        (&["shop", "--subject", "us*er"], 2, "expected a subject such as"),
        (&["shop", "--claim", "iss"], 2, "`iss` is a reserved claim"),
    ] {
        home.run(&[&["client", "add"], arguments].concat()).assert_refused(code, &[expected]);
        assert_eq!(home.text("lingpai.toml"), quiet(), "{arguments:?}");
        assert_eq!(home.names("."), ["elsewhere.toml", "keys", "lingpai.toml"], "{arguments:?}");
    }
    // What is wrong already is said with its own place, and is not made worse.
    home.write("elsewhere.toml", &quiet().replace("\"bills\"", "\"\""));
    home.run(&["client", "add", "shop"]).assert_refused(2, &["lingpai.toml:17:10: expected a scope token"]);
    home.write("elsewhere.toml", &quiet());
    // The link stays a link, and the file behind it has the client.
    home.run(&["client", "add", "shop"]).assert(0);
    assert_eq!(fs::read_link(home.path("lingpai.toml")).unwrap(), Path::new("elsewhere.toml"));
    assert!(home.text("elsewhere.toml").contains("id = \"shop\""));
    assert_eq!(home.names("."), ["elsewhere.toml", "keys", "lingpai.toml"]);

    Home::new().run(&["client", "add", "shop"]).assert_refused(2, &["there is no lingpai.toml here", "lingpai init"]);
}

/// Run by root, it must not take the file away from the service's own user.
#[test]
fn client_add_keeps_the_owner() {
    let home = Home::standard();
    let path = home.path("lingpai.toml");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(12_345), Some(12_345)).is_err() {
        return;
    }
    home.run(&["client", "add", "shop"]).assert(0);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid()), (12_345, 12_345));
}
