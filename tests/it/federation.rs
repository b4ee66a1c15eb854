//! Assertions as grants (RFC 7523), and trusted issuers whose keys are in a file. Each test quotes the sentence that it
//! asks about.

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, ISSUER, SECRET, START, TestApp, basic, load, segment, standard};
use crate::forge::Forge;
use crate::oauth2::{JWT_BEARER as ASSERTION_TYPE, OAuth as _, jwk};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const CI: &str = "https://ci.example.net";
const PIPES: &str = "https://pipes.example.net";

/// Three issuers, each with a key of its own: [`CI`] signs with ES256, [`PIPES`] with `EdDSA`, the trust domain
/// `example.org` with RS256. `signer` has the first key too.
struct Federation {
    app: TestApp,
    forges: [Forge; 3],
    _keys: tempfile::TempDir,
}

fn config(folder: &std::path::Path) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    let grants = format!("grants = [\"client_credentials\", \"refresh_token\", \"{EXCHANGE}\", \"{JWT_BEARER}\"]");
    standard().replacen("[token]", "[limits]\nfailures = 0\n[token]", 1)
        + &format!(
            r#"
[[clients]]
id = "deploy"
{grants}
scope = ["deploy:run", "deploy:read"]
subjects = ["ci:*"]
[[clients]]
id = "pod"
{grants}
scope = ["deploy:read"]
[[clients]]
id = "narrow"
grants = ["client_credentials"]
[[clients]]
id = "signer"
jwks = "{ci}"
{grants}
scope = ["s"]
subjects = ["user:*"]
[[issuers]]
issuer = "{CI}"
jwks_file = "{ci}"
[[issuers.rules]]
match = {{ sub = "repo:acme/shop:*", repository_id = 7 }}
client = "deploy"
subject = "ci:{{repository_id}}:{{ref}}"
scope = ["deploy:run"]
[[issuers.rules]]
match = {{ sub = "repo:acme/**", trusted = true, teams = "core", "kubernetes.io" = {{ namespace = "prod" }} }}
client = "pod"
[[issuers.rules]]
match = {{ sub = "narrow" }}
client = "narrow"
[[issuers.rules]]
match = {{ sub = "taken:*" }}
client = "deploy"
subject = "{{name}}"
[[issuers]]
issuer = "{PIPES}"
audience = "urn:other"
jwks_file = "{pipes}"
max_age = "10m"
[[issuers.rules]]
match = {{ sub = "**" }}
client = "pod"
[[issuers]]
spiffe = "example.org"
jwks_file = "{spiffe}"
[[issuers.rules]]
match = {{ sub = "spiffe://example.org/ns/*/sa/web" }}
client = "pod"
"#,
            ci = file("ci.json"),
            pipes = file("pipes.json"),
            spiffe = file("spiffe.json"),
        )
}

fn start() -> Federation {
    let folder = tempfile::tempdir().unwrap();
    let forges = Forge::all();
    for (forge, name) in forges.iter().zip(["ci.json", "pipes.json", "spiffe.json"]) {
        std::fs::write(folder.path().join(name), json!({"keys": [jwk(forge)]}).to_string()).unwrap();
    }
    Federation { app: TestApp::with(&config(folder.path()), &[KEY]), forges, _keys: folder }
}

fn signed(forge: &Forge, claims: &Value) -> String {
    signed_as(forge, &json!({"alg": forge.alg, "kid": forge.kid, "typ": "JWT"}), claims)
}

fn signed_as(forge: &Forge, header: &Value, claims: &Value) -> String {
    forge.token(Purpose::Access, &header.to_string(), claims.to_string())
}

/// What a job of [`CI`] says, with these changes; null takes a claim out.
fn job(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": CI, "sub": "repo:acme/shop:main", "aud": ISSUER, "exp": START + 600, "iat": START - 60, "jti": "x",
        "repository_id": 7, "ref": "refs/heads/main",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().shift_remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

impl Federation {
    fn of_ci(&self, changes: &Value) -> String {
        signed(&self.forges[0], &job(changes))
    }

    fn post(&self, form: &str) -> Answer {
        self.app.form("/oauth2/token", &[], form)
    }

    /// The same token through each door.
    fn doors(&self, token: &str, more: &str) -> [Answer; 3] {
        [
            format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}{more}"),
            format!("grant_type={JWT_BEARER}&assertion={token}{more}"),
            format!(
                "grant_type={EXCHANGE}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt{more}"
            ),
        ]
        .map(|form| self.post(&form))
    }

    /// The claims of the token that each door gives.
    #[track_caller]
    fn given(&self, token: &str, more: &str) -> Value {
        let answers = self.doors(token, more);
        let claims = answers.map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json().get("refresh_token"), None);
            let mut claims = segment(&answer.text("access_token"), 1);
            claims.as_object_mut().unwrap().remove("jti").unwrap();
            claims
        });
        let [one, two, three] = &claims;
        assert!(one == two && two == three, "{claims:?}");
        one.clone()
    }

    /// Asserts the refusals of a credential, the same whatever the cause.
    #[track_caller]
    fn assert_failed(&self, token: &str, more: &str) {
        let [authentication, assertion, exchange] = self.doors(token, more);
        authentication.assert_invalid_client(false);
        assert_eq!(assertion.assert_oauth(400, "invalid_grant"), "the assertion is not accepted");
        assert_eq!(exchange.assert_oauth(400, "invalid_request"), "the subject_token is not accepted");
    }
}

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
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt"] {
        let token = signed_as(ci, &json!({"alg": "ES256", "kid": ci.kid, "typ": typ}), &job(&json!({})));
        assert!(with.doors(&token, "").iter().all(|answer| answer.status >= 400), "{typ}");
    }
    for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": ci.kid, "typ": "JOSE"})] {
        assert_eq!(with.given(&signed_as(ci, &header, &job(&json!({}))), "")["client_id"], "deploy");
    }
    // `max_age` is the issuer's own.
    let of_pipes =
        |exp: i64| signed(pipes, &json!({"iss": PIPES, "sub": "x", "aud": "urn:other", "iat": START, "exp": exp}));
    assert_eq!(with.given(&of_pipes(START + 605), "")["client_id"], "pod");
    with.assert_failed(&of_pipes(START + 606), "");
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
    for iss in [Value::Null, json!("https://spire.example"), json!(ISSUER), json!("signer")] {
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
    // The issuer that `iss` names speaks, and its keys are others.
    with.assert_failed(&svid("spiffe://example.org/ns/a/sa/web", &json!(CI)), "");
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
    let limited = (0..10).flat_map(|_| with.doors(&bad, "")).filter(|answer| answer.status == 429).count();
    assert!(limited > 20, "{limited}");
    assert_eq!(with.given(&with.of_ci(&json!({})), "")["client_id"], "deploy");
}

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
