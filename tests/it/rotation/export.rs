//! `keys export`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::DAY;
use crate::app::{copy_key, quiet};
use crate::home::{Home, KEY, RECENT, Ran};

fn export(home: &Home, arguments: &[&str]) -> Ran {
    home.run(&[&["keys", "export", "--public"], arguments].concat())
}

/// What OpenSSL makes of the private keys is what is exported of them.
#[test]
fn the_public_keys_in_pem() {
    let home = Home::standard();
    let names = [KEY.replace("es256", "eddsa"), KEY.replace("es256", "rs256")];
    for name in &names {
        copy_key(name, &home.path("keys").join(name));
    }
    home.key(DAY);
    // Of the key before it all access tokens have ended, and only refresh tokens are good.
    home.key(-3_600);
    let (mut files, mut list) = (Vec::new(), String::new());
    for key in home.listed().iter().filter(|key| key["state"] != "retiring") {
        let (kid, file) = (key["kid"].as_str().unwrap(), key["file"].as_str().unwrap());
        let openssl = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(home.path(file)).output().unwrap();
        let pem = String::from_utf8(openssl.stdout).unwrap();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
        assert_eq!(export(&home, &[kid]).assert(0).out, pem, "{file}");
        let (alg, from) = (key["alg"].as_str().unwrap(), key["from"].as_str().unwrap());
        list.extend([format!("# {kid} {alg} signs from {from}\n"), pem.clone()]);
        files.push((format!("{kid}.pem"), pem));
    }
    assert_eq!(files.len(), 4);
    assert_eq!(export(&home, &[]).assert(0).out, list);
    let rows = export(&home, &["--json"]).assert(0).json();
    assert_eq!(
        rows.as_array().unwrap().iter().map(|row| row["pem"].as_str().unwrap()).collect::<Vec<_>>(),
        files.iter().map(|(_, pem)| pem).collect::<Vec<_>>()
    );

    let read = || home.names("out").into_iter().map(|name| (name.clone(), home.text(&format!("out/{name}"))));
    files.sort();
    export(&home, &["--out", "out"]).assert(0);
    assert_eq!(read().collect::<Vec<_>>(), files);
    for (name, _) in &files {
        assert_eq!(fs::metadata(home.path("out").join(name)).unwrap().mode() & 0o777, 0o644);
    }
    assert_eq!(fs::metadata(home.path("out")).unwrap().mode() & 0o777, 0o755);
    assert!(export(&home, &["--out", "out"]).assert(0).out.starts_with("nothing to do: "));
    // What is there and wrong is mended; whom nobody may trust any more goes; what is somebody else's stays.
    let listed = home.listed();
    let upcoming = listed.iter().find(|key| key["state"] == "upcoming").unwrap()["kid"].as_str().unwrap();
    let revoked = upcoming.to_owned();
    files.retain(|(name, _)| *name != format!("{revoked}.pem"));
    let first = &files[0].0;
    home.write(&format!("out/{first}"), "");
    home.write("out/else.pem", "");
    home.write("lingpai.toml", &format!("{}\n[keys]\nrevoked = [\"{revoked}\"]\n", quiet()));
    let ran = export(&home, &["--out", "out"]);
    assert_eq!(ran.assert(0).out, format!("wrote out/{first}\ndeleted out/{revoked}.pem\n"));
    files.push(("else.pem".to_owned(), String::new()));
    files.sort();
    assert_eq!(read().collect::<Vec<_>>(), files);
    export(&home, &[&revoked]).assert_refused(1, &["there is no key with the id", "that verifies now or later"]);
}

#[test]
fn what_is_not_exported() {
    let home = Home::standard();
    for arguments in [&["keys", "export"][..], &["keys", "export", "--out", "out"]] {
        home.run(arguments).assert_refused(2, &["private keys are never printed; `--public` exports the public ones"]);
    }
    // Here, by a link, and of another configuration: nothing that serves from there would start again.
    let other = "2026-01-01T00-00-00Z.rs256.pem";
    fs::create_dir(home.path("others")).unwrap();
    copy_key(other, &home.path("others").join(other));
    std::os::unix::fs::symlink("keys", home.path("link")).unwrap();
    for folder in ["keys", "link", "others"] {
        let expected = ["holds private keys, such as 20", "no server starts with", "expected another folder"];
        export(&home, &["--out", folder]).assert_refused(2, &expected);
    }
    home.run(&["check"]).assert(0);
    assert_eq!(home.names("others"), [other]);
    fs::remove_dir_all(home.path("others")).unwrap();
    fs::remove_file(home.path("link")).unwrap();
    export(&home, &["--out", "a/b"]).assert_refused(2, &["a/b: cannot be written"]);
    // Some begin with a hyphen.
    export(&home, &[&format!("-{}", "A".repeat(42))]).assert_refused(1, &["there is no key with the id -AAA"]);
    assert!(export(&home, &["nonsense"]).assert(2).err.contains("expected a key's id: 43 characters"));
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
    assert_eq!(home.names("keys"), [&**RECENT]);
    let nowhere = Home::new();
    export(&nowhere, &["--out", "out"]).assert_refused(1, &["there is no lingpai.toml here, and no key in keys"]);
    nowhere.write("lingpai.toml", &quiet());
    export(&nowhere, &["--out", "out"]).assert_refused(1, &["there is no key that verifies now or later"]);
    assert!(!nowhere.path("out").exists());
}
