//! The files: names, modes, kinds, and what is passed over.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use lingpai::keys::{self, Modes};
use tempfile::tempdir;

use super::{EDDSA, ES256, FORM, assert_refused, kids, put, vector};
use crate::app::{TestApp, copy_key, standard};

#[test]
fn a_name_of_another_form_is_refused() {
    for name in [
        "a.pem",
        "key.es256.pem",
        "2026-01-01.es256.pem",
        "2026-01-01T00:00:00Z.es256.pem",
        "2026-01-01T00-00-00Z.pem",
        "2026-01-01T00-00-00Z.ES256.pem",
        "2026-01-01T00-00-00Z.es384.pem",
        "2026-01-01T00-00-00Z.es256.old.pem",
        "2026-02-30T00-00-00Z.es256.pem",
        " 2026-01-01T00-00-00Z.es256.pem",
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        put(&path, &vector(ES256), 0o600);
        assert_refused(folder.path(), &path, FORM);
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"2026-01-01T00-00-00Z.es256.\xff.pem"));
    put(&path, &vector(ES256), 0o600);
    assert_refused(folder.path(), &path, FORM);
}

#[test]
fn modes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join(ES256);
    for mode in [0o644, 0o660, 0o604, 0o620, 0o601, 0o610, 0o777] {
        put(&path, &vector(ES256), mode);
        assert_refused(folder.path(), &path, &format!("has mode {mode:04o}"));
        assert_refused(folder.path(), &path, &format!("`chmod 600 {}`", path.display()));
    }
    for mode in [0o640, 0o440, 0o400, 0o600] {
        put(&path, &vector(ES256), mode);
        assert_eq!(kids(folder.path()).len(), 1, "{mode:04o}");
        fs::remove_file(&path).unwrap();
    }
}

/// Puts something at a path.
type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let fifo = |path: &Path| assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap().success());
    let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let cases: [(Make, &str); 6] = [
        (&|path| fs::create_dir(path).unwrap(), "is not a regular file"),
        (&fifo, "is not a regular file"),
        (&socket, "is not a regular file"),
        (&|path| symlink("/dev/null", path).unwrap(), "is not a regular file"),
        (&|path| symlink("gone", path).unwrap(), "cannot be opened"),
        (&|path| symlink(path, path).unwrap(), "cannot be opened"),
    ];
    for (make, expected) in cases {
        let folder = tempdir().unwrap();
        let path = folder.path().join(ES256);
        make(&path);
        assert_refused(folder.path(), &path, expected);
    }
    // Nor is a file a folder.
    let folder = tempdir().unwrap();
    let path = folder.path().join("keys");
    put(&path, b"", 0o600);
    assert_refused(&path, &path, "cannot be read");
}

#[test]
fn one_key_in_two_files_is_refused() {
    let folder = tempdir().unwrap();
    let (first, second) = (ES256, "2026-02-01T00-00-00Z.es256.pem");
    copy_key(first, &folder.path().join(first));
    copy_key(first, &folder.path().join(second));
    assert_refused(folder.path(), &folder.path().join(second), &format!("holds the same key as {first}"));
    fs::remove_file(folder.path().join(second)).unwrap();
    symlink(first, folder.path().join(second)).unwrap();
    assert_refused(folder.path(), &folder.path().join(second), &format!("holds the same key as {first}"));
}

#[test]
fn what_is_passed_over() {
    let folder = tempdir().unwrap();
    for name in
        [".hidden.pem", ".new-0123", "README", "2026-01-01T00-00-00Z.es256.pem.bak", "UPPER.PEM", "pem", "a.pub"]
    {
        put(&folder.path().join(name), b"whatever", 0o644);
    }
    fs::create_dir(folder.path().join("old")).unwrap();
    assert!(kids(folder.path()).is_empty());
    copy_key(ES256, &folder.path().join(ES256));
    assert_eq!(kids(folder.path()).len(), 1);
    assert!(keys::load(&folder.path().join("nowhere")).unwrap().is_empty());
}

/// A Secret's volume: `name -> ..data/name`, `..data -> ..2026_01_01`.
#[test]
fn a_folder_that_kubernetes_made() {
    let folder = tempdir().unwrap();
    let version = folder.path().join("..2026_01_01_00_00_00.1");
    fs::create_dir(&version).unwrap();
    symlink(version.file_name().unwrap(), folder.path().join("..data")).unwrap();
    for name in [ES256, EDDSA] {
        copy_key(name, &version.join(name));
        fs::set_permissions(version.join(name), fs::Permissions::from_mode(0o440)).unwrap();
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }
    assert_eq!(kids(folder.path()).len(), 2);
    // The mode that counts is the file's, not its link's.
    fs::set_permissions(version.join(ES256), fs::Permissions::from_mode(0o444)).unwrap();
    assert_refused(folder.path(), &folder.path().join(ES256), "has mode 0444");
}

/// Some secret stores mount files that everybody may read, and no others.
#[test]
fn modes_that_are_not_checked() {
    let folder = tempdir().unwrap();
    for mode in [0o644, 0o666, 0o777] {
        put(&folder.path().join(ES256), &vector(ES256), mode);
        assert_eq!(keys::load_with(folder.path(), Modes::Unchecked).unwrap().len(), 1);
        assert!(keys::load_with(folder.path(), Modes::Checked).is_err());
    }
}

/// A running server follows the setting and the modes.
#[test]
fn a_reload_follows_check_modes() {
    let app = TestApp::start();
    let (key, config) = (app.folder.path().join("keys").join(ES256), app.folder.path().join("lingpai.toml"));
    let set = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let says = |part: &str| app.look().look().operator("/readyz").body.contains(part);
    set(0o644);
    assert!(says("has mode 0644"));
    fs::write(&config, standard() + "[keys]\ncheck_modes = false\n").unwrap();
    assert!(says("\"reload_error\":null") && says("[keys] check_modes is false"));
    fs::write(&config, standard()).unwrap();
    assert!(says("has mode 0644"));
    set(0o640);
    assert!(says("\"reload_error\":null") && !says("check_modes"));
}

/// Needs root. Kubernetes' Secrets belong to root, and the keys of `init` to the folder's owner.
#[test]
fn a_file_of_another_user_causes_a_warning() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let app = TestApp::start();
    let folder = app.folder.path().join("keys");
    let key = folder.join(ES256);
    let says = |part: &str| app.look().look().operator("/readyz").body.contains(part);
    assert!(!says("belongs to user"));
    chown(&key, Some(65_532), None).unwrap();
    assert!(says("\"reload_error\":null") && says("belongs to user 65532, so that user can read and change it"));
    chown(&key, Some(0), None).unwrap();
    assert!(!says("belongs to user"));

    let warning = || keys::Folder::read(&folder).unwrap().warning();
    chown(&folder, Some(65_532), None).unwrap();
    assert_eq!(warning(), None);
    chown(&key, Some(65_532), None).unwrap();
    assert_eq!(warning(), None);
    chown(&key, Some(65_533), None).unwrap();
    assert!(warning().unwrap().ends_with(&format!("`chown 65532 {}`", key.display())));
}
