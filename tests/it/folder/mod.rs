//! The folder of keys: what it may hold, and what each key does when.

mod files;
mod formats;
mod generate;
mod schedule;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lingpai::keys::{self, KeyName};

use crate::app::vectors;

const ES256: &str = "2026-01-01T00-00-00Z.es256.pem";
const EDDSA: &str = "2026-01-01T00-00-00Z.eddsa.pem";
const RS256: &str = "2026-01-01T00-00-00Z.rs256.pem";
const FORM: &str = "expected a name such as 2026-11-22T00-00-00Z.es256.pem";

fn put(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn vector(name: &str) -> Vec<u8> {
    fs::read(vectors("keys").join(name)).unwrap()
}

/// Asserts that `folder` is refused in one line, about `path`, that says `expected`.
#[track_caller]
fn assert_refused(folder: &Path, path: &Path, expected: &str) {
    let said = keys::load(folder).unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}: ", path.display())), "{said}\nis not about {}", path.display());
    assert!(said.contains(expected), "{said}\nwant: {expected}");
    assert!(!said.contains('\n'), "{said}");
}

/// Runs openssl. None where there is none.
fn openssl(arguments: &[&str]) -> Option<Vec<u8>> {
    let run = Command::new("openssl").args(arguments).stderr(Stdio::null()).output().ok()?;
    assert!(run.status.success(), "openssl {arguments:?}");
    Some(run.stdout)
}

fn kids(folder: &Path) -> Vec<String> {
    keys::load(folder).unwrap().iter().map(|key| key.kid().to_string()).collect()
}

fn named(name: &str) -> KeyName {
    name.parse().unwrap()
}
