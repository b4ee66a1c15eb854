//! `keys new` and `keys list`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, KeyName};
use serde_json::{Value, json};

use super::{DAY, lead, now};
use crate::app::{copy_key, quiet};
use crate::home::{Home, RECENT, ended};

#[test]
fn keys_new_and_list() {
    let home = Home::standard();
    fs::remove_file(home.path("keys").join(&*RECENT)).unwrap();
    let ran = home.run(&["keys", "list"]);
    assert!(ran.assert(0).err.contains("lingpai keys new"), "{ran:?}");
    assert_eq!(home.run(&["keys", "list", "--json"]).assert(0).json(), json!([]));

    // The first signs at once, the second when every verifier has fetched the keys again.
    for (least, most) in [(-330, -300), (2 * (300 + 2 + 5) - 20, 2 * (300 + 2 + 5) + 60)] {
        let ran = home.run(&["keys", "new", "--json"]);
        assert!((least..=most).contains(&lead(&ran)), "{ran:?}");
        assert_eq!(fs::metadata(home.path(ran.json()["file"].as_str().unwrap())).unwrap().mode() & 0o777, 0o600);
    }
    let from = now().plus(30 * DAY);
    let name = format!("keys/{}", KeyName { from, alg: Alg::Es256 });
    let at = ["keys", "new", "--at", &from.rfc3339()];
    home.run(&at).assert(0);
    let before = home.text(&name);
    home.run(&at).assert_refused(1, &[&format!("{name}: is already there; nothing was written")]);
    assert_eq!(home.text(&name), before);
    assert_eq!(home.states(), ["signing", "upcoming", "upcoming"]);

    let (listed, table) = (home.listed(), home.run(&["keys", "list", "--wide"]));
    let lines: Vec<_> = table.assert(0).out.lines().collect();
    let titles = ["SIGNS FROM", "STATE", "ALG", "KID", "SIGNS UNTIL", "VERIFIES UNTIL"];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), titles.join(" ").split(' ').collect::<Vec<_>>());
    for (line, key) in lines[1..].iter().zip(&listed) {
        let members = ["from", "state", "alg", "kid", "signs_until", "verifies_until"];
        let expected = members.map(|member| key[member].as_str().unwrap_or("-"));
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), expected);
        // In columns, as the head says.
        for title in &titles[1..] {
            assert_eq!(line.as_bytes()[lines[0].find(title).unwrap() - 1], b' ', "{line}");
        }
    }
    // The first signs until the second, and its tokens of 10 minutes and one day last until then, and the leeway.
    let at = |key: usize, member: &str| Timestamp::parse_rfc3339(listed[key][member].as_str().unwrap()).unwrap();
    assert_eq!(at(0, "signs_until"), at(1, "from"));
    assert_eq!(at(0, "published_until"), at(1, "from").plus(605));
    assert_eq!(at(0, "verifies_until"), at(1, "from").plus(DAY + 5));
    assert_eq!(listed[2]["verifies_until"], Value::Null);

    // A revoked key is shown as such.
    let kid = listed[1]["kid"].as_str().unwrap();
    home.write("lingpai.toml", &format!("{}\n[keys]\nrevoked = [{kid:?}]", quiet()));
    assert_eq!(home.states(), ["signing", "revoked", "upcoming"]);

    for wrong in [&["--at", "tomorrow"], &["--at", "2026-01-01"], &["--alg", "HS256"], &["--alg", "es256"]] {
        home.run(&[&["keys", "new"], &wrong[..]].concat()).assert(2);
    }
    let lower = home.run(&["keys", "new", "--alg", "es256"]);
    assert!(lower.assert(2).err.contains("expected ES256 or EdDSA\n"), "{lower:?}");
    for command in ["new", "rotate"] {
        home.run(&["keys", command, "--alg", "RS256"]).assert_refused(2, &["openssl genpkey", "lingpai keys import"]);
    }
    assert_eq!(home.names("keys").len(), 3);
}

