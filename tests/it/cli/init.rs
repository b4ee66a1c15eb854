//! `lingpai init`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use lingpai::clients::SecretDigest;
use lingpai::clock::Clock;
use lingpai::keys::KeyName;
use serde_json::json;

use crate::app::copy_key;
use crate::home::{Home, KEY};

#[test]
fn init() {
    let home = Home::new();
    let ran = home.run(&["init", "a/b"]);
    ran.assert(0);
    assert_eq!(ran.err, "");
    assert_eq!(home.names("a/b"), ["keys", "lingpai.toml"]);
    let key = home.names("a/b/keys").remove(0);
    let mode = |name: &str| fs::metadata(home.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("a/b/keys"), mode(&format!("a/b/keys/{key}"))), (0o700, 0o600));
    assert_eq!(mode("a/b/lingpai.toml") & 0o022, 0);
    // The first key is dated five minutes back.
    let age = Clock::system().now().since(key.parse::<KeyName>().unwrap().from);
    assert!((300..330).contains(&age), "{age}");

    let (secret, written) = (ran.secret(), home.text("a/b/lingpai.toml"));
    assert!(!written.contains(&secret) && written.contains(&SecretDigest::of(secret.as_bytes()).written()));
    home.run(&["init", "a/b"]).assert_refused(1, &["a/b/lingpai.toml is already there; nothing was written"]);
    assert_eq!((home.text("a/b/lingpai.toml"), home.names("a/b/keys")), (written, vec![key]));

    let server = home.serve(&["--config", "a/b/lingpai.toml"]);
    assert_eq!(server.create("first", &secret).status, 200);
    assert_eq!(server.create("first", &secret.to_uppercase()).status, 401);
    // Nobody else: an anonymous token must be asked for in the file.
    assert_eq!(server.send("POST", "/token", "", "").status, 401);
    assert_eq!(server.stop("TERM").code, Some(0));

    // Who listens for others is told that the issuer is for this machine alone.
    let hint = "\nbefore others use it, set issuer in b/lingpai.toml to the https URL under which they reach it\n";
    assert!(home.run(&["init", "b", "--listen", ":8080"]).out.contains(hint));
    for more in [&["--issuer", "https://a.example", "--listen", ":8080"][..], &["--listen", "localhost:80"]] {
        let folder = format!("b{}", more.len());
        assert!(!home.run(&[&["init", &folder], more].concat()).out.contains("before others"));
    }

    let said = home.run(&["init", "c", "--json"]).json();
    assert_eq!((&said["config"], &said["client_id"]), (&json!("c/lingpai.toml"), &json!("first")));
    assert!(home.path(said["key"].as_str().unwrap()).is_file());
    assert!(said["client_secret"].as_str().unwrap().starts_with("lps_"));
}

#[test]
fn init_writes_all_or_nothing() {
    // The folder's name is taken by a file.
    let home = Home::new();
    home.write("taken", "");
    home.run(&["init", "taken"]).assert_refused(2, &["taken"]);
    assert_eq!(home.names("."), ["taken"]);
    // The folder of keys is not in order.
    fs::create_dir_all(home.path("a/keys")).unwrap();
    home.write("a/keys/x.pem", "");
    home.run(&["init", "a"]).assert_refused(2, &["a/keys/x.pem: expected a name such as"]);
    assert_eq!(home.names("a"), ["keys"]);
}

/// The configuration's name is a link to a file that is not there yet.
#[test]
fn init_beside_a_dangling_link_leaves_no_key() {
    let home = Home::new();
    symlink("elsewhere.toml", home.path("lingpai.toml")).unwrap();
    home.run(&["init"]);
    let whole = home.path("elsewhere.toml").exists();
    assert_eq!(whole, home.path("keys").exists(), "{:?}", home.names("."));
}

#[test]
fn what_init_writes_can_be_served() {
    let home = Home::new();
    home.run(&["init", "--issuer", "https://t.example/a"]).assert(0);
    assert_eq!(home.run(&["check", "--json"]).assert(0).json()["issuer"], "https://t.example/a");
}

#[test]
fn what_init_writes_beside_a_key_of_another_algorithm_can_be_served() {
    let home = Home::new();
    fs::create_dir(home.path("keys")).unwrap();
    let name = KEY.replace("es256", "eddsa");
    copy_key(&name, &home.path("keys").join(&name));
    if home.run(&["init"]).code == Some(0) {
        home.run(&["check"]).assert(0);
    }
}

#[test]
fn what_init_writes_for_an_issuer_with_a_quotation_mark_can_be_read() {
    let home = Home::new();
    if home.run(&["init", "--issuer", "https://t.example/\"x"]).code == Some(0) {
        home.run(&["check"]).assert(0);
    }
}

/// What the flags say is what is written, so that `serve` without them does the same.
#[test]
fn init_writes_what_its_flags_say() {
    let home = Home::new();
    let flags = ["--config", "etc/a.toml", "--keys", "secret/keys", "--listen", "127.0.0.1:9000,:9001"];
    home.run(&[&["init"], &flags[..]].concat()).assert(0);
    assert_eq!(
        (home.names("."), home.names("etc")),
        (vec!["etc".to_owned(), "secret".to_owned()], vec!["a.toml".to_owned()])
    );
    assert_eq!(home.names("secret/keys").len(), 1);
    let written = home.text("etc/a.toml");
    for line in ["issuer = \"http://127.0.0.1:9000\"", "listen = [\"127.0.0.1:9000\", \":9001\"]", "revoked = []"] {
        assert!(written.contains(line), "{written}");
    }
    home.run(&["check", "--config", "etc/a.toml", "--listen", "127.0.0.1:0"]).assert(0);
    for (issuer, listen) in [
        ("http://localhost:8090/a", "localhost:8090"),
        ("http://[::1]:8090", "[::1]:8090"),
        ("http://localhost", "127.0.0.1:8080"),
        ("https://t.example:8443", "127.0.0.1:8080"),
    ] {
        home.run(&["init", "--issuer", issuer, listen]).assert(0);
        let written = home.text(&format!("{listen}/lingpai.toml"));
        assert!(written.contains(&format!("listen = \"{listen}\"")), "{written}");
        std::fs::remove_dir_all(home.path(listen)).unwrap();
    }
    // Beside the file, it is named as the file sees it.
    home.run(&["init", "--config", "b/b.toml", "--keys", "b/k"]).assert(0);
    assert!(home.text("b/b.toml").contains("path    = \"k\""), "{}", home.text("b/b.toml"));
    home.run(&["check", "--config", "b/b.toml"]).assert(0);
    home.run(&["init", "c", "--config", "c/c.toml"])
        .assert_refused(2, &["say only once where to write: c or --config c/c.toml"]);
    assert!(!home.path("c").exists());
    home.run_in(&["init"], &[("LINGPAI_CONFIG", "d/d.toml")]).assert(0);
    assert_eq!(home.names("d"), ["d.toml", "keys"]);
}
