//! The assertion: signatures, claims, SPIFFE identities, and each door that takes it.

use std::time::Instant;

use serde_json::{Value, json};

use super::{CI, EXCHANGE, JWT_BEARER, PIPES, job, signed, signed_as, start};
use crate::app::{ISSUER, SECRET, START, basic, segment};
use crate::oauth2::{JWT_BEARER as ASSERTION_TYPE, OAuth as _};

const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// "They present it in whichever way their library can"; "the first that matches speaks"; "`subject`"; "a further limit,
/// also on the default"; "a federated identity, jwt-bearer and exchange never get" a refresh token.
#[test]
fn an_identity_gets_a_token_through_each_door() {
    let with = start();
    let claims = with.given(&with.of_ci(&json!({})), "");
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("ci:7:refs/heads/main"), &json!("deploy")));
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("deploy:run"), &json!("https://api.example.com")));
    // "Our token does not end with the foreign one: the client's `access_lifetime` bounds it."
    assert_eq!((&claims["exp"], claims.get("act")), (&json!(START + 600), None));
    for answer in with.doors(&with.of_ci(&json!({})), "&scope=deploy:read") {
        answer.assert_oauth(400, "invalid_scope");
    }
    let answer = &with.doors(&with.of_ci(&json!({})), "")[2];
    assert_eq!(answer.json()["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let other = json!({
        "sub": "repo:acme/x:y/z", "trusted": true, "teams": ["web", "core"],
        "kubernetes.io": {"namespace": "prod", "pod": {"name": "p"}},
    });
    let claims = with.given(&with.of_ci(&other), "");
    assert_eq!(
        (&claims["sub"], &claims["client_id"], &claims["scope"]),
        (&json!("pod"), &json!("pod"), &json!("deploy:read"))
    );
    // "A foreign token may be presented again until it expires."
    let token = with.of_ci(&json!({}));
    assert_eq!(with.given(&token, ""), with.given(&token, ""));
}

/// "Foreign tokens are read strictly"; "`aud` is one string, or an array of one"; "Without `iat`, `max_age` bounds
/// `exp − now`."
#[test]
fn only_what_the_issuer_signed_for_us() {
    let with = start();
    let [ci, pipes, spiffe] = &with.forges;
    assert_eq!(with.given(&with.of_ci(&json!({"aud": [ISSUER]})), "")["client_id"], "deploy");
    assert_eq!(with.given(&with.of_ci(&json!({"iat": null, "exp": START + 3_605})), "")["client_id"], "deploy");
    for changes in [
        json!({"aud": "urn:other"}),
        json!({"aud": [ISSUER, "urn:other"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"aud": format!("{ISSUER}/oauth2/token")}),
        json!({"exp": START - 5}),
        json!({"exp": START + 3_600}),
        json!({"iat": null, "exp": START + 3_606}),
        json!({"iat": START + 11}),
        json!({"nbf": START + 11}),
        json!({"exp": null}),
        json!({"sub": null}),
        json!({"iss": [CI]}),
        json!({"iss": format!("{CI}/")}),
        json!({"iss": "https://unknown.example"}),
        // Another issuer's name, under this one's key.
        json!({"iss": PIPES, "aud": "urn:other"}),
        json!({"sub": "spiffe://example.org/ns/a/sa/web", "iss": null}),
    ] {
        let token = with.of_ci(&changes);
        let [authentication, assertion, exchange] = with.doors(&token, "");
        authentication.assert_invalid_client(false);
        assertion.assert_oauth(400, "invalid_grant");
        // A token that names no trusted issuer is taken for one of ours, whose client must authenticate.
        assert!([400, 401].contains(&exchange.status), "{changes}");
    }
    for forge in [pipes, spiffe] {
        with.assert_failed(&signed(forge, &job(&json!({}))), "");
        with.assert_failed(&signed_as(forge, &json!({"alg": forge.alg, "kid": ci.kid}), &job(&json!({}))), "");
    }
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "client-authentication+jwt"] {
        let token = signed_as(ci, &json!({"alg": "ES256", "kid": ci.kid, "typ": typ}), &job(&json!({})));
        assert!(with.doors(&token, "").iter().all(|answer| answer.status >= 400), "{typ}");
    }
    for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": ci.kid, "typ": "JOSE"})] {
        assert_eq!(with.given(&signed_as(ci, &header, &job(&json!({}))), "")["client_id"], "deploy");
    }
    // `max_age` is the issuer's own.
    let of_pipes =
        |exp: i64| signed(pipes, &json!({"iss": PIPES, "sub": "x", "aud": "urn:other", "iat": START, "exp": exp}));
    assert_eq!(with.given(&of_pipes(START + 600), "")["client_id"], "pod");
    with.assert_failed(&of_pipes(START + 601), "");
}

