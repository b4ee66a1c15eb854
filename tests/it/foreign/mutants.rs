//! Each mutant is signed with the real key and breaks one rule, so that only that rule can refuse it. Beside it stands
//! what jsonwebtoken alone says of it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use lingpai::clock::Clock;
use lingpai::foreign::{HeaderPolicy, Rejected, Rules};
use serde_json::{Value, json};

use super::{AUDIENCE, FORGES, LEEWAY, NOW, claims, good, header, judge, judge_by, jwk, rules, set, sign};
use crate::forge::Forge;

/// What jsonwebtoken says of a token with every check that it has, as strict as it can be set.
fn jsonwebtoken_accepts(token: &str, forge: &Forge) -> bool {
    let jwk = serde_json::from_value(jwk(forge, &json!({}))).unwrap();
    let mut validation = Validation::new(match forge.alg {
        "ES256" => Algorithm::ES256,
        "EdDSA" => Algorithm::EdDSA,
        _ => Algorithm::RS256,
    });
    validation.leeway = LEEWAY.unsigned_abs();
    validation.validate_nbf = true;
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&["orders"]);
    validation.sub = Some("orders".to_owned());
    validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok()
}

/// A mutant: its header, its payload, the rule that refuses it, and whether jsonwebtoken lets it through.
type Mutant = (String, String, Rejected, bool);

