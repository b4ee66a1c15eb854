//! Trusted issuers whose keys are fetched, as callers and the operator see them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use lingpai::clock::Timestamp;
use lingpai::keys::Purpose;
use serde_json::json;

use crate::app::{Answer, ISSUER, START, TestApp, replace, segment, standard};
use crate::forge::Forge;
use crate::oauth2::{JWT_BEARER as ASSERTION_TYPE, OAuth as _, jwk};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

/// An issuer at a port of its own, which answers while it is up.
struct Issuer {
    address: SocketAddr,
    asked: Arc<Mutex<usize>>,
    is_up: Arc<Mutex<bool>>,
    /// What happens before the next answer.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    forge: Forge,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, forge) = (listener.local_addr().unwrap(), Forge::es256());
        let (asked, is_up) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(false)));
        let keys = json!({"keys": [jwk(&forge)]}).to_string();
        let (count, up) = (Arc::clone(&asked), Arc::clone(&is_up));
        let meanwhile = Arc::<Mutex<Option<Meanwhile>>>::default();
        let happens = Arc::clone(&meanwhile);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let head: Vec<_> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
                let uri = format!("http://{address}/keys");
                let metadata = json!({"issuer": format!("http://{address}"), "jwks_uri": uri});
                let is_keys = head.first().is_some_and(|line| line.contains(" /keys "));
                let body = if is_keys { keys.clone() } else { metadata.to_string() };
                *count.lock().unwrap() += 1;
                if let Some(happen) = happens.lock().unwrap().take() {
                    happen();
                }
                let status = if *up.lock().unwrap() { "200 OK" } else { "503 Later" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { address, asked, is_up, meanwhile, forge }
    }

    fn is_up(&self, up: bool) {
        *self.is_up.lock().unwrap() = up;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    fn config(&self) -> String {
        standard()
            + &format!(
                "[[clients]]\nid = \"job\"\nscope = [\"run\"]\n[[issuers]]\nissuer = \"http://{}\"\nallow_private = true\n\
                 [[issuers.rules]]\nmatch = {{ sub = \"job\" }}\nclient = \"job\"\n",
                self.address
            )
    }

    fn token(&self, kid: &str, expires: i64) -> String {
        let claims = json!({"iss": format!("http://{}", self.address), "sub": "job", "aud": ISSUER, "exp": expires, "iat": expires - 600});
        self.forge.token(Purpose::Access, &json!({"alg": "ES256", "kid": kid}).to_string(), claims.to_string())
    }
}

fn present(app: &TestApp, token: &str) -> Answer {
    let form = format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}");
    app.form("/oauth2/token", &[], &form)
}

/// "Nothing is fetched before a well-formed token that names the issuer came"; without keys "its tokens are 503".
#[test]
fn keys_are_fetched_when_a_token_needs_them() {
    let issuer = Issuer::start();
    let app = TestApp::with(&issuer.config(), &[KEY]);
    for other in ["x", "a.b.c", &app.create("").text("value")] {
        present(&app, other).assert_invalid_client(false);
    }
    assert_eq!(issuer.asked(), 0);
    let token = issuer.token(&issuer.forge.kid, START + 600);
    let down = present(&app, &token);
    assert_eq!(down.assert_oauth(503, "temporarily_unavailable"), "the issuer's keys are unavailable at the moment");
    assert_eq!((down.header("retry-after"), issuer.asked()), (Some("5"), 1));
    let warned = app.operator("/readyz").json()["warnings"].to_string();
    assert!(warned.contains(&format!("there are no keys of http://{}", issuer.address)), "{warned}");
    assert!(warned.contains("status 503"), "{warned}");
    // Others are not kept from their tokens.
    assert_eq!(app.create("").status, 200);

    issuer.is_up(true);
    present(&app, &token).assert_oauth(503, "temporarily_unavailable");
    app.at(5);
    assert_eq!(present(&app, &token).status, 200);
    assert_eq!(issuer.asked(), 3, "metadata and keys");
    let age = format!("lingpai_issuer_keys_age_seconds{{issuer=\"http://{}\"}}", issuer.address);
    app.at(65);
    assert_eq!(app.metric(&age), 60);
    assert_eq!(app.operator("/readyz").json()["warnings"].as_array().unwrap().len(), 0);
    // Every door waits for keys.
    present(&app, &issuer.token("unknown", START + 600)).assert_invalid_client(false);
    assert_eq!(issuer.asked(), 5);
    present(&app, &issuer.token("unknown", START + 600)).assert_invalid_client(false);
    assert_eq!(issuer.asked(), 5);
}

/// "An issued `exp` is always later than now", however long the keys took.
#[test]
fn a_call_is_decided_when_the_keys_have_come() {
    let issuer = Issuer::start();
    issuer.is_up(true);
    for (seconds, status) in [(500, 200), (700, 401)] {
        let app = TestApp::with(&issuer.config(), &[KEY]);
        let clock = app.clock.clone();
        let late = move || clock.set(Timestamp::from_unix(START + seconds));
        *issuer.meanwhile.lock().unwrap() = Some(Box::new(late));
        let answer = present(&app, &issuer.token(&issuer.forge.kid, START + 600));
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 200 {
            assert_eq!(segment(&answer.text("access_token"), 1)["iat"], START + seconds);
        }
    }
}

/// A reload keeps the keys of an issuer that is as it was.
#[test]
fn a_reload_keeps_the_keys() {
    let issuer = Issuer::start();
    issuer.is_up(true);
    let app = TestApp::with(&issuer.config(), &[KEY]);
    let token = issuer.token(&issuer.forge.kid, START + 600);
    assert_eq!(present(&app, &token).status, 200);
    let file = app.folder.path().join("lingpai.toml");
    replace(&file, issuer.config() + "scope = []\n");
    app.ask();
    assert_eq!(present(&app, &token).json()["scope"], "");
    assert_eq!(issuer.asked(), 2);
    replace(&file, issuer.config().replace("allow_private", "audience = \"urn:x\"\nallow_private"));
    app.ask();
    present(&app, &token).assert_invalid_client(false);
    assert_eq!(issuer.asked(), 2);
    replace(&file, issuer.config().replace("allow_private = true\n", ""));
    app.ask();
    present(&app, &token).assert_oauth(503, "temporarily_unavailable");
    assert_eq!(issuer.asked(), 2, "a loopback address is not connected to");
}
