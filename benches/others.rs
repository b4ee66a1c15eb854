//! What others sign: a client its assertions, an issuer the identities of jobs, the holder of a token its proofs. All of
//! it ES256, each with a key of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Timestamp;
use lingpai::crypto::rand::SystemRandom;
use lingpai::crypto::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use lingpai::crypto::{p256_pair, sha256};
use serde_json::{Value, json};

/// Somebody with a key.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// What a proof is for.
#[derive(Clone, Copy)]
pub(crate) struct ProofOf<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) access_token: Option<&'a str>,
    pub(crate) nonce: &'a str,
}

impl Signer {
    /// Somebody with a new key.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self { pair: p256_pair(pkcs8.as_ref()).unwrap(), random }
    }

    /// The public key, as a set of one that is called `1`.
    pub(crate) fn jwks(&self) -> String {
        let mut jwk = self.jwk();
        jwk["kid"] = "1".into();
        json!({"keys": [jwk]}).to_string()
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref().get(1..).unwrap().split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.pair.sign(&self.random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What the client `id` says of itself (RFC 7523 §3), as libraries write it.
    pub(crate) fn assertion(&self, id: &str, audience: &str, now: Timestamp) -> String {
        let now = now.unix();
        let claims =
            json!({"iss": id, "sub": id, "aud": audience, "exp": now + 300, "iat": now, "nbf": now, "jti": unique()});
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "1"}), &claims)
    }

    /// What `issuer` says of a job, with the claims that GitHub's tokens have.
    pub(crate) fn identity(&self, issuer: &str, repository: &str, audience: &str, now: Timestamp) -> String {
        let now = now.unix();
        let workflow = format!("acme/{repository}/.github/workflows/deploy.yml@refs/heads/main");
        let claims = json!({
            "jti": unique(), "sub": format!("repo:acme/{repository}:ref:refs/heads/main"), "aud": audience, "iss": issuer,
            "ref": "refs/heads/main", "sha": "9c8f6d2f4b1e5a7d3c0b8e6f1a2d4c5b7e9f0a1b",
            "repository": format!("acme/{repository}"), "repository_owner": "acme", "repository_owner_id": "1234",
            "run_id": "30433642", "run_number": "42", "run_attempt": "1", "repository_visibility": "private",
            "repository_id": "5678", "actor_id": "12", "actor": "octocat", "workflow": "deploy", "head_ref": "",
            "base_ref": "", "event_name": "push", "ref_protected": "true", "ref_type": "branch",
            "workflow_ref": workflow, "workflow_sha": "9c8f6d2f4b1e5a7d3c0b8e6f1a2d4c5b7e9f0a1b",
            "job_workflow_ref": workflow, "job_workflow_sha": "9c8f6d2f4b1e5a7d3c0b8e6f1a2d4c5b7e9f0a1b",
            "runner_environment": "github-hosted", "nbf": now - 5, "exp": now + 300, "iat": now,
        });
        self.sign(&json!({"typ": "JWT", "alg": "ES256", "kid": "1"}), &claims)
    }

    /// A proof that nobody has seen (RFC 9449 §4.2).
    pub(crate) fn proof(&self, of: ProofOf<'_>, now: Timestamp) -> String {
        let mut claims =
            json!({"jti": unique(), "htm": of.method, "htu": of.url, "iat": now.unix(), "nonce": of.nonce});
        if let Some(token) = of.access_token {
            claims["ath"] = URL_SAFE_NO_PAD.encode(sha256(token.as_bytes())).into();
        }
        self.sign(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()}), &claims)
    }

    /// Checks the signature of a token of its own, and nothing else.
    pub(crate) fn verify(&self, token: &Signed) {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(token.message.as_bytes(), &token.signature).unwrap();
    }
}

/// What was signed, and the signature.
pub(crate) struct Signed {
    message: String,
    signature: Vec<u8>,
}

impl From<&str> for Signed {
    fn from(token: &str) -> Self {
        let (message, signature) = token.rsplit_once('.').unwrap();
        Self { message: message.to_owned(), signature: URL_SAFE_NO_PAD.decode(signature).unwrap() }
    }
}

/// An id that no other has, as long as a UUID.
fn unique() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("0b51a1f6-6f0c-4b6f-9d0e-{:012x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
