//! Assertions as grants (RFC 7523), and trusted issuers whose keys are in a file. Each test quotes the sentence that it
//! asks about.

mod assertions;
mod confused;
mod included;
mod rules;
mod settings;

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, ISSUER, START, TestApp, segment, standard};
use crate::forge::Forge;
use crate::oauth2::{JWT_BEARER as ASSERTION_TYPE, OAuth as _, jwk};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

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
subjects = ["user:*", "spiffe://example.org/ns/a/*"]
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
[[issuers.rules]]
match = {{ sub = "pair" }}
client = "deploy"
subject = "ci:{{owner}}/{{name}}"
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
