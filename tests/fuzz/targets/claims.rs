//! The claims of a token whose signature is good: what is accepted keeps every limit, says what was written and no
//! more, and can be issued again.
#![no_main]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fuzz::{ISSUER, Json, NOW, SERVICE};
use libfuzzer_sys::fuzz_target;
use lingpai::clients::admit;
use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, Purpose};
use lingpai::token::{ACCESS_CAP, LEEWAY_CAP, REFRESH_CAP, SESSION_CAP};
use lingpai::token::{
    AccessClaims, Audiences, ClientId, Compact, Dialect, ExtraClaims, Grant, Kind, MAX_TOKEN, MintError, Pair,
    RefreshClaims, Rejection, Scope, Session, Subject, examine, mint, verify,
};
use poem::http::{HeaderValue, Method};

fuzz_target!(|payload: &[u8]| {
    if let Ok(claims) = examine::<AccessClaims>(payload, SERVICE.verifying()) {
        access(payload, &claims);
    }
    let examined = examine::<RefreshClaims>(payload, SERVICE.verifying());
    if let Some(token) = signed(payload, Purpose::Refresh) {
        assert_eq!(verified::<RefreshClaims>(&token), examined);
    }
    if let Ok(claims) = examined {
        refresh(payload, &claims);
    }
});

fn access(payload: &[u8], claims: &AccessClaims) {
    assert!((1..=ACCESS_CAP).contains(&claims.expires.since(claims.issued)));
    assert_in_force(claims.issued.max(claims.not_before.unwrap_or_default()), claims.expires);
    assert_limits(&claims.subject, &claims.client, &claims.audience, &claims.scope, &claims.extra, &claims.id);
    for (name, _) in claims.extra.iter() {
        assert!(!["cnf", "act", "may_act", "nonce", "events"].contains(&name));
    }
    let mut said = BTreeMap::from([
        ("iss", text(ISSUER)),
        ("sub", text(claims.subject.as_str())),
        ("aud", written(&claims.audience)),
        ("exp", written(&claims.expires)),
        ("iat", written(&claims.issued)),
        ("jti", text(&claims.id)),
        ("client_id", text(claims.client.as_str())),
    ]);
    said.extend((!claims.scope.is_empty()).then(|| ("scope", text(claims.scope.as_str()))));
    said.extend(claims.confirmation.map(|confirmation| ("cnf", written(&confirmation))));
    said.extend(claims.not_before.map(|nbf| ("nbf", written(&nbf))));
    said.extend(claims.session.as_ref().map(|id| ("sid", text(id.as_str()))));
    said.extend(claims.extra.iter().map(|(name, value)| (name, written(value))));
    assert_says(payload, &said);

    let session = Session {
        id: claims.session.clone().filter(|id| id.start() == claims.issued),
        dialect: Dialect::Native,
        client: claims.client.clone(),
        subject: claims.subject.clone(),
        scope: claims.scope.clone(),
        audience: claims.audience.clone(),
        claims: claims.extra.clone(),
        lifetime: None,
        sender: None,
        start: claims.issued,
        end: claims.issued.plus(SESSION_CAP),
        actor: claims.actor.clone(),
    };
    if let Some(pair) = issued(&session, claims.expires.since(claims.issued), 1, claims.issued) {
        let again = verified::<AccessClaims>(&pair.access).unwrap();
        let written = AccessClaims { id: again.id.clone(), not_before: None, confirmation: None, ..claims.clone() };
        assert_eq!(again, AccessClaims { session: session.id.clone(), ..written });
    }

    if let Some(token) = signed(payload, Purpose::Access) {
        assert_eq!(verified::<AccessClaims>(&token).as_ref(), Ok(claims));
        let answer = SERVICE.ask_as(Method::GET, &[bearer(&token)], b"");
        if admit(&SERVICE.snapshot.registry, claims).is_err() {
            assert_eq!(answer.status, 401, "{answer:?}");
            return;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text("subject"), claims.subject.as_str());
        assert_eq!(answer.headers["x-token-scope"], claims.scope.as_str());
    }
}

