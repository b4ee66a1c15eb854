//! `lingpai check`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lingpai::clock::Clock;
use lingpai::keys::{self, Alg};
use serde_json::{Value, json};

use crate::app::{ISSUER, quiet, standard, vectors};
use crate::home::{Home, RECENT, Ran};

#[test]
fn check() {
    let home = Home::standard();
    let ran = home.run(&["check"]);
    assert_eq!(ran.assert(0).err, "");
    assert_eq!(ran.out, format!("ok: issuer {ISSUER}, 2 clients and 1 key, signing with {}\n", *RECENT));
    let said = home.run(&["check", "--json"]).assert(0).json();
    let expected = json!({"issuer": ISSUER, "clients": 2, "keys": 1, "signing": *RECENT, "warnings": [], "breaks": []});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&said[member], value, "{member}");
    }
    for digest in ["keys_digest", "configuration_digest"] {
        assert_eq!(said[digest].as_str().unwrap().len(), 64, "{said}");
    }

    home.write("lingpai.toml", &quiet().replace("[token]", "[token]\nsession_lifetime = \"1h\""));
    let ran = home.run(&["check"]);
    assert!(ran.assert(0).err.starts_with("lingpai: warning: refresh_lifetime is longer"), "{ran:?}");
    assert_eq!(home.run(&["check", "--json"]).assert(0).json()["warnings"].as_array().unwrap().len(), 1);
    let server = home.serve(&[]);
    assert!(server.stop("TERM").err.starts_with("lingpai: warning: refresh_lifetime is longer"));
}

#[test]
fn files_that_everybody_can_change() {
    let home = Home::standard();
    home.write("lingpai.toml", &quiet().replace("[token]", "[revocations]\npath = \"revoked\"\n[token]"));
    home.write("revoked", "");
    home.run(&["check"]).assert(0);
    for file in ["lingpai.toml", "revoked"] {
        fs::set_permissions(home.path(file), fs::Permissions::from_mode(0o666)).unwrap();
        let ran = home.run(&["check"]);
        assert!(ran.assert(0).err.contains(&format!("{file} has mode 0666, so every user")), "{ran:?}");
        fs::set_permissions(home.path(file), fs::Permissions::from_mode(0o664)).unwrap();
    }
    assert_eq!(home.run(&["check"]).assert(0).err, "");
}

/// "everything that `serve` would refuse or warn about": no more, and no less.
#[test]
fn check_accepts_what_serve_does() {
    let home = Home::new();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0", "--keys", "others"], &[]);
    assert_eq!(server.stop("TERM").code, Some(0));
    home.run(&["check"]).assert(0);
}

/// What stands in a name or a file moves no cursor, and forges no line.
#[test]
fn messages_are_one_visible_line() {
    let home = Home::standard();
    home.write("keys/\u{1b}[2J\nlingpai: good.pem", "");
    home.run(&["check"]).assert_refused(2, &["keys/\\u001b[2J\\nlingpai: good.pem: expected a name"]);
    let home = Home::standard();
    home.write("lingpai.toml", "\"\\u001b[2Jx\\ny\" = 1");
    home.run(&["check"]).assert_refused(2, &["unknown field `\\u001b[2Jx\\ny`"]);
}

