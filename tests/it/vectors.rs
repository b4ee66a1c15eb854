//! The committed tokens of `tests/vectors/tokens.json`: other code made them, so
//! they hold the format still, and every release must read them alike.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Timestamp;
use lingpai::keys::{Key, KeyRing, Purpose};
use lingpai::token::{AccessClaims, Compact, Kind, RefreshClaims, Verifying, verify};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};

use crate::app::vectors;
use crate::forge::{Forge, KEYS, mac, ring};

fn file() -> Value {
    serde_json::from_str(&std::fs::read_to_string(vectors("tokens.json")).unwrap()).unwrap()
}

fn list<'f>(file: &'f Value, name: &str) -> &'f [Value] {
    file[name].as_array().unwrap()
}

/// `{"claims":…}` or `{"refused":word}`, as the file says it.
fn verdict<K: Kind>(token: &str, keys: &KeyRing, with: Verifying<'_>, told: impl Fn(&K) -> Value) -> Value {
    let Some(compact) = Compact::parse(token) else { return json!({"refused": "malformed"}) };
    match verify::<K>(compact, keys, with) {
        Ok(verified) => json!({"claims": told(verified.claims())}),
        Err(rejection) => json!({"refused": rejection.word()}),
    }
}

/// Members that are not there are not `null`.
fn present(mut object: Value) -> Value {
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}

fn access(claims: &AccessClaims) -> Value {
    let mut object = present(json!({
        "sub": claims.subject, "aud": claims.audience, "exp": claims.expires, "iat": claims.issued,
        "nbf": claims.not_before, "jti": claims.id, "client_id": claims.client,
        "scope": (!claims.scope.is_empty()).then_some(&claims.scope), "sid": claims.session,
    }));
    let extra = serde_json::to_value(&claims.extra).unwrap();
    object.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    object
}

fn refresh(claims: &RefreshClaims) -> Value {
    let session = &claims.session;
    present(json!({
        "v": 1, "dialect": "native",
        "sub": session.subject, "aud": session.audience, "exp": claims.expires, "iat": claims.issued,
        "jti": claims.id, "client_id": session.client,
        "scope": (!session.scope.is_empty()).then_some(&session.scope),
        "claims": (!session.claims.is_empty()).then_some(&session.claims),
        "lifetime": session.lifetime, "session_start": session.start, "session_end": session.end, "sid": session.id,
    }))
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let file = file();
    let issuer = file["issuer"].as_str().unwrap();
    let keys = ring();
    for (index, vector) in list(&file, "vectors").iter().enumerate() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let now = Timestamp::from_unix(vector["at"].as_i64().unwrap());
        let with = Verifying { issuer, leeway: file["leeway"].as_i64().unwrap(), now };
        let mut judged = match text("kind") {
            "access" => verdict(text("token"), &keys, with, access),
            "refresh" => verdict(text("token"), &keys, with, refresh),
            other => panic!("no kind: {other}"),
        };
        // What is verified has this issuer, and does not repeat it.
        if let Some(claims) = judged.get_mut("claims") {
            claims["iss"] = issuer.into();
        }
        assert_eq!(vector["number"], index + 1, "numbers follow each other");
        assert_eq!(judged, vector["expected"], "{}: {}", vector["number"], text("title"));
    }
}

#[test]
fn the_refresh_secret_is_the_known_one() {
    let file = file();
    for known in list(&file, "derivation") {
        let text = |name: &str| known[name].as_str().unwrap();
        let secret: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&text("secret")[at..at + 2], 16).unwrap()).collect();
        let forge = Forge::load(&vectors("keys").join(text("key")));
        assert_eq!((forge.kid.as_str(), &forge.refresh_secret), (text("kid"), &secret), "the tests derive it so too");

        // An accepted token with this MAC: the service's secret is the same.
        let header = URL_SAFE_NO_PAD.encode(forge.header(Purpose::Refresh));
        let token = list(&file, "vectors").iter().find_map(|vector| {
            let token = vector["token"].as_str().filter(|token| token.starts_with(&header))?;
            (vector["kind"] == "refresh" && vector["expected"]["claims"].is_object()).then_some(token)
        });
        let (message, signature) = token.unwrap().rsplit_once('.').unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(mac(&secret, message.as_bytes())), signature, "{}", text("key"));
    }
}

/// Replicas of both builds, with and without the feature `aws-lc`, take each other's
/// tokens: the other tests sign with ring and the service verifies, here it signs.
#[test]
fn ring_accepts_what_is_signed() {
    let algorithms: [&dyn VerificationAlgorithm; 3] = [&ECDSA_P256_SHA256_FIXED, &ED25519, &RSA_PKCS1_2048_8192_SHA256];
    for ((name, forge), algorithm) in KEYS.into_iter().zip(Forge::all()).zip(algorithms) {
        let pem = std::fs::read_to_string(vectors("keys").join(name)).unwrap();
        let key = Key::from_pem(name.parse().unwrap(), &pem).unwrap();
        for message in [b"".as_slice(), b"header.payload", &[0xff; 4_000]] {
            let signature = key.sign(Purpose::Access, message).unwrap();
            assert!(UnparsedPublicKey::new(algorithm, &forge.public).verify(message, &signature).is_ok(), "{name}");
            assert_eq!(key.sign(Purpose::Refresh, message).unwrap(), mac(&forge.refresh_secret, message), "{name}");
        }
    }
}
