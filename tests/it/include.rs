//! `include`: clients in many files are one configuration.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lingpai::config::Overrides;
use serde_json::Value;

use crate::app::{ISSUER, SECRET, TestApp, replace, standard};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

fn client(id: &str, more: &str) -> String {
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    format!("[[clients]]\nid = {id:?}\nsecrets = [{digest:?}]\n{more}\n")
}

/// The standard configuration, which includes `paths`.
fn including(paths: &str) -> String {
    format!("include = {paths}\n{}", standard())
}

/// With `clients.d/*.toml`, of which there is none yet.
fn start() -> TestApp {
    let app = TestApp::with(&including("[\"clients.d/*.toml\"]"), &[KEY]);
    fs::create_dir(app.folder.path().join("clients.d")).unwrap();
    app
}

impl TestApp {
    fn team(&self, name: &str, content: &str) -> &Self {
        replace(&self.folder.path().join("clients.d").join(name), content);
        self
    }

    fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.folder.path().join("clients.d").join(name)).unwrap();
        self
    }

    fn statuses<const N: usize>(&self, ids: [&str; N]) -> [u16; N] {
        ids.map(|id| self.create_as(id, SECRET, "").status)
    }

    fn page(&self) -> Value {
        self.operator("/readyz").json()
    }

    fn error(&self) -> String {
        self.page()["reload_error"].as_str().unwrap_or_default().replace(self.folder.path().to_str().unwrap(), "")
    }
}

#[test]
fn included_files_are_reloaded() {
    let app = start();
    assert_eq!(app.statuses(["orders", "a", "b"]), [200, 401, 401]);
    app.team("a.toml", &client("a", "")).look();
    assert_eq!(app.statuses(["orders", "a", "b"]), [200, 200, 401]);
    app.team("b.toml", &client("b", "scope = [\"x\"]")).look();
    assert_eq!(app.statuses(["orders", "a", "b"]), [200, 200, 200]);
    let reloads = app.metric("lingpai_reloads_total");
    app.look().look();
    assert_eq!(app.metric("lingpai_reloads_total"), reloads, "nothing has changed");
    app.team("b.toml", &client("b", "scope = [\"y\"]")).look();
    assert_eq!(app.create_as("b", SECRET, r#"{"scope":["y"]}"#).status, 200);
    // Hidden files, and what no path matches.
    app.team(".c.toml", &client("a", "")).team("c.txt", &client("a", "")).look();
    assert_eq!((app.error().as_str(), app.metric("lingpai_reloads_total")), ("", reloads + 1));
    // A path that is listed no more.
    replace(&app.folder.path().join("lingpai.toml"), including("[\"clients.d/a.toml\"]"));
    app.look();
    assert_eq!(app.statuses(["orders", "a", "b"]), [200, 200, 401]);
}

#[test]
fn what_is_written_in_place_waits() {
    let app = start();
    let path = app.folder.path().join("clients.d/a.toml");
    for (content, expected) in [(client("a", ""), [200, 401]), (client("b", ""), [401, 200])] {
        let before = app.statuses(["a", "b"]);
        fs::write(&path, content).unwrap();
        app.look();
        assert_eq!(app.statuses(["a", "b"]), before);
        assert!(app.page()["warnings"].to_string().contains("a.toml: was written in place"), "{}", app.page());
        app.look();
        assert_eq!(app.statuses(["a", "b"]), expected);
    }
}

/// git and some editors remove a file to write it anew.
#[test]
fn a_file_that_is_gone_for_a_moment_takes_no_client_away() {
    let app = start();
    app.team("a.toml", &client("a", "")).look();
    app.remove("a.toml").look();
    assert_eq!(app.statuses(["a"]), [200]);
    assert!(app.page()["warnings"].to_string().contains("a.toml: is gone"), "{}", app.page());
    app.team("a.toml", &client("a", "")).look().look();
    assert_eq!((app.statuses(["a"]), app.page()["warnings"].to_string().contains("is gone")), ([200], false));
    app.remove("a.toml").look().look();
    assert_eq!(app.statuses(["a", "orders"]), [401, 200]);
    // Once applied, it is no change any more.
    let reloads = app.metric("lingpai_reloads_total");
    app.look().look();
    assert_eq!((app.error().as_str(), app.metric("lingpai_reloads_total")), ("", reloads));
}

/// It may be back before the folder that was read without it is compared.
#[test]
fn a_file_that_is_written_anew_during_a_look_takes_no_client_away() {
    let app = start();
    let (path, content) = (app.folder.path().join("clients.d/a.toml"), client("a", ""));
    app.team("a.toml", &content).look();
    for _ in 0..200 {
        let (begun, over) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                begun.wait();
                while !over.load(Ordering::Relaxed) {
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, &content).unwrap();
                }
            });
            begun.wait();
            app.look();
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(app.statuses(["a"]), [200]);
        // It is there again.
        app.look();
    }
}

#[test]
fn the_last_client_waits_a_minute() {
    let main = format!("issuer = \"{ISSUER}\"\ninclude = [\"clients.d/*.toml\"]");
    let app = TestApp::with(&main, &[KEY]);
    fs::create_dir(app.folder.path().join("clients.d")).unwrap();
    app.team("a.toml", &client("a", "")).look();
    app.remove("a.toml").look().look();
    assert!(app.page()["warnings"].to_string().contains("it removes every client (1 of 1)"), "{}", app.page());
    assert_eq!(app.statuses(["a"]), [200]);
    app.at(61).look();
    assert_eq!(app.statuses(["a"]), [401]);
}

