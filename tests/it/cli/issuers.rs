//! Trusted issuers on the command line and in the log.

use serde_json::{Value, json};

use crate::app::{SECRET, basic, quiet};
use crate::forge::Forge;
use crate::home::Home;
use crate::oauth2::jwk;

/// "`check` warns of a rule for an issuer that many share (GitHub, GitLab.com, Google) without a claim that names the
/// owner by number."
#[test]
fn shared_issuers_are_warned_of() {
    let home = Home::standard();
    home.write("k.json", &json!({"keys": [jwk(&Forge::es256())]}).to_string());
    let warns = |issuer: &str, matched: &str| {
        let entry = format!(
            "[[issuers]]\nissuer = \"{issuer}\"\njwks_file = \"k.json\"\n[[issuers.rules]]\nmatch = {{ {matched} }}\n\
             client = \"orders\"\n"
        );
        home.write("lingpai.toml", &(quiet() + &entry));
        let err = home.run(&["check"]).assert(0).err.clone();
        assert!(err.lines().count() <= 1, "{err}");
        err.contains("anybody can get tokens of") && err.contains("lingpai.toml:")
    };
    let (github, gitlab) = ("https://token.actions.githubusercontent.com", "https://gitlab.com");
    for (issuer, matched, expected) in [
        (github, r#"sub = "repo:acme/shop:*""#, true),
        (github, r#"repository_owner_id = "12*""#, true),
        (github, r#"repository_owner = "acme""#, true),
        (github, r#"sub = "repo:acme@*/shop@5678:**""#, true),
        (github, r#"repository_owner_id = "1234""#, false),
        (github, "repository_id = 5678", false),
        (github, r#"sub = "repo:acme@1234/shop@5678:ref:refs/heads/main""#, false),
        (gitlab, r#"namespace_path = "acme""#, true),
        (gitlab, r#"project_id = "7""#, false),
        ("https://accounts.google.com", r#"email = "a@acme.example""#, true),
        ("https://accounts.google.com", r#"sub = "110169484474386276334""#, false),
        ("https://ci.acme.example", r#"sub = "**""#, false),
    ] {
        assert_eq!(warns(issuer, matched), expected, "{issuer} {matched}");
    }
}

/// The audit line of an exchange names both parties, and never a token.
#[test]
fn the_log_names_who_acts() {
    let home = Home::standard();
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    home.write(
        "lingpai.toml",
        &quiet().replacen(
            "id = \"billing\"",
            &format!("id = \"billing\"\ngrants = [\"{exchange}\"]\naccepts = [\"https://orders.example.com\"]"),
            1,
        ),
    );
    let server = home.serve(&[]);
    let json = ["Content-Type: application/json", &basic("orders", SECRET)].join("\r\n");
    let token = server.send("POST", "/token", &json, r#"{"subject":"user:7"}"#).text("value");
    let form = format!(
        "grant_type={exchange}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:access_token"
    );
    let headers = ["Content-Type: application/x-www-form-urlencoded", &basic("billing", SECRET)].join("\r\n");
    let answer = server.send("POST", "/oauth2/token", &headers, &form);
    assert_eq!(answer.status, 200, "{answer:?}");
    let log = server.stop("TERM").err;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audit: Vec<_> = lines.iter().filter(|line| line["message"] == "token").collect();
    assert_eq!((&audit[0]["subject"], audit[0].get("actor")), (&json!("user:7"), None));
    assert_eq!(
        (&audit[1]["subject"], &audit[1]["actor"], &audit[1]["client"]),
        (&json!("user:7"), &json!("billing"), &json!("billing"))
    );
    assert!(!log.contains("eyJ"), "{log}");
}
