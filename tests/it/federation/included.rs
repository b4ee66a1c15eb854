//! `[[issuers]]` in files that the configuration includes.

use std::fs;

use lingpai::clients::SecretDigest;
use serde_json::json;

use super::{ASSERTION_TYPE, CI, KEY, PIPES, job, signed};
use crate::app::{ISSUER, SECRET, START, TestApp, replace, standard};
use crate::forge::Forge;
use crate::oauth2::{OAuth as _, jwk};

/// A service that includes `clients.d/*.toml`, with the keys of two issuers in that folder.
struct Teams {
    app: TestApp,
    forges: [Forge; 3],
}

/// A team's file: its client, and an issuer whose identities are that client.
fn team(client: &str, issuer: &str, keys: &str) -> String {
    let digest = SecretDigest::of(SECRET.as_bytes()).written();
    format!(
        "[[issuers]]\nissuer = \"{issuer}\"\njwks_file = \"{keys}\"\n\n[[clients]]\nid = \"{client}\"\nsecrets = [\"{digest}\"]\nscope = [\"x\"]\n\n\
         [[issuers.rules]]\nmatch = {{ sub = \"**\" }}\nclient = \"{client}\"\n"
    )
}

fn start() -> Teams {
    let app = TestApp::with(&format!("include = [\"clients.d/*.toml\"]\n{}", standard()), &[KEY]);
    let teams = Teams { app, forges: Forge::all() };
    fs::create_dir(teams.app.folder.path().join("clients.d")).unwrap();
    for (name, index) in [("ci.json", 0), ("pipes.json", 1)] {
        teams.keys(name, index);
    }
    teams
}

impl Teams {
    fn write(&self, name: &str, content: &str) -> &Self {
        replace(&self.app.folder.path().join("clients.d").join(name), content);
        self
    }

    /// Writes a key set with the key of one forge.
    fn keys(&self, name: &str, index: usize) -> &Self {
        self.write(name, &json!({"keys": [jwk(&self.forges[index])]}).to_string())
    }

    fn look(&self) -> &Self {
        self.app.look();
        self
    }

    /// The client that an identity of `issuer` is, signed by one forge's key; an empty text where it gets no token.
    fn client(&self, issuer: &str, index: usize) -> String {
        let token = signed(&self.forges[index], &job(&json!({"iss": issuer})));
        let form =
            format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}");
        let answer = self.app.form("/oauth2/token", &[], &form);
        match answer.status {
            200 => crate::app::segment(&answer.text("access_token"), 1)["client_id"].as_str().unwrap().to_owned(),
            401 => String::new(),
            _ => panic!("{answer:?}"),
        }
    }

    fn error(&self) -> String {
        let page = self.app.operator("/readyz").json();
        page["reload_error"].as_str().unwrap_or_default().replace(self.app.folder.path().to_str().unwrap(), "")
    }
}

/// An issuer comes, changes and goes with its file, and so does its key set, which stands beside that file.
#[test]
fn issuers_are_reloaded() {
    let with = start();
    with.write("a.toml", &team("a", CI, "ci.json")).look();
    assert_eq!((with.error().as_str(), with.client(CI, 0).as_str(), with.client(PIPES, 1).as_str()), ("", "a", ""));
    with.write("b.toml", &team("b", PIPES, "pipes.json")).look();
    assert_eq!([with.client(CI, 0), with.client(PIPES, 1)], ["a", "b"]);
    // The rule, then the keys.
    with.write("b.toml", &team("b", PIPES, "pipes.json").replace("\"**\"", "\"nobody\"")).look();
    assert_eq!([with.client(CI, 0), with.client(PIPES, 1)], ["a", ""]);
    with.write("b.toml", &team("b", PIPES, "pipes.json")).keys("pipes.json", 2).look();
    assert_eq!([with.client(PIPES, 1), with.client(PIPES, 2)], ["", "b"]);
    fs::remove_file(with.app.folder.path().join("clients.d/b.toml")).unwrap();
    with.look().look();
    assert_eq!([with.client(CI, 0), with.client(PIPES, 2)], ["a", ""]);
}

