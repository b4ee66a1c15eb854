//! Keys from the command line: made, taken in, rotated, pruned; and what `check` says of a plan.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use lingpai::clock::{Clock, Timestamp};
use lingpai::keys::{self, Alg, KeyName};
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _, SecretDocument};
use pkcs8::{LineEnding, ObjectIdentifier, PrivateKeyInfoRef};
use serde_json::{Value, json};

use crate::app::{copy_key, quiet, vectors};
use crate::home::{Home, KEY, RECENT, Ran, ended};

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    Clock::system().now()
}

impl Home {
    /// The configuration of most tests, and ES256 keys that start to sign so many seconds after now.
    fn with_keys(after: &[i64]) -> (Self, Vec<String>) {
        let home = Self::new();
        home.write("lingpai.toml", &quiet());
        let names = after.iter().map(|after| home.key(*after)).collect();
        (home, names)
    }

    /// Writes a key that starts to sign so many seconds after now, whatever the linter would say. Its name.
    fn key(&self, after: i64) -> String {
        keys::generate(&self.path("keys"), Alg::Es256, now().plus(after)).unwrap().name().to_string()
    }

    fn listed(&self) -> Vec<Value> {
        self.run(&["keys", "list", "--json"]).assert(0).json().as_array().unwrap().clone()
    }

    fn states(&self) -> Vec<String> {
        self.listed().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    }
}

/// The instant that a command says it gave a key, in seconds from now.
fn lead(ran: &Ran) -> i64 {
    Timestamp::parse_rfc3339(ran.assert(0).json()["from"].as_str().unwrap()).unwrap().since(now())
}

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
        let expected = ["holds private keys, such as 202", "no server starts with", "expected another folder"];
        export(&home, &["--out", folder]).assert_refused(2, &expected);
    }
    home.run(&["check"]).assert(0);
    assert_eq!(home.names("others"), [other]);
    fs::remove_dir_all(home.path("others")).unwrap();
    fs::remove_file(home.path("link")).unwrap();
    export(&home, &["--out", "a/b"]).assert_refused(2, &["a/b: cannot be written"]);
    // Some begin with a hyphen.
    export(&home, &[&format!("-{}", "A".repeat(42))]).assert_refused(1, &["there is no key with the id -AAA"]);
    assert!(export(&home, &["nonsense"]).assert(2).err.contains("expected a key's id of 43 characters"));
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
    assert_eq!(home.names("keys"), [&**RECENT]);
    let nowhere = Home::new();
    export(&nowhere, &["--out", "out"]).assert_refused(1, &["there is no lingpai.toml here, and no key in keys"]);
    nowhere.write("lingpai.toml", &quiet());
    export(&nowhere, &["--out", "out"]).assert_refused(1, &["there is no key that verifies now or later"]);
    assert!(!nowhere.path("out").exists());
}

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

#[test]
fn rotate() {
    let (home, _) = Home::with_keys(&[-DAY]);
    let made = home.run(&["keys", "rotate", "--json"]);
    assert!((2 * (300 + 2 + 5) - 20..=2 * (300 + 2 + 5) + 60).contains(&lead(&made)), "{made:?}");
    assert_eq!(made.json()["made"], true);
    // To the minute, so that two machines choose one name.
    assert!(made.json()["from"].as_str().unwrap().ends_with(":00Z"), "{made:?}");
    assert_eq!(home.states(), ["signing", "upcoming"]);

    let (again, names) = (home.run(&["keys", "rotate"]), home.names("keys"));
    assert_eq!(again.assert(0).out, format!("nothing to do: keys/{} is upcoming\n", names[1]));
    let again = home.run(&["keys", "rotate", "--json"]).assert(0).json();
    assert_eq!((&again["made"], &again["kid"]), (&json!(false), &made.json()["kid"]));
    home.run(&["keys", "rotate", "--in", "1m"])
        .assert_refused(1, &["is upcoming and signs from", "nothing was written"]);
    assert_eq!(home.names("keys"), names);

    // Another algorithm is another schedule.
    home.run(&["keys", "rotate", "--alg", "EdDSA"]).assert(0);
    assert_eq!(home.names("keys").len(), 3);

    // In an emergency nobody waits for what is to come.
    let ran = home.run(&["keys", "rotate", "--now"]);
    assert!(ran.assert(0).out.contains("it signs now") && ran.err.contains("for up to 5 min verifiers"), "{ran:?}");
    assert!(ran.err.contains(" is still upcoming; if it was stolen too, put its kid "), "{ran:?}");
    assert_eq!(home.states().iter().filter(|state| *state == "signing").count(), 1);
    // Where files travel slowly.
    let ran = home.run(&["keys", "rotate", "--now", "--in", "90s", "--json"]);
    assert!((80..=90).contains(&lead(&ran)), "{ran:?}");
    let ran = home.run(&["keys", "rotate", "--now", "--in", "6m"]);
    assert!(ran.assert(0).out.contains(", in 6 min; copy it") && !ran.err.contains("for up to"), "{ran:?}");
}

