//! `private_key_jwt`: assertions that clients sign (RFC 7523 §2.2), and their key sets.

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use super::{CLIENT_CREDENTIALS, JWT_BEARER, OAuth as _, jwk, with_signer};
use crate::app::{Answer, ISSUER, SECRET, START, TestApp, standard};
use crate::forge::Forge;

/// A client's key, and what it signs: the header's members, then the payload.
fn assertion(forge: &Forge, header: &str, payload: &str) -> String {
    forge.token(Purpose::Access, header, payload)
}

fn client_payload(changes: &[(&str, Value)]) -> String {
    let mut payload = json!({
        "iss": "signer", "sub": "signer", "aud": ISSUER, "exp": START + 300, "iat": START, "jti": "1",
    });
    for (name, value) in changes {
        if value.is_null() {
            payload.as_object_mut().unwrap().shift_remove(*name);
        } else {
            payload[*name] = value.clone();
        }
    }
    payload.to_string()
}

fn with_assertion(app: &TestApp, assertion: &str, more: &str) -> Answer {
    let form = format!("{CLIENT_CREDENTIALS}&client_assertion_type={JWT_BEARER}&client_assertion={assertion}{more}");
    app.form("/oauth2/token", &[], &form)
}

/// "`private_key_jwt` (RFC 7523): `client_assertion` is signed by a key of the client's `jwks` file with `ES256`,
/// `EdDSA` (also named Ed25519; a key of either `alg` matches both names), PS256 or RS256; `iss` = `sub` = the client; `aud` is
/// the issuer or the token endpoint's URL, alone or in an array of one."
#[test]
fn a_client_signs_its_assertions() {
    let forges = Forge::all();
    let app = with_signer(&forges.iter().collect::<Vec<_>>());
    for forge in &forges {
        let names: &[&str] = if forge.alg == "EdDSA" { &["EdDSA", "Ed25519"] } else { &[forge.alg] };
        for alg in names {
            let kid = &forge.kid;
            for header in [
                json!({"alg": alg, "kid": kid}),
                json!({"alg": alg, "kid": kid, "typ": "JWT"}),
                json!({"alg": alg, "kid": kid, "typ": "client-authentication+jwt", "x5t": "ignored", "more": 1}),
            ] {
                let answer = with_assertion(&app, &assertion(forge, &header.to_string(), &client_payload(&[])), "");
                assert_eq!((answer.status, answer.json()["scope"].as_str()), (200, Some("s")), "{header} {answer:?}");
                assert!(answer.json()["refresh_token"].is_string());
            }
        }
    }
    let forge = &forges[0];
    let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
    let endpoint = format!("{ISSUER}/oauth2/token");
    for aud in [json!(ISSUER), json!([ISSUER]), json!(endpoint), json!([endpoint])] {
        let signed = assertion(forge, &header, &client_payload(&[("aud", aud.clone())]));
        assert_eq!(with_assertion(&app, &signed, "").status, 200, "{aud}");
    }
    let signed = assertion(forge, &header, &client_payload(&[]));
    // "It may be presented again until it expires", and introspects too.
    assert_eq!(with_assertion(&app, &signed, "&client_id=signer").status, 200);
    let token = app.create("").text("value");
    let form = format!("token={token}&client_assertion_type={JWT_BEARER}&client_assertion={signed}");
    assert_eq!(app.form("/oauth2/introspect", &[], &form).json()["active"], true);
    // "`exp` is at most 3600 s + `leeway` ahead."
    let until = |seconds: i64| assertion(forge, &header, &client_payload(&[("exp", json!(START + seconds))]));
    assert_eq!(with_assertion(&app, &until(3_605), "").status, 200);
    with_assertion(&app, &until(3_606), "").assert_invalid_client(false);
    let ahead = |seconds: i64| assertion(forge, &header, &client_payload(&[("iat", json!(START + seconds))]));
    assert_eq!(with_assertion(&app, &ahead(10), "").status, 200);
    with_assertion(&app, &ahead(11), "").assert_invalid_client(false);
}