/// "With `spiffe`, `sub` begins with `spiffe://<domain>/`, `iss` is not read."
#[test]
fn spiffe_identities() {
    let with = start();
    let forge = &with.forges[2];
    let svid = |sub: &str, iss: &Value| {
        let mut claims = json!({"sub": sub, "aud": [ISSUER], "exp": START + 300, "iat": START});
        if !iss.is_null() {
            claims["iss"] = iss.clone();
        }
        signed(forge, &claims)
    };
    // Not even if another issuer, or a client without keys, has this name.
    for iss in [Value::Null, json!("https://spire.example"), json!(ISSUER), json!(CI), json!("orders")] {
        assert_eq!(with.given(&svid("spiffe://example.org/ns/a/sa/web", &iss), "")["client_id"], "pod", "{iss}");
    }
    let token = svid("spiffe://example.org/ns/a/sa/web", &Value::Null);
    let form = format!("grant_type=client_credentials&client_assertion_type={SPIFFE_TYPE}&client_assertion={token}");
    assert_eq!(with.post(&form).status, 200);
    for sub in [
        "spiffe://example.org/ns/a/sa/web-evil",
        "spiffe://example.org/ns/a/b/sa/web",
        "spiffe://example.org/ns//sa/web",
        "spiffe://example.org/ns/../sa/web",
        "spiffe://example.org/ns/a%2f/sa/web",
        "spiffe://example.org/",
    ] {
        with.assert_failed(&svid(sub, &Value::Null), "");
    }
    for sub in ["spiffe://example.org", "spiffe://example.org.evil/ns/a/sa/web", "spiffe://Example.org/ns/a/sa/web"] {
        assert!(with.doors(&svid(sub, &Value::Null), "").iter().all(|answer| answer.status >= 400), "{sub}");
    }
    // A client with keys speaks for itself where it may. It signs no token for exchange.
    let [authentication, assertion, exchange] =
        with.doors(&svid("spiffe://example.org/ns/a/sa/web", &json!("signer")), "");
    authentication.assert_invalid_client(false);
    assertion.assert_oauth(400, "invalid_grant");
    assert_eq!(exchange.status, 200);
}