/// The job that rotates also begins.
#[test]
fn rotate_in_an_empty_folder() {
    let home = Home::standard();
    fs::remove_dir_all(home.path("keys")).unwrap();
    home.run(&["keys", "rotate", "--in", "2h"]).assert(0);
    assert_eq!(home.states(), ["signing"]);
    home.run(&["keys", "rotate", "--in", "2h"]).assert(0);
    assert_eq!(home.states(), ["signing", "upcoming"]);
}

/// A job that runs in the wrong folder does not seem to work.
#[test]
fn nothing_is_rotated_nowhere() {
    let home = Home::new();
    for command in ["rotate", "prune"] {
        home.run(&["keys", command]).assert_refused(1, &["there is no lingpai.toml here, and no key in keys"]);
    }
    assert!(home.names(".").is_empty());
    home.run(&["keys", "new"]).assert(0);
    assert!(home.run(&["check"]).assert(0).err.contains("these are development defaults"));
}

/// Whatever the number of machines, one key is scheduled, and who lost says so.
#[test]
fn rotations_at_once() {
    for arguments in [&["keys", "rotate"][..], &["keys", "rotate", "--in", "1h"]] {
        let (home, _) = Home::with_keys(&[-DAY]);
        let all: Vec<_> = (0..8).map(|_| home.command(arguments, &[]).spawn().unwrap()).collect();
        let mut wrote = 0;
        for ran in all.into_iter().map(ended) {
            match ran.code {
                Some(0) if ran.out.starts_with("wrote ") => wrote += 1,
                Some(0) => assert!(ran.out.starts_with("nothing to do: "), "{ran:?}"),
                _ => {
                    ran.assert(1);
                    let why = [
                        "is already there; nothing was written",
                        "was just scheduled by another process",
                        "is upcoming and signs from",
                    ];
                    assert!(why.iter().any(|why| ran.err.contains(why)), "{ran:?}");
                }
            }
        }
        assert!(wrote >= 1);
        let names = home.names("keys");
        assert_eq!(names.len(), 1 + wrote, "{names:?}");
        home.run(&["check"]).assert(0);
    }
}

