//! The JSON bodies of `POST` and `PUT /token`: just what the contract allows is let through, and what is let through
//! is what the token says.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::{ACCESS_LIFETIME, AUDIENCE, Answer, CLAIMS, CLIENT, Json, SCOPE, SECRET, SERVICE, TOKENS};
use libfuzzer_sys::fuzz_target;
use lingpai::token::{AccessClaims, Compact, RESERVED, RefreshClaims, Scope, verify};
use poem::http::{HeaderValue, Method};

fuzz_target!(|body: &[u8]| {
    let json = if body.is_empty() { Some(Json::Object(Vec::new())) } else { Json::read(body) };
    let members = json.as_ref().and_then(Json::members);

    let members_of_post = members.as_ref().filter(|members| members.iter().all(|(name, value)| is_right(name, value)));
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
    create(&SERVICE.ask_as(Method::POST, &[value(&basic)], body), members_of_post, true);
    create(&SERVICE.ask_as(Method::POST, &[], body), members_of_post, false);

    let right = |(name, value): (&&str, &&Json)| *name == "scope" && is_right(name, value);
    let members_of_put = members.as_ref().filter(|members| members.iter().all(right));
    let session = &*SESSION;
    let answer = SERVICE.ask_as(Method::PUT, &[value(&format!("Token {}", session.token))], body);
    let expected = match members_of_put {
        None => 400,
        Some(members) if texts(members, "scope").iter().flatten().any(|token| !session.scope.contains(token)) => 403,
        Some(_) => 200,
    };
    assert_eq!(answer.status, expected, "{answer:?}");
});

/// A refresh token, and the scope of its session.
struct Session {
    token: &'static str,
    scope: Scope,
}

static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let scope = |token: &str| {
        let claims =
            verify::<RefreshClaims>(Compact::parse(token).unwrap(), &SERVICE.snapshot.keys, SERVICE.verifying());
        claims.unwrap().into_claims().session.scope
    };
    let mut all = TOKENS.refresh.iter().map(|token| Session { token, scope: scope(token) });
    all.find(|session| !session.scope.is_empty()).unwrap()
});

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap()
}

/// Asserts the answer to `POST` with these members, None if their form is wrong.
fn create(answer: &Answer, members: Option<&BTreeMap<&str, &Json>>, with_header: bool) {
    let Some(members) = members else { return assert_eq!(answer.status, 400, "{answer:?}") };
    let credential = |name| members.get(name).map(|value| **value == Json::Text(right_credential(name)));
    let client = match (credential("client_id"), credential("client_secret")) {
        (None, None) => with_header,
        (Some(id), Some(secret)) if !with_header => {
            if !(id && secret) {
                return assert_eq!(answer.status, 401, "{answer:?}");
            }
            true
        }
        _ => return assert_eq!(answer.status, 400, "{answer:?}"),
    };
    let expected = if client { as_client(members) } else { as_anonymous(members) };
    assert_eq!(answer.status, expected, "{answer:?}");
    if answer.status == 200 {
        granted(&answer.text("value"), members);
    }
}

fn right_credential(name: &str) -> String {
    if name == "client_id" { CLIENT.to_owned() } else { SECRET.to_owned() }
}

fn as_client(members: &BTreeMap<&str, &Json>) -> u16 {
    let within = |name, allowed: &[&str]| texts(members, name).iter().flatten().all(|one| allowed.contains(one));
    let subject_right = match members.get("subject") {
        Some(Json::Text(subject)) => {
            subject == CLIENT || subject.strip_prefix("user:").is_some_and(|id| !id.is_empty())
        }
        _ => true,
    };
    let claims_right = members.get("claims").and_then(|claims| claims.members()).unwrap_or_default();
    let claims_right = claims_right.keys().all(|name| CLAIMS.contains(name));
    if !(within("scope", &SCOPE) && within("audience", &AUDIENCE) && subject_right && claims_right) {
        return 403;
    }
    if lifetime(members) > Some(ACCESS_LIFETIME.into()) { 400 } else { 200 }
}

