//! What a message says of a mistake, and what it never repeats.

use std::fs;
use std::path::Path;

use lingpai::config::{Config, Overrides};
use tempfile::tempdir;

use super::{assert_refused, client, digest, file, has, read};

/// "one message that names file, line and what would be right"
#[test]
fn a_mistake_has_a_line_also_when_something_is_missing() {
    assert_refused(&has("audience = []"), "5:");
    assert_refused(&file("[token]\naudience = []"), "3:");
    let long = format!("issuer = \"https://t.example/{}\"\n", "x".repeat(256));
    assert_refused(&long, "1:");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    const CANARY: &str = "lps_canary789abcdefghijklmnopqrstuvwxyzABCDEFGH";
    for content in [
        client(&format!("{CANARY} "), &[&digest("x")], ""),
        client(&format!("{CANARY}{CANARY}"), &[&digest("x")], ""),
        client("a", &[CANARY], ""),
        client("a", &[&digest("x"), CANARY], ""),
        client("a", &[&format!("sha256:{CANARY}")], ""),
        client("a", &[&digest("x"), &digest("y"), CANARY], ""),
        has(&format!("scope = [\"{CANARY} x\"]")),
        has(&format!("scope = \"{CANARY}\"")),
        has(&format!("scope = [{CANARY}]")),
        has(&format!("scope = [[\"{CANARY}\"]]")),
        has(&format!("scope = \"{CANARY}")),
        has(&format!("audience = [\"{CANARY}\\n\"]")),
        has(&format!("subjects = [\"{CANARY}*x\"]")),
        has(&format!("not_before = \"{CANARY}\"")),
        has(&format!("access_lifetime = \"{CANARY}\"")),
        has(&format!("access_lifetime = {CANARY}")),
        has(CANARY),
        file(&format!("clients = \"{CANARY}\"")),
        file(&format!("listen = \"{CANARY}\"")),
        file(&format!("[token]\nalgorithm = \"{CANARY}\"")),
        file(&format!("[token]\ncache = \"{CANARY}\"")),
        file(&format!("[keys]\nrevoked = [\"{CANARY}\"]")),
        format!("issuer = \"http://{CANARY}.example\""),
        format!("issuer = \"{CANARY}\""),
    ] {
        let Err(said) = read(&content) else { panic!("accepted:\n{content}") };
        assert!(!said.contains("canary"), "{said}");
        assert!(said.starts_with("lingpai.toml:") && !said.contains('\n'), "{said}");
    }
}

/// A name in quotation marks can be anything.
#[test]
fn an_unknown_key_is_named_in_one_line_and_without_a_secret() {
    let digest = digest("x");
    for content in [
        file(&format!("\"a {digest}\" = 1")),
        has(&format!("\"{digest}\" = 1")),
        has(&format!("\"lps_canary {digest} lps_parrot\" = 1")),
        has(&format!("\"lps_{digest}\" = 1")),
    ] {
        let Err(said) = read(&content) else { panic!("accepted:\n{content}") };
        assert!(said.contains("unknown field `") && said.contains("(a secret)"), "{said}");
        assert!(![&digest[7..], "canary", "parrot"].into_iter().any(|part| said.contains(part)), "{said}");
    }
    assert_refused(&file("\"a\\nb\\u001b\\u009b\" = 1"), "2:1: unknown field `a\\nb\\u001b\\u009b`, expected one of");
}

#[test]
fn a_file_that_is_none() {
    let folder = tempdir().unwrap();
    let refused = |path: &Path, expected: &str| {
        let said = Config::load(Some(path), Overrides::default()).unwrap_err().to_string();
        assert_eq!(said, format!("{}: {expected}", path.display()));
    };
    refused(&folder.path().join("gone.toml"), "there is no such file; `lingpai init` writes one");
    refused(folder.path(), "expected a regular file of at most 16 MiB");
    refused(Path::new("/dev/zero"), "expected a regular file of at most 16 MiB");
    let path = folder.path().join("lingpai.toml");
    fs::write(&path, b"issuer = \"\xff\"").unwrap();
    refused(&path, "is not UTF-8 text");
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    refused(&path, "expected a regular file of at most 16 MiB");
    fs::write(&path, "").unwrap();
    let said = Config::load(Some(&path), Overrides::default()).unwrap_err().to_string();
    assert!(said.contains("`issuer` is missing; add a line such as issuer = \"https://"), "{said}");
}
