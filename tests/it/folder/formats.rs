//! PEM, PKCS #8, and the keys in them.

use std::fs;

use crypto_bigint::{BoxedUint, Lcm as _};
use lingpai::keys::{self, Key, Purpose};
use pkcs8::der::asn1::{OctetStringRef, UintRef};
use pkcs8::der::{Decode as _, Encode as _, SecretDocument};
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use tempfile::tempdir;

use super::{EDDSA, ES256, RS256, assert_refused, kids, named, openssl, put, vector};
use crate::app::vectors;

fn wrong(name: &str) -> Vec<u8> {
    vector(&format!("wrong/{name}.pem"))
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
