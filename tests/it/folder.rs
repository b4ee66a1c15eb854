//! The folder of keys: what it may hold, and what each key does when.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crypto_bigint::{BoxedUint, Lcm as _};
use lingpai::clients::Registry;
use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg, Key, KeyName, KeyRing, Modes, Plan, Purpose, State};
use pkcs8::der::asn1::{OctetStringRef, UintRef};
use pkcs8::der::{Decode as _, Encode as _, SecretDocument};
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use tempfile::tempdir;

use crate::app::{ISSUER, SECRET, START, TestApp, copy_key, load, segment, standard, vectors};

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

fn wrong(name: &str) -> Vec<u8> {
    vector(&format!("wrong/{name}.pem"))
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

#[test]
fn what_is_not_one_private_key_is_refused() {
    let two = [vector(ES256), vector(ES256)].concat();
    let with_certificate = [vector(ES256), wrong("certificate")].concat();
    let padded = [vector(ES256), vec![b'\n'; 16 << 10]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (ES256, Vec::new(), "expected one block that begins with -----BEGIN PRIVATE KEY-----"),
        (ES256, b"-----BEGIN PRIVATE KEY-----\n".to_vec(), "is cut off"),
        (
            ES256,
            b"-----BEGIN PRIVATE KEY-----\nMII*\n-----END PRIVATE KEY-----\n".to_vec(),
            "is damaged: the text between",
        ),
        (ES256, b"\xff\xfe".to_vec(), "is not PEM; expected one block that begins with -----BEGIN PRIVATE KEY-----"),
        (ES256, padded, "is larger than 16 KiB"),
        (ES256, two, "expected one block"),
        (ES256, with_certificate, "expected one block"),
        (ES256, wrong("sec1"), "is not PKCS#8; take it in with `lingpai keys import`"),
        (ES256, wrong("ecparam"), "is not PKCS#8; take it in with `lingpai keys import`"),
        (RS256, wrong("pkcs1"), "is not PKCS#8; take it in with `lingpai keys import`"),
        (ES256, wrong("encrypted"), "is encrypted; decrypt it with `openssl pkey"),
        (ES256, fs::read(vectors("tls/encrypted-sec1.pem")).unwrap(), "is encrypted; decrypt it with `openssl pkey"),
        (ES256, wrong("public"), "holds no private key; expected -----BEGIN PRIVATE KEY-----"),
        (ES256, wrong("certificate"), "holds no private key; expected -----BEGIN PRIVATE KEY-----"),
        // A key of another kind than its name says.
        (ES256, vector(EDDSA), "is not an EC key on P-256"),
        (ES256, vector(RS256), "is not an EC key on P-256"),
        (EDDSA, vector(ES256), "is not an Ed25519 key"),
        (RS256, vector(EDDSA), "is not an RSA key"),
        // Right kind, wrong parameters.
        (ES256, wrong("p384"), "is not an EC key on P-256"),
        (ES256, wrong("ec-explicit"), "is not an EC key on P-256"),
        (ES256, wrong("ec-without-public"), "does not hold its public part; `lingpai keys import` adds it"),
        (ES256, wrong("ec-mismatched"), "is not a usable P-256 key"),
        // A zero before the number, which would give another refresh secret; a point without its y.
        (ES256, wrong("ec-long"), "is not a usable P-256 key"),
        (ES256, wrong("ec-compressed"), "is not a usable P-256 key"),
        (EDDSA, wrong("x25519"), "is not an Ed25519 key"),
        (RS256, wrong("rsa1024"), "expected 2048 to 4096 bits"),
        (RS256, wrong("rsa2047"), "expected 2048 to 4096 bits"),
        (RS256, wrong("rsa2560"), "is not a usable RSA key"),
        (RS256, wrong("rsa-exponent-3"), "an exponent of at least 65537"),
        (RS256, wrong("rsa-pss"), "is not an RSA key"),
        (RS256, wrong("rsa-damaged"), "is damaged: its parts do not belong together"),
    ];
    for (name, content, expected) in cases {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        put(&path, &content, 0o600);
        assert_refused(folder.path(), &path, expected);
        let said = keys::load(folder.path()).unwrap_err().to_string();
        let secret = String::from_utf8_lossy(&content).lines().find(|line| line.len() == 64).map(str::to_owned);
        assert!(secret.is_none_or(|secret| !said.contains(&secret)), "the message repeats what is in the file");
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

/// RFC 7468 §3, "laxtextualmsg", with text before it.
#[test]
fn pem_in_any_lax_form_is_the_same_key() {
    for name in [ES256, EDDSA, RS256] {
        let pem = String::from_utf8(vector(name)).unwrap();
        let kid = Key::from_pem(named(name), &pem).unwrap().kid().clone();
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let of_76: Vec<_> = base64.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        for lax in [
            format!("\u{feff}{pem}"),
            format!("Bag Attributes\n    friendlyName: é\n{pem}\n\n"),
            pem.replace('\n', " \t\n"),
            pem.replace('\n', "\n\n"),
            pem.replace('\n', "\r\n"),
            format!("{begin}\n{base64}\n{end}\n"),
            format!("{begin}\n{}\n{end}\n", of_76.join("\n")),
        ] {
            let folder = tempdir().unwrap();
            put(&folder.path().join(name), lax.as_bytes(), 0o600);
            assert_eq!(kids(folder.path()), [kid.as_str()], "{name}");
        }
    }
}

/// The PKCS#8 structure of the RSA key for tests with a private exponent that is larger by `more`.
fn with_exponent(more: impl Fn(&BoxedUint, &BoxedUint) -> BoxedUint) -> String {
    let (_, document) = SecretDocument::from_pem(&String::from_utf8(vector(RS256)).unwrap()).unwrap();
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).unwrap();
    let mut key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).unwrap();
    let number = |part: UintRef<'_>| BoxedUint::from_be_slice_vartime(part.as_bytes());
    let less_one = |prime| number(prime).wrapping_sub(BoxedUint::one());
    let exponent = more(&number(key.private_exponent), &less_one(key.prime1).lcm(&less_one(key.prime2)));
    let exponent = exponent.to_be_bytes_trimmed_vartime();
    key.private_exponent = UintRef::new(&exponent).unwrap();
    let inner = key.to_der().unwrap();
    let info = PrivateKeyInfoRef::new(info.algorithm, OctetStringRef::new(&inner).unwrap());
    SecretDocument::encode_msg(&info).unwrap().to_pem("PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

/// Replicas with equal digests must accept each other's refresh tokens, and a public key has many private exponents.
#[test]
fn an_rsa_key_has_one_refresh_secret() {
    let made = |pem: &str| Key::from_pem(named(RS256), pem);
    let usual = Key::from_pem(named(RS256), vector(RS256)).unwrap();
    assert_eq!(with_exponent(|d, _| d.clone()).as_bytes(), vector(RS256));
    // As programs write it that invert `e` modulo (p - 1)(q - 1).
    let larger = made(&with_exponent(|d, lcm| d.wrapping_add(lcm))).unwrap();
    assert_eq!(larger.kid(), usual.kid());
    let refresh = usual.sign(Purpose::Refresh, b"message").unwrap();
    assert_eq!(larger.sign(Purpose::Refresh, b"message").unwrap(), refresh);
    assert!(larger.verifies(Purpose::Refresh, b"message", &refresh));
    for more in [2_u64, 65_536] {
        let said = made(&with_exponent(|d, _| d.wrapping_add(BoxedUint::from(more)))).unwrap_err();
        assert!(said.to_string().contains("is damaged: its parts do not belong together"), "{said}");
    }
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

#[test]
fn keys_of_openssl_load_and_sign() {
    let made = [
        (ES256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..]),
        (EDDSA, &["-algorithm", "ed25519"]),
        (RS256, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ];
    for (name, arguments) in made {
        let pem = openssl(&[&["genpkey"], arguments].concat()).unwrap_or_else(|| vector(name));
        let pem = String::from_utf8(pem).unwrap();
        // As an editor or a copy may leave it.
        for pem in [pem.clone(), pem.replace('\n', "\r\n"), pem.trim_end().to_owned()] {
            let key = Key::from_pem(named(name), &pem).unwrap();
            for purpose in [Purpose::Access, Purpose::Refresh] {
                let signature = key.sign(purpose, b"message").unwrap();
                assert!(key.verifies(purpose, b"message", signature.as_ref()), "{name}");
                assert!(!key.verifies(purpose, b"another", signature.as_ref()), "{name}");
            }
        }
    }
}

/// RFC 7638, computed from the same files with Python and openssl.
#[test]
fn a_kid_is_the_thumbprint() {
    for (name, thumbprint) in [
        (ES256, "LKfpbNSxgO_OmT1NrDSB7ZzkA3Iw_kW9IwaTB0XO6EA"),
        (EDDSA, "-KTMdgfRtepv0SaQ4NVo-j7t3BBIsIZLul35QU5o3T8"),
        (RS256, "sH9_GeK_CC9WdNtpdHiPh-0e4DJGJ-1yvBBGAhMRurw"),
    ] {
        let key = Key::from_pem(named(name), vector(name)).unwrap();
        assert_eq!(key.kid().as_str(), thumbprint, "{name}");
        let jwk: serde_json::Value = serde_json::from_str(key.jwk()).unwrap();
        assert_eq!(jwk["kid"], thumbprint);
        assert_eq!((&jwk["alg"], &jwk["use"]), (&key.name().alg.name().into(), &"sig".into()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(jwk.get(private).is_none(), "{private} is published");
        }
    }
}

#[test]
fn without_a_key_that_signs_now_there_is_no_ring() {
    let now = Timestamp::from_unix(START);
    let refused = |folder: &Path, algorithm| {
        let plan = Plan { algorithms: [algorithm].into(), ..Plan::default() };
        KeyRing::new(keys::load(folder).unwrap(), plan, folder, now).unwrap_err().to_string()
    };
    let folder = tempdir().unwrap();
    let absent = folder.path().join("absent");
    let expected = |folder: &Path, alg: &str| {
        format!("{}: holds no {alg} key that signs now; make one with `lingpai keys new --alg {alg}`", folder.display())
    };
    let said = refused(&absent, Alg::Es256);
    assert!(said.contains("the folder does not exist; put it back, or make one with `lingpai keys new"), "{said}");
    assert_eq!(refused(folder.path(), Alg::Es256), expected(folder.path(), "ES256"));
    copy_key(ES256, &folder.path().join(ES256));
    assert_eq!(refused(folder.path(), Alg::EdDsa), expected(folder.path(), "EdDSA"));
    // One second too early.
    let folder = tempdir().unwrap();
    keys::generate(folder.path(), Alg::Es256, now.plus(1)).unwrap();
    let said = refused(folder.path(), Alg::Es256);
    assert!(said.contains("the first is 2026-06-01T12-00-01Z.es256.pem"), "{said}");
    assert!(said.contains("this machine's clock says 2026-06-01T12:00:00Z"), "{said}");
}

/// Two keys of one algorithm, the second `0` seconds after its own instant.
#[test]
fn what_each_key_does_at_each_second() {
    use State::{Retired, Retiring, Signing, Upcoming};
    let (first, second) = (Timestamp::from_unix(START), Timestamp::from_unix(START + 1_000));
    let folder = tempdir().unwrap();
    let old = keys::generate(folder.path(), Alg::Es256, first).unwrap();
    let new = keys::generate(folder.path(), Alg::Es256, second).unwrap();
    let plan = Plan { access_window: 100, refresh_window: 300, ..Plan::default() };
    let ring = KeyRing::lenient(keys::load(folder.path()).unwrap(), plan.clone());
    // seconds, states, who signs, whether the old key verifies access and refresh tokens
    let table = [
        (-1_001, [Upcoming, Upcoming], None, true, true),
        (-1_000, [Signing, Upcoming], Some(&old), true, true),
        (-1, [Signing, Upcoming], Some(&old), true, true),
        (0, [Retiring, Signing], Some(&new), true, true),
        (99, [Retiring, Signing], Some(&new), true, true),
        (100, [Retiring, Signing], Some(&new), false, true),
        (299, [Retiring, Signing], Some(&new), false, true),
        (300, [Retired, Signing], Some(&new), false, false),
        (1_000_000, [Retired, Signing], Some(&new), false, false),
    ];
    // Backwards too: a clock may be set back, and nothing may be remembered wrongly.
    for (after, states, signer, access, refresh) in table.iter().chain(table.iter().rev()) {
        let now = second.plus(*after);
        let found: Vec<_> = ring.schedule(now).iter().map(|one| one.state).collect();
        assert_eq!(found, states, "{after}");
        assert_eq!(ring.signer(Alg::Es256, now).map(Key::kid), signer.map(Key::kid), "{after}");
        let accepts = |key: &Key, purpose| ring.find(key.header(purpose)).unwrap().accepts(now);
        assert_eq!(accepts(&old, Purpose::Access), *access, "{after}");
        assert_eq!(accepts(&old, Purpose::Refresh), *refresh, "{after}");
        assert!(accepts(&new, Purpose::Access) && accepts(&new, Purpose::Refresh), "{after}");
        // Published is what verifies access tokens.
        let published = if *access { vec![old.jwk(), new.jwk()] } else { vec![new.jwk()] };
        assert_eq!(ring.jwks(now).document().body(), &format!("{{\"keys\":[{}]}}", published.join(",")), "{after}");
        // Every replica has the same tag, however long it has been running.
        let other = KeyRing::lenient(keys::load(folder.path()).unwrap(), plan.clone());
        assert_eq!(ring.jwks(now).document().etag(), other.jwks(now).document().etag());
    }
}

#[test]
fn the_windows_are_of_the_longest_lifetime() {
    let client = |lifetimes: &str| {
        let digest = lingpai::clients::SecretDigest::of(b"x").written();
        format!("[[clients]]\nid = \"{}\"\nsecrets = [\"{digest}\"]\n{lifetimes}\n", lifetimes.len())
    };
    let longer = client("access_lifetime = \"1h\"\nrefresh_lifetime = \"2d\"");
    let shorter = client("access_lifetime = \"1m\"\nrefresh_lifetime = \"1h\"\n");
    let leeway = "[token]\nleeway = \"60s\"\n";
    for (tables, access, refresh) in [
        (String::new(), 600 + 5, 86_400 + 5),
        (shorter.clone(), 600 + 5, 86_400 + 5),
        (longer.clone() + &shorter, 3_600 + 5, 2 * 86_400 + 5),
        (leeway.to_owned() + &shorter + &longer, 3_600 + 60, 2 * 86_400 + 60),
    ] {
        let folder = tempdir().unwrap();
        let config = load(folder.path(), &format!("issuer = \"{ISSUER}\"\n{tables}")).unwrap();
        let plan = lingpai::app::plan(&config, &Registry::compile(&config).unwrap()).unwrap();
        assert_eq!((plan.access_window, plan.refresh_window), (access, refresh), "{tables}");
    }
}

/// The kid in a token's header.
fn kid_of(token: &str) -> String {
    segment(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn published(app: &TestApp) -> (Vec<String>, String) {
    let answer = app.send("GET", "/.well-known/jwks.json", &[], "");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    let kids = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    (kids, answer.header("etag").unwrap().to_owned())
}

#[test]
fn a_switch_under_load() {
    let app = TestApp::start();
    let old = kids(&app.folder.path().join("keys"));
    let new = keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(START + 1_000)).unwrap();
    let both = [old.clone(), vec![new.kid().to_string()]].concat();
    app.reconfigure(&standard());

    let last = app.at(999).create("");
    let (last, last_refresh) = (last.text("value"), last.text("refresh"));
    assert_eq!((kid_of(&last), kid_of(&last_refresh)), (old[0].clone(), old[0].clone()));
    let first = app.at(1_000).create("").text("value");
    assert_eq!(kid_of(&first), both[1]);
    // A replica whose clock is behind.
    assert_eq!(app.at(999).inspect(&first, "").status, 200);
    assert_eq!(app.at(995).inspect(&first, "").status, 200);
    app.at(994).inspect(&first, "").assert_invalid_token(Some("the token is not yet valid"));
    // To its very last second.
    assert_eq!(app.at(999 + 604).inspect(&last, "").status, 200);
    app.at(999 + 605).inspect(&last, "").assert_invalid_token(Some("the token has expired"));

    let (kids, tag) = published(app.at(0));
    assert_eq!(kids, both);
    assert_eq!(published(app.at(1_604)), (both.clone(), tag.clone()));
    let (kids, later) = published(app.at(1_605));
    assert_eq!(kids, both[1..]);
    assert_ne!(tag, later);
    assert_eq!(published(app.at(1_604)), (both.clone(), tag));

    let renewed = app.at(999 + 86_404).refresh(&last_refresh, "");
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(kid_of(&renewed.text("refresh")), both[1]);
    app.at(999 + 86_405).refresh(&last_refresh, "").assert_invalid_token(Some("the token has expired"));
    // The key's own end comes before anything in the token is read.
    app.at(1_000 + 86_405).refresh(&last_refresh, "").assert_invalid_token(None);
}

#[test]
fn keys_of_several_algorithms_live_together() {
    let app = TestApp::with(&standard(), &[ES256, EDDSA, RS256]);
    let mut tokens = Vec::new();
    for alg in ["ES256", "EdDSA", "RS256"] {
        app.reconfigure(&standard().replace("[token]", &format!("[token]\nalgorithm = \"{alg}\"")));
        let answer = app.create("");
        assert_eq!(segment(&answer.text("value"), 0)["alg"], alg);
        assert_eq!(segment(&answer.text("refresh"), 0)["alg"], "HS256");
        tokens.push((answer.text("value"), answer.text("refresh")));
        for (access, refresh) in &tokens {
            assert_eq!(app.inspect(access, "").status, 200, "{alg}");
            assert_eq!(app.refresh(refresh, "").status, 200, "{alg}");
        }
    }
    assert_eq!(published(&app).0.len(), 3);
}

/// A relying party that knows only RS256 is served beside others.
#[test]
fn a_client_has_an_algorithm_of_its_own() {
    let own = standard().replace("id = \"billing\"", "id = \"billing\"\nalgorithm = \"RS256\"");
    let app = TestApp::with(&own, &[ES256, RS256]);
    let alg = |answer: &crate::app::Answer| segment(&answer.text("value"), 0)["alg"].clone();
    let billing = app.create_as("billing", SECRET, "");
    assert_eq!((alg(&app.create("")), alg(&billing)), ("ES256".into(), "RS256".into()));
    assert_eq!(app.inspect(&billing.text("value"), "").status, 200);
    // A refresh looks at the client again.
    assert_eq!(alg(&app.refresh(&billing.text("refresh"), "")), "RS256");
    app.reconfigure(&standard());
    assert_eq!(alg(&app.refresh(&billing.text("refresh"), "")), "ES256");
    assert_eq!(app.inspect(&billing.text("value"), "").status, 200);

    // Without a key of every algorithm in use nothing starts.
    fs::remove_file(app.folder.path().join("keys").join(RS256)).unwrap();
    let config = load(app.folder.path(), &own).unwrap();
    let said = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(said.contains("holds no RS256 key") && said.contains("`lingpai keys import FILE`"), "{said}");
    let wrong = load(app.folder.path(), &own.replace("RS256", "none")).unwrap();
    let said = lingpai::app::snapshot(&wrong, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(said.contains("lingpai.toml:16:13: expected an algorithm"), "{said}");
}

/// "sorted by instant, then by `alg` as bytes"
#[test]
fn the_order_of_the_published_keys() {
    let app = TestApp::with(&standard(), &[RS256, EDDSA, ES256]);
    keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(START + 9)).unwrap();
    keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(1)).unwrap();
    // So late that the first of them, which was replaced on 2026-01-01, is gone.
    app.reconfigure(&standard());
    let answer = app.send("GET", "/.well-known/jwks.json", &[], "").json();
    let algs: Vec<_> = answer["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(algs, ["ES256", "EdDSA", "RS256", "ES256"]);
}

#[test]
fn a_revoked_key_counts_as_absent() {
    let app = TestApp::start();
    let folder = app.folder.path().join("keys");
    let old = kids(&folder).remove(0);
    let new = keys::generate(&folder, Alg::Es256, Timestamp::from_unix(START - 100)).unwrap().kid().to_string();
    keys::generate(&folder, Alg::Es256, Timestamp::from_unix(START + 100)).unwrap();
    let revoking = |kids: &[&str]| format!("{}\n[keys]\nrevoked = {kids:?}\n", standard());

    app.reconfigure(&standard());
    let stolen = app.create("");
    assert_eq!(kid_of(&stolen.text("value")), new);
    app.reconfigure(&revoking(&[&new]));
    app.inspect(&stolen.text("value"), "").assert_invalid_token(None);
    app.refresh(&stolen.text("refresh"), "").assert_invalid_token(None);
    assert!(!published(&app).0.contains(&new));
    // The older key was retiring; now it signs again, and is published for as long.
    let answer = app.create("");
    assert_eq!(kid_of(&answer.text("value")), old);
    assert!(published(app.at(99)).0.contains(&old));
    assert_eq!(app.at(99).inspect(&answer.text("value"), "").status, 200);

    let config = load(app.folder.path(), &revoking(&[&new])).unwrap();
    let snapshot = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap();
    let states: Vec<_> = snapshot.keys.schedule(Timestamp::from_unix(START)).iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Signing, State::Revoked, State::Upcoming]);

    // An upcoming key is left, but nothing that signs now.
    let config = load(app.folder.path(), &revoking(&[&new, &old])).unwrap();
    let said = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(
        said.contains("`revoked` lists every ES256 key") && said.contains("`lingpai keys new --alg ES256` first"),
        "{said}"
    );
    assert!(lingpai::app::snapshot(&config, Timestamp::from_unix(START + 100)).is_ok());
}

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
