//! Tokens that nobody should send, signed with the real key: whatever refuses
//! one of them is the rule under test, never the signature.
//!
//! Written from the contract and the RFCs, not from `src`: the thumbprint, the
//! header and the refresh secret are all made here a second time.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, KeyRing, Plan, Purpose};
use lingpai::token::Verifying;
use pkcs8::der::{Decode as _, SecretDocument};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use ring::{digest, hmac};

use crate::app::{ISSUER, START, copy_key, vectors};

/// The committed keys, one for each algorithm.
pub const KEYS: [&str; 3] =
    ["2026-01-01T00-00-00Z.es256.pem", "2026-01-01T00-00-00Z.eddsa.pem", "2026-01-01T00-00-00Z.rs256.pem"];

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

/// A private key in the wrong hands.
pub struct Forge {
    pub alg: &'static str,
    pub kid: String,
    /// The PKCS#8 structure, for signatures of other forms.
    pub pkcs8: Vec<u8>,
    /// The public key as a JWK.
    pub jwk: String,
    /// The public key as ring gives it: a point, or DER.
    pub public: Vec<u8>,
    pub refresh_secret: Vec<u8>,
    private: Vec<u8>,
    pair: Pair,
}

impl Forge {
    /// The secret of another purpose: HKDF's `info` is this label and the `kid`.
    pub fn derive(&self, label: &str) -> Vec<u8> {
        derive(&self.private, label, &self.kid)
    }

    /// One for each of [`KEYS`].
    pub fn all() -> [Self; 3] {
        KEYS.map(|name| Self::load(&vectors("keys").join(name)))
    }

    /// The committed key for ES256.
    pub fn es256() -> Self {
        let [es256, ..] = Self::all();
        es256
    }

    /// Reads a key file; what it holds is in its name.
    pub fn load(path: &Path) -> Self {
        let (_, document) = SecretDocument::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap();
        let der = document.as_bytes();
        let info = pkcs8::PrivateKeyInfoRef::try_from(der).unwrap();
        let inner = info.private_key.as_bytes();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (pair, alg, public, private, jwk) = match path.file_stem().and_then(|stem| Path::new(stem).extension()) {
            Some(word) if word == "es256" => {
                let random = SystemRandom::new();
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).unwrap();
                let point = pair.public_key().as_ref().to_vec();
                let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
                assert_eq!(inner[5..7], [4, 32], "RFC 5915: version, then an octet string of 32 bytes");
                let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                (Pair::Es256(pair), "ES256", point, inner[7..39].to_vec(), jwk)
            }
            Some(word) if word == "eddsa" => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap();
                let point = pair.public_key().as_ref().to_vec();
                assert_eq!(inner[..2], [4, 32], "RFC 8410: an octet string of 32 bytes");
                let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(&point));
                (Pair::EdDsa(pair), "EdDSA", point, inner[2..].to_vec(), jwk)
            }
            _ => {
                let pair = RsaKeyPair::from_pkcs8(der).unwrap();
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                let exponent = pkcs1::RsaPrivateKeyRef::from_der(inner).unwrap().private_exponent;
                let jwk = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(&e), b64(&n));
                let public = pair.public().as_ref().to_vec();
                (Pair::Rs256(pair), "RS256", public, exponent.as_bytes().to_vec(), jwk)
            }
        };
        let kid = b64(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref());
        let refresh_secret = derive(&private, "lingpai refresh v1\0", &kid);
        Self { alg, kid, pkcs8: der.to_vec(), jwk, public, refresh_secret, private, pair }
    }

    /// What stands in the header of a right token: `alg`, `kid` and `typ`.
    pub fn names(&self, purpose: Purpose) -> [&str; 3] {
        match purpose {
            Purpose::Access => [self.alg, &self.kid, "at+jwt"],
            Purpose::Refresh => ["HS256", &self.kid, "rt+jwt"],
            Purpose::Revocations => [self.alg, &self.kid, "revocations+jwt"],
        }
    }

    /// The JSON text of the header of a right token.
    pub fn header(&self, purpose: Purpose) -> String {
        let [alg, kid, typ] = self.names(purpose);
        format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{typ}"}}"#)
    }

    /// A right signature over `message`.
    pub fn sign(&self, purpose: Purpose, message: &str) -> Vec<u8> {
        match (purpose, &self.pair) {
            (Purpose::Refresh, _) => mac(&self.refresh_secret, message.as_bytes()),
            (_, Pair::Es256(pair)) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            (_, Pair::EdDsa(pair)) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            (_, Pair::Rs256(_)) => self.sign_rsa(&RSA_PKCS1_SHA256, message),
        }
    }

    /// A signature of the RSA key in another form.
    pub fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
        let Pair::Rs256(pair) = &self.pair else { panic!("{} is not RSA", self.alg) };
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        signature
    }

    /// Signs two segments as they are, whatever they hold.
    pub fn seal(&self, purpose: Purpose, header: &str, payload: &str) -> String {
        let message = format!("{header}.{payload}");
        let signature = self.sign(purpose, &message);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Signs a header and a payload.
    pub fn token(&self, purpose: Purpose, header: &str, payload: impl AsRef<[u8]>) -> String {
        self.seal(purpose, &URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(payload))
    }

    /// Signs a payload under the right header.
    pub fn sign_payload(&self, purpose: Purpose, payload: impl AsRef<[u8]>) -> String {
        self.token(purpose, &self.header(purpose), payload)
    }

    /// A right token.
    pub fn right(&self, purpose: Purpose) -> String {
        self.sign_payload(purpose, claims(purpose).to_string())
    }
}

