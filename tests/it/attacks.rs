//! Tokens that must not be accepted. All are signed with the real key, where
//! the attack is not the signature itself, so that only the rule under test can
//! refuse them; each table begins with a token that is accepted.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, Purpose};
use lingpai::token::{AccessClaims, Compact, verify};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA512, RSA_PSS_SHA256};

use crate::app::{Answer, ISSUER, START, TestApp, segment, standard};
use crate::forge::{DAY, Forge, KEYS, Raw, at, claims, mac, ring as key_ring};

const BOTH: [Purpose; 2] = [Purpose::Access, Purpose::Refresh];
const EXPIRED: Option<&str> = Some("the token has expired");
const NOT_YET: Option<&str> = Some("the token is not yet valid");

/// A service that holds every committed key.
fn service() -> TestApp {
    // Ids at their limits, whose tokens must be accepted.
    let more = ["x".repeat(64), "a.b_c~d-9".to_owned()].map(|id| {
        let digest = lingpai::clients::SecretDigest::of(id.as_bytes()).written();
        format!("[[clients]]\nid = \"{id}\"\nsecrets = [\"{digest}\"]\n")
    });
    TestApp::with(&(standard() + &more.concat()), &KEYS)
}

/// Presents a token where its kind belongs.
fn present(app: &TestApp, purpose: Purpose, token: &str) -> Answer {
    match purpose {
        Purpose::Access => app.inspect(token, ""),
        Purpose::Refresh => app.refresh(token, ""),
        Purpose::Revocations => unreachable!("nobody presents a list"),
    }
}

