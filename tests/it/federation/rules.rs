//! The rules: what they match, and which client they choose.

use serde_json::json;

use super::start;

/// "In `match` every claim must be there and equal; anchored. No rule, no token."
#[test]
fn what_no_rule_matches_gets_nothing() {
    let with = start();
    for changes in [
        json!({"sub": "repo:acme/shop-evil:main"}),
        json!({"sub": "xrepo:acme/shop:main"}),
        json!({"sub": "repo:acme/shop:ref:main"}),
        json!({"sub": "repo:acme/shop:a/b"}),
        json!({"sub": "repo:acme/shop:"}),
        json!({"repository_id": "7"}),
        json!({"repository_id": [7]}),
        json!({"repository_id": 8}),
        json!({"repository_id": 7.0}),
        json!({"repository_id": null}),
        json!({"sub": "repo:acme/x", "trusted": "true", "teams": "core", "kubernetes.io": {"namespace": "prod"}}),
        json!({"sub": "repo:acme/x", "trusted": true, "teams": ["core", 1], "kubernetes.io": {"namespace": "prod"}}),
        json!({"sub": "repo:acme/x", "trusted": true, "teams": "core", "kubernetes.io": {"namespace": "dev"}}),
        json!({"sub": "repo:acme/x", "trusted": true, "teams": "core", "kubernetes.io": "prod"}),
        json!({"sub": "repo:acme/x", "trusted": true, "teams": "core", "kubernetes.io.namespace": "prod"}),
    ] {
        with.assert_failed(&with.of_ci(&changes), "");
    }
}

/// "a value that contains the text after its place is refused, as is a claim that is absent or no string or integer. §1.1's
/// rules for subjects hold for the result."
#[test]
fn subjects_of_foreign_claims() {
    let with = start();
    for changes in [
        json!({"ref": null}),
        json!({"ref": ""}),
        json!({"ref": true}),
        json!({"ref": ["x"]}),
        json!({"ref": "a b"}),
        json!({"ref": "é"}),
        json!({"ref": "x".repeat(255)}),
    ] {
        with.assert_failed(&with.of_ci(&changes), "");
    }
    // What the client may not be about is the policy's to refuse, whatever an issuer says.
    for name in ["billing", "orders", "anonymous", "root", "user:7"] {
        let token = with.of_ci(&json!({"sub": "taken:x", "name": name}));
        let [authentication, assertion, exchange] = with.doors(&token, "");
        for answer in [authentication, assertion, exchange] {
            answer.assert_oauth(400, "invalid_grant");
        }
    }
    assert_eq!(with.given(&with.of_ci(&json!({"sub": "taken:x", "name": "ci:9"})), "")["sub"], "ci:9");
}

/// "`client_id`, if sent, must be the client of the rule that speaks, else the credential fails; it never chooses a rule.
/// The door's grant must be in that client's `grants`."
#[test]
fn the_rule_chooses_the_client() {
    let with = start();
    let token = with.of_ci(&json!({}));
    assert_eq!(with.given(&token, "&client_id=deploy")["client_id"], "deploy");
    for other in ["pod", "orders", "nobody"] {
        with.assert_failed(&token, &format!("&client_id={other}"));
    }
    // A token that two rules match is the first's, whatever it asks for.
    let both = with.of_ci(&json!({"trusted": true, "teams": "core", "kubernetes.io": {"namespace": "prod"}}));
    with.assert_failed(&both, "&client_id=pod");
    assert_eq!(with.given(&both, "")["client_id"], "deploy");
    let [authentication, assertion, exchange] = with.doors(&with.of_ci(&json!({"sub": "narrow"})), "");
    assert_eq!(authentication.status, 200);
    assertion.assert_oauth(400, "unauthorized_client");
    exchange.assert_oauth(400, "unauthorized_client");
}
