//! What holds for every session, asked of the library: what is minted, what
//! jsonwebtoken says to it, and what a refresh may do.

use std::fmt::Write as _;
use std::sync::LazyLock;

use lingpai::clients::{Registry, SecretDigest, renew};
use lingpai::clock::Timestamp;
use lingpai::foreign::{HeaderPolicy, KeySet, Owner, Rejected, TargetUrl, Unverified, verify_signature};
use lingpai::keys::{Alg, KeyRing, Purpose};
use lingpai::token::{
    AccessClaims, Audience, Audiences, ClientId, Compact, Dialect, ExtraClaims, Grant, Kind, MintError, Pair,
    RefreshClaims, Rejection, Scope, ScopeToken, Session, Subject, Verified, Verifying, mint, verify,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::app::{ISSUER, SECRET, START, load};
use crate::forge::{DAY, Forge, at, ring};

/// The leeway of [`at`].
const LEEWAY: i64 = 5;

static RING: LazyLock<KeyRing> = LazyLock::new(ring);

fn check<K: Kind>(token: &str, keys: &KeyRing, with: Verifying<'_>) -> Result<K, Option<Rejection>> {
    verify(Compact::parse(token).ok_or(None)?, keys, with).map(Verified::into_claims).map_err(Some)
}

fn extra_claims() -> impl Strategy<Value = ExtraClaims> {
    let scalar = prop_oneof![
        "[^\"]{0,20}".prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        (-9_007_199_254_740_991i64..=9_007_199_254_740_991).prop_map(serde_json::Value::from),
    ];
    let value = prop_oneof![scalar.clone(), vec(scalar, 0..5).prop_map(serde_json::Value::from)];
    btree_map("x_.{0,8}", value, 0..8).prop_map(|claims| {
        let object: serde_json::Map<_, _> = claims.into_iter().collect();
        serde_json::from_value(object.into()).unwrap()
    })
}

prop_compose! {
    /// Any session, at its start.
    fn session()(
        client in "[A-Za-z0-9._~-]{1,64}",
        subject in "[!-~]{1,255}",
        scope in btree_set("[!#-\\[\\]-~]{1,40}", 0..20),
        audience in btree_set("[^\\p{Cc}]{1,60}", 1..=8),
        claims in extra_claims(),
        lifetime in proptest::option::of(1..=DAY),
        start in START..4_000_000_000,
        lives in 1..=365 * DAY,
    ) -> Session {
        Session {
            id: None,
            dialect: Dialect::Native,
            client: ClientId::parse(&client).unwrap(),
            subject: Subject::parse(&subject).unwrap(),
            scope: Scope::collect(scope.iter().map(|token| ScopeToken::parse(token).unwrap())).unwrap(),
            audience: Audiences::collect(audience.iter().map(|one| Audience::parse(one).unwrap())).unwrap(),
            claims,
            lifetime,
            sender: None,
            start: Timestamp::from_unix(start),
            end: Timestamp::from_unix(start + lives),
            actor: None,
        }
    }
}

/// None if the generated session is larger than a token may be.
fn minted(keys: &KeyRing, alg: Alg, session: &Session, access: i64, refresh: i64) -> Option<Pair> {
    match mint(keys, ISSUER, session, &Grant::whole(session, alg, access, refresh), session.start) {
        Err(MintError::TooLarge) => None,
        other => Some(other.unwrap()),
    }
}

fn assert_lives<K: Kind + std::fmt::Debug>(token: &str, keys: &KeyRing, issued: i64, expires: i64) {
    let judge = |now| check::<K>(token, keys, at(now)).map(drop);
    for now in [issued - LEEWAY, issued, expires - 1, expires + LEEWAY - 1] {
        assert_eq!(judge(now), Ok(()), "at {now}");
    }
    assert_eq!(judge(issued - LEEWAY - 1), Err(Some(Rejection::NotYetValid)));
    for now in [expires + LEEWAY, expires + DAY, i64::MAX] {
        assert_eq!(judge(now), Err(Some(Rejection::Expired)), "at {now}");
    }
}

/// Checks the signature of an access token with the JWKS alone, by jsonwebtoken.
fn verify_with_jwks(token: &str, jwks: &str) -> Result<(), Rejected> {
    let keys = KeySet::parse(jwks.as_bytes(), Owner::Issuer).unwrap();
    verify_signature(&Unverified::parse(token, HeaderPolicy::ACCESS_TOKEN)?, &keys)
}

proptest! {
    // Fewer than usual: RSA takes its time without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// jsonwebtoken is the oracle: code of others accepts what is minted here,
    /// with the JWKS alone; and what is read back is what was said.
    #[test]
    fn what_is_minted_is_accepted(session in session(), access in 1..=DAY, refresh in 1..=90 * DAY) {
        let mut forms = Vec::new();
        let keys = &*RING;
        for alg in Alg::ALL {
            let Some(pair) = minted(keys, alg, &session, access, refresh) else { continue };
            let jwks = keys.jwks(session.start);
            let jwks = std::str::from_utf8(jwks.document().body()).unwrap();
            prop_assert_eq!(verify_with_jwks(&pair.access, jwks), Ok(()));
            prop_assert!(verify_with_jwks(&pair.refresh, jwks).is_err(), "a refresh token is nobody else's");

            let start = session.start.unix();
            let claims: AccessClaims = check(&pair.access, keys, at(start)).unwrap();
            prop_assert_eq!(claims.expires, session.end.min(session.start.plus(access)));
            prop_assert_eq!((claims.issued, claims.expires, &*claims.id), (session.start, pair.expires, &*pair.id));
            let continued: RefreshClaims = check(&pair.refresh, keys, at(start)).unwrap();
            prop_assert_eq!(continued.expires, session.end.min(session.start.plus(refresh)));
            prop_assert_eq!(&continued.session, &session);
            prop_assert_ne!(&continued.id, &claims.id);

            assert_lives::<AccessClaims>(&pair.access, keys, start, claims.expires.unix());
            assert_lives::<RefreshClaims>(&pair.refresh, keys, start, continued.expires.unix());
            forms.push((claims.subject, claims.client, claims.scope, claims.audience, claims.extra));
        }
        for form in forms {
            let Session { subject, client, scope, audience, claims, .. } = session.clone();
            prop_assert_eq!(form, (subject, client, scope, audience, claims));
        }
    }

    /// One character is another, one is gone, or one too many.
    #[test]
    fn what_is_changed_is_refused(
        session in session(),
        place in any::<prop::sample::Index>(),
        other in "[A-Za-z0-9._=~+/-]",
    ) {
        let keys = &*RING;
        for alg in Alg::ALL {
            let Some(pair) = minted(keys, alg, &session, 600, DAY) else { continue };
            let jwks = keys.jwks(session.start);
            let jwks = std::str::from_utf8(jwks.document().body()).unwrap();
            for (purpose, token) in [(Purpose::Access, &pair.access), (Purpose::Refresh, &pair.refresh)] {
                let index = place.index(token.len());
                let (before, rest) = token.split_at(index);
                for changed in [
                    format!("{before}{other}{}", &rest[1..]),
                    format!("{before}{other}{rest}"),
                    format!("{before}{}", &rest[1..]),
                    before.to_owned(),
                ] {
                    if changed == *token {
                        continue;
                    }
                    let now = at(session.start.unix());
                    let accepted = match purpose {
                        Purpose::Access | Purpose::Revocations => check::<AccessClaims>(&changed, keys, now).is_ok(),
                        Purpose::Refresh => check::<RefreshClaims>(&changed, keys, now).is_ok(),
                    };
                    prop_assert!(!accepted, "{}", changed);
                    // The other reader is no more lenient.
                    prop_assert!(verify_with_jwks(&changed, jwks).is_err(), "{}", changed);
                }
            }
        }
    }

}

proptest! {
    /// Nothing that is presented brings the reader down.
    #[test]
    fn any_text_is_judged(text in prop_oneof!["\\PC{0,200}", "[A-Za-z0-9_.=-]{0,300}", "(?s).{0,200}", "\\.{0,9}"]) {
        prop_assert!(check::<AccessClaims>(&text, &RING, at(START)).is_err());
        prop_assert!(check::<RefreshClaims>(&text, &RING, at(START)).is_err());
    }

    /// Even if it is signed: JSON of any members and values reaches the claims.
    #[test]
    fn any_signed_text_is_judged(
        members in vec((name(), json()), 0..20),
        noise in proptest::option::of(vec(any::<u8>(), 0..60)),
        now in any::<i64>(),
    ) {
        static FORGE: LazyLock<Forge> = LazyLock::new(Forge::es256);
        let mut payload = String::from("{");
        for (name, value) in members {
            let _ = write!(payload, "{}\"{name}\":{value}", if payload.len() == 1 { "" } else { "," });
        }
        payload.push('}');
        let payload = noise.unwrap_or(payload.into_bytes());
        let (now, keys) = (at(now), &*RING);
        let access = check::<AccessClaims>(&FORGE.sign_payload(Purpose::Access, &payload), keys, now);
        let refresh = check::<RefreshClaims>(&FORGE.sign_payload(Purpose::Refresh, &payload), keys, now);
        prop_assert!(access.is_err() && refresh.is_err());
    }
}

fn name() -> impl Strategy<Value = String> {
    let known =
        ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "v", "dialect", "claims", "cnf"];
    let session = ["lifetime", "session_start", "session_end"];
    prop_oneof![proptest::sample::select([&known[..], &session].concat()).prop_map(str::to_owned), "[a-z]{0,4}"]
}

