//! `[[issuers]]` and their rules are checked when they are read.

use serde_json::json;

use super::KEY;
use crate::app::{ISSUER, START, load, standard};
use crate::forge::Forge;
use crate::oauth2::jwk;

/// "A rule without any `match`, naming an unknown client, stops the start. So does an issuer that equals ours, a client's
/// id or another entry's."
#[test]
fn settings_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k.json"), json!({"keys": [jwk(&Forge::es256())]}).to_string()).unwrap();
    let mut private = jwk(&Forge::es256());
    private["d"] = "x".into();
    std::fs::write(folder.path().join("private.json"), json!({"keys": [private]}).to_string()).unwrap();
    std::fs::write(folder.path().join("empty.json"), json!({"keys": []}).to_string()).unwrap();
    let good = "[[issuers]]\nissuer = \"https://a.example\"\njwks_file = \"k.json\"\n\
                [[issuers.rules]]\nmatch = { sub = \"x\" }\nclient = \"orders\"\n";
    let refused = |text: &str| -> String {
        match load(folder.path(), &(standard() + text)) {
            Err(error) => error.to_string(),
            Ok(config) => {
                std::fs::create_dir_all(folder.path().join("keys")).unwrap();
                crate::app::copy_key(KEY, &folder.path().join("keys").join(KEY));
                let loaded = lingpai::app::snapshot(&config, lingpai::clock::Timestamp::from_unix(START));
                loaded.map_or_else(|error| error.to_string(), |_| String::new())
            }
        }
    };
    assert_eq!(refused(good), "");
    let line = standard().lines().count() + 1;
    for (from, to, expected) in [
        ("{ sub = \"x\" }", "{}", "a rule without claims would match everybody"),
        ("match = { sub = \"x\" }\n", "", "missing field `match`"),
        ("{ sub = \"x\" }", "{ sub = [\"x\"] }", "expected a string, a boolean, an integer, or a table"),
        ("{ sub = \"x\" }", "{ sub = 1.5 }", "expected a string, a boolean, an integer, or a table"),
        ("{ sub = \"x\" }", "{ sub = \"a***\" }", "never three stars in a row"),
        ("{ sub = \"x\" }", "{ sub = \"\" }", "expected a string of 1 to 1,024 bytes"),
        ("{ sub = \"x\" }", "{ a = {} }", "expected at least one member"),
        (
            "client = \"orders\"",
            "client = \"nobody\"",
            "there is no client \"nobody\"; expected the id of one of [[clients]]",
        ),
        ("client = \"orders\"", "client = \"anonymous\"", "there is no client \"anonymous\""),
        ("client = \"orders\"", "client = \"orders\"\nsubject = \"{a}{b}\"", "two claims need text between them"),
        ("client = \"orders\"", "client = \"orders\"\nsubject = \"{a\"", "expected claims in braces"),
        ("client = \"orders\"", "client = \"orders\"\nscope = [\"a b\"]", "expected a scope token"),
        ("client = \"orders\"", "client = \"orders\"\nscopes = []", "unknown field `scopes`"),
        ("https://a.example", ISSUER, "this service is the issuer of its own tokens"),
        ("https://a.example", "billing", "a client has this id"),
        ("https://a.example", "anonymous", "a client has this id"),
        ("https://a.example", "", "expected what its tokens say in `iss`"),
        ("issuer = \"https://a.example\"\n", "", "expected `issuer`, or `spiffe` with a trust domain"),
        (
            "issuer = \"https://a.example\"",
            "issuer = \"https://a.example\"\nspiffe = \"a\"",
            "`issuer` or `spiffe`, not both",
        ),
        ("issuer = \"https://a.example\"", "spiffe = \"spiffe://a\"", "expected a trust domain such as"),
        ("issuer = \"https://a.example\"", "spiffe = \"A\"", "expected a trust domain such as"),
        ("k.json", "private.json", "private.json: "),
        ("k.json", "empty.json", "has no key that can be used"),
        ("k.json", "nowhere.json", "nowhere.json: cannot be read"),
        ("k.json", "lingpai.toml", "lingpai.toml: "),
        (
            "jwks_file = \"k.json\"",
            "jwks_file = \"k.json\"\njwks_uri = \"https://a.example\"",
            "`jwks_uri` or `jwks_file`, not both",
        ),
        (
            "jwks_file = \"k.json\"",
            "jwks_file = \"k.json\"\ntoken_file = \"t\"",
            "nothing is fetched where there is `jwks_file`",
        ),
        (
            "jwks_file = \"k.json\"",
            "jwks_uri = \"http://a.example\"",
            "keys cannot be fetched there; expected an https URL",
        ),
        ("jwks_file = \"k.json\"", "jwks_uri = \"https://u@a.example\"", "keys cannot be fetched there"),
        ("jwks_file = \"k.json\"", "jwks_uri = \"https://a.example/#x\"", "keys cannot be fetched there"),
        ("jwks_file = \"k.json\"", "jwks_uri = \"https://a.example/?p=x\"", ""),
        ("https://a.example\"\njwks_file = \"k.json\"", "kubernetes/serviceaccount\"", "keys cannot be fetched there"),
        ("jwks_file = \"k.json\"", "ca_file = \"nowhere.pem\"", "nowhere.pem: cannot be read"),
        ("jwks_file = \"k.json\"", "ca_file = \"k.json\"", "k.json: expected CA certificates in PEM"),
        (
            "issuer = \"https://a.example\"\njwks_file = \"k.json\"",
            "spiffe = \"a\"",
            "a trust domain has no place for its keys",
        ),
        ("jwks_file", "max_age = \"25h\"\njwks_file", "expected a duration from 1s to 1d"),
        ("jwks_file", "audience = \"\"\njwks_file", "expected an audience"),
    ] {
        assert!(good.contains(from), "{from}");
        let said = refused(&good.replacen(from, to, 1));
        if expected.is_empty() {
            assert_eq!(said, "");
            continue;
        }
        assert!(said.contains(expected), "{to}: {said}\n want: {expected}");
        assert!(said.contains("lingpai.toml") && !said.contains('\n'), "{said}");
    }
    let said = refused(&format!("{good}{good}"));
    assert!(said.contains("another entry has this issuer"), "{said}");
    assert!(said.contains(&format!("lingpai.toml:{}:10", line + 7)), "{said}");
    let (without_rules, _) = good.split_once("[[issuers.rules]]").unwrap();
    assert!(refused(without_rules).contains("no rule, so no token"));
}