/// A mistake is named by the file, line and column where it stands, and what was in force stays.
#[test]
fn mistakes() {
    let with = start();
    with.write("a.toml", &team("a", CI, "ci.json")).look();
    let good = team("b", PIPES, "pipes.json");
    for (from, to, expected) in [
        ("client = \"b\"", "client = \"nobody\"", "b.toml:12:10: there is no client \"nobody\""),
        // A team's rules are about its own clients.
        (
            "client = \"b\"",
            "client = \"orders\"",
            "b.toml:12:10: the client \"orders\" is in another file; a rule in an",
        ),
        ("client = \"b\"", "client = \"a\"", "b.toml:12:10: the client \"a\" is in another file"),
        (
            PIPES,
            CI,
            "b.toml:2:10: another entry has this issuer; put its rules in one entry; the other one is at \
                     /clients.d/a.toml:2:10",
        ),
        (PIPES, ISSUER, "b.toml:2:10: this service is the issuer of its own tokens"),
        (PIPES, "a", "b.toml:2:10: a client has this id"),
        ("pipes.json", "none.json", "b.toml:3:13: /clients.d/none.json: cannot be read"),
        ("jwks_file = \"pipes.json\"", "ca_file = \"none.pem\"", "b.toml:3:11: /clients.d/none.pem: cannot be read"),
        ("jwks_file", "jwks_fil", "b.toml:3:1: unknown field `jwks_fil`"),
        // The operator decides what leaves the server.
        (
            "jwks_file = \"pipes.json\"",
            "token_file = \"ci.json\"",
            "b.toml:3:14: an included file must not set `token_file`",
        ),
        (
            "issuer = \"https://pipes.example.net\"",
            "spiffe = \"example.net\"",
            "b.toml:2:10: an included file must not set `spiffe`",
        ),
        ("{ sub = \"**\" }", "{}", "b.toml:11:9: a rule without claims would match everybody"),
        ("{ sub = \"**\" }", "{ sub = \"***\" }", "b.toml:11:17: expected "),
        ("issuer = \"https://pipes.example.net\"\n", "", "b.toml: [[issuers]] number 1: expected `issuer`"),
        (
            "[[issuers.rules]]",
            "[token]\nleeway = \"1s\"\n[[issuers.rules]]",
            "b.toml:10:2: an included file holds only",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        with.write("b.toml", &good.replacen(from, to, 1)).look();
        let said = with.error();
        assert!(said.contains(&format!("/clients.d/{expected}")), "{to}\n said: {said}\n want: {expected}");
        assert_eq!(with.client(CI, 0), "a");
    }
    // What a team's file takes in memory is bounded before it is taken.
    let rule = "[[issuers.rules]]\nmatch = { sub = \"x\" }\nclient = \"b\"\n";
    for (content, expected) in [
        (format!("x = [{}]\n", "0,".repeat(150_000)), "b.toml: expected at most 256 KiB beside the [[clients]] tables"),
        (format!("issuers = [{}]\n", "{},".repeat(65)), "b.toml: expected at most 64 [[issuers]] in all files"),
        (good.clone() + &rule.repeat(1_000), "b.toml:2:10: expected at most 1000 [[issuers.rules]]"),
    ] {
        with.write("b.toml", &content).look();
        assert!(with.error().contains(&format!("/clients.d/{expected}")), "{}", with.error());
    }
    // The configuration's own file may name the clients of each.
    with.write("b.toml", &good).look();
    assert_eq!((with.error().as_str(), with.client(PIPES, 1).as_str()), ("", "b"));
    let rule = "[[issuers.rules]]\nmatch = { sub = \"spiffe://example.org/a\" }\nclient = \"b\"\n";
    let own = format!("[[issuers]]\nspiffe = \"example.org\"\njwks_file = \"clients.d/ci.json\"\n{rule}");
    let main = format!("include = [\"clients.d/*.toml\"]\n{}{own}", standard());
    replace(&with.app.folder.path().join("lingpai.toml"), &main);
    with.look();
    assert_eq!(with.error(), "");
    let svid = json!({"sub": "spiffe://example.org/a", "aud": ISSUER, "iat": START, "exp": START + 300});
    let form = format!(
        "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={}",
        signed(&with.forges[0], &svid)
    );
    assert_eq!(with.app.form("/oauth2/token", &[], &form).status, 200);
    // An included client that `iss` names does not stand in the way, although its key signs assertions.
    let speaker = "[[clients]]\nid = \"spire\"\njwks = \"ci.json\"\nscope = [\"jobs:run\"]\n";
    with.write("a.toml", &(team("a", CI, "ci.json") + speaker)).look();
    assert_eq!(with.error(), "");
    let svid =
        json!({"iss": "spire", "sub": "spiffe://example.org/a", "aud": ISSUER, "iat": START, "exp": START + 300});
    let form = format!(
        "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={}",
        signed(&with.forges[0], &svid)
    );
    let answer = with.app.form("/oauth2/token", &[], &form);
    assert_eq!(answer.status, 200, "{answer:?}");
    // Nor does an included entry that `iss` names.
    let svid = json!({"iss": PIPES, "sub": "spiffe://example.org/a", "aud": ISSUER, "iat": START, "exp": START + 300});
    let form = format!(
        "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={}",
        signed(&with.forges[0], &svid)
    );
    assert_eq!(with.app.form("/oauth2/token", &[], &form).status, 200);
}

/// Replicas agree however their issuers are spread over files, and in whatever order.
#[test]
fn the_digest_is_of_the_issuers() {
    let digest = |with: &Teams| with.app.operator("/readyz").json()["configuration_digest"].clone();
    let with = start();
    with.write("a.toml", &team("a", CI, "ci.json")).write("b.toml", &team("b", PIPES, "pipes.json")).look();
    let before = digest(&with);
    with.write("a.toml", &(team("b", PIPES, "pipes.json") + &team("a", CI, "ci.json"))).write("b.toml", "").look();
    assert_eq!((with.error().as_str(), digest(&with)), ("", before.clone()));
    with.write("b.toml", "").write("a.toml", &team("a", CI, "ci.json")).look();
    assert_ne!(digest(&with), before);
}
