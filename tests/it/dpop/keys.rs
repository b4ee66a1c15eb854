//! What stands in `jwk` and `alg` of a proof (RFC 9449 §4.2): keys of every odd kind, private ones, symmetric algorithms.
//! Each proof is signed well by its prover, so that only its header can refuse it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::foreign::Rejected;
use lingpai::keys::Purpose;
use serde_json::{Map, Value, json};

use super::mutants::judge;
use super::{Prover, claims};
use crate::forge::mac;

/// The members of a prover's key.
fn members(prover: &Prover) -> Map<String, Value> {
    serde_json::from_str(&prover.forge.jwk).unwrap()
}

/// What is said of a proof whose `jwk` is this text.
fn judged(prover: &Prover, jwk: &str) -> Result<(), Rejected> {
    let header = prover.header().replace(&prover.forge.jwk, jwk);
    judge(&prover.sign(&header, &claims(&json!({})))).map(drop)
}

/// The same with these members in place of the key's own; null takes one out.
fn changed(prover: &Prover, change: &Value) -> Result<(), Rejected> {
    let mut key = members(prover);
    key.extend(change.as_object().unwrap().clone());
    key.retain(|_, value| !value.is_null());
    judged(prover, &Value::Object(key).to_string())
}

fn bytes(length: usize, first: u8) -> String {
    let mut bytes = vec![7; length];
    *bytes.first_mut().unwrap() = first;
    URL_SAFE_NO_PAD.encode(bytes)
}

