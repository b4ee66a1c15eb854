//! Refresh tokens: claims, times, and the policy.

use lingpai::keys::Purpose;

use super::{right_strings, shared_refusals};
use crate::app::{START, segment};
use crate::attacks::{EXPIRED, NOT_YET, accepted, quoted, refused, service};
use crate::forge::{DAY, Forge, claims};

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
