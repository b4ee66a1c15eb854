//! The configuration: every mistake is one line that names file, line and
//! column and says what would be right, and never repeats a secret.

mod clients;
mod digest;
mod documentation;
mod messages;
mod service;

use std::fs;

use lingpai::app;
use lingpai::clients::SecretDigest;
use lingpai::clock::Timestamp;
use lingpai::config::Config;
use lingpai::service::Snapshot;
use tempfile::tempdir;

use crate::app::{ISSUER, START, copy_key, load};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

/// What `serve` makes of this file beside a folder with one key; an error
/// without the folder's name.
fn read(content: &str) -> Result<(Config, Snapshot), String> {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    copy_key(KEY, &folder.path().join("keys").join(KEY));
    let short = |said: String| said.replace(&format!("{}/", folder.path().display()), "");
    let config = load(folder.path(), content).map_err(|error| short(error.to_string()))?;
    let snapshot = app::snapshot(&config, Timestamp::from_unix(START)).map_err(|error| short(error.to_string()))?;
    Ok((config, snapshot))
}

/// An issuer on line 1 and these lines after it.
fn file(lines: &str) -> String {
    format!("issuer = \"{ISSUER}\"\n{lines}\n")
}

fn digest(secret: &str) -> String {
    SecretDigest::of(secret.as_bytes()).written()
}

/// A client on line 2, its id on line 3, `secrets` on line 4, and what it has from line 5 on.
fn client(id: &str, secrets: &[&str], lines: &str) -> String {
    file(&format!("[[clients]]\nid = \"{id}\"\nsecrets = {secrets:?}\n{lines}"))
}

/// A client that is right, and what it has from line 5 on.
fn has(lines: &str) -> String {
    client("a", &[&digest("x")], lines)
}

fn many(what: &str, count: usize) -> String {
    format!("{what} = {:?}", (0..count).map(|i| format!("s{i}")).collect::<Vec<_>>())
}

#[track_caller]
fn assert_refused(content: &str, expected: &str) {
    let Err(said) = read(content) else { panic!("accepted:\n{content}") };
    assert!(said.starts_with(&format!("lingpai.toml:{expected}")), "{content}\nsaid: {said}\nwant: {expected}");
    assert!(!said.contains('\n'), "{said}");
}
