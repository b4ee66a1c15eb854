//! Tokens that others signed.

mod keys;
mod mutants;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::{Clock, Timestamp};
use lingpai::foreign::{
    Assertion, HeaderPolicy, KeySet, KeySetError, MaxAge, Owner, Rejected, Rules, Unverified, verify,
};
use lingpai::keys::Purpose;
use lingpai::token::MAX_TOKEN;
use ring::signature::RSA_PSS_SHA256;
use serde_json::{Value, json};

use crate::forge::Forge;

const AUDIENCE: &str = "https://tokens.example.com";
const LEEWAY: i64 = 5;

/// The present, since jsonwebtoken reads the system's clock.
static NOW: LazyLock<i64> = LazyLock::new(|| Clock::system().now().unix());

/// The keys of the vectors, as [`Forge::all`] orders them.
static FORGES: LazyLock<[Forge; 3]> = LazyLock::new(Forge::all);

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The JWK of a forge, with its `kid`, and with `more` members.
fn jwk(forge: &Forge, more: &Value) -> Value {
    let mut jwk: Value = serde_json::from_str(&forge.jwk).unwrap();
    jwk["kid"] = forge.kid.clone().into();
    let members = jwk.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    jwk
}

fn parse(keys: &[Value], owner: Owner) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), owner)
}

fn set(keys: &[Value]) -> KeySet {
    parse(keys, Owner::Issuer).unwrap()
}

