//! DPoP (RFC 9449): proofs, and tokens that are bound to their keys.

mod keys;
mod mutants;
mod service;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::START;
use crate::forge::Forge;

/// A client's key, its proofs as it writes them, and what they may be made to say.
pub struct Prover {
    pub forge: Forge,
    /// RFC 7638's, made by hand in [`Forge`].
    pub thumbprint: String,
}

impl Prover {
    /// One for each algorithm.
    pub fn all() -> [Self; 3] {
        Forge::all().map(|forge| Self { thumbprint: forge.kid.clone(), forge })
    }

    pub fn es256() -> Self {
        let [es256, ..] = Self::all();
        es256
    }

    pub fn header(&self) -> String {
        format!(r#"{{"typ":"dpop+jwt","alg":"{}","jwk":{}}}"#, self.forge.alg, self.forge.jwk)
    }

    pub fn sign(&self, header: &str, claims: &Value) -> String {
        self.forge.token(Purpose::Access, header, claims.to_string())
    }

    /// A proof with these claims; null takes one out.
    pub fn proof(&self, change: &Value) -> String {
        self.sign(&self.header(), &claims(change))
    }
}

/// The claims of a good proof for `GET https://tokens.example.com/token`, with those of `change` in place of its own.
pub fn claims(change: &Value) -> Value {
    let mut claims = json!({
        "jti": "-BwC3ESc6acc2lTc", "htm": "GET", "htu": "https://tokens.example.com/token", "iat": START,
    });
    let members = claims.as_object_mut().unwrap();
    members.extend(change.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    claims
}

/// The SHA-256 of a token, in base64url.
pub fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()))
}