/// The mutants of the header.
fn headers(forge: &Forge) -> Vec<Mutant> {
    use Rejected as R;
    let (alg, kid) = (forge.alg, &forge.kid);
    let with = |members: &str| format!(r#"{{"alg":"{alg}","kid":"{kid}",{members}}}"#);
    let escaped = format!("\\u{:04x}{}", u32::from(alg.as_bytes()[0]), &alg[1..]);
    let deep = format!("{}{}", "[".repeat(16), "]".repeat(16));
    let jwk = &forge.jwk;
    [
        (format!(r#"{{"alg":{{"{alg}":null}},"kid":"{kid}"}}"#), R::BadHeader, true),
        (format!(r#"{{"alg":"{escaped}","kid":"{kid}"}}"#), R::BadHeader, true),
        (format!(r#"{{"\u0061lg":"{alg}","kid":"{kid}"}}"#), R::BadHeader, true),
        (format!(r#"{{"alg":["{alg}"],"kid":"{kid}"}}"#), R::BadHeader, false),
        (format!(r#"{{"alg":null,"kid":"{kid}"}}"#), R::BadHeader, false),
        (format!(r#"{{"kid":"{kid}"}}"#), R::BadHeader, false),
        (format!(r#"["{alg}"]"#), R::BadHeader, false),
        (with(&format!(r#""alg":"{alg}""#)), R::BadHeader, false),
        (with(r#""x":1,"x":1"#), R::BadHeader, true),
        (with(r#""x":{"y":1,"y":2}"#), R::BadHeader, true),
        (with(r#""x":[{"y":1,"\u0079":2}]"#), R::BadHeader, true),
        (with(&format!(r#""x":{deep}"#)), R::BadHeader, true),
        (with(r#""typ":7"#), R::BadHeader, false),
        (with(r#""typ":null"#), R::BadHeader, true),
        (format!(r#"{{"alg":"{alg}","kid":7}}"#), R::BadHeader, false),
        (format!(r#"{{"alg":"{alg}","kid":null}}"#), R::BadHeader, true),
        (format!(r#"{{"alg":"{alg}","kid":"{kid}"}} x"#), R::BadHeader, false),
        (with(r#""crit":["exp"]"#), R::ForbiddenHeader, true),
        (with(r#""crit":[]"#), R::ForbiddenHeader, true),
        (with(r#""crit":["b64"],"b64":false"#), R::ForbiddenHeader, true),
        (with(r#""b64":false"#), R::ForbiddenHeader, true),
        (with(r#""b64":true"#), R::ForbiddenHeader, true),
        (with(r#""zip":"DEF""#), R::ForbiddenHeader, true),
        (with(r#""enc":"A128GCM""#), R::ForbiddenHeader, true),
        (with(&format!(r#""jwk":{jwk}"#)), R::ForbiddenHeader, true),
        (with(r#""jku":"https://keys.example""#), R::ForbiddenHeader, true),
        (with(r#""x5u":"https://keys.example""#), R::ForbiddenHeader, true),
        (with(r#""x5u":null"#), R::ForbiddenHeader, true),
        (with(r#""typ":"at+jwt""#), R::WrongType, true),
        (with(r#""typ":"dpop+jwt""#), R::WrongType, true),
        (with(r#""typ":"logout+jwt""#), R::WrongType, true),
        (with(r#""typ":"secevent+jwt""#), R::WrongType, true),
        (with(r#""typ":"application/jwt""#), R::WrongType, true),
        (with(r#""typ":"JOSE""#), R::WrongType, true),
        (with(r#""typ":"""#), R::WrongType, true),
        (format!(r#"{{"alg":"none","kid":"{kid}"}}"#), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"None","kid":"{kid}"}}"#), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"","kid":"{kid}"}}"#), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"RS512","kid":"{kid}"}}"#), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"{}","kid":"{kid}"}}"#, alg.to_lowercase()), R::UnsupportedAlgorithm, false),
        (format!(r#"{{"alg":"{alg}","kid":"{kid}x"}}"#), R::UnknownKey, true),
        (format!(r#"{{"alg":"{alg}","kid":""}}"#), R::UnknownKey, true),
        (format!(r#"{{"alg":"ES384","kid":"{kid}"}}"#), R::WrongAlgorithm, false),
        (format!(r#"{{"alg":"PS256","kid":"{kid}"}}"#), R::WrongAlgorithm, false),
    ]
    .map(|(header, rejected, passes)| (header, good(), rejected, passes))
    .into()
}

/// The mutants of the payload's text.
fn payloads(forge: &Forge) -> Vec<Mutant> {
    use Rejected as R;
    let good = good();
    let twice = |members: &str| format!("{{{members},{}", &good[1..]);
    let deep = format!("{}{}", "[".repeat(16), "]".repeat(16));
    let exp = *NOW + 3_000;
    let with_exp = |other: &str| good.replace(&exp.to_string(), other);
    [
        (twice(r#""iss":"x""#), R::BadClaims, false),
        (twice(r#""tenant":{"id":7}"#), R::BadClaims, true),
        (twice(r#""\u0074enant":1"#), R::BadClaims, true),
        (twice(r#""x":{"y":1,"y":1}"#), R::BadClaims, true),
        (twice(&format!(r#""x":{deep}"#)), R::BadClaims, true),
        (twice(r#""x":"\ud800""#), R::BadClaims, false),
        (twice(r#""x":1e400"#), R::BadClaims, false),
        (format!("{good} ,"), R::BadClaims, false),
        (format!("\u{feff}{good}"), R::BadClaims, false),
        (format!(r#"[{exp},"orders","orders",null,"{AUDIENCE}"]"#), R::BadClaims, false),
        (format!(r#"[{exp},0,"orders","orders","{AUDIENCE}"]"#), R::BadClaims, true),
        ("foo".to_owned(), R::BadClaims, false),
        (String::new(), R::BadClaims, false),
        ("\"x\"".to_owned(), R::BadClaims, false),
        (with_exp(&format!("{}e-1", exp * 10)), R::BadClaims, true),
        (with_exp(&format!("{exp}.0")), R::BadClaims, true),
        (with_exp(&format!("{exp}.5")), R::BadClaims, true),
        (with_exp("1e300"), R::BadClaims, false),
    ]
    .map(|(payload, rejected, passes)| (header(forge), payload, rejected, passes))
    .into()
}

/// The mutants of the claims.
fn of_claims(forge: &Forge) -> Vec<Mutant> {
    use Rejected as R;
    let now = *NOW;
    [
        (json!({"iss": 7}), R::BadClaims, false),
        (json!({"iss": ["orders"]}), R::BadClaims, true),
        (json!({"iss": ["orders", "x"]}), R::BadClaims, true),
        (json!({"sub": 7}), R::BadClaims, false),
        (json!({"sub": ["orders"]}), R::BadClaims, false),
        (json!({"aud": 7}), R::BadClaims, false),
        (json!({"aud": {"a": AUDIENCE}}), R::BadClaims, false),
        (json!({"aud": [AUDIENCE, 7]}), R::BadClaims, false),
        (json!({"sub": null}), R::BadClaims, false),
        (json!({"aud": null}), R::BadClaims, false),
        (json!({"exp": null}), R::BadClaims, false),
        (json!({"exp": (now + 3_000).to_string()}), R::BadClaims, false),
        (json!({"exp": true}), R::BadClaims, false),
        (json!({"exp": -1}), R::BadClaims, false),
        (json!({"exp": u64::MAX}), R::BadClaims, true),
        (json!({"exp": 253_402_300_800_u64}), R::BadClaims, true),
        (json!({"exp": (now + 3_000) * 1_000}), R::BadClaims, true),
        (json!({"iat": now.to_string()}), R::BadClaims, true),
        (json!({"iat": 1.5}), R::BadClaims, true),
        (json!({"iat": -1}), R::BadClaims, true),
        (json!({"iat": {}}), R::BadClaims, true),
        (json!({"nbf": now.to_string()}), R::BadClaims, false),
        (json!({"nbf": 0.5}), R::BadClaims, true),
        (json!({"nbf": u64::MAX}), R::BadClaims, false),
        (json!({"iss": null}), R::WrongIssuer, false),
        (json!({"iss": "Orders"}), R::WrongIssuer, false),
        (json!({"iss": "orders "}), R::WrongIssuer, false),
        (json!({"exp": now - LEEWAY - 1}), R::Expired, false),
        (json!({"exp": 0}), R::Expired, false),
        (json!({"exp": now + 3_606}), R::MaxAge, true),
        (json!({"exp": 253_402_300_799_u64}), R::MaxAge, true),
        (json!({"iat": now + 11}), R::NotYetValid, true),
        (json!({"nbf": now + 3_000}), R::NotYetValid, false),
        (json!({"aud": "https://tokens.example.com/"}), R::WrongAudience, false),
        (json!({"aud": []}), R::WrongAudience, false),
        (json!({"aud": [AUDIENCE, AUDIENCE]}), R::WrongAudience, true),
        (json!({"aud": [AUDIENCE, "https://other.example"]}), R::WrongAudience, true),
    ]
    .map(|(change, rejected, passes)| (header(forge), claims(&change), rejected, passes))
    .into()
}

#[test]
fn the_second_of_exp_and_leeway_is_over() {
    let [es256, ..] = &*FORGES;
    let keys = set(&[jwk(es256, &json!({}))]);
    loop {
        let now = Clock::system().now();
        let token = sign(es256, &header(es256), claims(&json!({"exp": now.unix() - LEEWAY})));
        let judged = judge_by(&token, &keys, HeaderPolicy::CLIENT, Rules { now, ..rules(&[AUDIENCE]) });
        assert_eq!(judged, Err(Rejected::Expired));
        let passes = jsonwebtoken_accepts(&token, es256);
        if Clock::system().now() == now {
            assert!(passes, "jsonwebtoken judges otherwise than noted");
            return;
        }
    }
}

#[test]
fn each_mutant_breaks_one_rule() {
    let keys = set(&FORGES.each_ref().map(|forge| jwk(forge, &json!({"alg": forge.alg}))));
    let mut surprises = Vec::new();
    for forge in &*FORGES {
        let token = sign(forge, &header(forge), good());
        assert!(judge(&token, &keys).is_ok());
        // With the provider of the room, which the line above has installed.
        assert!(jsonwebtoken_accepts(&token, forge));
        for (header, payload, rejected, passes) in [headers(forge), payloads(forge), of_claims(forge)].concat() {
            let token = sign(forge, &header, &payload);
            assert_eq!(judge(&token, &keys), Err(rejected), "{header} {payload}");
            if jsonwebtoken_accepts(&token, forge) != passes {
                surprises.push(format!("{} {header} {payload} {rejected:?} {passes}", forge.alg));
            }
        }
    }
    assert!(surprises.is_empty(), "jsonwebtoken judges otherwise than noted:\n{}", surprises.join("\n"));
}