/// The same key twice would be a folder that nothing reads.
#[test]
fn imports_at_once() {
    let (home, _) = Home::with_keys(&[-DAY]);
    copy_key("2026-01-01T00-00-00Z.eddsa.pem", &home.path("key.pem"));
    let at = |days: i64| now().plus(days * DAY).rfc3339();
    let import = |days| home.command(&["keys", "import", "key.pem", "--at", &at(days)], &[]).spawn().unwrap();
    let codes: Vec<_> = (1..=6).map(import).collect::<Vec<_>>().into_iter().map(|child| ended(child).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(home.names("keys").len(), 2);
    home.run(&["check"]).assert(0);
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

/// Killed at any point, a rotation leaves a folder that every command reads, and no half of a key.
#[test]
fn a_rotation_that_is_killed() {
    let (home, _) = Home::with_keys(&[-DAY]);
    for micros in (0..40).map(|step| step * 250) {
        let limit = format!("{}", f64::from(micros) / 1e6 + 1e-4);
        let killed = Command::new("timeout")
            .args(["-s", "KILL", &limit, env!("CARGO_BIN_EXE_lingpai"), "keys", "rotate"])
            .current_dir(home.path("."))
            .output();
        assert!(killed.is_ok());
        home.run(&["check"]).assert(0);
        assert!(matches!(home.listed().len(), 1 | 2));
        let upcoming: Vec<_> = home.listed().iter().filter(|key| key["state"] == "upcoming").cloned().collect();
        for key in upcoming {
            fs::remove_file(home.path(key["file"].as_str().unwrap())).unwrap();
        }
    }
}

#[test]
fn prune() {
    // Retired for just over, and just under, 24 hours: a token of one day ended that long ago.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3 * DAY - 65, -2 * DAY - 65, -2 * DAY + 60]);
    let left_over = home.write("keys/.lingpai-0123456789abcdef", "");
    let old = Command::new("touch").args(["-d", "2 days ago"]).arg(&left_over).status();
    assert!(old.unwrap().success());
    home.write("keys/.lingpai-fedcba9876543210", "");
    assert_eq!(home.states(), ["retired", "retired", "retired", "signing"]);

    let ran = home.run(&["keys", "prune"]);
    let deleted = [&names[0], &names[1], ".lingpai-0123456789abcdef"].map(|name| format!("deleted keys/{name}\n"));
    assert_eq!(ran.assert(0).out, deleted.concat());
    assert_eq!(home.names("keys"), [&[".lingpai-fedcba9876543210".to_owned()], &names[2..]].concat());
    let ran = home.run(&["keys", "prune"]);
    assert_eq!(ran.assert(0).out, "nothing to delete: no key has been retired for 24 hours\n");
    let json = home.run(&["keys", "prune", "--json"]).assert(0).json();
    assert_eq!(json, json!({"deleted": [], "kept": 2}));
}

/// With a clock that is far ahead every key but the newest looks retired.
#[test]
fn a_clock_far_off_the_newest_key() {
    let (home, names) = Home::with_keys(&[-500 * DAY, -401 * DAY]);
    for command in ["prune", "rotate", "new"] {
        let ran = home.run(&["keys", command]);
        ran.assert_refused(1, &[&names[1], "is 401 days older than", "this machine's clock", "nothing was changed"]);
    }
    home.run(&["check"]).assert_refused(1, &["is 401 days older than"]);
    assert_eq!(home.names("keys"), names);

    let (home, names) = Home::with_keys(&[-DAY, 402 * DAY]);
    home.run(&["check"]).assert_refused(1, &[&names[1], "days after what this machine's clock says"]);
    home.run(&["keys", "prune"]).assert_refused(1, &["set the clock, or rename the key"]);
    // A clock that has been reset.
    let (home, names) = Home::with_keys(&[3 * DAY]);
    home.run(&["check"])
        .assert_refused(2, &["holds no ES256 key that signs now", &names[0], "this machine's clock says"]);
}

#[test]
fn import() {
    let (home, _) = Home::with_keys(&[-DAY]);
    for name in ["2026-01-01T00-00-00Z.rs256.pem", "2026-01-01T00-00-00Z.eddsa.pem"] {
        copy_key(name, &home.path("key.pem"));
        let ran = home.run(&["keys", "import", "key.pem", "--json"]);
        assert!(lead(&ran) > 2 * 300, "{ran:?}");
        let file = home.path(ran.json()["file"].as_str().unwrap());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let pem = fs::read_to_string(&file).unwrap();
        assert_eq!(pem, fs::read_to_string(home.path("key.pem")).unwrap());
        home.run(&["keys", "import", "key.pem"]).assert_refused(1, &["already is this key; nothing was written"]);
        home.run_with_input(&["keys", "import", "-"], pem.as_bytes()).assert(1);
    }
    let algs: Vec<_> = home.listed().iter().map(|key| key["alg"].clone()).collect();
    assert_eq!(algs, ["ES256", "EdDSA", "RS256"]);

    let names = home.names("keys");
    for (name, expected) in [
        ("rsa1024", "expected 2048 to 4096 bits"),
        ("p384", "is not an EC key on P-256"),
        ("x25519", "is of another kind; expected an EC key on P-256, an Ed25519 key or an RSA key"),
        ("public", "holds no private key"),
        ("encrypted", "is encrypted"),
    ] {
        let path = vectors(&format!("keys/wrong/{name}.pem"));
        home.run(&["keys", "import", path.to_str().unwrap()]).assert_refused(2, &[path.to_str().unwrap(), expected]);
    }
    home.run_with_input(&["keys", "import", "-"], b"\xff").assert_refused(2, &["standard input: is not PEM"]);
    home.run(&["keys", "import", "nowhere"]).assert_refused(2, &["nowhere: cannot be read"]);
    assert_eq!(home.names("keys"), names);
}

/// The block of a key file that begins and ends with other words, and holds what `inner` makes of the PKCS#8 structure.
fn rewritten(name: &str, label: &'static str, inner: impl FnOnce(&PrivateKeyInfoRef<'_>) -> Vec<u8>) -> String {
    let pem = fs::read_to_string(vectors("keys").join(name)).unwrap();
    let (_, document) = SecretDocument::from_pem(&pem).unwrap();
    let der = inner(&PrivateKeyInfoRef::try_from(document.as_bytes()).unwrap());
    SecretDocument::try_from(der).unwrap().to_pem(label, LineEnding::LF).unwrap().to_string()
}

/// Whatever the form, what is written is the one PKCS#8 file that OpenSSL writes of the key.
#[test]
fn import_of_other_forms() {
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    const PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let (es256, rs256) = ("2026-01-01T00-00-00Z.es256.pem", "2026-01-01T00-00-00Z.rs256.pem");
    let own = |info: &PrivateKeyInfoRef<'_>| info.private_key.as_bytes().to_vec();
    let with_curve = |has_public: bool| {
        move |info: &PrivateKeyInfoRef<'_>| {
            let mut key = sec1::EcPrivateKey::from_der(info.private_key.as_bytes()).unwrap();
            key.parameters = Some(sec1::EcParameters::NamedCurve(P256));
            key.public_key = key.public_key.filter(|_| has_public);
            key.to_der().unwrap()
        }
    };
    // As the JDK writes it.
    let without_public = |info: &PrivateKeyInfoRef<'_>| {
        let mut key = sec1::EcPrivateKey::from_der(info.private_key.as_bytes()).unwrap();
        key.public_key = None;
        let inner = key.to_der().unwrap();
        PrivateKeyInfoRef::new(info.algorithm, OctetStringRef::new(&inner).unwrap()).to_der().unwrap()
    };
    let sec1 = rewritten(es256, "EC PRIVATE KEY", with_curve(true));
    let pkcs1 = rewritten(rs256, "RSA PRIVATE KEY", own);
    for (name, text) in [
        (es256, sec1.clone()),
        (es256, format!("{PARAMETERS}{sec1}")),
        (es256, format!("\u{feff}{PARAMETERS}{}", rewritten(es256, "EC PRIVATE KEY", own))),
        (es256, rewritten(es256, "EC PRIVATE KEY", with_curve(false))),
        (es256, rewritten(es256, "PRIVATE KEY", without_public)),
        (es256, format!("\u{feff}{}", fs::read_to_string(vectors("keys").join(es256)).unwrap()).replace('\n', "\r\n")),
        (rs256, pkcs1.clone()),
        (rs256, format!("\u{feff}{}", pkcs1.replace('\n', "  \r\n"))),
    ] {
        let (home, _) = Home::with_keys(&[-DAY]);
        let ran = home.run_with_input(&["keys", "import", "-", "--json"], text.as_bytes());
        let file = ran.assert(0).json()["file"].as_str().unwrap().to_owned();
        assert_eq!(home.text(&file), fs::read_to_string(vectors("keys").join(name)).unwrap(), "{text}");
        home.run(&["check"]).assert(0);
    }

    // From the commands themselves.
    for arguments in [&["ecparam", "-name", "prime256v1", "-genkey"][..], &["genrsa", "-traditional", "2048"]] {
        let Ok(made) = Command::new("openssl").args(arguments).output() else { continue };
        let (home, _) = Home::with_keys(&[-DAY]);
        let ran = home.run_with_input(&["keys", "import", "-", "--json"], &made.stdout);
        let file = home.path(ran.assert(0).json()["file"].as_str().unwrap());
        let converted = home.write("key.pem", &String::from_utf8(made.stdout).unwrap());
        let openssl = Command::new("openssl").args(["pkcs8", "-topk8", "-nocrypt", "-in"]).arg(converted).output();
        assert_eq!(fs::read(file).unwrap(), openssl.unwrap().stdout, "{arguments:?}");
    }

    let (home, names) = Home::with_keys(&[-DAY]);
    let p384 = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n";
    let damaged = |info: &PrivateKeyInfoRef<'_>| {
        let mut der = with_curve(true)(info);
        let last = der.len() - 1;
        der[last] ^= 1;
        der
    };
    for (text, expected) in [
        // Which curve it is on is not said, or said in two ways.
        (rewritten(es256, "EC PRIVATE KEY", own), "is not an EC key on P-256"),
        (format!("{p384}{sec1}"), "is not an EC key on P-256"),
        (rewritten(es256, "EC PRIVATE KEY", damaged), "is damaged: its public part belongs to another key"),
        (format!("{sec1}{pkcs1}"), "holds more than one private key"),
        (PARAMETERS.to_owned(), "holds no private key"),
        (sec1[..100].to_owned(), "is cut off"),
        (fs::read_to_string(vectors("tls/encrypted-sec1.pem")).unwrap(), "is encrypted"),
        (sec1.replace("EC PRIVATE", "DSA PRIVATE"), "is of another kind"),
        ("\n".repeat(20_000), "standard input: is larger than 16 KiB"),
    ] {
        home.run_with_input(&["keys", "import", "-"], text.as_bytes()).assert_refused(2, &[expected]);
    }
    assert_eq!(home.names("keys"), names);
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

