//! Key sets: which keys are used, and which refuse the set.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use lingpai::foreign::{KeySet, KeySetError, MAX_KEY_SET, MAX_KEYS, Owner, Unusable};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::forge::Forge;

use super::{AUDIENCE, FORGES, encode, good, header, judge, jwk, parse, set, sign};

#[test]
fn es384_is_for_issuers() {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    let key = json!({"kty": "EC", "crv": "P-384", "x": encode(x), "y": encode(y)});
    let token = format!("{}.{}", encode(r#"{"alg":"ES384"}"#), encode(good()));
    let token = format!("{token}.{}", encode(pair.sign(&random, token.as_bytes()).unwrap()));
    assert!(judge(&token, &set(std::slice::from_ref(&key))).is_ok());
    assert_eq!(parse(&[key], Owner::Client).unwrap_err(), KeySetError::Unusable { index: 0, why: Unusable::Kind });
}

/// Ed25519's identity, and a signature by it of any message: `S = 0` and `R` the identity.
const IDENTITY: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The one reason for which a key is refused in a client's set, and passed over in an issuer's.
fn assert_unusable(key: &Value, why: Unusable) {
    let [es256, ..] = &*FORGES;
    let good = jwk(es256, &json!({}));
    let keys = [good, key.clone()];
    assert_eq!(parse(&keys, Owner::Client).unwrap_err(), KeySetError::Unusable { index: 1, why }, "{key}");
    let set = set(&keys);
    assert_eq!((set.len(), set.passed_over()), (1, &[(1, why)][..]), "{key}");
    assert!(judge(&sign(es256, &header(es256), self::good()), &set).is_ok(), "{key}");
}

#[test]
fn keys_of_no_use_are_named_to_a_client_and_passed_over_for_an_issuer() {
    let [es256, eddsa, rs256] = &*FORGES;
    let (ec, ed, rsa) = (jwk(es256, &json!({"kid": "2"})), jwk(eddsa, &json!({})), jwk(rs256, &json!({})));
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        key
    };
    for key in [
        with(&ec, "use", json!("sig")),
        with(&ec, "use", json!("jwt-svid")),
        with(&ec, "alg", json!("ES256")),
        with(&ec, "key_ops", json!(["verify"])),
        with(&ec, "key_ops", json!(["sign", "verify"])),
        with(&ec, "x", ec["x"].clone()),
        with(&ec, "kid", Value::Null),
        with(&rsa, "alg", json!("PS256")),
        with(&rsa, "alg", json!("RS256")),
        with(&ed, "alg", json!("Ed25519")),
        rsa.clone(),
    ] {
        assert_eq!(parse(std::slice::from_ref(&key), Owner::Client).map(|set| set.len()), Ok(1), "{key}");
    }
    // A client may authenticate by its certificate, so it must be one; an issuer's is ignored.
    for x5c in [json!(["MIIB"]), json!([]), json!("MIIB"), json!([7])] {
        let key = with(&ec, "x5c", x5c);
        let refused = KeySetError::Unusable { index: 0, why: Unusable::Certificate };
        assert_eq!(parse(std::slice::from_ref(&key), Owner::Client).map(|set| set.len()), Err(refused), "{key}");
        assert_eq!(parse(&[key], Owner::Issuer).map(|set| set.len()), Ok(1));
    }
    for (key, why) in [
        (with(&ec, "kty", json!("ec")), Unusable::Kind),
        (with(&ec, "kty", Value::Null), Unusable::Kind),
        (with(&ec, "kty", json!(7)), Unusable::Kind),
        (with(&ec, "crv", json!("P-521")), Unusable::Kind),
        (with(&ec, "crv", json!("secp256k1")), Unusable::Kind),
        (with(&ec, "crv", Value::Null), Unusable::Kind),
        (with(&ed, "crv", json!("Ed448")), Unusable::Kind),
        (with(&ed, "crv", json!("X25519")), Unusable::Kind),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}), Unusable::Kind),
        (json!({"kty": "oct"}), Unusable::Kind),
        (json!({}), Unusable::Kind),
        (with(&ec, "use", json!("enc")), Unusable::Use),
        (with(&ec, "use", json!("x509-svid")), Unusable::Use),
        (with(&ec, "use", json!("SIG")), Unusable::Use),
        (with(&ec, "use", json!(["sig"])), Unusable::Use),
        (with(&ec, "key_ops", json!([])), Unusable::Use),
        (with(&ec, "key_ops", json!(["sign", "encrypt"])), Unusable::Use),
        (with(&ec, "key_ops", json!("verify")), Unusable::Use),
        (with(&ec, "alg", json!("ES384")), Unusable::Algorithm),
        (with(&ec, "alg", json!("ECDH-ES")), Unusable::Algorithm),
        (with(&ec, "alg", json!("EdDSA")), Unusable::Algorithm),
        (with(&ec, "alg", json!(7)), Unusable::Algorithm),
        (with(&rsa, "alg", json!("RS384")), Unusable::Algorithm),
        (with(&rsa, "alg", json!("ES256")), Unusable::Algorithm),
        (with(&rsa, "alg", json!("RSA-OAEP")), Unusable::Algorithm),
        (with(&ed, "alg", json!("ES256")), Unusable::Algorithm),
        (with(&ec, "kid", json!(7)), Unusable::Member("kid")),
        (with(&ec, "x", Value::Null), Unusable::Member("x")),
        (with(&ec, "x", json!("")), Unusable::Member("x")),
        (with(&ec, "x", json!(format!("{}=", ec["x"].as_str().unwrap()))), Unusable::Member("x")),
        (with(&ec, "y", json!(7)), Unusable::Member("y")),
        (with(&ec, "y", json!(encode([7; 31]))), Unusable::Member("y")),
        (with(&ec, "y", json!(encode([7; 33]))), Unusable::Member("y")),
        (with(&ec, "y", json!(encode([7; 32]))), Unusable::NotOnCurve),
        (with(&ec, "x", json!(encode([0xff; 32]))), Unusable::NotOnCurve),
        (with(&with(&ec, "x", json!(encode([0; 32]))), "y", json!(encode([0; 32]))), Unusable::NotOnCurve),
        (with(&ed, "x", json!(encode([7; 31]))), Unusable::Member("x")),
        (with(&ed, "x", json!(encode([7; 33]))), Unusable::Member("x")),
        (with(&rsa, "n", Value::Null), Unusable::Member("n")),
        (with(&rsa, "n", json!("")), Unusable::Member("n")),
        (with(&rsa, "n", json!(encode([&[0][..], &[0xff; 256]].concat()))), Unusable::Member("n")),
        (with(&rsa, "n", json!(encode([&[0x7f][..], &[0xff; 255]].concat()))), Unusable::Modulus),
        (with(&rsa, "n", json!(encode([0xff; 128]))), Unusable::Modulus),
        (with(&rsa, "n", json!(encode([&[1][..], &[0xff; 512]].concat()))), Unusable::Modulus),
        (with(&rsa, "n", json!(encode([&[0xff; 255][..], &[0xfe]].concat()))), Unusable::Modulus),
        (with(&rsa, "e", Value::Null), Unusable::Member("e")),
        (with(&rsa, "e", json!("")), Unusable::Member("e")),
        (with(&rsa, "e", json!("AAEAAQ")), Unusable::Member("e")),
        (with(&rsa, "e", json!("AQ")), Unusable::Exponent),
        (with(&rsa, "e", json!("Aw")), Unusable::Exponent),
        (with(&rsa, "e", json!("AQAC")), Unusable::Exponent),
        (with(&rsa, "e", json!(encode([2, 0, 0, 0, 1]))), Unusable::Exponent),
        (with(&rsa, "e", json!(encode([1; 300]))), Unusable::Exponent),
    ] {
        assert_unusable(&key, why);
    }
    for largest in [vec![0xff; 256], vec![0xff; 512]] {
        assert!(parse(&[with(&rsa, "n", json!(encode(largest)))], Owner::Client).is_ok());
    }
    assert!(parse(&[with(&rsa, "e", json!(encode([1, 0xff, 0xff, 0xff, 0xff])))], Owner::Client).is_ok());
    assert_unusable(&with(&rsa, "n", json!(ROCA)), Unusable::WeakModulus);
}