/// The title is printed first: in a failed test's output the last one is it.
#[track_caller]
fn accepted(app: &TestApp, purpose: Purpose, title: &str, token: &str) -> Answer {
    eprintln!("accepted, {purpose:?}: {title}");
    let answer = present(app, purpose, token);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[track_caller]
fn refused(app: &TestApp, purpose: Purpose, title: &str, token: &str, description: Option<&str>) {
    eprintln!("refused, {purpose:?}: {title}");
    present(app, purpose, token).assert_invalid_token(description);
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn cut(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_right_token_of_every_key_is_accepted() {
    let app = service();
    for forge in Forge::all() {
        let told = accepted(&app, Purpose::Access, forge.alg, &forge.right(Purpose::Access));
        assert_eq!(told.text("subject"), "user:7");
        let pair = accepted(&app, Purpose::Refresh, forge.alg, &forge.right(Purpose::Refresh));
        accepted(&app, Purpose::Access, "as issued", &pair.text("value"));
        accepted(&app, Purpose::Refresh, "as issued", &pair.text("refresh"));
    }
}

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

/// Every way to write the same bytes that base64url (RFC 7515 §2) does not allow.
fn spellings(segment: &str) -> Vec<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = match segment.len() % 4 {
        2 => 16,
        3 => 4,
        _ => 1,
    };
    let value = ALPHABET.find(segment.chars().last().unwrap()).unwrap();
    let stem = &segment[..segment.len() - 1];
    let mut all: Vec<_> = (value + 1..value + unused).map(|v| format!("{stem}{}", &ALPHABET[v..=v])).collect();
    let padding = "=".repeat((4 - segment.len() % 4) % 4);
    all.extend([format!("{segment}="), format!("{segment}{padding}"), format!("={segment}"), format!("{segment}A")]);
    all.extend([segment.replace('-', "+"), segment.replace('_', "/"), segment.replace('-', "+").replace('_', "/")]);
    all.extend([" ", "\t", "%", "+", "~", "é"].map(|junk| format!("{stem}{junk}{}", &segment[stem.len()..])));
    all.retain(|other| other != segment);
    all
}

#[test]
fn only_canonical_base64url() {
    let app = service();
    for forge in Forge::all() {
        for purpose in BOTH {
            // One, two and no characters over; `>` and `?` become `-` and `_`.
            for filler in ["?>?>?>", "?>?>?>?", "?>?>?>??"] {
                let payload = claims(purpose).with("jti", quoted(filler)).to_string();
                let right = forge.sign_payload(purpose, &payload);
                let [header, payload, signature] = cut(&right);
                assert!(payload.contains('-') || payload.contains('_'), "there is something to respell");
                accepted(&app, purpose, filler, &right);
                for wrong in spellings(header) {
                    refused(&app, purpose, &wrong, &forge.seal(purpose, &wrong, payload), None);
                }
                for wrong in spellings(payload) {
                    refused(&app, purpose, &wrong, &forge.seal(purpose, header, &wrong), None);
                }
                for wrong in spellings(signature) {
                    refused(&app, purpose, &wrong, &format!("{header}.{payload}.{wrong}"), None);
                }
            }
        }
    }
}

/// Line ends cannot be sent in a header, but a caller of the library can have them.
#[test]
fn no_whitespace_within_or_around() {
    let (ring, forge) = (key_ring(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let judge = |token: &str| Compact::parse(token).and_then(|t| verify::<AccessClaims>(t, &ring, at(START)).ok());
    assert!(judge(&right).is_some());
    let [header, payload, _] = cut(&right);
    for junk in ["\n", "\r\n", "\r", "\0", " ", "\t", "\u{feff}"] {
        for place in [0, 4, header.len(), header.len() + 1, header.len() + 1 + payload.len(), right.len()] {
            let mut wrong = right.clone();
            wrong.insert_str(place, junk);
            assert!(judge(&wrong).is_none(), "{junk:?} at {place}");
        }
        let (header, payload) = (format!("{header}{junk}"), format!("{payload}{junk}"));
        assert!(judge(&forge.seal(Purpose::Access, &header, cut(&right)[1])).is_none(), "{junk:?} signed");
        assert!(judge(&forge.seal(Purpose::Access, cut(&right)[0], &payload)).is_none(), "{junk:?} signed");
    }
}

/// The order of P-256, and that of Ed25519's base point, big-endian.
const P256_ORDER: [u8; 32] = [
    255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 188, 230, 250, 173, 167, 23, 158, 132, 243,
    185, 202, 194, 252, 99, 37, 81,
];
const ED25519_ORDER: [u8; 32] = [
    16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 222, 249, 222, 162, 247, 156, 214, 88, 18, 99, 26, 92, 245,
    211, 237,
];

/// `a + sign·b` for big-endian numbers of one length.
fn combine(a: &[u8], sign: i32, b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut digits: Vec<u8> = Vec::new();
    for (a, b) in a.iter().rev().zip(b.iter().rev()) {
        let sum = i32::from(*a) + sign * i32::from(*b) + carry;
        digits.push(u8::try_from(sum.rem_euclid(256)).unwrap());
        carry = sum.div_euclid(256);
    }
    digits.reverse();
    digits
}

fn backwards(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// What is not the one form of a signature of this algorithm over `message`.
fn wrong_signatures(forge: &Forge, purpose: Purpose, message: &str) -> Vec<(&'static str, Vec<u8>)> {
    let right = forge.sign(purpose, message);
    let half = right.len() / 2;
    let mut changed = right.clone();
    changed[0] ^= 1;
    let mut all = vec![
        ("empty", vec![]),
        ("one byte", vec![0]),
        ("zeros", vec![0; right.len()]),
        ("ones", vec![255; right.len()]),
        ("without its last byte", right[..right.len() - 1].to_vec()),
        ("without its first byte", right[1..].to_vec()),
        ("its first half", right[..half].to_vec()),
        ("its second half", right[half..].to_vec()),
        ("its halves exchanged", [&right[half..], &right[..half]].concat()),
        ("with a zero before", [&[0], right.as_slice()].concat()),
        ("with a zero after", [right.as_slice(), &[0]].concat()),
        ("twice", [right.as_slice(), &right].concat()),
        ("of 512 bytes", vec![1; 512]),
        ("of 513 bytes", vec![1; 513]),
        ("of 4000 bytes", vec![1; 4000]),
        ("one bit off", changed),
        ("of other bytes", forge.sign(purpose, &message[1..])),
    ];
    match (purpose, forge.alg) {
        (Purpose::Refresh, _) => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA512, &forge.refresh_secret);
            all.push(("HMAC with SHA-512", ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()));
        }
        (_, "ES256") => {
            let random = ring::rand::SystemRandom::new();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &forge.pkcs8, &random).unwrap();
            let (r, s) = (&right[..32], &right[32..]);
            all.extend([
                ("DER", pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()),
                ("r = 0", [&[0; 32], s].concat()),
                ("s = 0", [r, &[0; 32]].concat()),
                ("r = n", [&P256_ORDER, s].concat()),
                ("s = n", [r, &P256_ORDER].concat()),
                ("r = s = n", [P256_ORDER, P256_ORDER].concat()),
                ("r and s with a zero before each", [&[0], r, &[0], s].concat()),
            ]);
        }
        (_, "EdDSA") => {
            // s + L fits in 32 bytes; RFC 8032 §5.1.7 wants s < L.
            let s = combine(&backwards(&right[32..]), 1, &ED25519_ORDER);
            all.push(("s + L", [&right[..32], &backwards(&s)].concat()));
        }
        _ => all.extend([
            ("PSS", forge.sign_rsa(&RSA_PSS_SHA256, message)),
            ("with SHA-512", forge.sign_rsa(&RSA_PKCS1_SHA512, message)),
        ]),
    }
    all
}

#[test]
fn other_forms_of_a_signature_are_refused() {
    let app = service();
    for forge in Forge::all() {
        for purpose in BOTH {
            let right = forge.right(purpose);
            accepted(&app, purpose, forge.alg, &right);
            let (message, _) = right.rsplit_once('.').unwrap();
            for (title, signature) in wrong_signatures(&forge, purpose, message) {
                let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
                refused(&app, purpose, &format!("{} {title}", forge.alg), &token, None);
            }
        }
    }
}

/// ECDSA is malleable: (r, n - s) is as good as (r, s), and half of all signers
/// write the one, half the other. So both are accepted, and say the same: a
/// token's text is no identifier, its `jti` is.
#[test]
fn the_other_s_says_the_same() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let (message, signature) = right.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let other = [&signature[..32], &combine(&P256_ORDER, -1, &signature[32..])].concat();
    let other = format!("{message}.{}", URL_SAFE_NO_PAD.encode(other));
    assert_ne!(right, other);
    let told = [right, other].map(|token| accepted(&app, Purpose::Access, "s or n - s", &token).body);
    assert_eq!(told[0], told[1]);
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

#[test]
fn three_segments_and_nothing_else() {
    let (app, forge) = (service(), Forge::es256());
    for purpose in BOTH {
        let right = forge.right(purpose);
        let [h, p, s] = cut(&right);
        accepted(&app, purpose, "control", &right);
        let general = format!(r#"{{"payload":"{p}","signatures":[{{"protected":"{h}","signature":"{s}"}}]}}"#);
        let flat = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
        let wrong = [
            h.to_owned(),
            format!("{h}.{p}"),
            format!("{h}.{p}."),
            format!("{h}..{s}"),
            format!(".{p}.{s}"),
            format!("{h}.{s}"),
            format!("{h}.{p}.{s}."),
            format!(".{right}"),
            format!("{right}.{s}"),
            format!("{right}.{p}.{s}"),
            format!("{h}.{h}.{p}.{s}.{s}"),
            format!("{h}.{p}{s}"),
            format!("{h}. {p}.{s}"),
            format!("{right} {right}"),
            format!("{right},{right}"),
            format!("\"{right}\""),
            format!("Token {right}"),
            format!("{h}.{s}.{p}"),
            format!("{p}.{h}.{s}"),
            ".".into(),
            "..".into(),
            "...".into(),
            "a.b.c".into(),
            "=".into(),
            URL_SAFE.encode(&flat),
            general,
            flat,
        ];
        for token in wrong {
            refused(&app, purpose, &token, &token, None);
        }
    }
}

/// Right claims, filled up to this many bytes of JSON with a claim that `orders`
/// may not have, so that no access token is issued with it.
fn filled(purpose: Purpose, bytes: usize) -> String {
    let build = |filler: usize| {
        let part = |i: usize| quoted(&"x".repeat(filler.saturating_sub(i * 200).min(200)));
        let list = format!("[{}]", (0..30).map(part).collect::<Vec<_>>().join(","));
        match purpose {
            Purpose::Access | Purpose::Revocations => claims(purpose).with("filler", list).to_string(),
            Purpose::Refresh => claims(purpose).with("claims", format!(r#"{{"filler":{list}}}"#)).to_string(),
        }
    };
    build(bytes - build(0).len())
}

#[test]
fn tokens_of_8192_bytes_and_no_more() {
    let (app, forge) = (service(), Forge::es256());
    // The header takes 110 bytes, two dots, the signature 86 or 43, and every
    // byte of claims 4/3. A refresh token cannot have 8192: no base64url has
    // 4n + 1 characters.
    for (purpose, bytes, longest) in [(Purpose::Access, 5_995, 8_192), (Purpose::Refresh, 6_027, 8_191)] {
        let [right, long] = [bytes, bytes + 1].map(|bytes| forge.sign_payload(purpose, filled(purpose, bytes)));
        assert_eq!((right.len(), long.len()), (longest, 8_193));
        accepted(&app, purpose, "8192", &right);
        refused(&app, purpose, "8193", &long, None);
    }
    // Nothing is issued that would not be read.
    let groups = vec!["x".repeat(255); 32];
    let order = serde_json::json!({"claims": {"groups": groups}}).to_string();
    let message = "the token would be longer than 8192 bytes; ask for less scope, audience or claims";
    app.create(&order).assert_error(400, "BadRequest", message);
}

/// Text that a claim of type string must not be, whatever its grammar.
const NO_STRING: [&str; 8] = ["null", "0", "1.5", "true", "{}", "[[]]", "[null]", "\"\""];

/// What is not a `NumericDate` in whole seconds between 1970 and 9999.
fn no_times() -> Vec<String> {
    let near = START + 300;
    let mut all = vec![quoted(&near.to_string()), format!("{near}.0"), format!("{near}.5"), format!("[{near}]")];
    all.extend([format!("{near}e0"), format!("{}e1", near / 10), format!("0x{near:x}"), format!("+{near}")]);
    all.extend(
        [
            "null",
            "true",
            "false",
            "{}",
            "[]",
            "\"\"",
            "-1",
            "-0",
            "1e3",
            "1E400",
            "NaN",
            "Infinity",
            "9007199254740993",
            "253402300800",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "999999999999999999999999999999999999999999",
            "-9223372036854775809",
        ]
        .map(str::to_owned),
    );
    all
}

/// What `aud`, `sub`, `client_id`, `jti`, `iss` and `scope` must not be, in
/// tokens of both kinds.
fn wrong_strings() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for name in ["iss", "sub", "aud", "jti", "client_id", "scope"] {
        all.extend(NO_STRING.map(|value| (name, value.to_owned())));
    }
    let array = |items: &[String]| format!("[{}]", items.join(","));
    let many = |n: usize| (0..n).map(|i| quoted(&format!("https://{i}.example.com"))).collect::<Vec<_>>();
    let scope = |n: usize| quoted(&(0..n).map(|i| format!("s{i:02}")).collect::<Vec<_>>().join(" "));
    let issuers = [
        "https://Tokens.example.com",
        "https://tokens.example.com/",
        "http://tokens.example.com",
        "https://tokens.example.com:443",
        "https://tokens.example.com.",
        "tokens.example.com",
        " https://tokens.example.com",
        "https://tokens.example.com#",
        "https://tokens.example.com/a",
        "https://tokens.example.co",
    ];
    all.extend(issuers.map(|issuer| ("iss", quoted(issuer))));
    all.push(("iss", array(&[quoted(ISSUER)])));
    all.extend([" ", "é", "\\u0000", "\\n", "a b", "\\u007f"].map(|text| ("sub", format!("\"user:{text}\""))));
    all.extend([
        ("sub", quoted(&format!("user:{}", "x".repeat(251)))),
        ("sub", r#"["user:7"]"#.into()),
        ("sub", r#""\ud800""#.into()),
    ]);
    all.extend(["a b", "a/b", "a:b", "é", "a\\u0000", "orders "].map(|text| ("client_id", quoted(text))));
    all.extend([("client_id", quoted(&"x".repeat(65))), ("client_id", r#"["orders"]"#.into())]);
    all.extend([("jti", quoted(&"x".repeat(256))), ("jti", quoted("a b")), ("jti", r#"["a"]"#.into())]);
    // One audience that the client may have, so that a refresh is not refused for that.
    let ours = quoted("https://orders.example.com");
    let beside: [&str; 7] =
        [&quoted(""), "1", "null", "{}", &format!("[{ours}]"), &ours, r#""https:\/\/orders.example.com""#];
    all.extend(beside.map(|other| ("aud", format!("[{ours},{other}]"))));
    let beside: [&str; 5] = [&quoted(&"x".repeat(256)), "\"a\\u0000\"", "\"a\\n\"", "\"\\ud800\"", &many(8).join(",")];
    all.extend(beside.map(|other| ("aud", format!("[{ours},{other}]"))));
    all.extend([("aud", "[]".to_owned()), ("aud", format!("{{{ours}:{ours}}}"))]);
    let scopes = ["a  b", " a", "a ", " ", "a\\tb", "a\\nb", "a\\\"", "a\\\\", "é", "a\\u00a0b", "a\\u0000"];
    all.extend(scopes.map(|text| ("scope", quoted(text))));
    all.extend([("scope", scope(65)), ("scope", quoted(&"x".repeat(129))), ("scope", r#"["orders:read"]"#.into())]);
    all
}

fn right_strings() -> Vec<(&'static str, String)> {
    let many = |n: usize| (0..n).map(|i| quoted(&format!("https://{i}.example.com"))).collect::<Vec<_>>().join(",");
    let scope = (0..64).map(|i| format!("s{i:02}")).collect::<Vec<_>>().join(" ");
    let ours = quoted("https://orders.example.com");
    vec![
        ("iss", r#""https:\/\/tokens.example.com""#.to_owned()),
        ("aud", format!("[{ours}]")),
        ("aud", format!("[{ours},{}]", many(7))),
        ("aud", format!("[{ours},\"{}\"]", "é".repeat(255))),
        ("sub", quoted(&format!("user:{}", "x".repeat(250)))),
        ("jti", quoted(&"~".repeat(255))),
        ("jti", quoted("!")),
        ("scope", quoted(&scope)),
        ("scope", quoted(&"x".repeat(128))),
        ("scope", quoted("!#[]~")),
    ]
}

/// What no JSON reader may take for the object `right`.
fn no_objects(right: &Raw) -> Vec<(String, Vec<u8>)> {
    let text = right.to_string();
    // Every member there is, in the order in which they are written: a derived
    // reader would take their values for the object.
    let order = "v dialect iss sub aud exp iat jti client_id scope claims lifetime session_start session_end";
    let full = right.with("claims", "{}").with("lifetime", 600);
    let value = |name| full.members().find(|(other, _)| *other == name).map(|(_, value)| value);
    let array = format!("[{}]", order.split(' ').filter_map(value).collect::<Vec<_>>().join(","));
    let deep = |open: &str, close: &str| right.with("x", format!("{}1{}", open.repeat(900), close.repeat(900)));
    let cases = [
        ("nothing", String::new()),
        ("its values", array),
        ("in an array", format!("[{text}]")),
        ("as a string", format!("{text:?}")),
        ("null", "null".into()),
        ("empty", "{}".into()),
        ("two", format!("{text}{text}")),
        ("more after it", format!("{text} 1")),
        ("NUL after it", format!("{text}\0")),
        ("a comma at the end", text.replacen('}', ",}", 1)),
        ("a comment", text.replacen('{', "{/**/", 1)),
        ("BOM", format!("\u{feff}{text}")),
        ("single quotes", text.replace('"', "'")),
        ("cut off", text[..text.len() - 1].to_owned()),
        ("deep arrays", deep("[", "]").to_string()),
        ("deep objects", deep("{\"x\":", "}").to_string()),
        ("only brackets", "[".repeat(5_900)),
        ("only braces", "{\"x\":".repeat(1_180)),
        ("a deep name", format!("{{{}", "[".repeat(5_900))),
    ];
    let mut all: Vec<_> = cases.map(|(title, text)| (title.to_owned(), text.into_bytes())).into();
    let mut latin1 = text.clone().into_bytes();
    latin1[3] = 0xe9;
    let utf16 = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    all.extend([("Latin-1".to_owned(), latin1), ("UTF-16".to_owned(), utf16)]);
    all
}

/// What both kinds share: required, twice, of another type or form.
fn shared_refusals(purpose: Purpose) -> Vec<(String, Vec<u8>)> {
    let right = claims(purpose);
    let mut all = no_objects(&right);
    let mut add = |title: String, claims: &Raw| all.push((title, claims.to_string().into_bytes()));
    for (name, value) in right.members() {
        // Without `scope` a token is without scope.
        if name != "scope" {
            add(format!("no {name}"), &right.without(name));
            add(format!("{name} in capitals"), &right.without(name).with(&name.to_uppercase(), value));
        }
        add(format!("{name} twice"), &right.and(name, value));
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        add(format!("{escaped} twice"), &right.and(&escaped, value));
    }
    for (name, value) in wrong_strings() {
        add(format!("{name} {value}"), &right.with(name, &value));
    }
    for (name, _) in right.members().filter(|(_, value)| value.starts_with("17")) {
        for value in no_times() {
            add(format!("{name} {value}"), &right.with(name, &value));
        }
    }
    all
}

/// `act` with so many levels.
fn actors(levels: usize) -> String {
    (1..levels).fold(r#"{"sub":"a"}"#.to_owned(), |inner, _| format!(r#"{{"sub":"a","act":{inner}}}"#))
}

#[test]
fn access_claims_of_another_shape_are_refused() {
    let (app, forge) = (service(), Forge::es256());
    let right = claims(Purpose::Access);
    let mut cases = shared_refusals(Purpose::Access);
    let mut add = |name: &str, value: &str| {
        cases.push((format!("{name}: {value}"), right.and(name, value).to_string().into_bytes()));
    };
    for value in no_times() {
        add("nbf", &value);
    }
    // Whatever the value, even none: nobody here enforces them. Of `cnf` these are no values.
    for name in ["cnf", "may_act", "nonce", "events", "c\\u006ef"] {
        for value in ["null", "{}", "\"a\"", "true", r#"{"jkt":"AAAA"}"#, "[]"] {
            add(name, value);
        }
    }
    for value in
        ["null", "{}", "\"a\"", "[]", r#"{"sub":1}"#, r#"{"sub":"a b"}"#, r#"{"sub":"a","iss":"b"}"#, &actors(5)]
    {
        add("act", value);
    }
    let long = format!("\"{}\"", "x".repeat(256));
    let list = format!("[{}]", ["1"; 33].join(","));
    let values = [
        "null",
        "{}",
        "1.5",
        "1.0",
        "1e3",
        "[[]]",
        "[{}]",
        "[null]",
        "[1.5]",
        "9007199254740992",
        "-9007199254740992",
        "[9007199254740992]",
        "18446744073709551616",
        r#""\ud800""#,
        &long,
        &list,
    ];
    for name in ["tenant", "amr", "sid"] {
        for value in values {
            add(name, value);
        }
    }
    add("", "1");
    let seventeen = (0..17).fold(right.clone(), |claims, i| claims.and(&format!("c{i}"), 1));
    cases.push(("17 extra claims".into(), seventeen.to_string().into_bytes()));
    let twice = right.and("tenant", "1");
    cases.push(("an extra claim twice".into(), twice.and("tenant", "1").to_string().into_bytes()));
    cases.push(("an extra claim twice".into(), twice.and("t\\u0065nant", "1").to_string().into_bytes()));
    cases.push(("nbf twice".into(), right.and("nbf", START).and("nbf", START).to_string().into_bytes()));
    let lived = |iat: i64, exp: i64| right.with("iat", iat).with("exp", exp).to_string().into_bytes();
    cases.extend([
        ("over 24 h".into(), lived(START, START + DAY + 1)),
        ("over 24 h, expired".into(), lived(START - 2 * DAY, START - DAY + 1)),
        ("for ever".into(), lived(START, 253_402_300_799)),
        ("exp = iat".into(), lived(START, START)),
        ("exp before iat".into(), lived(START + 2, START + 1)),
    ]);
    accepted(&app, Purpose::Access, "control", &forge.right(Purpose::Access));
    for (title, payload) in cases {
        refused(&app, Purpose::Access, &title, &forge.sign_payload(Purpose::Access, payload), None);
    }
}

#[test]
fn access_claims_at_their_limits_are_accepted() {
    let (app, forge) = (service(), Forge::es256());
    let right = claims(Purpose::Access);
    let mut cases: Vec<_> = right_strings().into_iter().map(|(name, value)| right.with(name, value)).collect();
    let sixteen = (0..16).fold(right.clone(), |claims, i| claims.and(&format!("c{i}"), 1));
    cases.extend([
        right.without("scope"),
        right.with("client_id", quoted(&"x".repeat(64))),
        right.with("client_id", quoted("a.b_c~d-9")),
        right.with("client_id", quoted("anonymous")).with("sub", quoted("anonymous")),
        right.without("sub").and("s\\u0075b", quoted("user:7")),
        right.with("nbf", START),
        right.with("exp", START + DAY),
        right.with("exp", START + 1),
        right.with("tenant", quoted(&"é".repeat(255))),
        right.with("tenant", format!("[{}]", ["1"; 32].join(","))),
        right.with("tenant", "[]"),
        right.with("tenant", "[9007199254740991,-9007199254740991,false,\"\"]"),
        sixteen,
    ]);
    for claims in cases {
        let claims = claims.to_string();
        accepted(&app, Purpose::Access, &claims, &forge.sign_payload(Purpose::Access, &claims));
    }
    // A later release may write more claims; this one passes them on.
    let unknown = r#"{"auth_time":1,"acr":"2","amr":["pwd","otp"],"azp":"orders","sid":"s","typ":"t","Exp":7,"v":1}"#;
    let members: serde_json::Map<_, _> = serde_json::from_str(unknown).unwrap();
    let all = members.iter().fold(right, |claims, (name, value)| claims.and(name, value));
    let told = accepted(&app, Purpose::Access, unknown, &forge.sign_payload(Purpose::Access, all.to_string()));
    assert_eq!(told.json()["claims"], serde_json::Value::from(members));
}

#[test]
fn access_tokens_in_time() {
    let (app, forge) = (service(), Forge::es256());
    let token = |changes: &[(&str, i64)]| {
        let claims = changes.iter().fold(claims(Purpose::Access), |claims, (name, at)| claims.with(name, at));
        forge.sign_payload(Purpose::Access, claims.to_string())
    };
    let right = token(&[]);
    for (second, accepts) in [(0, true), (599, true), (600, true), (604, true), (605, false), (10 * DAY, false)] {
        app.at(second);
        if accepts {
            accepted(&app, Purpose::Access, &format!("at {second}"), &right);
        } else {
            refused(&app, Purpose::Access, &format!("at {second}"), &right, EXPIRED);
        }
    }
    app.at(-5);
    accepted(&app, Purpose::Access, "issued in 5 s", &right);
    app.at(-6);
    refused(&app, Purpose::Access, "issued in 6 s", &right, NOT_YET);
    app.at(0);
    accepted(&app, Purpose::Access, "valid in 5 s", &token(&[("nbf", START + 5)]));
    refused(&app, Purpose::Access, "valid in 6 s", &token(&[("nbf", START + 6)]), NOT_YET);
    refused(&app, Purpose::Access, "nbf past exp", &token(&[("nbf", 253_402_300_799)]), NOT_YET);
    let late = token(&[("iat", 253_402_300_000), ("exp", 253_402_300_799)]);
    refused(&app, Purpose::Access, "the last second there is", &late, NOT_YET);
    // An old nbf does not make up for a late iat, nor the reverse.
    refused(&app, Purpose::Access, "both", &token(&[("nbf", 0), ("iat", START + 6)]), NOT_YET);
    let old = [("iat", START - 100), ("exp", START - 5)];
    refused(&app, Purpose::Access, "expired", &token(&old), EXPIRED);
    // exp speaks before nbf and after iss.
    refused(&app, Purpose::Access, "both", &token(&[old[0], old[1], ("nbf", START + 100)]), EXPIRED);
    let other = claims(Purpose::Access).with(old[0].0, old[0].1).with(old[1].0, old[1].1).with("iss", quoted("x"));
    let other = forge.sign_payload(Purpose::Access, other.to_string());
    refused(&app, Purpose::Access, "another issuer's", &other, None);
    // Without a good signature nothing is described.
    let expired = token(&old);
    let (message, signature) = expired.rsplit_once('.').unwrap();
    let other = format!("{message}.{}", cut(&right)[2]);
    assert_ne!(signature, cut(&right)[2]);
    refused(&app, Purpose::Access, "expired and of another signature", &other, None);
}

#[test]
fn the_audience_speaks_last() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Access);
    assert_eq!(app.inspect(&right, "?audience=https://orders.example.com").status, 200);
    let other = "?audience=https://stock.example.com";
    app.inspect(&right, other).assert_invalid_token(Some("the token is for another audience"));
    app.inspect(&right, &format!("{other}&scope=x")).assert_invalid_token(Some("the token is for another audience"));
    app.at(605).inspect(&right, other).assert_invalid_token(EXPIRED);
}

#[test]
fn refresh_claims_of_another_shape_are_refused() {
    let (app, forge) = (service(), Forge::es256());
    let right = claims(Purpose::Refresh);
    let mut cases = shared_refusals(Purpose::Refresh);
    let mut add = |name: &str, value: &str| {
        cases.push((format!("{name}: {value}"), right.with(name, value).to_string().into_bytes()));
    };
    for value in ["0", "2", "-1", "257", "1.0", "1e0", "\"1\"", "true", "null", "[1]"] {
        add("v", value);
    }
    for value in ["\"\"", "\"Native\"", "\"oauth2\"", "\"native \"", "null", "1", "[\"native\"]"] {
        add("dialect", value);
    }
    for name in ["x", "nbf", "tenant", "cnf", "typ", "V", ""] {
        add(name, "1");
    }
    for value in ["0", "-1", "86401", "600.0", "\"600\"", "null", "[600]"] {
        add("lifetime", value);
    }
    let extra = [
        "null",
        "[]",
        "\"a\"",
        "1",
        r#"{"exp":1}"#,
        r#"{"cnf":"a"}"#,
        r#"{"acr":"a"}"#,
        r#"{"scope":"x"}"#,
        r#"{"a":null}"#,
        r#"{"a":{}}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"":1}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"e\u0078p":1}"#,
    ];
    for value in extra {
        add("claims", value);
    }
    let seventeen = (0..17).map(|i| format!("\"c{i}\":1")).collect::<Vec<_>>().join(",");
    add("claims", &format!("{{{seventeen}}}"));
    add("claims", &format!("{{\"a\":[{}]}}", ["1"; 33].join(",")));

    let times = |iat: i64, exp: i64, start: i64, end: i64| {
        let right = right.with("iat", START + iat).with("exp", START + exp);
        right.with("session_start", START + start).with("session_end", START + end).to_string().into_bytes()
    };
    cases.extend([
        ("over 90 days".into(), times(0, 90 * DAY + 1, 0, 100 * DAY)),
        ("session over 365 days".into(), times(0, DAY, -DAY, 364 * DAY + 1)),
        ("session ends before exp".into(), times(0, DAY, 0, DAY - 1)),
        ("session begins more than the greatest leeway after iat".into(), times(0, DAY, 61, 2 * DAY)),
        ("session ends as it begins".into(), times(0, DAY, 0, 0)),
        ("session ends before it begins".into(), times(0, DAY, 0, -1)),
        ("exp = iat".into(), times(0, 0, 0, DAY)),
        ("exp before iat".into(), times(2, 1, 0, DAY)),
    ]);
    accepted(&app, Purpose::Refresh, "control", &forge.right(Purpose::Refresh));
    for (title, payload) in cases {
        refused(&app, Purpose::Refresh, &title, &forge.sign_payload(Purpose::Refresh, payload), None);
    }
}

#[test]
fn refresh_claims_at_their_limits_are_accepted() {
    let (app, forge) = (service(), Forge::es256());
    let right = claims(Purpose::Refresh);
    let mut cases: Vec<_> = right_strings().into_iter().map(|(name, value)| right.with(name, value)).collect();
    cases.extend([
        right.without("scope"),
        right.with("lifetime", 1),
        right.with("lifetime", DAY),
        right.with("claims", "{}"),
        right.with("claims", r#"{"tenant":"a","groups":["a",1,true]}"#),
        right.with("exp", START + 30 * DAY),
        right.with("exp", START + 90 * DAY).with("session_end", START + 90 * DAY),
        right.with("session_end", START + 365 * DAY),
        right.with("iat", START + 5),
        right.without("dialect").and("d\\u0069alect", quoted("native")),
    ]);
    for claims in cases {
        let claims = claims.to_string();
        accepted(&app, Purpose::Refresh, &claims, &forge.sign_payload(Purpose::Refresh, &claims));
    }
}

#[test]
fn refresh_tokens_in_time() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Refresh);
    for (second, accepts) in [(0, true), (DAY, true), (DAY + 4, true), (DAY + 5, false)] {
        app.at(second);
        if accepts {
            accepted(&app, Purpose::Refresh, &format!("at {second}"), &right);
        } else {
            refused(&app, Purpose::Refresh, &format!("at {second}"), &right, EXPIRED);
        }
    }
    app.at(-6);
    refused(&app, Purpose::Refresh, "issued in 6 s", &right, NOT_YET);
    // A session ends without leeway, and nothing is described then.
    let ends = claims(Purpose::Refresh).with("session_end", START + DAY);
    let ends = forge.sign_payload(Purpose::Refresh, ends.to_string());
    app.at(DAY - 1);
    let last = accepted(&app, Purpose::Refresh, "one second left", &ends);
    for token in [last.text("value"), last.text("refresh")] {
        assert_eq!(segment(&token, 1)["exp"], START + DAY, "never past the session's end");
    }
    app.at(DAY);
    refused(&app, Purpose::Refresh, "the session's end", &ends, None);
}

/// A good refresh token of somebody who may not have one (any more).
#[test]
fn the_policy_is_asked_again() {
    let (app, forge) = (service(), Forge::es256());
    let gone = [
        ("client_id", "nobody"),
        ("client_id", "Orders"),
        ("client_id", "billing"),
        ("sub", "billing"),
        ("sub", "anonymous"),
        ("sub", "user:"),
        ("sub", "robot2"),
        ("aud", "https://elsewhere.example.com"),
    ];
    for (name, value) in gone {
        let claims = claims(Purpose::Refresh).with(name, quoted(value)).to_string();
        refused(&app, Purpose::Refresh, &claims, &forge.sign_payload(Purpose::Refresh, &claims), None);
    }
    let rich = claims(Purpose::Refresh)
        .with("scope", quoted("admin orders:read"))
        .with("aud", r#"["https://elsewhere.example.com","https://stock.example.com"]"#)
        .with("claims", r#"{"admin":true,"tenant":"a"}"#)
        .with("lifetime", DAY);
    let pair = accepted(&app, Purpose::Refresh, "too rich", &forge.sign_payload(Purpose::Refresh, rich.to_string()));
    let access = segment(&pair.text("value"), 1);
    assert_eq!(access["scope"], "orders:read");
    assert_eq!(access["aud"], "https://stock.example.com");
    assert_eq!((&access["tenant"], &access["admin"]), (&"a".into(), &serde_json::Value::Null));
    assert_eq!(access["exp"], START + 600);
}

/// Whatever was wrong, the answer's head and body tell nothing but the challenge.
#[test]
fn no_cause_shows() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let [h, p, _] = cut(&right);
    let causes = [
        "a".to_owned(),
        forge.right(Purpose::Refresh),
        format!("{h}.{p}.AAAA"),
        forge.sign_payload(Purpose::Access, "{}"),
        forge.token(Purpose::Access, "{}", "{}"),
        "x".repeat(8_193),
    ];
    let told = causes.map(|token| {
        let mut answer = app.inspect(&token, "");
        answer.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.to_lowercase().as_str()));
        answer.assert_invalid_token(None);
        (answer.headers, answer.body)
    });
    assert!(told.iter().all(|other| *other == told[0]), "{told:#?}");
}
