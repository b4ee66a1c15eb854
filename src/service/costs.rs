//! What refusals cost, in signatures checked: time must not tell what a caller may not know.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Call, Denied, Notes, Origin, State, Unauthenticated};
use crate::clients::ClientAuth;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Overrides};
use crate::crypto::effort;
use crate::foreign::Rejected;
use crate::keys::{self, Alg, Key, Purpose};
use crate::token::{self, Dialect, Grant, Pair, Scope, Session};

const ISSUER: &str = "https://tokens.example.com";
const NOW: i64 = 1_780_315_200;

/// A service with the clients `orders` (a secret), `gate` (which serves an API) and `signer` (a key set).
struct Service {
    state: State,
    /// What `signer` signs with.
    key: Key,
    _folder: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = keys::generate(&path("signer"), Alg::Es256, at(-60)).unwrap();
        std::fs::write(path("signer.json"), format!("{{\"keys\":[{}]}}", key.jwk())).unwrap();
        keys::generate(&path("keys"), Alg::Es256, at(-60)).unwrap();
        let secret = crate::clients::SecretDigest::of(b"secret").written();
        let config = format!(
            "issuer = \"{ISSUER}\"\n[[clients]]\nid = \"orders\"\nsecrets = [\"{secret}\"]\naudience = [\"a\"]\n\
             [[clients]]\nid = \"gate\"\nsecrets = [\"{secret}\"]\naccepts = [\"b\"]\n\
             [[clients]]\nid = \"signer\"\njwks = \"signer.json\"\n"
        );
        let config = Config::parse(&path("lingpai.toml"), config, Overrides::default()).unwrap();
        let snapshot = crate::app::snapshot(&config, at(0)).unwrap();
        Self { state: State::new(snapshot, Clock::manual(at(0))), key, _folder: folder }
    }

    /// What `ask` says, and how many signatures it checks.
    fn cost<T>(&self, now: i64, ask: impl FnOnce(Call<'_>) -> T) -> (T, usize) {
        let (snapshot, notes) = (self.state.snapshot(), Notes::default());
        let origin = Origin { request_id: "1", address: "unix", prefix: None };
        let call = Call { state: &self.state, snapshot: &snapshot, now: at(now), origin, notes: &notes };
        effort::of(|| ask(call))
    }

    /// An assertion by the signer's key.
    fn assertion(&self, header: &serde_json::Value, issuer: &str) -> String {
        let payload = json!({"iss": issuer, "sub": issuer, "aud": ISSUER, "exp": NOW + 60});
        let [header, payload] = [header, &payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{payload}");
        let signature = self.key.sign(Purpose::Access, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A pair of tokens of `orders`.
    fn pair(&self) -> Pair {
        let snapshot = self.state.snapshot();
        let client = snapshot.registry.named("orders").unwrap();
        let session = Session {
            dialect: Dialect::OAuth2,
            client: client.id.clone(),
            subject: (&client.id).into(),
            scope: Scope::default(),
            audience: client.audience.clone(),
            claims: token::ExtraClaims::default(),
            lifetime: None,
            start: at(0),
            end: at(3_600),
        };
        let grant = Grant::whole(&session, Alg::Es256, 600, 3_600);
        token::mint(&snapshot.keys, ISSUER, &session, &grant, at(0)).unwrap()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW + seconds)
}

/// `token` with the signature of `other`.
fn with_signature_of(token: &str, other: &str) -> String {
    let (message, signature) = (token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    format!("{message}.{signature}")
}

/// "An unknown client costs the same": whoever the assertion names, and whatever key it names, one signature is checked.
#[test]
fn an_assertion_of_nobody_costs_as_much_as_a_wrong_one() {
    let service = Service::new();
    let kid = service.key.kid().as_str();
    let good = service.assertion(&json!({"alg": "ES256", "kid": kid}), "signer");
    let authenticate = |text: &str| {
        let auth = ClientAuth::Assertion(text.to_owned().into());
        service.cost(0, |call| call.authenticate(&auth).map(|client| client.id.to_string()))
    };
    assert_eq!(authenticate(&good), (Ok("signer".to_owned()), 1));
    let wrong = with_signature_of(&good, &service.assertion(&json!({"alg": "ES256"}), "signer"));
    for (text, why) in [
        (wrong, Unauthenticated::Assertion(Rejected::BadSignature)),
        (service.assertion(&json!({"alg": "ES256", "kid": kid}), "nobody"), Unauthenticated::UnknownClient),
        (service.assertion(&json!({"alg": "RS256"}), "nobody"), Unauthenticated::UnknownClient),
        (service.assertion(&json!({"alg": "ES256"}), "orders"), Unauthenticated::NoKeys),
        (
            service.assertion(&json!({"alg": "ES256", "kid": "other"}), "signer"),
            Unauthenticated::Assertion(Rejected::UnknownKey),
        ),
        (
            service.assertion(&json!({"alg": "EdDSA", "kid": kid}), "signer"),
            Unauthenticated::Assertion(Rejected::WrongAlgorithm),
        ),
        (service.assertion(&json!({"alg": "PS256"}), "signer"), Unauthenticated::Assertion(Rejected::UnknownKey)),
    ] {
        assert_eq!(authenticate(&text), (Err(Denied::Client(why)), 1), "{text}");
    }
}

/// "Everything else, refresh tokens too, is exactly `{"active":false}`, at the same cost."
#[test]
fn whatever_is_not_active_costs_one_signature() {
    let service = Service::new();
    let Pair { access, refresh, .. } = service.pair();
    let introspect = |now: i64, text: &str| {
        let (answer, cost) = service.cost(now, |call| {
            let gate = call.snapshot.registry.named("gate").unwrap();
            call.introspect(gate, text).map(|_| ())
        });
        (answer.is_ok(), cost)
    };
    let forged = with_signature_of(&access, &service.pair().access);
    assert_eq!(introspect(0, &forged), (false, 1), "forged");
    // It is for another audience: when it is new, and when it is known.
    assert_eq!(introspect(0, &access), (false, 1), "of another client, new");
    assert_eq!(introspect(0, &access), (false, 1), "of another client, known");
    assert_eq!(introspect(700, &access), (false, 1), "expired");
    for (text, what) in [
        (refresh.as_str(), "refresh token"),
        ("x", "garbage"),
        ("", "nothing"),
        ("a.b.c", "garbage with dots"),
        (&"é".repeat(9_000), "longer than a token may be"),
    ] {
        assert_eq!(introspect(0, text), (false, 1), "{what}");
    }
}
