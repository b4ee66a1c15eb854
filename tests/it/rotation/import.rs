//! `keys import`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _, SecretDocument};
use pkcs8::{LineEnding, ObjectIdentifier, PrivateKeyInfoRef};

use super::{DAY, lead, now};
use crate::app::{copy_key, quiet, vectors};
use crate::home::{Home, ended};

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