/// "a private key in its place is refused", whichever member shows it, and whatever that holds.
#[test]
fn no_private_key_is_accepted() {
    for prover in Prover::all() {
        assert_eq!(changed(&prover, &json!({"kid": "k"})), Ok(()));
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in [r#""AAAA""#, r#""""#, "null", "7", "[]"] {
                let jwk = prover.forge.jwk.replacen('{', &format!(r#"{{"{member}":{value},"#), 1);
                assert_eq!(judged(&prover, &jwk), Err(Rejected::BadKey), "{} {member} {value}", prover.forge.alg);
            }
        }
    }
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let [es256, eddsa, rs256] = Prover::all();
    let of_curve = |crv: &str, length: usize| json!({"crv": crv, "x": bytes(length, 7), "y": bytes(length, 7)});
    for change in [
        json!({"kty": null}),
        json!({"kty": 7}),
        json!({"kty": "ec"}),
        json!({"kty": "oct"}),
        json!({"kty": "DSA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": bytes(1_312, 7)}),
        json!({"kty": "OKP"}),
        json!({"crv": null}),
        json!({"crv": ["P-256"]}),
        json!({"crv": "p-256"}),
        json!({"crv": "P-256K"}),
        of_curve("P-384", 48),
        of_curve("P-521", 66),
        of_curve("secp256k1", 32),
        of_curve("BP-256", 32),
        json!({"kty": "OKP", "crv": "X25519", "y": null}),
        json!({"kty": "OKP", "crv": "Ed448", "x": bytes(57, 7), "y": null}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ECDH-ES"}),
        json!({"use": "enc"}),
        json!({"use": ["sig"]}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": "verify"}),
        json!({"kid": 7}),
    ] {
        assert_eq!(changed(&es256, &change), Err(Rejected::BadKey), "{change}");
    }
    // A good key of another kind than the signature's.
    for (prover, other) in [(&es256, &eddsa), (&eddsa, &rs256), (&rs256, &es256)] {
        assert_eq!(judged(prover, &other.forge.jwk), Err(Rejected::WrongAlgorithm), "{}", prover.forge.alg);
    }
}

#[test]
fn numbers_of_a_key_have_one_form() {
    let [es256, eddsa, rs256] = Prover::all();
    let text = |prover: &Prover, name: &str| members(prover)[name].as_str().unwrap().to_owned();
    let (x, y, n) = (text(&es256, "x"), text(&es256, "y"), text(&rs256, "n"));
    for (prover, change) in [
        (&es256, json!({"x": null})),
        (&es256, json!({"y": null})),
        (&es256, json!({"x": 7})),
        (&es256, json!({"x": ""})),
        (&es256, json!({"x": format!("{x}=")})),
        (&es256, json!({"x": format!(" {x}")})),
        (&es256, json!({"x": bytes(31, 7)})),
        (&es256, json!({"x": bytes(33, 0)})),
        // No point of the curve.
        (&es256, json!({"x": y, "y": x})),
        (&es256, json!({"x": bytes(32, 0), "y": bytes(32, 0)})),
        (&es256, json!({"x": URL_SAFE_NO_PAD.encode([0; 32]), "y": URL_SAFE_NO_PAD.encode([0; 32])})),
        (&es256, json!({"x": URL_SAFE_NO_PAD.encode([255; 32])})),
        // Low order, not canonical, too long.
        (&eddsa, json!({"x": URL_SAFE_NO_PAD.encode([0; 32])})),
        (&eddsa, json!({"x": URL_SAFE_NO_PAD.encode([255; 32])})),
        (&eddsa, json!({"x": bytes(33, 7)})),
        // Of 1024 and 8192 bits, even, with a leading zero; exponents that are too small, even or too large.
        (&rs256, json!({"n": bytes(128, 255)})),
        (&rs256, json!({"n": bytes(1_024, 255)})),
        (&rs256, json!({"n": format!("{}A", &n[..n.len() - 1])})),
        (&rs256, json!({"n": format!("AA{n}")})),
        (&rs256, json!({"e": "AQ"})),
        (&rs256, json!({"e": "Aw"})),
        (&rs256, json!({"e": "AQAA"})),
        (&rs256, json!({"e": "AAEAAQ"})),
        (&rs256, json!({"e": bytes(256, 7)})),
        (&rs256, json!({"e": 65_537})),
    ] {
        assert_eq!(changed(prover, &change), Err(Rejected::BadKey), "{} {change}", prover.forge.alg);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let prover = Prover::es256();
    let key = &prover.forge.jwk;
    for jwk in ["null", "true", "7", "\"key\"", "[]", &format!("[{key}]")] {
        assert_eq!(judged(&prover, jwk), Err(Rejected::BadHeader), "{jwk}");
    }
    for jwk in ["{}", &format!(r#"{{"keys":[{key}]}}"#), &format!(r#"{{"jwk":{key}}}"#)] {
        assert_eq!(judged(&prover, jwk), Err(Rejected::BadKey), "{jwk}");
    }
    // Two readings, escapes in a name, an algorithm that is no text, nesting.
    let deep = format!(r#""x5c":{}{}"#, "[".repeat(40), "]".repeat(40));
    for member in [r#""kty":"EC""#, r#""k\u0074y":"EC""#, r#""alg":7"#, &deep] {
        let jwk = key.replacen('{', &format!("{{{member},"), 1);
        assert_eq!(judged(&prover, &jwk), Err(Rejected::BadHeader), "{jwk}");
    }
}

/// RFC 9449 §4.2: "`alg` … MUST NOT be `none` or an identifier for a symmetric algorithm".
#[test]
fn no_symmetric_algorithm_is_accepted() {
    let prover = Prover::es256();
    for alg in [
        "none",
        "None",
        "NONE",
        "",
        "HS256",
        "HS384",
        "HS512",
        "hs256",
        "es256",
        "ES256 ",
        "ES256K",
        "ES512",
        "PS384",
        "RS512",
        "dir",
        "A128KW",
        "A256GCMKW",
        "PBES2-HS256+A128KW",
        "ML-DSA-44",
    ] {
        let header = prover.header().replace("\"ES256\"", &json!(alg).to_string());
        let proof = prover.sign(&header, &claims(&json!({})));
        assert_eq!(judge(&proof).map(drop), Err(Rejected::UnsupportedAlgorithm), "{alg}");
        // A MAC with what everybody knows as its secret, and no signature at all.
        let (message, _) = proof.rsplit_once('.').unwrap();
        for secret in [&*prover.forge.public, b"", prover.forge.jwk.as_bytes()] {
            let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac(secret, message.as_bytes())));
            assert_eq!(judge(&forged).map(drop), Err(Rejected::UnsupportedAlgorithm), "{alg}");
        }
        assert_eq!(judge(&format!("{message}.")).map(drop), Err(Rejected::UnsupportedAlgorithm), "{alg}");
    }
    for alg in ["null", "7", "[\"ES256\"]"] {
        let header = prover.header().replace("\"ES256\"", alg);
        assert_eq!(judge(&prover.sign(&header, &claims(&json!({})))).map(drop), Err(Rejected::BadHeader), "{alg}");
    }
    let header = prover.header().replace(r#""alg":"ES256","#, "");
    let proof = prover.forge.token(Purpose::Access, &header, claims(&json!({})).to_string());
    assert_eq!(judge(&proof).map(drop), Err(Rejected::BadHeader));
}
