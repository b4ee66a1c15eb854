//! New keys.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg, KeyName};
use tempfile::tempdir;

use super::{ES256, kids, named, openssl};
use crate::app::START;

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_key_is_private_and_overwrites_nothing() {
    let root = tempdir().unwrap();
    let folder = root.path().join("a/keys");
    let from = named(ES256).from;
    let key = keys::generate(&folder, Alg::Es256, from).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(ES256))), (0o700, 0o600));
    assert_eq!(kids(&folder), [key.kid().to_string()]);
    assert_eq!(entries(&folder), [ES256]);

    let before = fs::read(folder.join(ES256)).unwrap();
    let said = keys::generate(&folder, Alg::Es256, from).unwrap_err().to_string();
    assert_eq!(said, format!("{}: is already there; nothing was written", folder.join(ES256).display()));
    assert_eq!(fs::read(folder.join(ES256)).unwrap(), before);
    assert_eq!(entries(&folder), [ES256]);
    // Nor what a link by that name points to.
    symlink("../elsewhere", folder.join("2026-02-01T00-00-00Z.es256.pem")).unwrap();
    assert!(
        keys::generate(&folder, Alg::Es256, "2026-02-01T00-00-00Z.es256.pem".parse::<KeyName>().unwrap().from).is_err()
    );
    assert_eq!(entries(&root.path().join("a")), ["keys"]);
    assert_eq!(entries(&folder).len(), 2);
}

/// What is made here is read everywhere.
#[track_caller]
fn assert_generated(alg: Alg) {
    let folder = tempdir().unwrap();
    let key = keys::generate(folder.path(), alg, Timestamp::from_unix(START)).unwrap();
    assert_eq!(kids(folder.path()), [key.kid().to_string()]);
    let path = folder.path().join(key.name().to_string());
    openssl(&["pkey", "-noout", "-check", "-in", path.to_str().unwrap()]);
}

#[test]
fn a_new_es256_key() {
    assert_generated(Alg::Es256);
}

#[test]
fn a_new_eddsa_key() {
    assert_generated(Alg::EdDsa);
}

#[test]
fn rsa_keys_are_made_elsewhere() {
    let folder = tempdir().unwrap();
    let said = keys::generate(folder.path(), Alg::Rs256, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(said.contains("openssl genpkey -algorithm RSA"), "{said}");
    assert!(entries(folder.path()).is_empty());
}