/// The configuration of most tests with this certificate and this key, and what `check` says of it.
fn check_tls(cert: &[u8], key: &[u8], mode: u32) -> Ran {
    let home = Home::standard();
    home.write("lingpai.toml", &(quiet() + "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"));
    fs::write(home.path("cert.pem"), cert).unwrap();
    fs::write(home.path("key.pem"), key).unwrap();
    fs::set_permissions(home.path("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
    home.run(&["check"])
}

fn tls(name: &str) -> Vec<u8> {
    fs::read(vectors("tls").join(name)).unwrap()
}

/// Each cause is called what it is.
#[test]
fn what_is_wrong_with_a_certificate_or_its_key() {
    let key = tls("key.pem");
    assert_eq!(check_tls(&tls("v3.crt"), &key, 0o600).assert(0).err, "");
    let cut = &key[..100];
    for (cert, key, expected) in [
        ("v1.crt", &key[..], "cert.pem: is not an X.509 certificate of version 3, and TLS clients refuse others"),
        ("v3.crt", &tls("other.pem"), "key.pem: is not the key of the certificate in cert.pem"),
        ("v3.crt", &tls("encrypted.pem"), "key.pem: is encrypted; decrypt it with `openssl pkey"),
        ("v3.crt", &tls("encrypted-sec1.pem"), "key.pem: is encrypted; decrypt it with `openssl pkey"),
        ("v3.crt", cut, "key.pem: is cut off"),
        ("v3.crt", &tls("v3.crt"), "key.pem: holds no private key in PEM"),
        ("key.pem", &key, "cert.pem: holds no certificate"),
    ] {
        check_tls(&tls(cert), key, 0o600).assert_refused(2, &[expected]);
    }
}

#[test]
fn a_tls_key_that_others_can_read_is_warned_of() {
    for mode in [0o600, 0o640, 0o400] {
        assert_eq!(check_tls(&tls("v3.crt"), &tls("key.pem"), mode).assert(0).err, "");
    }
    for mode in [0o644, 0o660, 0o604] {
        let ran = check_tls(&tls("v3.crt"), &tls("key.pem"), mode);
        let expected = format!("lingpai: warning: key.pem: has mode {mode:04o}, so others can read or change it");
        assert!(ran.assert(0).err.starts_with(&expected) && ran.err.lines().count() == 1, "{ran:?}");
    }
}

/// RFC 7468 §3, for TLS as for signing keys.
#[test]
fn tls_files_in_any_lax_form() {
    let text = |name| String::from_utf8(tls(name)).unwrap();
    let changes: [fn(String) -> String; 4] = [
        |pem| format!("\u{feff}{pem}"),
        |pem| format!("Bag Attributes\n{}", pem.replace('\n', " \t\r\n")),
        |pem| pem.replace('\n', "\n\n"),
        |pem| pem.trim_end().to_owned(),
    ];
    for change in changes {
        let (cert, key) = (change(text("v3.crt")), change(text("key.pem")));
        assert_eq!(check_tls(cert.as_bytes(), key.as_bytes(), 0o600).assert(0).err, "");
    }
}

#[test]
fn a_generated_folder_is_read_by_every_command() {
    let home = Home::new();
    home.write("lingpai.toml", &quiet());
    keys::generate(&home.path("keys"), Alg::Es256, Clock::system().now().plus(-1)).unwrap();
    home.run(&["check"]).assert(0);
}

/// All of them at once, so that a file is mended in one go.
#[test]
fn every_problem_of_a_file_is_said() {
    let home = Home::standard();
    let bad = quiet().replace("\"orders:read\"", "\"a b\"").replace("\"bills\"", "\"\"").replace("[token]", "[tokn]");
    for (text, lines) in [
        (
            bad.replace("[tokn]", "[token]"),
            vec!["lingpai.toml:10:10: expected a scope token", "lingpai.toml:17:10: expected a scope token"],
        ),
        (
            bad.replace("subjects", "subject"),
            vec![
                "lingpai.toml:3:2: unknown field `tokn`",
                "lingpai.toml:12:1: unknown field `subject`",
                "lingpai.toml:18:1: unknown",
            ],
        ),
        (quiet().replace("billing", "orders"), vec!["lingpai.toml:15:6: another client has this id"]),
    ] {
        home.write("lingpai.toml", &text);
        let ran = home.run(&["check"]);
        assert_eq!(ran.assert(2).err.lines().count(), lines.len(), "{ran:?}");
        for (said, line) in ran.err.lines().zip(&lines) {
            assert!(said.starts_with(&format!("lingpai: {line}")), "{said}\nwant: {line}");
        }
        // A start says the first.
        let first = home.run(&["serve", "--listen", "127.0.0.1:0"]);
        first.assert_refused(2, &[lines[0]]);
    }
    home.write("lingpai.toml", &quiet().replace("\"bills\"", "\"\""));
    home.write("keys/x.pem", "");
    let ran = home.run(&["check", "--json"]);
    let errors: Vec<Value> = ran.assert(2).err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(errors[0]["error"].as_str().unwrap().contains("expected a scope token"), "{ran:?}");
    assert!(errors[1]["error"].as_str().unwrap().contains("keys/x.pem"), "{ran:?}");
}

/// What is allowed, but gives away more than was probably meant.
#[test]
fn check_warns_of_a_lax_policy() {
    let home = Home::standard();
    let year = 2_000 + 100;
    let text = standard().replace("scope = [\"bills\"]\n", &format!("not_before = \"{year}-01-01T00:00:00Z\"\n"));
    let text = text.replace("scope = [\"guest\"]\n", "") + "grants = [\"refresh_token\"]\n";
    home.write("lingpai.toml", &text);
    let ran = home.run(&["check"]);
    for warning in [
        "client billing: subjects = [\"*\"]",
        "client billing: no scope",
        "[anonymous]: no scope",
        "client billing: grants: with refresh_token alone",
        "client billing: not_before is in the future",
        "client orders: several audiences",
    ] {
        assert!(
            ran.assert(0).err.contains(&format!("lingpai: warning: {warning}")),
            "{warning} is not in\n{}",
            ran.err
        );
    }
    let server = home.serve(&[]);
    assert!(!server.stop("TERM").err.contains("several audiences"), "a start says only what it must");
    let client = |n: usize| format!("[[clients]]\nid = \"c{n}\"\nsecrets = [\"sha256:{}\"]\n", "a1".repeat(32));
    // An API that introspects needs none.
    let many = (0..9).map(client).collect::<Vec<_>>().concat() + &client(9) + "accepts = [\"orders-api\"]\n";
    home.write("lingpai.toml", &(standard() + &many));
    assert!(home.run(&["check"]).assert(0).err.contains("clients c0, c1, c2, c3, c4 and 4 more: no scope"));
}

/// A secret in the place of a name or a path is not repeated, whatever refuses it.
#[test]
fn a_secret_in_the_place_of_a_path_is_not_repeated() {
    const CANARY: &str = "lps_canary789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";
    let home = Home::standard();
    let rule = |client: &str, keys: &str| {
        format!(
            "[[issuers]]\nissuer = \"https://ci.example.net\"\njwks_file = \"{keys}\"\n\
             [[issuers.rules]]\nmatch = {{ sub = \"x\" }}\nclient = \"{client}\"\n"
        )
    };
    for content in [
        rule(CANARY, "k.json"),
        rule("orders", CANARY),
        rule("orders", &format!("sha256:{CANARY}")),
        format!("[[clients]]\nid = \"a\"\njwks = \"{CANARY}\"\n"),
        format!("[revocations]\npath = \"{CANARY}\"\n"),
        format!("[tls]\ncert = \"{CANARY}\"\nkey = \"{CANARY}\"\n"),
    ] {
        home.write("lingpai.toml", &(quiet() + &content));
        for command in ["check", "serve"] {
            let ran = home.run(&[command]);
            assert!(!ran.err.contains("canary") && ran.out.is_empty(), "{ran:?}");
            ran.assert_refused(2, &["(a secret)"]);
        }
    }
    home.write("lingpai.toml", &quiet());
    let ran = home.run_in(&["check"], &[("LINGPAI_KEYS", CANARY)]);
    ran.assert_refused(2, &["(a secret)"]);
    assert!(!ran.err.contains("canary"), "{ran:?}");
}
