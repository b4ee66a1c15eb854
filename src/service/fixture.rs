//! A service for the tests of this room.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Call, Carried, Notes, Origin, State};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Overrides};
use crate::crypto::{effort, sha256};
use crate::keys::{self, Alg, Key, Purpose, pem};
use crate::peer::ClientCertificate;
use crate::token::{self, Dialect, Grant, Pair, Scope, Session};

const ISSUER: &str = "https://tokens.example.com";
/// A trusted issuer.
pub(super) const TRUSTED: &str = "https://ci.example.com";
/// Certificates: `client` is by `ca` and has the name of `certified`; those of `namesakes` pretend to.
const MTLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/mtls");
/// The second at which its tokens are issued.
const NOW: i64 = 1_780_315_200;

/// A service with the clients `orders` (a secret), `gate` (which serves an API), `signer` (a key set) and
/// `certified` (a name in its certificate), and the issuer [`TRUSTED`] with the keys of `signer`.
pub(super) struct Service {
    pub(super) state: State,
    pub(super) clock: Clock,
    /// The key of `signer`.
    pub(super) key: Key,
    _folder: tempfile::TempDir,
}

impl Service {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = keys::generate(&path("signer"), Alg::Es256, at(-60)).unwrap();
        std::fs::write(path("signer.json"), format!("{{\"keys\":[{}]}}", key.jwk())).unwrap();
        keys::generate(&path("keys"), Alg::Es256, at(-60)).unwrap();
        let secret = crate::clients::SecretDigest::of(b"secret").written();
        let config = format!(
            "issuer = \"{ISSUER}\"\n[[clients]]\nid = \"orders\"\nsecrets = [\"{secret}\"]\naudience = [\"a\"]\n\
             [[clients]]\nid = \"gate\"\nsecrets = [\"{secret}\"]\naccepts = [\"b\"]\n\
             [[clients]]\nid = \"signer\"\njwks = \"signer.json\"\n\
             [[clients]]\nid = \"certified\"\ntls_san_dns = \"orders.example.com\"\n\
             [mtls]\nca = \"{MTLS}/ca.crt\"\n\
             [[issuers]]\nissuer = \"{TRUSTED}\"\njwks_file = \"signer.json\"\n\
             [[issuers.rules]]\nmatch = {{ sub = \"{TRUSTED}\" }}\nclient = \"orders\"\n"
        );
        let config = Config::parse(&path("lingpai.toml"), config, Overrides::default()).unwrap();
        let snapshot = crate::app::snapshot(&config, at(0)).unwrap();
        let clock = Clock::manual(at(0));
        Self { state: State::new(snapshot, clock.clone()), clock, key, _folder: folder }
    }

    /// Returns the result of `ask` and how many signatures it checked.
    pub(super) fn cost<T>(&self, now: i64, ask: impl FnOnce(Call<'_>) -> T) -> (T, usize) {
        self.clock.set(at(now));
        let (snapshot, notes) = (self.state.snapshot(), Notes::default());
        let origin = Origin { request_id: "1", address: "unix", prefix: None };
        let call = Call {
            state: &self.state,
            snapshot: &snapshot,
            now: at(now),
            origin,
            carried: Carried::default(),
            notes: &notes,
        };
        effort::of(|| ask(call))
    }

    /// An assertion signed by the key of `signer`, which is also that of [`TRUSTED`].
    pub(super) fn assertion(&self, header: &serde_json::Value, issuer: &str) -> String {
        let payload = json!({"iss": issuer, "sub": issuer, "aud": ISSUER, "exp": NOW + 60});
        self.signed(header, &payload)
    }

    fn signed(&self, header: &serde_json::Value, payload: &serde_json::Value) -> String {
        let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{payload}");
        let signature = self.key.sign(Purpose::Access, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A proof with this `jti`, made at `second` for the token endpoint.
    pub(super) fn proof(&self, id: &str, second: i64) -> String {
        let url = format!("{ISSUER}{}", super::TOKEN_ENDPOINT);
        let payload = json!({"jti": id, "htm": "POST", "htu": url, "iat": NOW + second});
        let jwk: serde_json::Value = serde_json::from_str(self.key.jwk()).unwrap();
        self.signed(&json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}), &payload)
    }

    /// The first `count` certificates of a file in `tests/vectors/mtls`, as a new connection shows them.
    pub(super) fn certificate(name: &str, count: usize) -> ClientCertificate {
        let text = std::fs::read(format!("{MTLS}/{name}.crt")).unwrap();
        let blocks = pem::blocks(&text).unwrap();
        ClientCertificate::new(blocks.iter().take(count).map(|block| block.der().into()), sha256).unwrap()
    }

    /// A session of `orders`.
    pub(super) fn session(&self) -> Session {
        let snapshot = self.state.snapshot();
        let client = snapshot.registry.named("orders").unwrap();
        Session {
            id: None,
            sender: None,
            actor: None,
            dialect: Dialect::OAuth2,
            client: client.id.clone(),
            subject: (&client.id).into(),
            scope: Scope::default(),
            audience: client.audience.clone(),
            claims: token::ExtraClaims::default(),
            lifetime: None,
            start: at(0),
            end: at(3_600),
        }
    }

    /// A pair of tokens of `orders`.
    pub(super) fn pair(&self) -> Pair {
        let (snapshot, session) = (self.state.snapshot(), self.session());
        let grant = Grant::whole(&session, Alg::Es256, 600, 3_600);
        token::mint(&snapshot.keys, ISSUER, &session, &grant, at(0)).unwrap()
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW + seconds)
}
