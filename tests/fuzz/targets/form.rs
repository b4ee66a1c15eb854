//! The forms of `POST /oauth2/token`: what is let through says what a plain reading of it says, and the token is just that.
#![no_main]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::{AUDIENCE, CLIENT, SCOPE, SECRET, SERVICE};
use libfuzzer_sys::fuzz_target;
use lingpai::token::{AccessClaims, Compact, verify};
use poem::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use poem::http::{HeaderValue, Method};

const KINDS: [&str; 5] =
    ["invalid_request", "invalid_scope", "invalid_target", "unauthorized_client", "unsupported_grant_type"];

fuzz_target!(|body: &[u8]| {
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
    let fields = vec![
        (AUTHORIZATION, HeaderValue::try_from(basic).unwrap()),
        (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
    ];
    let answer = SERVICE.ask_at("/oauth2/token", ([192, 0, 2, 1], 4711).into(), Method::POST, fields, body);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json", "{answer:?}");
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{answer:?}");
    let Some(asked) = read(body).as_deref().and_then(Asked::of) else {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(KINDS.contains(&answer.text("error").as_str()), "{answer:?}");
        let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(answer.text("error_description").bytes().all(allowed), "{answer:?}");
        return;
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.text("access_token");
    let compact = Compact::parse(&token).unwrap();
    let claims = verify::<AccessClaims>(compact, &SERVICE.snapshot.keys, SERVICE.verifying()).unwrap().into_claims();
    assert_eq!(claims.scope.iter().map(str::to_owned).collect::<BTreeSet<_>>(), asked.scope);
    assert_eq!(claims.audience.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), asked.audience);
    assert_eq!(answer.text("scope"), claims.scope.as_str());
});

/// What a form asks for, if this client gets it.
struct Asked {
    scope: BTreeSet<String>,
    audience: BTreeSet<String>,
}

impl Asked {
    fn of(parameters: &[(String, String)]) -> Option<Self> {
        let mut names = BTreeSet::new();
        let may_repeat = |name: &str| matches!(name, "audience" | "resource");
        if parameters.iter().any(|(name, _)| !may_repeat(name) && !names.insert(name.as_str())) {
            return None;
        }
        let all = |name: &'static str| {
            parameters
                .iter()
                .filter(move |(one, value)| one == name && !value.is_empty())
                .map(|(_, value)| value.as_str())
        };
        let one = |name| all(name).next();
        let credentials = ["client_secret", "client_assertion", "client_assertion_type"];
        if one("grant_type") != Some("client_credentials")
            || credentials.into_iter().any(|name| one(name).is_some())
            || one("client_id").is_some_and(|id| id != CLIENT)
        {
            return None;
        }
        let scope: Vec<_> = one("scope").map_or_else(|| SCOPE.to_vec(), |text| text.split(' ').collect());
        let targets: Vec<_> = all("audience").chain(all("resource")).collect();
        if scope.len() > 64 || targets.len() > 8 {
            return None;
        }
        let audience = if targets.is_empty() { AUDIENCE.to_vec() } else { targets };
        let right =
            scope.iter().all(|token| SCOPE.contains(token)) && audience.iter().all(|one| AUDIENCE.contains(one));
        let own = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
        right.then(|| Self { scope: own(scope), audience: own(audience) })
    }
}

/// A form, byte for byte (WHATWG URL §5.1), with no broken escape and nothing that is not UTF-8.
fn read(body: &[u8]) -> Option<Vec<(String, String)>> {
    std::str::from_utf8(body).ok()?;
    let mut all = Vec::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(equals);
        all.push((decoded(name)?, decoded(value.get(1..).unwrap_or_default())?));
    }
    Some(all)
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.iter();
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}