/// A key of an algorithm that nothing is signed with yet is published for long enough before anything can be.
#[test]
fn the_first_key_of_another_algorithm() {
    let home = Home::standard();
    let ran = home.run(&["keys", "new", "--alg", "EdDSA", "--json"]);
    assert!(lead(&ran) > 2 * 300, "{ran:?}");
    let ran = Home::standard().run(&["keys", "new", "--alg", "EdDSA"]);
    assert!(ran.assert(0).out.contains(" on, once `token.algorithm`, or a client's, is EdDSA"), "{ran:?}");
    let eddsa = quiet().replace("[token]", "[token]\nalgorithm = \"EdDSA\"");
    home.write("lingpai.toml", &eddsa);
    home.run(&["check"]).assert_refused(2, &["holds no EdDSA key that signs now: the first is"]);
    // Where it signs already there is nothing to wait for.
    home.run(&["keys", "new", "--alg", "EdDSA"]).assert(0);
    home.run(&["check"]).assert(0);
}

#[test]
fn a_key_that_verifiers_cannot_know_in_time_is_refused() {
    let (home, _) = Home::with_keys(&[-DAY]);
    let at = |after: i64| now().plus(after).rfc3339();
    for (arguments, expected) in [
        (&["keys", "new", "--at", &at(250)][..], "they would refuse its tokens until then"),
        (&["keys", "rotate", "--in", "250s"], "they would refuse its tokens until then"),
        (&["keys", "new", "--at", &at(-1)], "they would refuse its tokens until then"),
        (&["keys", "new", "--at", &at(-61)], "is more than 60 s back, and a running server refuses"),
        (&["keys", "new", "--at", "2020-01-01T00:00:00Z"], "is more than 60 s back"),
        (&["keys", "new", "--alg", "EdDSA", "--at", "2020-01-01T00:00:00Z"], "is more than 60 s back"),
        (&["keys", "new", "--at", "9999-12-31T00:00:00Z"], "is more than 400 days ahead"),
    ] {
        home.run(arguments).assert_refused(1, &[expected, "nothing was written"]);
    }
    assert_eq!(home.names("keys").len(), 1);
    home.run(&["keys", "rotate", "--in", "301s"]).assert(0);
    // What is copied by hand is found out by when it was written.
    fs::remove_file(home.path("keys").join(&home.names("keys")[1])).unwrap();
    let late = home.key(250);
    home.run(&["check"]).assert_refused(1, &[&late, "was written at", "before it signs"]);
}

/// A name that is not UTF-8 is no reason to lose what was made.
#[test]
fn a_folder_whose_name_is_no_text() {
    use std::os::unix::ffi::OsStringExt as _;
    let home = Home::new();
    let name = std::ffi::OsString::from_vec(b"x\xff".to_vec());
    for arguments in
        [&["init", "--json"][..], &["keys", "list", "--json", "--keys"], &["keys", "rotate", "--json", "--keys"]]
    {
        let mut command = home.command(arguments, &[]);
        let folder = if arguments[0] == "init" { name.clone().into() } else { Path::new(&name).join("keys") };
        let ran = ended(command.arg(folder).spawn().unwrap());
        assert!(ran.assert(0).json().is_array() || ran.json().is_object());
    }
}

/// Where every file has one mode, keys are made, rotated and looked at all the same.
#[test]
fn a_folder_whose_modes_are_not_checked() {
    let (home, names) = Home::with_keys(&[-DAY]);
    let key = home.path("keys").join(&names[0]);
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for command in [&["check"][..], &["keys", "list"], &["keys", "rotate"], &["serve", "--listen", "127.0.0.1:0"]] {
        home.run(command).assert_refused(2, &[&names[0], "has mode 0644", "chmod 600"]);
    }
    home.write("lingpai.toml", &(quiet() + "[keys]\ncheck_modes = false\n"));
    let warning = "lingpai: warning: [keys] check_modes is false: ";
    let ran = home.run(&["check"]);
    assert!(ran.assert(0).err.starts_with(warning) && ran.err.lines().count() == 1, "{ran:?}");
    let server = home.serve(&[]);
    assert!(server.stop("TERM").err.starts_with(warning));
    copy_key("2026-01-01T00-00-00Z.eddsa.pem", &home.path("key.pem"));
    for command in [&["keys", "list"][..], &["keys", "rotate"], &["keys", "import", "key.pem"], &["keys", "prune"]] {
        home.run(command).assert(0);
    }
    home.write("lingpai.toml", &(quiet() + "[keys]\ncheck_modes = 0\n"));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:20:15: ", "expected a boolean"]);
}
