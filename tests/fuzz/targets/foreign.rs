//! What others sign: an assertion is accepted exactly when a second reading of the rules accepts it, and a key set has
//! no private key, no name twice and no more keys than it may.
//!
//! An input is a key set, if it begins so, or a header and a payload, which are signed here with the key whose id the
//! header has in it, and what is appended to that, each in a line; or else a token of this service.
#![no_main]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fuzz::{Json, NOW};
use libfuzzer_sys::fuzz_target;
use lingpai::clock::Timestamp;
use lingpai::foreign::{
    HeaderPolicy, KeySet, KeySetError, MAX_KEYS, MaxAge, Owner, Rejected, Rules, Unverified, verify, verify_signature,
};
use lingpai::keys::{Key, KeyRing, Plan, Purpose};
use lingpai::token::MAX_TOKEN;

const AUDIENCES: [&str; 2] = ["https://tokens.example.com", "https://tokens.example.com/oauth2/token"];
const CLIENT: &str = "orders";
const LEEWAY: i64 = 5;
const MAX_AGE: i64 = 3_600;

struct Signer {
    alg: &'static str,
    key: Key,
}

static SIGNERS: LazyLock<[Signer; 3]> =
    LazyLock::new(|| [("es256", "ES256"), ("eddsa", "EdDSA"), ("rs256", "RS256")].map(signer));

fn signer((word, alg): (&str, &'static str)) -> Signer {
    let name = format!("2026-01-01T00-00-00Z.{word}.pem");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/keys");
    let pem = fs::read_to_string(folder.join(&name)).unwrap();
    Signer { alg, key: Key::from_pem(name.parse().unwrap(), &pem).unwrap() }
}

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys = ["es256", "eddsa", "rs256"].map(|word| signer((word, "")).key);
    let jwks = KeyRing::lenient(keys.into(), Plan::default()).jwks(Timestamp::from_unix(NOW));
    KeySet::parse(jwks.document().body(), Owner::Issuer).unwrap()
});

fuzz_target!(|text: &str| {
    if text.starts_with("{\"keys\"") {
        key_set(text);
        return;
    }
    let mut lines = text.splitn(3, '\n');
    match (lines.next(), lines.next(), lines.next()) {
        (Some(header), Some(payload), appended) => {
            let signer = SIGNERS.iter().find(|signer| header.contains(signer.key.kid().as_str()));
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let key = &signer.unwrap_or(&SIGNERS[1]).key;
            let signature = key.sign(Purpose::Access, message.as_bytes()).unwrap();
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
            assertion(&(token + appended.unwrap_or_default()));
        }
        _ => assertion(text),
    }
});

/// A token as it was cut by other code.
struct Read {
    header: Json,
    claims: Json,
    /// Whether it has a form that is refused for itself, and is read here all the same.
    is_odd: bool,
}

fn assertion(token: &str) {
    let rules = Rules {
        issuer: Some(CLIENT),
        audiences: &AUDIENCES,
        max_age: MaxAge::FromNow(MAX_AGE),
        leeway: LEEWAY,
        now: Timestamp::from_unix(NOW),
    };
    let read = read(token);
    let parsed = Unverified::parse(token, HeaderPolicy::ASSERTION);
    for policy in [HeaderPolicy::CLIENT, HeaderPolicy::ISSUER] {
        let is_typed = parsed.as_ref().is_ok_and(|token| token.has_type(policy));
        assert_eq!(is_typed, Unverified::parse(token, policy).is_ok());
    }
    let parsed = parsed
        .and_then(|token| if token.has_type(HeaderPolicy::CLIENT) { Ok(token) } else { Err(Rejected::WrongType) });
    let judged = parsed.and_then(|token| verify(token, &KEYS, rules));
    let expected = read.as_ref().is_some_and(|read| {
        is_signed(token, read, &["jwt", "client-authentication+jwt"]) && says_who(&read.claims).is_some()
    });
    match judged {
        Ok(verified) => {
            assert!(expected, "accepted");
            let claims = verified.claims();
            let read = read.unwrap();
            let members = read.claims.members().unwrap();
            assert_eq!(members["sub"], &Json::Text(claims.subject.clone()));
            assert_eq!(members["exp"], &Json::Integer(claims.expires.unix().into()));
            assert_eq!(claims.issuer.as_deref(), Some(CLIENT));
            assert!(AUDIENCES.contains(&claims.audience.as_str()));
            assert!(claims.claims.keys().map(String::as_str).collect::<BTreeSet<_>>().iter().eq(members.keys()));
        }
        Err(rejected) => assert!(!expected || read.unwrap().is_odd, "refused: {rejected:?}"),
    }
    // A token of this service, by its JWKS alone.
    if let Ok(unverified) = Unverified::parse(token, HeaderPolicy::ACCESS_TOKEN)
        && verify_signature(&unverified, &KEYS).is_ok()
    {
        let read = self::read(token).unwrap();
        assert!(is_signed(token, &read, &["at+jwt"]));
        assert!(read.header.members().unwrap().keys().eq(["alg", "kid", "typ"].iter()));
    }
}