fn rules(audiences: &[&'static str]) -> Rules<'static> {
    Rules {
        issuer: Some("orders"),
        audiences: audiences.to_vec().leak(),
        max_age: MaxAge::FromNow(3_600),
        leeway: LEEWAY,
        now: Timestamp::from_unix(*NOW),
    }
}

fn judge_by(token: &str, keys: &KeySet, policy: HeaderPolicy<'_>, rules: Rules<'_>) -> Result<Assertion, Rejected> {
    let token = Unverified::parse(token, policy)?;
    verify(token, keys, rules).map(lingpai::foreign::Verified::into_claims)
}

fn judge(token: &str, keys: &KeySet) -> Result<Assertion, Rejected> {
    judge_by(token, keys, HeaderPolicy::CLIENT, rules(&[AUDIENCE]))
}

fn header(forge: &Forge) -> String {
    format!(r#"{{"alg":"{}","kid":"{}"}}"#, forge.alg, forge.kid)
}

/// The claims of a good assertion, with those of `change` in place of its own; null takes one out.
fn claims(change: &Value) -> String {
    let mut claims = json!({
        "iss": "orders", "sub": "orders", "aud": AUDIENCE, "exp": *NOW + 3_000, "iat": *NOW, "jti": "1", "tenant": {"id": 7},
    });
    let members = claims.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    claims.to_string()
}

fn good() -> String {
    claims(&json!({}))
}

fn sign(forge: &Forge, header: &str, payload: impl AsRef<[u8]>) -> String {
    forge.token(Purpose::Access, header, payload)
}

#[test]
fn a_good_assertion_says_who_is_meant() {
    let keys = set(&FORGES.each_ref().map(|forge| jwk(forge, &json!({}))));
    for forge in &*FORGES {
        let token = sign(forge, &header(forge), good());
        let unverified = Unverified::parse(&token, HeaderPolicy::CLIENT).unwrap();
        assert_eq!(unverified.unverified_issuer(), Some("orders"));
        assert_eq!(unverified.unverified_subject(), Some("orders"));
        assert_eq!(unverified.unverified_kid(), Some(&*forge.kid));
        assert!(unverified.unverified_jwk().is_none());
        assert_eq!(format!("{unverified:?}"), "Unverified { .. }", "a credential is not printed");

        let said = verify(unverified, &keys, rules(&["https://other.example", AUDIENCE])).unwrap();
        let Assertion { issuer, subject, audience, expires, issued, not_before, id, claims } = said.claims();
        assert_eq!((issuer.as_deref(), &**subject, &**audience), (Some("orders"), "orders", AUDIENCE));
        assert_eq!((expires.unix(), issued.map(Timestamp::unix), *not_before), (*NOW + 3_000, Some(*NOW), None));
        assert_eq!(
            (id.as_deref(), &claims["tenant"], &claims["sub"]),
            (Some("1"), &json!({"id": 7}), &json!("orders"))
        );
    }
}

#[test]
fn what_others_write_in_other_ways_is_accepted() {
    let [es256, eddsa, rs256] = &*FORGES;
    let keys = set(&FORGES.each_ref().map(|forge| jwk(forge, &json!({}))));
    let kid = &es256.kid;
    for members in [
        r#""typ":"JWT""#,
        r#""typ":"jwt""#,
        r#""typ":"client-authentication+jwt""#,
        // As .NET's and PHP's encoders write it.
        r#""typ":"Client-Authentication\u002bJWT""#,
        r#""x5t":"a\/b""#,
        r#""x5c":["MIIB"],"x5t":"1","x5t#S256":"2","nonce":"n","cty":"JWT","url":7,"x":{"y":[null]}"#,
        // Ignored, so in any form.
        r#""x5c":7,"x5t":null"#,
    ] {
        let token = sign(es256, &format!(r#"{{"alg":"ES256","kid":"{kid}",{members}}}"#), good());
        judge(&token, &keys).unwrap_or_else(|rejected| panic!("{rejected:?}: {members}"));
    }
    // Wycheproof's json_web_signature 376 and 377: white space in the header.
    for text in [
        format!("{{ \"kid\" : \"{kid}\", \"alg\" : \"ES256\" }}"),
        format!("{{\"kid\":\"{kid}\",\n\t\"alg\":\"ES256\"}}"),
    ] {
        assert!(judge(&sign(es256, &text, good()), &keys).is_ok(), "{text}");
    }
    // RFC 9864's name, in the token, in the key, in both.
    for (of_key, of_token) in [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA"), ("Ed25519", "Ed25519"), ("EdDSA", "EdDSA")] {
        let keys = set(&[jwk(eddsa, &json!({"alg": of_key}))]);
        let token = sign(eddsa, &format!(r#"{{"alg":"{of_token}","kid":"{}"}}"#, eddsa.kid), good());
        assert!(judge(&token, &keys).is_ok(), "{of_key}, {of_token}");
    }
    // An RSA key without `alg` is for both.
    let ps256 = format!("{}.{}", encode(format!(r#"{{"alg":"PS256","kid":"{}"}}"#, rs256.kid)), encode(good()));
    let ps256 = format!("{ps256}.{}", encode(rs256.sign_rsa(&RSA_PSS_SHA256, &ps256)));
    assert!(judge(&ps256, &keys).is_ok());
    assert_eq!(judge(&ps256, &set(&[jwk(rs256, &json!({"alg": "RS256"}))])), Err(Rejected::WrongAlgorithm));
    // Without `kid`, where one key fits.
    assert!(judge(&sign(es256, r#"{"alg":"ES256"}"#, good()), &keys).is_ok());
    for change in [
        json!({"aud": [AUDIENCE]}),
        json!({"iat": null}),
        json!({"iat": *NOW + 10}),
        json!({"nbf": *NOW + 10}),
        json!({"nbf": *NOW}),
        json!({"iat": 0}),
        json!({"exp": *NOW - LEEWAY + 1}),
        json!({"exp": *NOW + 3_605}),
        json!({"jti": 7}),
        json!({"jti": null}),
        json!({"x": 1.5, "y": [1e9], "z": {}}),
    ] {
        assert!(judge(&sign(es256, &header(es256), claims(&change)), &keys).is_ok(), "{change}");
    }
}

#[test]
fn a_token_is_cut_in_one_way() {
    let [es256, ..] = &*FORGES;
    let keys = set(&[jwk(es256, &json!({}))]);
    let token = sign(es256, &header(es256), good());
    let [first, second, third] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    // The last character of a segment whose length leaves bits over, with other bits there.
    let stray = |segment: &str| {
        let (rest, last) = segment.split_at(segment.len() - 1);
        let alphabet = base64::alphabet::URL_SAFE.as_str();
        let at = alphabet.find(last).unwrap();
        format!("{rest}{}", &alphabet[at + 1..at + 2])
    };
    // Of a length whose encoding has such bits.
    let payload = claims(&json!({"x": ""}));
    let payload = ["", "a"].map(|x| payload.replace(r#""x":"""#, &format!(r#""x":"{x}""#)));
    let payload = payload.iter().find(|text| text.len() % 3 != 0).unwrap();
    let head = ["", " "].map(|space| header(es256) + space).into_iter().find(|text| text.len() % 3 != 0).unwrap();
    assert!(judge(&sign(es256, &head, payload), &keys).is_ok());
    let seal = |header: &str, payload: &str| es256.seal(Purpose::Access, header, payload);
    let over = "x".repeat(MAX_TOKEN);
    for (token, rejected) in [
        (String::new(), Rejected::Malformed),
        ("..".to_owned(), Rejected::BadHeader),
        (format!("{first}.{second}"), Rejected::Malformed),
        (format!("{token}."), Rejected::Malformed),
        (format!(".{token}"), Rejected::Malformed),
        (format!("{token}.{third}"), Rejected::Malformed),
        (format!("{token}.{first}.{second}"), Rejected::Malformed),
        (format!(" {token}"), Rejected::Malformed),
        (seal(&format!("{first}="), second), Rejected::Malformed),
        (seal(&format!("{first}=="), second), Rejected::Malformed),
        (seal(first, &format!("{second}=")), Rejected::Malformed),
        (seal(&format!("{first}\n"), second), Rejected::Malformed),
        (seal(&first.replacen('e', "+", 1), second), Rejected::Malformed),
        (seal(&stray(&encode(&head)), second), Rejected::Malformed),
        (seal(first, &stray(&encode(payload))), Rejected::Malformed),
        (seal("", second), Rejected::BadHeader),
        (seal(first, ""), Rejected::BadClaims),
        (sign(es256, &header(es256), claims(&json!({"x": over}))), Rejected::Malformed),
        (format!("{first}.{second}."), Rejected::BadSignature),
        (format!("{token} "), Rejected::BadSignature),
        (format!("{token}="), Rejected::BadSignature),
        (format!("{first}.{second}.{}", stray(third)), Rejected::BadSignature),
        (format!("{first}.{second}.{}", encode([0; 64])), Rejected::BadSignature),
        (format!("{first}.{second}.{}", encode([0; 63])), Rejected::BadSignature),
    ] {
        assert_eq!(judge(&token, &keys), Err(rejected), "{token}");
    }
    // Wycheproof's json_web_signature 360 to 375, of which 372 and 373 are valid there.
    for other in ["    ", "?", "#", "=", "\n"] {
        for at in [0, 9, usize::MAX] {
            let with = |segment: &str| {
                let (before, after) = segment.split_at(at.min(segment.len()));
                format!("{before}{other}{after}")
            };
            assert_eq!(judge(&seal(&with(first), second), &keys), Err(Rejected::Malformed), "{other} at {at}");
            assert_eq!(judge(&seal(first, &with(second)), &keys), Err(Rejected::Malformed), "{other} at {at}");
            let token = format!("{first}.{second}.{}", with(third));
            assert_eq!(judge(&token, &keys), Err(Rejected::BadSignature), "{other} at {at}");
        }
    }
    // What is read may be as long as that.
    let room = MAX_TOKEN - sign(es256, &header(es256), claims(&json!({"x": ""}))).len();
    let longest = claims(&json!({"x": "x".repeat(room / 4 * 3)}));
    assert!(judge(&sign(es256, &header(es256), longest), &keys).is_ok());
}

#[test]
fn who_may_say_what_in_a_header_is_the_callers_choice() {
    let [es256, ..] = &*FORGES;
    let keys = set(&[jwk(es256, &json!({}))]);
    let with = |members: &str| sign(es256, &format!(r#"{{"alg":"ES256","kid":"{}"{members}}}"#, es256.kid), good());
    let proofs = HeaderPolicy { types: &["dpop+jwt"], untyped: false, embedded_key: true, exact: false };
    let proof = format!(r#","typ":"dpop+jwt","jwk":{}"#, es256.jwk);
    for (members, policy, verdict) in [
        ("", HeaderPolicy::ISSUER, Ok(())),
        (r#","typ":"jose""#, HeaderPolicy::ISSUER, Ok(())),
        (r#","typ":"JWT""#, HeaderPolicy::ISSUER, Ok(())),
        (r#","typ":"client-authentication+jwt""#, HeaderPolicy::ISSUER, Err(Rejected::WrongType)),
        (r#","typ":"at+jwt""#, HeaderPolicy::ISSUER, Err(Rejected::WrongType)),
        ("", HeaderPolicy::ACCESS_TOKEN, Err(Rejected::BadHeader)),
        (r#","typ":"at+jwt""#, HeaderPolicy::ACCESS_TOKEN, Ok(())),
        (r#","typ":"JWT""#, HeaderPolicy::ACCESS_TOKEN, Err(Rejected::WrongType)),
        (r#","typ":"at+jwt","x":1"#, HeaderPolicy::ACCESS_TOKEN, Err(Rejected::BadHeader)),
        (&proof, proofs, Ok(())),
        (&proof.replace("\"dpop", "\"x"), proofs, Err(Rejected::WrongType)),
        ("", proofs, Err(Rejected::WrongType)),
        (r#","typ":"dpop+jwt","jwk":7"#, proofs, Err(Rejected::BadHeader)),
        (r#","typ":"dpop+jwt","jwk":null"#, proofs, Err(Rejected::BadHeader)),
        (&format!(r#"{proof},"jku":"x""#), proofs, Err(Rejected::ForbiddenHeader)),
    ] {
        assert_eq!(judge_by(&with(members), &keys, policy, rules(&[AUDIENCE])).map(drop), verdict, "{members}");
    }
    // The union asks for no less than either.
    for typ in
        ["", r#","typ":"JOSE""#, r#","typ":"Jwt""#, r#","typ":"client-authentication+jwt""#, r#","typ":"at+jwt""#]
    {
        let token = with(typ);
        let parsed = Unverified::parse(&token, HeaderPolicy::ASSERTION);
        for policy in [HeaderPolicy::CLIENT, HeaderPolicy::ISSUER] {
            let is_typed = parsed.as_ref().is_ok_and(|token| token.has_type(policy));
            assert_eq!(is_typed, Unverified::parse(&token, policy).is_ok(), "{typ}");
        }
    }
    let proof = with(&proof);
    let key: Value = serde_json::from_str(&es256.jwk).unwrap();
    assert_eq!(Unverified::parse(&proof, proofs).unwrap().unverified_jwk(), Some(&key));
}

#[test]
fn a_token_names_one_key() {
    let [es256, eddsa, rs256] = &*FORGES;
    let all = FORGES.each_ref().map(|forge| jwk(forge, &json!({})));
    let unnamed = |alg: &str| sign(es256, &format!(r#"{{"alg":"{alg}"}}"#), good());
    let other = jwk(es256, &json!({"kid": "other"}));
    let none = jwk(es256, &json!({"kid": null}));
    for (token, keys, verdict) in [
        (unnamed("ES256"), &[][..], Err(Rejected::UnknownKey)),
        (unnamed("ES256"), &all, Ok(())),
        (unnamed("EdDSA"), &all, Err(Rejected::BadSignature)),
        (unnamed("ES384"), &all, Err(Rejected::UnknownKey)),
        // Not even where both are the same key.
        (unnamed("ES256"), &[all[0].clone(), other.clone()], Err(Rejected::AmbiguousKey)),
        (unnamed("ES256"), &[none.clone(), other.clone()], Err(Rejected::AmbiguousKey)),
        (unnamed("ES256"), &[none.clone(), none.clone()], Err(Rejected::AmbiguousKey)),
        (unnamed("ES256"), std::slice::from_ref(&none), Ok(())),
        (sign(es256, &header(es256), good()), std::slice::from_ref(&none), Err(Rejected::UnknownKey)),
        (sign(es256, &header(es256), good()), &[other], Err(Rejected::UnknownKey)),
        // Another key's name.
        (
            sign(es256, &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, eddsa.kid), good()),
            &all,
            Err(Rejected::WrongAlgorithm),
        ),
        (
            sign(es256, &format!(r#"{{"alg":"RS256","kid":"{}"}}"#, rs256.kid), good()),
            &all,
            Err(Rejected::BadSignature),
        ),
    ] {
        assert_eq!(judge(&token, &set(keys)).map(drop), verdict);
    }
}

#[test]
fn times_are_judged_by_the_rules() {
    let [es256, ..] = &*FORGES;
    let keys = set(&[jwk(es256, &json!({}))]);
    let (client, issuer) = (MaxAge::FromNow(3_600), MaxAge::FromIssue(3_600));
    let late = Rejected::NotYetValid;
    for (change, max_age, leeway, verdict) in [
        // `exp` ends it as soon as it is as far back as the leeway.
        (json!({"exp": *NOW + 1}), client, 0, Ok(())),
        (json!({"exp": *NOW}), client, 0, Err(Rejected::Expired)),
        (json!({"exp": *NOW - 59}), client, 60, Ok(())),
        (json!({"exp": *NOW - 60}), client, 60, Err(Rejected::Expired)),
        // 10 s ahead, or the leeway if that is more.
        (json!({"iat": *NOW + 10, "nbf": *NOW + 10}), client, 0, Ok(())),
        (json!({"iat": *NOW + 11}), client, 0, Err(late)),
        (json!({"nbf": *NOW + 11}), client, 9, Err(late)),
        (json!({"iat": *NOW + 60, "nbf": *NOW + 60}), client, 60, Ok(())),
        (json!({"iat": *NOW + 61}), client, 60, Err(late)),
        (json!({"nbf": *NOW + 61}), client, 60, Err(late)),
        // From now with the leeway, or from `iat` without it.
        (json!({"exp": *NOW + 3_605}), client, 5, Ok(())),
        (json!({"exp": *NOW + 3_606}), client, 5, Err(Rejected::MaxAge)),
        (json!({"iat": 0, "exp": *NOW + 3_600}), client, 0, Ok(())),
        (json!({"iat": *NOW - 3_500, "exp": *NOW + 100}), issuer, 5, Ok(())),
        (json!({"iat": *NOW - 3_500, "exp": *NOW + 101}), issuer, 5, Err(Rejected::MaxAge)),
        (json!({"iat": 0, "exp": *NOW + 60}), issuer, 0, Err(Rejected::MaxAge)),
        (json!({"iat": null, "exp": *NOW + 3_605}), issuer, 5, Ok(())),
        (json!({"iat": null, "exp": *NOW + 3_606}), issuer, 5, Err(Rejected::MaxAge)),
    ] {
        let token = sign(es256, &header(es256), claims(&change));
        let by = Rules { max_age, leeway, ..rules(&[AUDIENCE]) };
        assert_eq!(judge_by(&token, &keys, HeaderPolicy::ISSUER, by).map(drop), verdict, "{change} {leeway}");
    }
    // Where `iss` is not read it may be absent, and is still a string.
    for (iss, verdict) in [(Value::Null, Ok(())), (json!("any"), Ok(())), (json!(7), Err(Rejected::BadClaims))] {
        let token = sign(es256, &header(es256), claims(&json!({"iss": iss})));
        let by = Rules { issuer: None, ..rules(&[AUDIENCE]) };
        assert_eq!(judge_by(&token, &keys, HeaderPolicy::ISSUER, by).map(drop), verdict, "{iss}");
    }
    let token = sign(es256, &header(es256), good());
    assert_eq!(judge_by(&token, &keys, HeaderPolicy::ISSUER, rules(&[])), Err(Rejected::WrongAudience));
}
