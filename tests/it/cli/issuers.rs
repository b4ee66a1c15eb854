//! Trusted issuers on the command line and in the log.

use lingpai::clock::Clock;
use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, ISSUER, SECRET, basic, quiet, shows};
use crate::forge::Forge;
use crate::home::{Home, Server};
use crate::oauth2::{JWT_BEARER as ASSERTION_TYPE, jwk};

const CI: &str = "https://ci.example.net";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

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

/// A rule that its client's policy contradicts is no mistake of form, and gives less than it says.
#[test]
fn rules_that_give_less_than_they_say_are_warned_of() {
    let home = Home::standard();
    home.write("k.json", &json!({"keys": [jwk(&Forge::es256())]}).to_string());
    let says = |subjects: &str, rule: &str| {
        let entry = format!(
            "[[clients]]\nid = \"job\"\nscope = [\"run\"]\nsubjects = {subjects}\n[[issuers]]\nissuer = \"{CI}\"\n\
             jwks_file = \"k.json\"\n[[issuers.rules]]\nmatch = {{ sub = \"a\" }}\nclient = \"job\"\n{rule}\n"
        );
        home.write("lingpai.toml", &(quiet() + &entry));
        home.run(&["check"]).assert(0).err.clone()
    };
    let (scope, subject) = ("scope: job may not request", "subject: `subjects` of job allow none that begins with");
    for (subjects, rule, expected) in [
        ("[]", "scope = [\"run\"]", None),
        ("[]", "scope = [\"run\", \"rn\"]", Some((scope, "rn, so"))),
        ("[]", "subject = \"ci:{id}\"", Some((subject, "\"ci:\", so"))),
        ("[\"cx:*\"]", "subject = \"ci:{id}\"", Some((subject, "\"ci:\", so"))),
        ("[\"cx:*\", \"ci:*\"]", "subject = \"ci:{id}\"", None),
        ("[\"ci:a:*\"]", "subject = \"ci:{id}\"", None),
        ("[\"c*\"]", "subject = \"ci:{id}\"", None),
        ("[\"ci:7\"]", "subject = \"ci:{id}\"", None),
        ("[\"x\"]", "subject = \"{id}\"", None),
        ("[]", "subject = \"{id}\"", Some((subject, "\"\", so"))),
    ] {
        let said = says(subjects, rule);
        match expected {
            None => assert_eq!(said, "", "{subjects} {rule}"),
            Some((what, value)) => assert!(said.contains(&format!("{what} {value}")), "{subjects} {rule}: {said}"),
        }
    }
}

/// The audit line of an exchange names both parties, and never a token.
#[test]
fn the_log_names_who_acts() {
    let home = Home::standard();
    let exchange = EXCHANGE;
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
    assert!(!shows(&log, &token) && !shows(&log, &answer.text("access_token")), "{log}");
}

/// A service that trusts [`CI`]: its job `x` is the client `deploy`.
fn trusting() -> (Home, Forge) {
    let (home, forge) = (Home::standard(), Forge::es256());
    home.write("ci.json", &json!({"keys": [jwk(&forge)]}).to_string());
    let trusted = format!(
        "[[clients]]\nid = \"deploy\"\njwks = \"ci.json\"\ngrants = [\"client_credentials\", \"{JWT_BEARER}\", \"{EXCHANGE}\"]\n\
         [[issuers]]\nissuer = \"{CI}\"\njwks_file = \"ci.json\"\n\
         [[issuers.rules]]\nmatch = {{ sub = \"x\" }}\nclient = \"deploy\"\n"
    );
    home.write("lingpai.toml", &(quiet() + &trusted));
    (home, forge)
}

/// A statement for this service that `iss` made about `sub`.
fn statement(forge: &Forge, iss: &str, sub: &str) -> String {
    let now = Clock::system().now().unix();
    let claims = json!({"iss": iss, "sub": sub, "aud": ISSUER, "iat": now, "exp": now + 300});
    let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
    forge.token(Purpose::Access, &header, claims.to_string())
}

fn send(server: &Server, form: &str) -> Answer {
    server.send("POST", "/oauth2/token", "Content-Type: application/x-www-form-urlencoded", form)
}

/// The answers to an identity that this token states, by each door.
fn doors(server: &Server, token: &str) -> [Answer; 3] {
    let send = |form: &str| send(server, form);
    [
        send(&format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}")),
        send(&format!("grant_type={JWT_BEARER}&assertion={token}")),
        send(&format!(
            "grant_type={EXCHANGE}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt"
        )),
    ]
}

/// "log and audit lines say both parties": the client, and the issuer that vouches for it, as the configuration names it.
#[test]
fn the_log_names_the_issuer() {
    let (home, forge) = trusting();
    let server = home.serve(&[]);
    let [known, unknown] = ["x", "y"].map(|sub| statement(&forge, CI, sub));
    let strange = ["https://canary.example", "canary", &format!("{CI}/canary")].map(|iss| statement(&forge, iss, "x"));
    assert_eq!(doors(&server, &known).map(|answer| answer.status), [200; 3]);
    assert_eq!(doors(&server, &unknown).map(|answer| answer.status), [401, 400, 400]);
    for token in &strange {
        assert!(doors(&server, token).iter().all(|answer| answer.status >= 400));
    }
    let issued = server.create("orders", SECRET);
    assert_eq!(issued.status, 200);
    let log = server.stop("TERM").err;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str, route: &str| {
        let is_it = |line: &&Value| line["message"] == message && line["route"].as_str().is_none_or(|at| at == route);
        lines.iter().filter(is_it).map(|line| line.get("issuer")).collect::<Vec<_>>()
    };
    let ci = json!(CI);
    assert_eq!(of("token", ""), [Some(&ci), Some(&ci), Some(&ci), None], "{log}");
    assert_eq!(of("answered", "/oauth2/token"), [Some(&ci); 3], "{log}");
    assert_eq!(of("answered", "/token"), [None], "{log}");
    let mut refused = vec![Some(&ci); 3];
    refused.resize(12, None);
    assert_eq!(of("refused", "/oauth2/token"), refused, "{log}");
    assert!(!log.contains("canary"), "{log}");
    let tokens = [&[known, unknown, issued.text("value")][..], &strange].concat();
    assert!(!tokens.iter().any(|token| shows(&log, token)), "{log}");
}

/// Where a client's own assertion is the grant, no issuer vouches for the token, even if an issuer's statement beside
/// it authenticates the same client.
#[test]
fn the_log_names_no_issuer_of_a_client_s_own_assertion() {
    let (home, forge) = trusting();
    let server = home.serve(&[]);
    let beside = format!("client_assertion_type={ASSERTION_TYPE}&client_assertion={}", statement(&forge, CI, "x"));
    for (iss, status) in [("deploy", 200), ("nobody", 400)] {
        let form = format!("grant_type={JWT_BEARER}&assertion={}", statement(&forge, iss, "deploy"));
        for form in [format!("{form}&{beside}"), form] {
            assert_eq!(send(&server, &form).status, status, "{form}");
        }
    }
    let log = server.stop("TERM").err;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for message in ["token", "answered", "refused"] {
        let said: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
        assert_eq!(said.len(), 2, "{log}");
        assert!(said.iter().all(|line| line.get("issuer").is_none()), "{log}");
    }
}