/// The modulus of a key of a smart card (CVE-2017-15361): number 7 of Wycheproof's `json_web_key`.
const ROCA: &str = "AanFpofbj7KjD4Lf-N2hVMKR7yewSyXhhbirIMTGpfYEhZ_lnt5UoK98DnKIgArXGTu3MaW_HhFw16HGaTDUHqPrId7fe4r11CqRw09yBFu\
W79V8sYIwHdzCaWflUI6auImYbVfoN9_nD5n8N8SY9DwXw7mwZM9wREPXoDPgOoIWl6q_MPsp7n0zs3Z5ZaiQWOOzl1S9OhwAfSiiOwz6efnXEaxuTEtPd7BjSx7NaF\
ka8Dx9U7YqXy2RFj1O9PjyaDGuRh7YXsX3iMUSP_wSyHQg_c_qHRtKUsNSGCT7OZg0hzm2KphtjnayKJvC64vAbROBR4Ubg6Bxg9IQVZ-QYyE";

#[test]
fn an_ed25519_key_that_accepts_anything_is_refused() {
    // RFC 8032 §5.1.3 and "Taming the many EdDSAs", table 6: the points of small order and the second forms.
    let order_8 = hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    let other_8 = hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    let minus_one = hex(&format!("ec{}7f", "ff".repeat(30)));
    let mut weak = vec![IDENTITY.to_vec(), vec![0; 32], minus_one, order_8, other_8];
    for last in 0xed..=0xff_u8 {
        weak.push(hex(&format!("{last:02x}{}7f", "ff".repeat(30))));
    }
    for point in weak {
        for sign in [0, 0x80] {
            let mut point = point.clone();
            point[31] |= sign;
            assert_unusable(&json!({"kty": "OKP", "crv": "Ed25519", "x": encode(point)}), Unusable::WeakPoint);
        }
    }
    // jsonwebtoken takes it, and with it what nobody signed.
    let [_, eddsa, _] = &*FORGES;
    assert!(judge(&sign(eddsa, &header(eddsa), good()), &set(&[jwk(eddsa, &json!({}))])).is_ok());
    let signature = encode([IDENTITY, [0; 32]].concat());
    let key = DecodingKey::from_ed_components(&encode(IDENTITY)).unwrap();
    let passes = jsonwebtoken::crypto::verify(&signature, b"anything", &key, Algorithm::EdDSA).unwrap();
    assert!(passes, "jsonwebtoken judges otherwise than noted");
}