/// The secret of one purpose, by the letter of RFC 5869 with an empty salt.
fn derive(private: &[u8], label: &str, kid: &str) -> Vec<u8> {
    let extracted = mac(&[0; 32], private);
    mac(&extracted, format!("{label}{kid}\u{1}").as_bytes())
}

/// HMAC with SHA-256.
pub fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// A JSON object as raw text, so that it can say what no serialiser would write.
#[derive(Clone)]
pub struct Raw(Vec<(String, String)>);

impl Raw {
    /// This member set to the JSON text `value`.
    pub fn with(&self, name: &str, value: impl fmt::Display) -> Self {
        let mut copy = self.clone();
        match copy.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value.to_string(),
            None => copy.0.push((name.to_owned(), value.to_string())),
        }
        copy
    }

    /// This member added, even if it is there already.
    pub fn and(&self, name: &str, value: impl fmt::Display) -> Self {
        let mut copy = self.clone();
        copy.0.push((name.to_owned(), value.to_string()));
        copy
    }

    /// Without this member.
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(other, _)| other != name).cloned().collect())
    }

    /// Each member's name and JSON text.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        write!(f, "{{{}}}", members.join(","))
    }
}

/// The claims of a right token of the client `orders`, issued at [`START`].
pub fn claims(purpose: Purpose) -> Raw {
    let quoted = |text: &str| format!("\"{text}\"");
    let common = Raw(Vec::new())
        .with("iss", quoted(ISSUER))
        .with("sub", quoted("user:7"))
        .with("aud", quoted("https://orders.example.com"))
        .with("iat", START)
        .with("jti", quoted("AAAAAAAAAAAAAAAAAAAAAA"))
        .with("client_id", quoted("orders"))
        .with("scope", quoted("orders:read"));
    match purpose {
        Purpose::Access | Purpose::Revocations => common.with("exp", START + 600),
        Purpose::Refresh => common
            .with("v", 1)
            .with("dialect", quoted("native"))
            .with("exp", START + DAY)
            .with("session_start", START)
            .with("session_end", START + 30 * DAY),
    }
}

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// The committed keys as the library holds them.
pub fn ring() -> KeyRing {
    let folder = tempfile::tempdir().unwrap();
    for name in KEYS {
        copy_key(name, &folder.path().join(name));
    }
    let keys = lingpai::keys::load(folder.path()).unwrap();
    let algorithms = [Alg::Es256].into();
    KeyRing::lenient(keys, Plan { algorithms, access_window: DAY, refresh_window: 90 * DAY, ..Plan::default() })
}

/// What a library call verifies against, at `now` in seconds since 1970.
pub fn at(now: i64) -> Verifying<'static> {
    Verifying { issuer: ISSUER, leeway: 5, now: Timestamp::from_unix(now) }
}
