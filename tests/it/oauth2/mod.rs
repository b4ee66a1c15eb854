//! The OAuth dialect: `/oauth2/token`, `/oauth2/introspect` and the metadata. Each test quotes the sentence that it asks
//! about.

mod client_authentication;
mod introspection;
mod metadata;
mod private_key_jwt;
mod refresh;
mod token;

use serde_json::{Value, json};

use crate::app::{Answer, SECRET, TestApp, basic, standard};
use crate::forge::Forge;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";

/// `orders` may refresh; `gate` serves an API and introspects; `other` is somebody else.
fn start() -> TestApp {
    let config = standard().replacen(
        "id = \"orders\"",
        "id = \"orders\"\ngrants = [\"client_credentials\", \"refresh_token\"]",
        1,
    );
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    let more = format!(
        r#"
[[clients]]
id = "gate"
secrets = ["{digest}"]
accepts = ["https://orders.example.com"]
[[clients]]
id = "other"
secrets = ["{digest}"]
scope = ["x"]
grants = ["client_credentials", "refresh_token"]
[[clients]]
id = "idle"
secrets = ["{digest}"]
grants = []
"#
    );
    TestApp::with(&(config + &more), &["2026-01-01T00-00-00Z.es256.pem"])
}

pub trait OAuth {
    fn form(&self, path: &str, headers: &[&str], form: &str) -> Answer;

    /// `POST /oauth2/token` by HTTP Basic.
    fn token_as(&self, id: &str, form: &str) -> Answer {
        self.form("/oauth2/token", &[&basic(id, SECRET)], form)
    }

    /// `POST /oauth2/introspect` by HTTP Basic.
    fn introspect_as(&self, id: &str, token: &str) -> Answer {
        self.form("/oauth2/introspect", &[&basic(id, SECRET)], &format!("token={token}"))
    }
}

impl OAuth for TestApp {
    fn form(&self, path: &str, headers: &[&str], form: &str) -> Answer {
        self.send("POST", path, &[&[FORM], headers].concat(), form)
    }
}

impl Answer {
    /// Asserts an error of this kind, in this dialect's shape. Its description.
    #[track_caller]
    pub fn assert_oauth(&self, status: u16, error: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert!(self.header("x-request-id").is_some());
        let body = self.json();
        assert_eq!(body["error"], error, "{self:?}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{self:?}");
        let description = body["error_description"].as_str().unwrap().to_owned();
        let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!description.is_empty() && description.bytes().all(allowed), "{description:?}");
        description
    }

    /// Asserts the 401 of every cause; with a challenge where an `Authorization` header was sent.
    #[track_caller]
    pub fn assert_invalid_client(&self, challenged: bool) {
        assert_eq!(self.assert_oauth(401, "invalid_client"), "client authentication failed");
        let expected: &[&str] = if challenged { &crate::app::BASIC } else { &[] };
        assert_eq!(self.all("www-authenticate"), expected, "{self:?}");
    }
}

/// Like [`start`], with a client `signer` whose key set holds the public keys of `forges`.
fn with_signer(forges: &[&Forge]) -> TestApp {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = forges.iter().map(|forge| jwk(forge)).collect();
    let file = folder.path().join("signer.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let more = format!(
        "[[clients]]\nid = \"signer\"\njwks = \"{}\"\nscope = [\"s\"]\naccepts = [\"https://orders.example.com\"]\n\
         grants = [\"client_credentials\", \"refresh_token\"]\n",
        file.display()
    );
    TestApp::with(&(standard() + &more), &["2026-01-01T00-00-00Z.es256.pem"])
}

pub fn jwk(forge: &Forge) -> Value {
    let mut jwk: Value = serde_json::from_str(&forge.jwk).unwrap();
    jwk["kid"] = forge.kid.as_str().into();
    jwk
}

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