fn read(token: &str) -> Option<Read> {
    let segments: Vec<_> = token.split('.').collect();
    let [header, payload, _] = segments.as_slice() else { return None };
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let has_escapes = header.contains('\\');
    let (header, claims) = (Json::read(header.as_bytes())?, Json::read(payload.as_bytes())?);
    let is_odd = has_escapes || depth(&header).max(depth(&claims)) > 16 || token.len() > MAX_TOKEN;
    (is_unique(&header) && is_unique(&claims)).then_some(Read { header, claims, is_odd })
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Json::Object(members) => 1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or_default(),
        _ => 0,
    }
}

fn is_unique(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().all(is_unique),
        Json::Object(members) => value.members().is_some() && members.iter().all(|(_, value)| is_unique(value)),
        _ => true,
    }
}

/// Whether the header may be so, and the signature is that of the one key that it means.
fn is_signed(token: &str, read: &Read, types: &[&str]) -> bool {
    let Some(members) = read.header.members() else { return false };
    let text = |name| match members.get(name) {
        Some(Json::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let refused = ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u"].iter().any(|name| members.contains_key(name));
    let is_of_type =
        !members.contains_key("typ") || text("typ").is_some_and(|typ| types.contains(&&*typ.to_lowercase()));
    let alg = if text("alg") == Some("Ed25519") { Some("EdDSA") } else { text("alg") };
    let signer = match members.get("kid") {
        Some(Json::Text(kid)) => SIGNERS.iter().find(|signer| signer.key.kid().as_str() == kid),
        Some(_) => None,
        None => SIGNERS.iter().find(|signer| Some(signer.alg) == alg),
    };
    let Some(signer) = signer.filter(|signer| Some(signer.alg) == alg) else { return false };
    let (message, signature) = token.rsplit_once('.').unwrap();
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    !refused && is_of_type && signer.key.verifies(Purpose::Access, message.as_bytes(), &signature)
}

/// Whether the claims say what they must.
fn says_who(claims: &Json) -> Option<()> {
    let members = claims.members()?;
    let is = |holds: bool| holds.then_some(());
    let (Json::Text(issuer), Json::Text(_)) = (members.get("iss")?, members.get("sub")?) else { return None };
    is(issuer == CLIENT)?;
    let audience = match members.get("aud")? {
        Json::Text(one) => one,
        Json::Array(several) => match several.as_slice() {
            [Json::Text(one)] => one,
            _ => return None,
        },
        _ => return None,
    };
    is(AUDIENCES.contains(&audience.as_str()))?;
    let now = i128::from(NOW);
    let Json::Integer(exp) = members.get("exp")? else { return None };
    is((0..=253_402_300_799).contains(exp))?;
    is(exp + i128::from(LEEWAY) > now && exp - now <= i128::from(MAX_AGE + LEEWAY))?;
    for name in ["iat", "nbf"] {
        match members.get(name) {
            None => {}
            Some(Json::Integer(at)) => is((0..=now + 10).contains(at))?,
            Some(_) => return None,
        }
    }
    Some(())
}

fn key_set(text: &str) {
    let judged = [Owner::Client, Owner::Issuer].map(|owner| KeySet::parse(text.as_bytes(), owner));
    let [client, issuer] = &judged;
    let Ok(set) = issuer else {
        // A client's set obeys every rule of an issuer's.
        assert!(client.is_err());
        return;
    };
    let read = Json::read(text.as_bytes()).unwrap();
    assert!(is_unique(&read));
    let Json::Array(keys) = read.members().unwrap()["keys"] else { panic!("no array") };
    assert!(keys.len() <= MAX_KEYS);
    assert_eq!(set.len() + set.passed_over().len(), keys.len());
    for key in keys {
        let members = key.members().unwrap();
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(!members.contains_key(name));
        }
    }
    match client {
        Ok(client) => assert_eq!((client.len(), issuer.as_ref().unwrap().len()), (keys.len(), keys.len())),
        Err(KeySetError::Empty) => assert!(keys.is_empty()),
        Err(KeySetError::Unusable { index, .. }) => assert!(*index < keys.len()),
        Err(KeySetError::PrivateBeside(member)) => assert!(read.members().unwrap().contains_key(*member)),
        Err(KeySetError::RepeatedKey { index, first }) => assert!(first < index && *index < keys.len()),
        Err(other) => panic!("{other}"),
    }
}
