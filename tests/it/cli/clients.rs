//! `lingpai client list`, `remove`, `rotate` and `retire`, and what they do to the file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lingpai::clients::SecretDigest;
use serde_json::json;

use crate::app::{SECRET, quiet, vectors};
use crate::home::{Home, ended};

/// The standard file, with comments around its clients.
fn commented() -> String {
    quiet().replace("[[clients]]\nid = \"billing\"", "# Bills.\n[[clients]] # b\nid = \"billing\"") + "\n# the end\n"
}

#[test]
fn list_shows_no_secret() {
    let home = Home::standard();
    let long = "a".repeat(64);
    home.run(&["client", "add", &long, "--scope", "x:read", "--audience", "https://a-rather-long-name.example.com"])
        .assert(0);
    let added = home.run(&["client", "add", "commas", "--scope", "a,b"]);
    assert!(added.assert(0).err.contains("note: \"a,b\" is one scope token; for several, repeat --scope"), "{added:?}");
    let shop = "client add shop --subject user:* --subject cart --claim tenant --accepts a:b";
    home.run(&shop.split(' ').collect::<Vec<_>>()).assert(0);
    // What is no terminal gets everything.
    let ran = home.run(&["client", "list"]);
    assert!(ran.assert(0).out.contains(&long), "{}", ran.out);
    for part in ["ID ", "SECRETS", "orders ", "billing ", "bills", "bill:*", "user:* cart", "client_creden"] {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
    let wide = home.run(&["client", "list", "--wide"]);
    assert!(wide.assert(0).out.contains(&long) && wide.out.contains("orders:read orders:write"), "{}", wide.out);
    let rows = home.run(&["client", "list", "--json"]);
    assert!(![&ran, &wide, &rows].iter().any(|ran| ran.out.contains("sha256:") || ran.out.contains("lps_")));
    let rows = rows.assert(0).json();
    assert_eq!(
        rows[1],
        json!({
            "client_id": "billing", "secrets": 1, "keys": 0, "scope": ["bills"],
            "audience": ["https://api.example.com"], "subjects": ["bill:*"], "claims": [],
            "grants": ["client_credentials"], "accepts": [],
        })
    );
    assert_eq!(rows[4]["subjects"], json!(["user:*", "cart"]));
    assert_eq!(rows[4]["claims"], json!(["tenant"]));
    assert_eq!(rows[4]["accepts"], json!(["a:b"]));
    let none = Home::new();
    assert!(none.run(&["client", "list"]).assert(0).err.contains("there is no lingpai.toml here"));
}

#[test]
fn a_secret_is_replaced_without_a_gap() {
    let home = Home::standard();
    home.write("lingpai.toml", &commented());
    home.run(&["client", "retire", "orders"]).assert_refused(1, &["no second secret", "client rotate orders"]);
    let next = home.run(&["client", "rotate", "orders"]).assert(0).secret();
    let server = home.serve(&[]);
    assert_eq!([SECRET, &next].map(|secret| server.create("orders", secret).status), [200, 200]);
    server.stop("TERM");
    let two = home.text("lingpai.toml");
    let digest = SecretDigest::of(next.as_bytes()).written();
    assert_eq!(two.replacen(&format!(", \"{digest}\""), "", 1), commented());
    home.run(&["client", "rotate", "orders"])
        .assert_refused(1, &["already has two secrets", "lingpai client retire orders"]);
    assert_eq!(home.text("lingpai.toml"), two);
    home.run(&["client", "retire", "orders"]).assert(0);
    let server = home.serve(&[]);
    assert_eq!([SECRET, &next].map(|secret| server.create("orders", secret).status), [401, 200]);
    assert_eq!(server.create("billing", SECRET).status, 200);
    server.stop("TERM");
    let said = home.run(&["client", "rotate", "orders", "--json"]).assert(0).json();
    assert!(said["client_secret"].as_str().unwrap().starts_with("lps_"));
    for command in ["rotate", "retire", "remove"] {
        home.run(&["client", command, "nobody"])
            .assert_refused(1, &["there is no client \"nobody\"; nothing was written"]);
    }
}

/// TOML lets every name be quoted, and a folder's name hold anything.
#[test]
fn odd_names_are_taken_and_shown() {
    let home = Home::new();
    let folder = "a\u{1b}[31m\u{202e}";
    let init = home.run(&["init", folder]);
    assert!(init.assert(0).out.contains("wrote a\\u001b[31m\\u202e/lingpai.toml\n"), "{init:?}");
    let file = format!("{folder}/lingpai.toml");
    home.write(&file, &home.text(&file).replacen("[[clients]]", "[[\"clients\"]]", 1));
    let added = home.run(&["client", "add", "shop", "--config", &file]);
    assert!(!added.assert(0).out.contains(['\u{1b}', '\u{202e}']), "{added:?}");
    home.run(&["client", "remove", "first", "--config", &file]).assert(0);
    assert!(!home.text(&file).contains("first"), "{}", home.text(&file));
}

#[test]
fn remove_keeps_the_rest_of_the_file() {
    let home = Home::standard();
    home.write("lingpai.toml", &commented());
    let ran = home.run(&["client", "remove", "billing"]);
    assert!(ran.assert(0).out.starts_with("removed billing from lingpai.toml; a running server"), "{ran:?}");
    let after = home.text("lingpai.toml");
    let kept = commented();
    let (before, rest) = kept.split_once("[[clients]] # b").unwrap();
    assert!(
        after.starts_with(before) && after.ends_with(rest.split_once("subjects = [\"bill:*\"]\n").unwrap().1),
        "{after}"
    );
    // The last one too, and then what follows is said.
    let ran = home.run(&["client", "remove", "orders"]);
    assert!(ran.assert(0).out.contains("no client is left") && ran.out.contains("after a minute"), "{ran:?}");
    assert!(!home.text("lingpai.toml").contains("[[clients]]"));
    home.run(&["check"]).assert(0);
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
}

#[test]
fn a_client_with_keys_gets_no_secret_unless_asked() {
    let home = Home::standard();
    fs::create_dir(home.path("etc")).unwrap();
    fs::rename(home.path("lingpai.toml"), home.path("etc/lingpai.toml")).unwrap();
    fs::rename(home.path("keys"), home.path("etc/keys")).unwrap();
    let server = home.serve(&["--config", "etc/lingpai.toml"]);
    home.write("etc/shop.json", &server.send("GET", "/.well-known/jwks.json", "", "").body);
    server.stop("TERM");
    let add = |arguments: &[&str]| home.run(&[&["client", "add", "--config", "etc/lingpai.toml"], arguments].concat());
    // Named from here, and written as the configuration's folder sees it.
    let ran = add(&[
        "shop",
        "--jwks",
        "etc/shop.json",
        "--grant",
        "client_credentials",
        "--grant",
        "refresh_token",
        "--accepts",
        "https://a.example",
    ]);
    assert!(ran.assert(0).out.contains("a key of shop.json") && !ran.out.contains("lps_"), "{ran:?}");
    let added = "id = \"shop\"\njwks = \"shop.json\"\ngrants = [\"client_credentials\", \"refresh_token\"]\naccepts = [\"https://a.example\"]\n";
    assert!(home.text("etc/lingpai.toml").ends_with(added), "{}", home.text("etc/lingpai.toml"));
    add(&["both", "--jwks", "etc/shop.json", "--secret"]).assert(0).secret();
    let elsewhere = vectors("keys").join("none.json");
    add(&["c", "--jwks", elsewhere.to_str().unwrap()]).assert_refused(2, &["none.json: cannot be read"]);
    add(&["c", "--grant", "password"]).assert_refused(2, &["nothing was written: expected a grant"]);
    add(&["c", "--secret"]).assert(2);
    let home = Home::standard();
    home.run(&["client", "rotate", "orders", "--config", "gone.toml"]).assert_refused(2, &["gone.toml"]);
}

/// With one secret and keys, `rotate` works; with keys alone there is nothing to replace.
#[test]
fn rotate_of_a_client_without_a_secret() {
    let home = Home::standard();
    let server = home.serve(&[]);
    home.write("shop.json", &server.send("GET", "/.well-known/jwks.json", "", "").body);
    server.stop("TERM");
    home.run(&["client", "add", "shop", "--jwks", "shop.json"]).assert(0);
    let before = home.text("lingpai.toml");
    home.run(&["client", "rotate", "shop"]).assert_refused(1, &["has no secret to replace"]);
    home.run(&["client", "retire", "shop"]).assert_refused(1, &["has no secret to drop"]);
    assert_eq!(home.text("lingpai.toml"), before);
}

/// None is lost, however many write at once.
#[test]
fn edits_at_once_all_count() {
    let home = Home::standard();
    let names: Vec<_> = (0..8).map(|number| format!("shop{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| home.command(&["client", "add", name], &[]).spawn().unwrap())
        .chain([home.command(&["client", "rotate", "orders"], &[]).spawn().unwrap()])
        .chain([home.command(&["client", "remove", "billing"], &[]).spawn().unwrap()])
        .collect();
    for child in children {
        ended(child).assert(0);
    }
    let rows = home.run(&["client", "list", "--json"]).assert(0).json();
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["client_id"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| ids.contains(&name.as_str())) && ids.len() == 9, "{ids:?}");
    assert_eq!(rows[0]["secrets"], 2);
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
}

#[test]
fn edits_write_through_a_link() {
    let home = Home::standard();
    fs::create_dir(home.path("real")).unwrap();
    fs::rename(home.path("lingpai.toml"), home.path("real/file")).unwrap();
    symlink("real/file", home.path("lingpai.toml")).unwrap();
    home.run(&["client", "rotate", "orders"]).assert(0);
    home.run(&["client", "retire", "orders"]).assert(0);
    home.run(&["client", "remove", "billing"]).assert(0);
    assert!(fs::symlink_metadata(home.path("lingpai.toml")).unwrap().is_symlink());
    assert!(!home.text("real/file").contains("billing"));
    assert_eq!(home.names("real"), ["file"]);
}

/// A file that cannot be written stays, and the reason is said.
#[test]
fn edits_that_fail_leave_the_file() {
    let home = Home::standard();
    let path = home.path("lingpai.toml");
    let edits = [&["client", "add", "shop"][..], &["client", "remove", "orders"], &["client", "rotate", "orders"]];
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    for edit in edits {
        home.run(edit).assert_refused(2, &["lingpai.toml: cannot be changed: ", "nothing was written"]);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    // As on a full disk, no byte can be written.
    for edit in edits {
        let mut shell = home.command(edit, &[]);
        let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\"";
        let full = std::mem::replace(&mut shell, std::process::Command::new("/bin/sh"));
        shell.args(["-c", script]).arg(full.get_program()).args(full.get_args()).current_dir(home.path("."));
        shell.env_clear().stdin(std::process::Stdio::null());
        shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        ended(shell.spawn().unwrap()).assert_refused(2, &["cannot be changed: File too large", "nothing was written"]);
    }
    assert_eq!(home.text("lingpai.toml"), quiet());
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
    home.write("lingpai.toml", &quiet().replace("[[clients]]", "clients = []\n[x]"));
    home.run(&["client", "remove", "orders"]).assert(2);
}
