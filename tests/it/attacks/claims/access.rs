//! Access tokens: claims and times.

use lingpai::keys::Purpose;

use super::{no_times, right_strings, shared_refusals};
use crate::app::START;
use crate::attacks::{EXPIRED, NOT_YET, accepted, cut, quoted, refused, service};
use crate::forge::{DAY, Forge, claims};

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