fn json() -> impl Strategy<Value = String> {
    let near = (START - 10..START + 10).prop_map(|at| at.to_string());
    let text = "[a-z :]{0,9}".prop_map(|text| format!("\"{text}\""));
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(format!("\"{ISSUER}\"")),
        Just("\"native\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        near,
        text,
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let array = vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(",")));
        prop_oneof![array, inner.prop_map(|value| format!("{{\"x\":{value}}}"))]
    })
}

/// Every single bit of a token of each form counts: none is refused by luck.
#[test]
fn every_bit_counts() {
    let keys = &*RING;
    for forge in &Forge::all() {
        for purpose in [Purpose::Access, Purpose::Refresh] {
            let right = forge.right(purpose);
            let judge = |token: &str| match purpose {
                Purpose::Access | Purpose::Revocations => check::<AccessClaims>(token, keys, at(START)).is_ok(),
                Purpose::Refresh => check::<RefreshClaims>(token, keys, at(START)).is_ok(),
            };
            assert!(judge(&right));
            for place in 0..right.len() {
                // The eighth bit would not leave UTF-8.
                for bit in 0..7 {
                    let mut bytes = right.clone().into_bytes();
                    bytes[place] ^= 1 << bit;
                    let wrong = String::from_utf8(bytes).unwrap();
                    assert!(!judge(&wrong), "{} {purpose:?}: bit {bit} of byte {place}", forge.alg);
                }
            }
        }
    }
}