fn refresh(payload: &[u8], claims: &RefreshClaims) {
    let session = &claims.session;
    assert!((1..=REFRESH_CAP).contains(&claims.expires.since(claims.issued)));
    assert!((1..=SESSION_CAP).contains(&session.end.since(session.start)));
    assert!(claims.expires <= session.end && session.start <= claims.issued.plus(LEEWAY_CAP));
    assert!(session.lifetime.is_none_or(|seconds| (1..=ACCESS_CAP).contains(&seconds)));
    assert_in_force(claims.issued, claims.expires);
    assert_limits(&session.subject, &session.client, &session.audience, &session.scope, &session.claims, &claims.id);
    let mut said = BTreeMap::from([
        ("v", Json::Integer(1)),
        ("dialect", text(session.dialect.name())),
        ("iss", text(ISSUER)),
        ("sub", text(session.subject.as_str())),
        ("aud", written(&session.audience)),
        ("exp", written(&claims.expires)),
        ("iat", written(&claims.issued)),
        ("jti", text(&claims.id)),
        ("client_id", text(session.client.as_str())),
        ("session_start", written(&session.start)),
        ("session_end", written(&session.end)),
    ]);
    said.extend((!session.scope.is_empty()).then(|| ("scope", text(session.scope.as_str()))));
    said.extend((!session.claims.is_empty()).then(|| ("claims", written(&session.claims))));
    said.extend(session.lifetime.map(|seconds| ("lifetime", Json::Integer(seconds.into()))));
    assert_says(payload, &said);

    if let Some(pair) = issued(session, 1, claims.expires.since(claims.issued), claims.issued) {
        let again = verified::<RefreshClaims>(&pair.refresh).unwrap();
        assert_eq!(again, RefreshClaims { id: again.id.clone(), ..claims.clone() });
    }

    if let Some(token) = signed(payload, Purpose::Refresh) {
        let answer = SERVICE.ask_as(Method::PUT, &[bearer(&token)], b"");
        // The client may be another, or have less; the new pair may be too long.
        assert!(matches!(answer.status, 200 | 400 | 401), "{answer:?}");
        // A session that begins after all that clocks may differ by is continued with a token that nobody takes.
        if answer.status == 200 && session.start <= Timestamp::from_unix(NOW + LEEWAY_CAP) {
            let new = verified::<RefreshClaims>(&answer.text("refresh")).unwrap();
            let end = session.end.min(new.session.end);
            assert_eq!(new.session, Session { end, ..session.clone() });
            let access = verified::<AccessClaims>(&answer.text("value")).unwrap();
            assert!(access.scope.iter().all(|token| session.scope.contains(token)));
            assert!(access.audience.iter().all(|one| session.audience.contains(one.as_str())));
            assert!(access.expires <= session.end && new.expires <= session.end);
        }
    }
}

/// The token with these claims, unless it is longer than any that is read.
fn signed(payload: &[u8], purpose: Purpose) -> Option<String> {
    let now = Timestamp::from_unix(NOW);
    let key = SERVICE.snapshot.keys.signer(Alg::Es256, now).unwrap();
    let message = format!("{}.{}", key.header(purpose), URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sign(purpose, message.as_bytes()).unwrap();
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    (token.len() <= MAX_TOKEN).then_some(token)
}

fn verified<K: Kind>(token: &str) -> Result<K, Rejection> {
    let compact = Compact::parse(token).unwrap();
    verify(compact, &SERVICE.snapshot.keys, SERVICE.verifying()).map(lingpai::token::Verified::into_claims)
}

fn issued(session: &Session, access_lifetime: i64, refresh_lifetime: i64, now: Timestamp) -> Option<Pair> {
    let grant = Grant::whole(session, Alg::Es256, access_lifetime, refresh_lifetime);
    match mint(&SERVICE.snapshot.keys, ISSUER, session, &grant, now) {
        Err(MintError::TooLarge) => None,
        other => Some(other.unwrap()),
    }
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

fn assert_in_force(valid_from: Timestamp, expires: Timestamp) {
    let leeway = SERVICE.verifying().leeway;
    assert!(valid_from.unix() <= NOW + leeway && NOW < expires.unix() + leeway);
}

fn assert_limits(
    subject: &Subject,
    client: &ClientId,
    audience: &Audiences,
    scope: &Scope,
    claims: &ExtraClaims,
    id: &str,
) {
    let visible = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    assert!(visible(subject.as_str(), 255) && visible(id, 255) && visible(client.as_str(), 64));
    assert!((1..=8).contains(&audience.iter().count()));
    assert!(audience.iter().all(|one| (1..=255).contains(&one.as_str().chars().count())));
    assert!(scope.iter().count() <= 64 && scope.iter().all(|one| visible(one, 128) && !one.contains(['"', '\\'])));
    assert!(claims.iter().count() <= 16);
    for (name, value) in claims.iter() {
        assert!((1..=255).contains(&name.chars().count()));
        match written(value) {
            Json::Array(all) => assert!(all.len() <= 32 && all.iter().all(is_scalar)),
            one => assert!(is_scalar(&one)),
        }
    }
}

fn is_scalar(value: &Json) -> bool {
    match value {
        Json::Bool(_) => true,
        Json::Integer(number) => number.unsigned_abs() < 1 << 53,
        Json::Text(text) => text.chars().count() <= 255,
        _ => false,
    }
}

/// Asserts that `payload` says just this. A scope may be written in another order, one audience as an array, and no
/// extra claims as an empty object.
fn assert_says(payload: &[u8], said: &BTreeMap<&str, Json>) {
    let read = Json::read(payload).unwrap();
    let members = read.members().unwrap();
    let mut wrote = BTreeMap::new();
    for (name, value) in members {
        match (name, value) {
            ("scope", Json::Text(tokens)) => {
                wrote.insert(name, text(Scope::parse(tokens).unwrap().as_str()));
            }
            ("aud", Json::Array(all)) if all.len() == 1 => _ = wrote.insert(name, all[0].clone()),
            ("claims", Json::Object(none)) if none.is_empty() => {}
            _ => _ = wrote.insert(name, value.clone()),
        }
    }
    assert_eq!(&wrote, said);
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn written(value: &impl serde::Serialize) -> Json {
    Json::read(&serde_json::to_vec(value).unwrap()).unwrap()
}