/// Each is a good assertion but for one thing, signed with the client's own key.
#[test]
fn wrong_assertions() {
    let forges = Forge::all();
    let (forge, other) = (&forges[0], &forges[1]);
    let app = with_signer(&[forge]);
    let kid = forge.kid.as_str();
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let good = assertion(forge, &header, &client_payload(&[]));
    assert_eq!(with_assertion(&app, &good, "").status, 200);
    let headers = [
        json!({"alg": "none", "kid": kid}).to_string(),
        json!({"alg": "HS256", "kid": kid}).to_string(),
        json!({"alg": "RS256", "kid": kid}).to_string(),
        json!({"alg": ["ES256"], "kid": kid}).to_string(),
        format!(r#"{{"alg":"ES\u0032\u0035\u0036","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}"}}"#),
        json!({"alg": "ES256", "kid": "other"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "crit": []}).to_string(),
        json!({"alg": "ES256", "kid": kid, "b64": true}).to_string(),
        json!({"alg": "ES256", "kid": kid, "zip": "DEF"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "enc": "A256GCM"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "jku": "https://a.example"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "x5u": "https://a.example"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "jwk": jwk(forge)}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "dpop+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "JOSE"}).to_string(),
    ];
    let mut wrong: Vec<_> = headers.iter().map(|header| assertion(forge, header, &client_payload(&[]))).collect();
    let payloads = [
        ("iss", json!("orders")),
        ("sub", json!("orders")),
        ("sub", json!(1)),
        ("iss", json!(["signer"])),
        ("iss", Value::Null),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("aud", json!("https://other.example.com")),
        ("aud", json!([ISSUER, "https://other.example.com"])),
        ("aud", json!([])),
        ("aud", json!(format!("{ISSUER}/"))),
        ("exp", Value::Null),
        ("exp", json!(START - 5)),
        ("exp", json!("1780315500")),
        ("exp", json!(1_780_315_500.5)),
        ("nbf", json!(START + 11)),
        ("nbf", json!("x")),
        ("iat", json!(1.5)),
    ];
    wrong
        .extend(payloads.iter().map(|change| assertion(forge, &header, &client_payload(std::slice::from_ref(change)))));
    let other_key = assertion(other, &header, &client_payload(&[]));
    wrong.extend([
        other_key,
        assertion(forge, &header, "[]"),
        assertion(forge, &header, &client_payload(&[]).replacen('{', r#"{"sub":"signer","#, 1)),
        good[..good.len() - 1].to_owned(),
        format!("{good}="),
        "a.b.c".to_owned(),
        "x".to_owned(),
        "x".repeat(9_000),
    ]);
    for wrong in &wrong {
        let answer = with_assertion(&app, wrong, "");
        assert_eq!(answer.status, 401, "{wrong}");
        answer.assert_invalid_client(false);
    }
    with_assertion(&app, &good, "&client_id=orders").assert_oauth(401, "invalid_client");
    // "Two methods are `invalid_request`."
    let two = format!("&client_id=signer&client_secret={SECRET}");
    with_assertion(&app, &good, &two).assert_oauth(400, "invalid_request");
    for form in [
        format!("{CLIENT_CREDENTIALS}&client_assertion={good}"),
        format!("{CLIENT_CREDENTIALS}&client_assertion_type={JWT_BEARER}"),
        format!("{CLIENT_CREDENTIALS}&client_assertion={good}&client_assertion_type=other"),
    ] {
        app.form("/oauth2/token", &[], &form).assert_oauth(400, "invalid_request");
    }
    // A right one is heard whatever failed before it.
    assert_eq!(with_assertion(&app, &good, "").status, 200);
}

/// A changed key set is a change of the configuration; a private key in it is refused by name.
#[test]
fn key_sets_are_reloaded() {
    let forges = Forge::all();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signer.json");
    let write = |keys: Value| {
        let aside = folder.path().join(".new");
        std::fs::write(&aside, json!({"keys": keys}).to_string()).unwrap();
        std::fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    };
    write(json!([jwk(&forges[0])]));
    let config = standard() + &format!("[[clients]]\nid = \"signer\"\njwks = \"{}\"\n", file.display());
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let signed = |forge: &Forge| {
        let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
        with_assertion(&app, &assertion(forge, &header, &client_payload(&[])), "").status
    };
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (200, 401));
    write(json!([jwk(&forges[1])]));
    app.look().look();
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (401, 200));
    let mut private = jwk(&forges[0]);
    private["d"] = "x".into();
    write(json!([private]));
    app.look().look();
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (401, 200));
    let said = app.operator("/readyz").json()["reload_error"].to_string();
    assert!(said.contains("signer.json") && said.contains("\\\"d\\\""), "{said}");
}