const SCOPES: [&str; 5] = ["a", "b", "c", "d:e", "f/g"];
const AUDIENCES: [&str; 3] = ["https://a.example.com", "https://b.example.com", "urn:c"];
const CLAIMS: [&str; 3] = ["x", "y", "z"];

/// What the configuration says about the client when it refreshes.
#[derive(Debug, Clone)]
struct Policy {
    scope: Vec<&'static str>,
    audience: Vec<&'static str>,
    claims: Vec<&'static str>,
    lifetimes: [i64; 3],
    /// Seconds since the step before.
    later: i64,
}

prop_compose! {
    fn policy()(
        scope in subsequence(SCOPES.to_vec(), 1..=5),
        audience in subsequence(AUDIENCES.to_vec(), 1..=3),
        claims in subsequence(CLAIMS.to_vec(), 0..=3),
        lifetimes in (1..=DAY, 1..=90 * DAY, 1..=365 * DAY).prop_map(<[i64; 3]>::from),
        later in 0..40 * DAY,
    ) -> Policy {
        Policy { scope, audience, claims, lifetimes, later }
    }
}

impl Policy {
    fn registry(&self) -> Registry {
        let Self { scope, audience, claims, lifetimes: [access, refresh, session], .. } = self;
        let digest = SecretDigest::of(SECRET.as_bytes()).written();
        let config = format!(
            "issuer = \"{ISSUER}\"\n[[clients]]\nid = \"c\"\nsecrets = [\"{digest}\"]\nscope = {scope:?}\naudience = \
             {audience:?}\nclaims = {claims:?}\naccess_lifetime = \"{access}s\"\nrefresh_lifetime = \
             \"{refresh}s\"\nsession_lifetime = \"{session}s\"\n"
        );
        Registry::compile(&load(tempfile::tempdir().unwrap().path(), &config).unwrap()).unwrap()
    }
}