/// An error is named by the file, line and column where it stands, and what was in force stays so.
#[test]
fn refusals() {
    let app = start();
    app.team("a.toml", &client("a", "")).look();
    for (content, expected) in [
        (client("b", "scope = 1"), "/clients.d/b.toml:4:9: invalid type: integer `1`"),
        (client("b", "scope = [\"a b\"]"), "/clients.d/b.toml:4:10: expected a scope token"),
        (
            client("b", "") + "[token]\nleeway = \"1s\"",
            "/clients.d/b.toml:5:2: an included file holds only [[clients]] and [[issuers]]",
        ),
        (client("b", "jwks = \"none.json\""), "/clients.d/b.toml:4:8: /clients.d/none.json: cannot be read"),
        (
            client("c", "") + &client("orders", ""),
            "/clients.d/b.toml:6:6: another client has this id; ids must be unique; the other one is at /lingpai.toml:9:6",
        ),
        (
            client("a", ""),
            "/clients.d/b.toml:2:6: another client has this id; ids must be unique; the other one is at \
             /clients.d/a.toml:2:6",
        ),
    ] {
        let failures = app.metric("lingpai_reload_failures_total");
        app.team("b.toml", &content).look().look();
        assert!(app.error().contains(expected), "{content}\nsaid: {}\nwant: {expected}", app.error());
        assert_eq!(app.metric("lingpai_reload_failures_total"), failures + 1);
        assert_eq!(app.statuses(["orders", "a", "b", "c"]), [200, 200, 401, 401]);
        app.remove("b.toml").look();
        assert_eq!(app.error(), "");
    }
    // A file that has to be there.
    replace(&app.folder.path().join("lingpai.toml"), including("[\"clients.d/a.toml\", \"clients.d/b.toml\"]"));
    app.look();
    assert!(app.error().contains("/lingpai.toml:1:32: /clients.d/b.toml: there is no such file"), "{}", app.error());
    app.team("b.toml", &client("b", "")).look();
    assert_eq!((app.error().as_str(), app.statuses(["a", "b"])), ("", [200, 200]));
}

/// What cannot be read passes without a change of what can be.
#[test]
fn a_link_to_nothing_holds_the_rest_back() {
    let app = start();
    let link = app.folder.path().join("clients.d/x.toml");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    app.team("a.toml", &client("a", "")).look().look();
    assert!(app.error().contains("/lingpai.toml:1:12: /clients.d/x.toml: there is no such file"), "{}", app.error());
    assert_eq!(app.statuses(["a"]), [401]);
    fs::remove_file(&link).unwrap();
    app.look();
    assert_eq!((app.error().as_str(), app.statuses(["a"])), ("", [200]));
}

/// Key sets are named from the file that names them, and are watched too.
#[test]
fn jwks_stand_beside_their_file() {
    let app = start();
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    app.team("keys.json", set).team("a.toml", "[[clients]]\nid = \"a\"\njwks = \"keys.json\"").look();
    assert_eq!(app.error(), "");
    assert!(app.state.snapshot().registry.named("a").unwrap().keys().is_some());
    // Clients with the same set share it, also under another name.
    let copy = ["b", "c"].map(|id| format!("[[clients]]\nid = {id:?}\njwks = \"{id}.json\"\n")).concat();
    app.team("b.json", set).team("c.json", set).team("b.toml", &copy).look().look();
    let snapshot = app.state.snapshot();
    let [a, b, c] = ["a", "b", "c"].map(|id| snapshot.registry.named(id).unwrap().keys().unwrap());
    assert!(std::ptr::eq(a, b) && std::ptr::eq(a, c));
    app.team("keys.json", "{}").look();
    assert!(app.error().contains("/clients.d/a.toml:3:8: /clients.d/keys.json: "), "{}", app.error());
}

/// Replicas agree however their clients are spread over files.
#[test]
fn the_digest_is_of_the_clients() {
    let digest = |app: &TestApp| app.page()["configuration_digest"].clone();
    let whole = TestApp::with(&(standard() + &client("a", "") + &client("b", "")), &[KEY]);
    let spread = start();
    spread.team("b.toml", &client("b", "")).team("a.toml", &client("a", "")).look();
    assert_eq!(digest(&whole), digest(&spread));
    let before = digest(&spread);
    spread.remove("b.toml").team("a.toml", &(client("b", "") + &client("a", ""))).look().look();
    assert_eq!(digest(&spread), before);
    spread.team("a.toml", &client("a", "")).look();
    assert_ne!(digest(&spread), before);
}

/// A start is refused as a reload is.
#[test]
fn a_start_names_the_file() {
    let app = start();
    app.team("a.toml", "x = 1");
    let path = app.folder.path().join("lingpai.toml");
    let said = lingpai::config::Config::load(Some(&path), Overrides::default()).unwrap_err().to_string();
    assert!(
        said.contains("clients.d/a.toml:1:1: an included file holds only [[clients]] and [[issuers]]; move `x`"),
        "{said}"
    );
}
