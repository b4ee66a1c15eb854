//! What refusals cost, counted in signature checks: timing must not reveal what a caller may not
//! know.

use futures_util::FutureExt as _;
use serde_json::json;

use super::fixture::{Service, TRUSTED};
use super::{Call, Carried, Denied, Unauthenticated};
use crate::clients::ClientAuth;
use crate::foreign::Rejected;
use crate::peer::ClientCertificate;
use crate::token::Pair;

/// Returns `token` with the signature of `other`.
fn with_signature_of(token: &str, other: &str) -> String {
    let (message, signature) = (token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    format!("{message}.{signature}")
}

/// Returns the client that the assertion `text` authenticates. No keys need to be fetched.
fn stated(call: &Call<'_>, text: &str) -> Result<String, Denied> {
    let statement = call.statement(text).now_or_never().unwrap();
    call.stated(statement).map(|caller| caller.client().id.to_string())
}

/// "An unknown client costs the same": one signature is checked, whichever client and key the
/// assertion names.
#[test]
fn an_assertion_of_nobody_costs_as_much_as_a_wrong_one() {
    let service = Service::new();
    let kid = service.key.kid().as_str();
    let good = service.assertion(&json!({"alg": "ES256", "kid": kid}), "signer");
    let authenticate = |text: &str| service.cost(0, |call| stated(&call, text));
    assert_eq!(authenticate(&good), (Ok("signer".to_owned()), 1));
    let wrong = with_signature_of(&good, &service.assertion(&json!({"alg": "ES256"}), "signer"));
    for (text, why) in [
        (wrong, Unauthenticated::Assertion(Rejected::BadSignature)),
        (service.assertion(&json!({"alg": "ES256", "kid": kid}), "nobody"), Unauthenticated::UnknownClient),
        (service.assertion(&json!({"alg": "RS256"}), "nobody"), Unauthenticated::UnknownClient),
        (service.assertion(&json!({"alg": "ES256"}), "orders"), Unauthenticated::NoKeys),
        (
            service.assertion(&json!({"alg": "ES256", "kid": "other"}), "signer"),
            Unauthenticated::Assertion(Rejected::UnknownKey),
        ),
        (
            service.assertion(&json!({"alg": "EdDSA", "kid": kid}), "signer"),
            Unauthenticated::Assertion(Rejected::WrongAlgorithm),
        ),
        (service.assertion(&json!({"alg": "PS256"}), "signer"), Unauthenticated::Assertion(Rejected::UnknownKey)),
    ] {
        assert_eq!(authenticate(&text), (Err(Denied::Client(why)), 1), "{text}");
    }
}

/// "An unknown client costs the same": a certificate is verified whichever client the request names, once for a
/// connection.
#[test]
fn a_certificate_costs_the_same_for_every_client() {
    let service = Service::new();
    let cost = |certificate: &ClientCertificate, auth: &ClientAuth| {
        service.cost(0, |call| {
            let carried = Carried { certificate: Some(certificate), ..Carried::default() };
            Call { carried, ..call }.authenticate(auth).map(|client| client.id.to_string())
        })
    };
    let refused = |why| Err(Denied::Client(why));
    for (id, why) in [
        ("nobody", Unauthenticated::UnknownClient),
        ("orders", Unauthenticated::WrongCertificate),
        ("signer", Unauthenticated::WrongCertificate),
        ("certified", Unauthenticated::WrongCertificate),
    ] {
        let auth = ClientAuth::Certificate(id.to_owned().into());
        let wrong = Service::certificate("namesakes", 2);
        for checks in [2, 0] {
            assert_eq!(cost(&wrong, &auth), (refused(why), checks), "{id}");
        }
        let right = Service::certificate("client", 1);
        let answer = if id == "certified" { Ok(id.to_owned()) } else { refused(why) };
        for checks in [1, 0] {
            assert_eq!(cost(&right, &auth), (answer.clone(), checks), "{id}");
        }
    }
    // Beside another method it is not verified.
    let secret = ClientAuth::Secret("orders".to_owned().into(), b"secret".to_vec().into());
    assert_eq!(cost(&Service::certificate("namesakes", 2), &secret), (Ok("orders".to_owned()), 0));
}

/// Which issuers are trusted, and their keys' ids and algorithms, are no secret: tokens that name none
/// of the keys, which any caller can send, cost no check.
#[test]
fn a_token_by_no_key_of_its_issuer_costs_nothing() {
    let service = Service::new();
    let vouched = |header: serde_json::Value, issuer: &str| {
        let text = service.assertion(&header, issuer);
        service.cost(0, |call| stated(&call, &text))
    };
    let kid = service.key.kid().as_str();
    let refused = |why| Err(Denied::Client(Unauthenticated::Assertion(why)));
    assert_eq!(vouched(json!({"alg": "ES256", "kid": kid}), TRUSTED), (Ok("orders".to_owned()), 1));
    assert_eq!(vouched(json!({"alg": "ES256", "kid": "other"}), TRUSTED), (refused(Rejected::UnknownKey), 0));
    assert_eq!(vouched(json!({"alg": "RS256", "kid": kid}), TRUSTED), (refused(Rejected::WrongAlgorithm), 0));
}

/// "Everything else, refresh tokens too, is exactly `{"active":false}`, at the same cost."
#[test]
fn whatever_is_not_active_costs_one_signature() {
    let service = Service::new();
    let Pair { access, refresh, .. } = service.pair();
    let introspect = |now: i64, text: &str| {
        let (answer, cost) = service.cost(now, |call| {
            let gate = call.snapshot.registry.named("gate").unwrap();
            call.introspect(gate, text).map(|_| ())
        });
        (answer.is_ok(), cost)
    };
    let forged = with_signature_of(&access, &service.pair().access);
    assert_eq!(introspect(0, &forged), (false, 1), "forged");
    // The token is for another audience: first uncached, then cached.
    assert_eq!(introspect(0, &access), (false, 1), "of another client, new");
    assert_eq!(introspect(0, &access), (false, 1), "of another client, known");
    assert_eq!(introspect(700, &access), (false, 1), "expired");
    for (text, what) in [
        (refresh.as_str(), "refresh token"),
        ("x", "garbage"),
        ("", "nothing"),
        ("a.b.c", "garbage with dots"),
        (&"é".repeat(9_000), "longer than a token may be"),
    ] {
        assert_eq!(introspect(0, text), (false, 1), "{what}");
    }
}