fn scope_of(tokens: &[&str]) -> Scope {
    Scope::collect(tokens.iter().map(|token| ScopeToken::parse(token).unwrap())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A chain of refreshes, each under another configuration: nothing ever
    /// grows, and what the session was given at its start stays in it.
    #[test]
    fn a_refresh_never_widens(
        start in policy(),
        lifetime in proptest::option::of(1..=DAY),
        steps in vec((policy(), proptest::option::of(subsequence(SCOPES.to_vec(), 1..=5))), 1..6),
    ) {
        let (keys, alg) = (&*RING, Alg::EdDsa);
        let claims: serde_json::Map<_, _> = start.claims.iter().map(|name| ((*name).to_owned(), 1.into())).collect();
        let mut now = Timestamp::from_unix(START);
        let first = Session {
            id: None,
            dialect: Dialect::Native,
            client: ClientId::parse("c").unwrap(),
            subject: Subject::parse("c").unwrap(),
            scope: scope_of(&start.scope),
            audience: Audiences::collect(start.audience.iter().map(|one| Audience::parse(one).unwrap())).unwrap(),
            claims: serde_json::from_value(claims.into()).unwrap(),
            lifetime,
            sender: None,
            start: now,
            end: now.plus(start.lifetimes[2]),
            actor: None,
        };
        let mut end = first.end;
        let mut pair = minted(keys, alg, &first, start.lifetimes[0], start.lifetimes[1]).unwrap();
        for (policy, asked) in steps {
            now = now.plus(policy.later);
            let Ok(read) = check::<RefreshClaims>(&pair.refresh, keys, at(now.unix())) else { break };
            let registry = policy.registry();
            let Ok(mut renewal) = renew(&registry, read.session, now) else { break };
            if let Some(asked) = asked {
                let may = asked.iter().all(|token| policy.scope.contains(token) && first.scope.contains(token));
                let asked = asked.iter().map(|token| ScopeToken::parse(token).unwrap()).collect();
                prop_assert_eq!(renewal.narrow(asked).is_ok(), may, "beyond the original or the current scope is 403");
            }
            pair = mint(keys, ISSUER, &renewal.session, &renewal.grant(), now).unwrap();

            let access: AccessClaims = check(&pair.access, keys, at(now.unix())).unwrap();
            prop_assert!(access.scope.iter().all(|token| first.scope.contains(token) && policy.scope.contains(&token)));
            prop_assert!(access.audience.iter().all(|one| first.audience.contains(one.as_str())));
            prop_assert!(access.audience.iter().all(|one| policy.audience.contains(&one.as_str())));
            prop_assert!(access.extra.iter().all(|(name, _)| start.claims.contains(&name)));
            prop_assert!(access.extra.iter().all(|(name, _)| policy.claims.contains(&name)));
            prop_assert_eq!((&access.subject, &access.client), (&first.subject, &first.client));
            prop_assert!(access.expires.since(now) <= lifetime.unwrap_or(DAY).min(policy.lifetimes[0]));

            let read: RefreshClaims = check(&pair.refresh, keys, at(now.unix())).unwrap();
            prop_assert!(read.session.end <= end.min(first.start.plus(policy.lifetimes[2])), "the end never moves out");
            end = read.session.end;
            prop_assert!(access.expires <= end && read.expires <= end && now < access.expires && now < read.expires);
            prop_assert!(read.expires.since(now) <= policy.lifetimes[1]);
            prop_assert_eq!(read.session, Session { end, ..first.clone() }, "the original is kept");
        }
    }

    /// What compares equal is what is written alike, so the normal form of a URL is its own.
    #[test]
    fn a_normal_form_is_its_own(text in "(http|HTTPS)://(A|\\[::1\\])(:443){0,2}/(%{0,2}(34|41|2E|zz|\\.|/)){0,8}") {
        if let Some(url) = TargetUrl::parse(&text) {
            prop_assert_eq!(TargetUrl::parse(url.as_str()), Some(url));
        }
    }
}