#[test]
fn a_set_is_refused_as_a_whole() {
    let forges = &*FORGES;
    let keys: Vec<_> = forges.iter().map(|forge| jwk(forge, &json!({}))).collect();
    for owner in [Owner::Client, Owner::Issuer] {
        let refused = |text: &str| KeySet::parse(text.as_bytes(), owner).unwrap_err();
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":null}"#,
            r#"{"keys":[null]}"#,
            r#"{"keys":[[]]}"#,
            r#"{"keys":["x"]}"#,
            r#"{"Keys":[]}"#,
            r#"{"keys":[],"keys":[]}"#,
            r#"{"keys":[]} x"#,
            r#"{"keys":[],"x":{"y":1,"y":1}}"#,
            &format!(r#"{{"keys":[{{"kid":"1",{}]}}"#, &keys[0].to_string()[1..]),
            // One key is no set.
            &keys[0].to_string(),
        ] {
            assert_eq!(refused(text), KeySetError::NotAKeySet, "{text}");
        }
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            // Whatever it says, and for whatever it is.
            for key in [jwk(&forges[2], &json!({member: "AQAB"})), json!({"kty": "x", "use": "enc", member: 7})] {
                let refusal = parse(&[keys[0].clone(), key], owner).unwrap_err();
                assert_eq!(refusal, KeySetError::Private { index: 1, member });
                assert_eq!(
                    refusal.to_string(),
                    format!("keys[1] has the private member \"{member}\"; expected public keys only")
                );
            }
        }
        let again = jwk(&forges[1], &json!({"kid": forges[0].kid}));
        let repeated = parse(&[keys[0].clone(), again], owner).unwrap_err();
        assert_eq!(repeated, KeySetError::RepeatedKid(forges[0].kid.clone()));
        let many: Vec<_> = (0..=MAX_KEYS).map(|at| jwk(&forges[1], &json!({"kid": at.to_string()}))).collect();
        assert_eq!(parse(&many, owner).unwrap_err(), KeySetError::TooManyKeys);
        assert_eq!(parse(&many[1..], owner).unwrap().len(), MAX_KEYS);
        assert_eq!(refused(&" ".repeat(MAX_KEY_SET + 1)), KeySetError::TooLarge);
    }
    // Of keys that are passed over the name does not count.
    let unused = jwk(&forges[1], &json!({"kid": forges[0].kid, "use": "enc"}));
    assert_eq!(set(&[keys[0].clone(), unused]).len(), 1);
    assert!(set(&[]).is_empty());
    assert_eq!(parse(&[], Owner::Client).unwrap_err(), KeySetError::Empty);
}