/// "`assertion` signed by the client itself": also about a subject that is a workload of a trusted domain.
#[test]
fn a_client_s_assertion_about_a_workload() {
    let with = start();
    let assertion = |sub: &str| signed(&with.forges[0], &job(&json!({"iss": "signer", "sub": sub})));
    let workload = assertion("spiffe://example.org/ns/a/sa/web");
    let answer = with.post(&format!("grant_type={JWT_BEARER}&assertion={workload}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = segment(&answer.text("access_token"), 1);
    assert_eq!([&told["sub"], &told["client_id"]], ["spiffe://example.org/ns/a/sa/web", "signer"]);
    // "Within `subjects`."
    let other = assertion("spiffe://example.org/ns/b/sa/web");
    with.post(&format!("grant_type={JWT_BEARER}&assertion={other}")).assert_oauth(400, "invalid_grant");
    // Beside a grant, the same statement is no authentication: its subject is not the client.
    let by = format!("client_assertion_type={ASSERTION_TYPE}&client_assertion={workload}");
    with.post(&format!("grant_type=client_credentials&{by}")).assert_invalid_client(false);
}

/// "`subject_token` (without client authentication; a caller that authenticates must be the rule's client, and
/// `actor_token` is refused)"; "another method beside it must be the same client's".
#[test]
fn other_methods_beside_it() {
    let with = start();
    let token = with.of_ci(&json!({}));
    let subject = format!(
        "grant_type={EXCHANGE}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:id_token"
    );
    let assertion = format!("grant_type={JWT_BEARER}&assertion={token}");
    for (form, error) in [(&subject, "invalid_request"), (&assertion, "invalid_grant")] {
        assert_eq!(with.post(form).status, 200);
        with.app.form("/oauth2/token", &[&basic("orders", SECRET)], form).assert_oauth(400, error);
        with.app.form("/oauth2/token", &[&basic("orders", "wrong")], form).assert_invalid_client(true);
        let beside = |token: &str| format!("{form}&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}");
        assert_eq!(with.post(&beside(&token)).status, 200);
        with.post(&beside(&with.of_ci(&json!({"sub": "narrow"})))).assert_oauth(400, error);
        with.post(&beside("x")).assert_invalid_client(false);
    }
    let actor = format!("{subject}&actor_token={token}&actor_token_type=urn:ietf:params:oauth:token-type:jwt");
    with.post(&actor).assert_oauth(400, "invalid_request");
    // Vouched for, a client may exchange and introspect, within the rule's scope; it may not refresh.
    let by = format!("client_assertion_type={ASSERTION_TYPE}&client_assertion={token}");
    with.post(&format!("grant_type=refresh_token&refresh_token=x&{by}")).assert_oauth(400, "unauthorized_client");
    let own = with.post(&format!("grant_type=client_credentials&{by}")).text("access_token");
    let introspected = with.app.form("/oauth2/introspect", &[], &format!("token={own}&{by}"));
    assert_eq!(introspected.json()["active"], true);
    let exchange = format!(
        "grant_type={EXCHANGE}&subject_token={own}&subject_token_type=urn:ietf:params:oauth:token-type:access_token&{by}"
    );
    assert_eq!(with.post(&exchange).json()["scope"], "deploy:run");
}

/// "`assertion` signed by the client itself (as in §7.2, but `sub` is whom the token is about, within `subjects`). The
/// assertion is also the client's authentication."
#[test]
fn a_client_s_own_assertion() {
    let with = start();
    let forge = &with.forges[0];
    let claims = |changes: &Value| {
        let mut claims = job(&json!({"iss": "signer", "sub": "user:7"}));
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let send = |token: &str, more: &str| with.post(&format!("grant_type={JWT_BEARER}&assertion={token}{more}"));
    let good = signed(forge, &claims(&json!({})));
    let answer = send(&good, "");
    let told = segment(&answer.text("access_token"), 1);
    assert_eq!((&told["sub"], &told["client_id"], &told["scope"]), (&json!("user:7"), &json!("signer"), &json!("s")));
    assert_eq!(answer.json().get("refresh_token"), None);
    assert_eq!(send(&good, "&client_id=signer").status, 200);
    assert_eq!(
        segment(&send(&signed(forge, &claims(&json!({"sub": "signer"}))), "").text("access_token"), 1)["sub"],
        "signer"
    );
    let endpoint = claims(&json!({"aud": format!("{ISSUER}/oauth2/token")}));
    assert_eq!(send(&signed(forge, &endpoint), "").status, 200);
    for subject in ["root", "orders", "anonymous", "user:"] {
        send(&signed(forge, &claims(&json!({"sub": subject}))), "").assert_oauth(400, "invalid_grant");
    }
    for wrong in [
        json!({"iss": "orders"}),
        json!({"iss": "nobody"}),
        json!({"sub": "a b"}),
        json!({"aud": "urn:other"}),
        json!({"exp": START + 3_606}),
        json!({"exp": START - 5}),
    ] {
        let answer = send(&signed(forge, &claims(&wrong)), "");
        assert_eq!(answer.assert_oauth(400, "invalid_grant"), "the assertion is not accepted", "{wrong}");
    }
    send(&signed(&with.forges[1], &claims(&json!({}))), "").assert_oauth(400, "invalid_grant");
    send(&good, "&client_id=orders").assert_oauth(400, "invalid_grant");
    send(&good, "&scope=bills").assert_oauth(400, "invalid_scope");
    with.post(&format!("grant_type={JWT_BEARER}")).assert_oauth(400, "invalid_request");
    let form = format!("grant_type={JWT_BEARER}&assertion={good}");
    with.app.form("/oauth2/token", &[&basic("orders", SECRET)], &form).assert_oauth(400, "invalid_grant");
}

/// Failures of each door count as failed authentications.
#[test]
fn failures_are_limited() {
    let with = start();
    let file = with.app.folder.path().join("lingpai.toml");
    let config = std::fs::read_to_string(file).unwrap();
    with.app.reconfigure(&config.replacen("failures = 0", "failures = 2", 1));
    let bad = with.of_ci(&json!({"aud": "urn:other"}));
    let begun = Instant::now();
    let failed = (0..10).flat_map(|_| with.doors(&bad, "")).filter(|answer| answer.status != 429).count();
    // Two at once, and one more each second.
    let allowed = 2 + begun.elapsed().as_secs() + 1;
    assert!((2..=allowed).contains(&u64::try_from(failed).unwrap()), "{failed} of {allowed}");
    assert_eq!(with.given(&with.of_ci(&json!({})), "")["client_id"], "deploy");
}