fn as_anonymous(members: &BTreeMap<&str, &Json>) -> u16 {
    let others = ["audience", "subject", "claims"].iter().any(|name| members.contains_key(name));
    if others || texts(members, "scope").iter().flatten().any(|token| *token != "guest") {
        return 403;
    }
    if lifetime(members) > Some(ACCESS_LIFETIME.into()) { 400 } else { 200 }
}

/// Asserts that the token has what was asked for.
fn granted(token: &str, members: &BTreeMap<&str, &Json>) {
    let compact = Compact::parse(token).unwrap();
    let claims = verify::<AccessClaims>(compact, &SERVICE.snapshot.keys, SERVICE.verifying()).unwrap().into_claims();
    if let Some(mut asked) = texts(members, "scope") {
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(claims.scope.iter().collect::<Vec<_>>(), asked);
    }
    if let Some(asked) = texts(members, "audience") {
        assert!(asked.iter().all(|one| claims.audience.contains(one)));
        assert!(claims.audience.iter().all(|one| asked.contains(&one.as_str())));
    }
    if let Some(Json::Text(asked)) = members.get("subject") {
        assert_eq!(claims.subject.as_str(), asked);
    }
    let lives = i128::from(claims.expires.since(claims.issued));
    assert_eq!(lives, lifetime(members).unwrap_or(ACCESS_LIFETIME.into()));
    let asked = members.get("claims").and_then(|claims| claims.members()).unwrap_or_default();
    assert_eq!(claims.extra.iter().count(), asked.len());
    for (name, value) in claims.extra.iter() {
        assert_eq!(Json::read(&serde_json::to_vec(value).unwrap()).as_ref(), Some(asked[name]));
    }
}

/// The strings of an array.
fn texts<'j>(members: &BTreeMap<&str, &'j Json>, name: &str) -> Option<Vec<&'j str>> {
    let Some(Json::Array(all)) = members.get(name) else { return None };
    all.iter().map(|one| if let Json::Text(text) = one { Some(text.as_str()) } else { None }).collect()
}

fn lifetime(members: &BTreeMap<&str, &Json>) -> Option<i128> {
    if let Some(Json::Integer(seconds)) = members.get("lifetime") { Some(*seconds) } else { None }
}

/// Whether a member has the form and the limits of the contract.
fn is_right(name: &str, value: &Json) -> bool {
    let list = |most, is_right: fn(&str) -> bool| {
        let Json::Array(all) = value else { return false };
        (1..=most).contains(&all.len()) && all.iter().all(|one| matches!(one, Json::Text(text) if is_right(text)))
    };
    match (name, value) {
        ("client_id" | "client_secret", Json::Text(_)) => true,
        ("scope", _) => list(64, |text| is_visible(text, 128) && !text.contains(['"', '\\'])),
        ("audience", _) => {
            list(8, |text| (1..=255).contains(&text.chars().count()) && !text.contains(char::is_control))
        }
        ("subject", Json::Text(text)) => is_visible(text, 255),
        ("lifetime", Json::Integer(seconds)) => (1..=i64::MAX.into()).contains(seconds),
        ("claims", _) => value
            .members()
            .is_some_and(|claims| claims.len() <= 16 && claims.iter().all(|(name, value)| is_claim(name, value))),
        _ => false,
    }
}

fn is_visible(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

fn is_claim(name: &str, value: &Json) -> bool {
    let is_scalar = |value: &Json| match value {
        Json::Bool(_) => true,
        Json::Integer(number) => number.unsigned_abs() < 1 << 53,
        Json::Text(text) => text.chars().count() <= 255,
        _ => false,
    };
    let value_right = match value {
        Json::Array(all) => all.len() <= 32 && all.iter().all(is_scalar),
        one => is_scalar(one),
    };
    (1..=255).contains(&name.chars().count()) && !RESERVED.contains(&name) && value_right
}