/// A client's token could not say which it means; a public key with a private one's members has been copied too far.
#[test]
fn a_clients_set_names_each_key_once() {
    let [es256, eddsa, rsa] = &*FORGES;
    let named = |forge: &Forge, kid: &str| jwk(forge, &json!({"kid": kid}));
    let nameless = |forge: &Forge, alg: Option<&str>| {
        let mut jwk = jwk(forge, &json!({}));
        let members = jwk.as_object_mut().unwrap();
        members.remove("kid");
        members.remove("alg");
        members.extend(alg.map(|alg| ("alg".to_owned(), json!(alg))));
        jwk
    };
    for (keys, index, first) in [
        (vec![nameless(es256, None), nameless(es256, None)], 1, 0),
        (vec![nameless(eddsa, None), nameless(es256, None), nameless(eddsa, Some("EdDSA"))], 2, 0),
        (vec![named(es256, "a"), nameless(eddsa, None), nameless(es256, None)], 2, 0),
        (vec![nameless(rsa, None), named(rsa, "a")], 1, 0),
    ] {
        let refusal = parse(&keys, Owner::Client).unwrap_err();
        assert_eq!(refusal, KeySetError::RepeatedKey { index, first });
        let said = format!(
            "keys[{index}] is the same key as keys[{first}]; expected each key once, or a distinct kid for each"
        );
        assert_eq!(refusal.to_string(), said);
        assert!(parse(&keys, Owner::Issuer).is_ok(), "an issuer's is not ours to mend");
    }
    for keys in [
        [named(es256, "a"), named(es256, "b")],
        [nameless(es256, None), nameless(eddsa, None)],
        // A token without kid is for one of these alone.
        [nameless(rsa, Some("RS256")), nameless(rsa, Some("PS256"))],
    ] {
        assert_eq!(parse(&keys, Owner::Client).unwrap().len(), 2);
    }
    let repeated = parse(&[named(es256, "a"), named(eddsa, "a")], Owner::Client).unwrap_err();
    assert_eq!(repeated.to_string(), "two keys have the kid \"a\"; expected a distinct kid for each key");

    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        for keys in [json!([named(es256, "a")]), json!([]), Value::Null] {
            let text = json!({"keys": keys, member: "AQAB"}).to_string();
            let refusal = KeySet::parse(text.as_bytes(), Owner::Client).unwrap_err();
            assert_eq!(
                refusal.to_string(),
                format!("the key set has the private member \"{member}\" next to \"keys\"; expected public keys only")
            );
        }
    }
}

/// What the room refuses in a key set before jsonwebtoken is asked.
#[test]
fn jsonwebtoken_takes_keys_as_they_come() {
    let [es256, ..] = &*FORGES;
    let point = &es256.public[1..];
    let shifted = jwk(es256, &json!({"x": encode(&point[..33]), "y": encode(&point[33..])}));
    assert_unusable(&shifted, Unusable::Member("x"));
    let token = sign(es256, &header(es256), good());
    assert!(judge(&token, &set(&[jwk(es256, &json!({}))])).is_ok());
    let text = json!({"keys": [shifted, shifted, jwk(es256, &json!({"use": "enc", "alg": "ES384", "key_ops": ["encrypt"], "d": "AQ"}))]});
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(text).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    assert_eq!(keys.find(&es256.kid), keys.keys.first(), "of several the first");
    for key in &keys.keys {
        let key = DecodingKey::from_jwk(key).unwrap();
        assert!(jsonwebtoken::decode::<Value>(&token, &key, &validation).is_ok());
    }
}