/// A client that wants RS256 in a folder that has no such key yet.
#[test]
fn import_for_a_client() {
    let (home, _) = Home::with_keys(&[-DAY]);
    copy_key("2026-01-01T00-00-00Z.rs256.pem", &home.path("key.pem"));
    home.write("lingpai.toml", &quiet().replace("id = \"billing\"", "id = \"billing\"\nalgorithm = \"RS256\""));
    home.run(&["check"]).assert_refused(2, &["holds no RS256 key that signs now", "lingpai keys import"]);
    home.run(&["keys", "import", "key.pem"]).assert(0);
    home.run(&["check"]).assert(0);
}

/// What would break if one configuration, with its keys, took the place of another.
#[test]
fn check_against_what_is_running() {
    let running = |home: &Home| {
        fs::create_dir(home.path("running")).unwrap();
        fs::copy(home.path("lingpai.toml"), home.path("running/lingpai.toml")).unwrap();
        assert!(
            Command::new("cp").arg("-rp").args([home.path("keys"), home.path("running")]).status().unwrap().success()
        );
    };
    let check = ["check", "--running", "running/lingpai.toml"];
    let breaks = |home: &Home, expected: &[&str]| {
        home.run(&check).assert_refused(1, expected);
        assert_eq!(home.run(&["check", "--json", check[1], check[2]]).json()["breaks"].as_array().unwrap().len(), 1);
    };

    // Nothing is changed; then a key is published in time.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3600, -60]);
    running(&home);
    home.run(&check).assert(0);
    let next = home.key(400);
    home.run(&check).assert(0);
    let tomorrow = KeyName { from: now().plus(250), alg: Alg::Es256 }.to_string();
    fs::rename(home.path("keys").join(next), home.path("keys").join(&tomorrow)).unwrap();
    breaks(&home, &[&tomorrow, "is new and signs in", "until then they refuse its tokens"]);
    fs::remove_file(home.path("keys").join(&tomorrow)).unwrap();

    // A key that is gone before its last token has ended; the other had retired.
    fs::remove_file(home.path("keys").join(&names[0])).unwrap();
    breaks(&home, &[&names[0], "is gone, and tokens that it signed last until"]);
    let (home, names) = Home::with_keys(&[-9 * DAY, -2 * DAY, -60]);
    running(&home);
    fs::remove_file(home.path("keys").join(&names[0])).unwrap();
    home.run(&check).assert(0);
    // The one that signs.
    fs::remove_file(home.path("keys").join(&names[2])).unwrap();
    let said = home.run(&check);
    assert!(said.assert(1).err.contains("would sign again, which verifiers may have forgotten"), "{said:?}");

    // Lifetimes that are lowered below live tokens.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3600]);
    running(&home);
    let lowered = quiet().replace("[token]", "[token]\nrefresh_lifetime = \"2h\"");
    home.write("lingpai.toml", &lowered);
    breaks(
        &home,
        &[&names[0], "the refresh lifetime is lowered while refresh tokens of", "from then on they are refused"],
    );
    // Raised again, a key that had retired is no new one.
    let (home, _) = Home::with_keys(&[-9 * DAY, -3 * DAY]);
    running(&home);
    home.write("lingpai.toml", &quiet().replace("[token]", "[token]\nrefresh_lifetime = \"30d\""));
    home.run(&check).assert(0);

    // Another issuer.
    home.write("lingpai.toml", &quiet().replace("https://tokens", "https://other"));
    breaks(&home, &["the issuer changes from https://tokens.example.com: every token"]);
    home.run(&["check", "--running", "nowhere.toml"]).assert_refused(2, &["nowhere.toml: there is no such file"]);
}
