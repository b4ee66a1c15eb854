//! `lingpai explain --token`: which rule speaks, and the first claim in which each other differs.

use lingpai::clock::Clock;
use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{ISSUER, standard};
use crate::forge::Forge;
use crate::home::Home;
use crate::oauth2::jwk;

const RULES: &str = r#"
[[clients]]
id = "deploy"
scope = ["run"]
subjects = ["ci:*"]
[[issuers]]
issuer = "https://ci.example.net"
jwks_file = "ci.json"
[[issuers.rules]]
match = { sub = "repo:acme/shop:*", repository_id = 7 }
client = "deploy"
subject = "ci:{repository_id}"
[[issuers.rules]]
match = { "kubernetes.io" = { namespace = "prod" } }
client = "deploy"
[[issuers.rules]]
match = { sub = "repo:acme/**" }
client = "deploy"
subject = "{owner}"
"#;

fn token(forge: &Forge, changes: &Value) -> String {
    let now = Clock::system().now().unix();
    let mut claims = json!({
        "iss": "https://ci.example.net", "sub": "repo:acme/shop:main", "aud": ISSUER, "exp": now + 300, "iat": now,
        "repository_id": 7, "kubernetes.io": {"namespace": "dev"},
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
    forge.token(Purpose::Access, &header, claims.to_string())
}

#[test]
fn each_rule_says_why() {
    let forges = Forge::all();
    let home = Home::standard();
    let config = standard() + RULES;
    home.write("lingpai.toml", &config);
    home.write("ci.json", &json!({"keys": [jwk(&forges[0])]}).to_string());
    let explain = |token: &str, more: &[&str]| {
        home.write("token", token);
        home.run(&[&["explain", "--token", "token"], more].concat())
    };
    let line = |text: &str| config.lines().position(|line| line.contains(text)).unwrap() + 1;
    let (first, second, third) = (line("repository_id = 7"), line("namespace = \"prod\""), line("acme/**"));
    let ran = explain(&token(&forges[0], &json!({})), &[]);
    let expected = format!(
        "token of https://ci.example.net\n  verified\n\n\
         speaks   lingpai.toml:{first}:9, client deploy\n           subject ci:7, scope \"run\"\n\
         differs  lingpai.toml:{second}:9, client deploy: kubernetes.io.namespace\n           rule   \"prod\"\n\
         {indent}token  \"dev\"\n\
         later    lingpai.toml:{third}:9, client deploy\n{indent}it matches too, but an earlier rule decides\n\n\
         granted: client deploy, by client_credentials\n",
        indent = " ".repeat(11),
    );
    assert_eq!(ran.assert(0).out, expected);
    let said =
        explain(&token(&forges[0], &json!({"repository_id": "7", "owner": "root"})), &["--json"]).assert(1).json();
    assert_eq!((&said["granted"], &said["verified"], &said["problem"]), (&json!(false), &json!(true), &Value::Null));
    let rule = &said["rules"][0];
    assert_eq!(
        (&rule["verdict"], &rule["claim"], &rule["found"]),
        (&json!("differs"), &json!("repository_id"), &json!("7"))
    );
    assert_eq!((&said["rules"][2]["verdict"], &said["rules"][2]["subject"]), (&json!("speaks"), &json!("root")));
    assert_eq!(said["rules"][2]["why"], "REFUSED: subject_not_allowed (root)");

    let no_owner = explain(&token(&forges[0], &json!({"repository_id": 8})), &[]);
    assert!(no_owner.assert(1).out.contains("REFUSED: the claims do not fill the rule's subject"), "{}", no_owner.out);
    let none = explain(&token(&forges[0], &json!({"sub": "x"})), &[]);
    assert!(none.assert(1).out.ends_with("\n\nREFUSED: no rule matches, so there is no token\n"), "{}", none.out);
    let refused = explain(&token(&forges[0], &json!({"repository_id": "7", "owner": "root"})), &[]);
    assert!(refused.assert(1).out.ends_with("\n\nREFUSED: subject_not_allowed (root)\n"), "{}", refused.out);
    home.write("lingpai.toml", &config.replace("id = \"deploy\"", "id = \"deploy\"\ngrants = [\"refresh_token\"]"));
    let by_nothing = explain(&token(&forges[0], &json!({})), &[]);
    let told = "\n\nREFUSED: the client's `grants` list none that takes the token\n";
    assert!(by_nothing.assert(1).out.ends_with(told), "{}", by_nothing.out);
    home.write("lingpai.toml", &config);
    // What is wrong with the token itself.
    let ended = "expired: it ended at 1970-01-01T00:00:01Z";
    let audience = format!("its aud is \"urn:x\", expected \"{ISSUER}\"");
    for (changes, word, told) in
        [(json!({"aud": "urn:x"}), "wrong_audience", &*audience), (json!({"exp": 1, "iat": 0}), "expired", ended)]
    {
        let ran = explain(&token(&forges[0], &changes), &[]);
        assert!(ran.assert(1).out.contains(&format!("\n  NOT VALID: {told}\n")), "{}", ran.out);
        assert!(ran.out.ends_with(&format!("\nREFUSED: the token itself is not valid ({word})\n")), "{}", ran.out);
    }
    explain("x", &[]).assert_refused(1, &["this is not a token"]);
    let unknown = token(&forges[0], &json!({"iss": "https://other.example"}));
    explain(&unknown, &[]).assert_refused(1, &["no entry of [[issuers]] fits", "https://other.example"]);
    for (iss, told) in [(ISSUER, "; this service issued it"), ("orders", "; a client signed it itself")] {
        explain(&token(&forges[0], &json!({"iss": iss})), &[])
            .assert_refused(1, &["no entry of [[issuers]] fits", told]);
    }
    assert!(home.run(&["explain"]).assert(2).err.contains("required"));
    assert!(home.run(&["explain", "orders", "--token", "token"]).assert(2).err.contains("cannot be used with"));
}

/// Keys that would be fetched are given as a file.
#[test]
fn keys_are_not_fetched() {
    let forges = Forge::all();
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + &RULES.replace("jwks_file = \"ci.json\"\n", "")));
    home.write("token", &token(&forges[0], &json!({})));
    home.write("right.json", &json!({"keys": [jwk(&forges[0])]}).to_string());
    home.write("wrong.json", &json!({"keys": [jwk(&forges[1])]}).to_string());
    let ran = home.run(&["explain", "--token", "token"]);
    assert!(ran.assert(0).out.contains("not verified, because nothing is fetched here; --jwks FILE"), "{}", ran.out);
    assert!(ran.out.contains("\ngranted, if the token is good: client deploy, by client_credentials\n"), "{}", ran.out);
    // The claims need no key.
    for (changes, told) in [
        (json!({"aud": "urn:x"}), "its aud is \"urn:x\", expected "),
        (json!({"exp": 1, "iat": 0}), "expired: it ended at 1970-01-01T00:00:01Z\n"),
        (json!({"exp": i64::from(u32::MAX)}), "max_age: it is good for "),
    ] {
        home.write("wrong", &token(&forges[0], &changes));
        let ran = home.run(&["explain", "--token", "wrong"]);
        assert!(ran.assert(1).out.contains(&format!("\n  NOT VALID: {told}")), "{}", ran.out);
    }
    let ran = home.run(&["explain", "--token", "token", "--jwks", "right.json"]);
    assert!(ran.assert(0).out.contains("\n  verified\n"), "{}", ran.out);
    let ran = home.run(&["explain", "--token", "token", "--jwks", "wrong.json"]);
    assert!(ran.assert(1).out.contains("NOT VALID: unknown_key"), "{}", ran.out);
}
