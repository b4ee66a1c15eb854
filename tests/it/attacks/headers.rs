//! Headers, and tokens of another key or kind.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, Purpose};

use super::{BOTH, accepted, quoted, refused, service};
use crate::app::{ISSUER, START, TestApp, standard};
use crate::forge::{Forge, claims, mac};

/// Headers that are not, byte for byte, `{"alg":…,"kid":…,"typ":…}` of this key.
fn wrong_headers([alg, kid, typ]: [&str; 3], forge: &Forge, other_kid: &str) -> Vec<String> {
    let object = |alg: &str, kid: &str, typ: &str| format!(r#"{{"alg":{alg},"kid":{kid},"typ":{typ}}}"#);
    let (a, k, t) = (quoted(alg), quoted(kid), quoted(typ));
    let right = object(&a, &k, &t);
    let algs = [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "ES256", "ES256K", "ES384", "ES512", "EdDSA",
        "Ed25519", "RS256", "RS384", "RS512", "PS256", "es256", "eddsa", "rs256", "hs256", "dir", "RSA-OAEP",
    ];
    let kids = ["", other_kid, "../../dev/null", "/dev/null", "https://evil.example/k", "' OR 1=1", &kid[..42]];
    let typs = ["", "JWT", "jwt", "AT+JWT", "at+JWT", "application/at+jwt", "at+jwt", "rt+jwt", "JOSE", "dpop+jwt"];
    let others = ["null", "1", "true", "[]", "{}"];
    let alike =
        |text: &str| [format!("[{text}]"), text.to_lowercase(), text.to_uppercase(), text.replacen('"', "\" ", 1)];

    let mut all = Vec::new();
    all.extend(algs.map(|alg| object(&quoted(alg), &k, &t)));
    all.extend(kids.map(|kid| object(&a, &quoted(kid), &t)));
    all.extend(typs.map(|typ| object(&a, &k, &quoted(typ))));
    all.extend(others.map(|alg| object(alg, &k, &t)));
    all.extend(others.map(|kid| object(&a, kid, &t)));
    all.extend(others.map(|typ| object(&a, &k, typ)));
    all.extend(alike(&a).map(|alg| object(&alg, &k, &t)));
    all.extend(alike(&k).map(|kid| object(&a, &kid, &t)));
    all.extend(alike(&t).map(|typ| object(&a, &k, &typ)));
    // One missing, and everything missing.
    all.extend([format!(r#"{{"kid":{k},"typ":{t}}}"#), format!(r#"{{"alg":{a},"typ":{t}}}"#)]);
    all.extend([format!(r#"{{"alg":{a},"kid":{k}}}"#), format!(r#"{{"alg":{a}}}"#)]);
    all.extend(["{}", "[]", "null", "1", "\"\"", "", " ", "{", "\0"].map(str::to_owned));
    // Members that ask the verifier for something, or that are twice.
    let members = [
        r#""crit":[]"#.to_owned(),
        r#""crit":["exp"]"#.into(),
        r#""crit":["b64"],"b64":false"#.into(),
        r#""crit":["b64"],"b64":true"#.into(),
        r#""b64":false"#.into(),
        r#""b64":true"#.into(),
        format!(r#""jwk":{}"#, forge.jwk),
        r#""jku":"https://evil.example/jwks""#.into(),
        r#""x5u":"https://evil.example/x5c""#.into(),
        r#""x5c":["AAAA"]"#.into(),
        r#""x5t":"AAAA""#.into(),
        r#""x5t#S256":"AAAA""#.into(),
        r#""zip":"DEF""#.into(),
        r#""cty":"JWT""#.into(),
        r#""enc":"A256GCM""#.into(),
        r#""p2c":4294967295"#.into(),
        format!(r#""iss":"{ISSUER}""#),
        r#""":0"#.into(),
        format!(r#""alg":{a}"#),
        r#""alg":"none""#.into(),
        r#""\u0061lg":"none""#.into(),
        r#""Alg":"none""#.into(),
        format!(r#""kid":{k}"#),
        format!(r#""typ":{t}"#),
    ];
    for member in members {
        all.push(format!(r#"{{{member},"alg":{a},"kid":{k},"typ":{t}}}"#));
        all.push(format!(r#"{{"alg":{a},"kid":{k},"typ":{t},{member}}}"#));
    }
    // The same object in another spelling.
    all.extend([
        format!(r#"{{"alg":{a},"typ":{t},"kid":{k}}}"#),
        format!(r#"{{"kid":{k},"alg":{a},"typ":{t}}}"#),
        format!(r#"{{"typ":{t},"alg":{a},"kid":{k}}}"#),
        format!(r#"{{"typ":{t},"kid":{k},"alg":{a}}}"#),
        right.replacen(':', ": ", 1),
        right.replacen(',', ", ", 1),
        right.replacen('{', "{ ", 1),
        right.replacen('}', " }", 1),
        right.replacen('}', ",}", 1),
        format!(" {right}"),
        format!("{right} "),
        format!("{right}\n"),
        format!("{right}\0"),
        format!("{right}{right}"),
        format!("\u{feff}{right}"),
        format!("[{right}]"),
        right.replacen("alg", r"\u0061lg", 1),
        right.replacen("kid", r"k\u0069d", 1),
        right.replacen("typ", r"ty\u0070", 1),
        right.replacen(typ, &typ.replace('+', r"\u002b"), 1),
        right.replacen(alg, &alg.replace('S', r"\u0053"), 1),
        right.replace('"', "'"),
    ]);
    let mut escaped = right.clone();
    escaped
        .replace_range(right.find(kid).unwrap()..=right.find(kid).unwrap(), &format!("\\u{:04x}", kid.as_bytes()[0]));
    all.push(escaped);
    all.retain(|header| *header != right);
    all
}

#[test]
fn a_header_that_this_key_would_not_write_is_refused() {
    let app = service();
    let forges = Forge::all();
    for (at, forge) in forges.iter().enumerate() {
        let other = &forges[(at + 1) % 3];
        for purpose in BOTH {
            let payload = claims(purpose).to_string();
            accepted(&app, purpose, "control", &forge.token(purpose, &forge.header(purpose), &payload));
            for header in wrong_headers(forge.names(purpose), forge, &other.kid) {
                refused(&app, purpose, &header, &forge.token(purpose, &header, &payload), None);
            }
        }
    }
}

/// HS256 with a "secret" that everybody can read, the oldest confusion of all.
#[test]
fn public_bytes_are_no_secret() {
    let app = service();
    let jwks = app.send("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(jwks.status, 200);
    for forge in Forge::all() {
        assert!(jwks.body.contains(&forge.kid), "the thumbprint of the tests is that of the service");
        let spki = spki_of(&forge);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD_NO_PAD.encode(&spki));
        let known: [(&str, &[u8]); 8] = [
            ("empty", b""),
            ("zeros", &[0; 32]),
            ("point or PKCS#1", &forge.public),
            ("SPKI", &spki),
            ("PEM", pem.as_bytes()),
            ("JWK", forge.jwk.as_bytes()),
            ("JWKS", jwks.body.as_bytes()),
            ("kid", forge.kid.as_bytes()),
        ];
        for purpose in BOTH {
            let payload = URL_SAFE_NO_PAD.encode(claims(purpose).to_string());
            for header in [forge.header(purpose), forge.header(purpose).replace(forge.alg, "HS256")] {
                for (what, secret) in known {
                    let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(&header));
                    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac(secret, message.as_bytes())));
                    refused(&app, purpose, &format!("{what}: {header}"), &token, None);
                }
            }
        }
    }
}

/// The public key with its algorithm (RFC 5280 §4.1), enough of it for a secret.
fn spki_of(forge: &Forge) -> Vec<u8> {
    let info = pkcs8::PrivateKeyInfoRef::try_from(forge.pkcs8.as_slice()).unwrap();
    let bits = pkcs8::der::asn1::BitStringRef::from_bytes(&forge.public).unwrap();
    let spki = pkcs8::SubjectPublicKeyInfo { algorithm: info.algorithm, subject_public_key: bits };
    pkcs8::der::Encode::to_der(&spki).unwrap()
}

#[test]
fn a_key_signs_only_under_its_own_kid() {
    let app = service();
    let folder = app.folder.path().join("keys");
    lingpai::keys::generate(&folder, Alg::Es256, Timestamp::from_unix(START - 60)).unwrap();
    app.reconfigure(&standard());
    let newer = folder.join("2026-06-01T11-59-00Z.es256.pem");
    let forges: Vec<_> = Forge::all().into_iter().chain([Forge::load(&newer)]).collect();
    for purpose in BOTH {
        let payload = claims(purpose).to_string();
        for (i, named) in forges.iter().enumerate() {
            for (j, signs) in forges.iter().enumerate() {
                let title = format!("{} signs, {} is named", signs.kid, named.kid);
                let token = signs.token(purpose, &named.header(purpose), &payload);
                if i == j {
                    accepted(&app, purpose, &title, &token);
                } else {
                    refused(&app, purpose, &title, &token, None);
                }
            }
        }
    }
    // A key that the folder does not hold says nothing under its own name.
    let stranger = TestApp::start();
    for forge in &forges[1..] {
        for purpose in BOTH {
            refused(&stranger, purpose, "a key from elsewhere", &forge.right(purpose), None);
        }
    }
}

/// Both kinds with either signature, at the wrong door and under the wrong header.
#[test]
fn the_kinds_do_not_mix() {
    let app = service();
    for forge in Forge::all() {
        for (here, there) in [(Purpose::Access, Purpose::Refresh), (Purpose::Refresh, Purpose::Access)] {
            refused(&app, here, "the other kind", &forge.right(there), None);
            let old = claims(there).with("iat", START - 100).with("exp", START - 50).with("session_start", 1);
            refused(&app, here, "the other kind, expired", &forge.sign_payload(there, old.to_string()), None);
            let payload = claims(here).to_string();
            refused(&app, here, "the other's header", &forge.token(there, &forge.header(there), &payload), None);
            refused(&app, here, "the other's signature", &forge.token(there, &forge.header(here), &payload), None);
        }
        // Not the reverse: an access token may say more than this release knows.
        let payload = claims(Purpose::Access).to_string();
        let token = forge.sign_payload(Purpose::Refresh, payload);
        refused(&app, Purpose::Refresh, "the other's claims", &token, None);
    }
}
