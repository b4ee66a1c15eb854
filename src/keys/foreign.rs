//! Tokens of which only a JWKS is at hand: jsonwebtoken, with [`crate::crypto`] behind it.
//!
//! Our own tokens never come here (see `KeyRing::find`). A header is read here
//! because it must be, after a strict look at its members.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use serde::Deserialize;

use crate::crypto::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Checks the signature of the access token `token` with the key in `jwks` (the
/// JSON text of an RFC 7517 §5 set) that its header names.
///
/// # Errors
/// What is wrong with the set or the token.
pub fn verify_with_jwks(token: &str, jwks: &str) -> Result<(), &'static str> {
    let set: JwkSet = serde_json::from_str(jwks).map_err(|_| "the JWKS is not a JSON Web Key Set")?;
    let segment = token.split('.').next().unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(segment).map_err(|_| "the header is not base64url")?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| "the header is not exactly alg, kid and typ")?;
    if header.typ != "at+jwt" {
        return Err("the header does not say that it is an access token (typ at+jwt)");
    }
    let jwk = set.find(&header.kid).ok_or("the JWKS has no key with this kid")?;
    let algorithm = match header.alg.as_str() {
        "ES256" => Algorithm::ES256,
        "EdDSA" => Algorithm::EdDSA,
        "RS256" => Algorithm::RS256,
        _ => return Err("the header names another algorithm than ES256, EdDSA and RS256"),
    };
    let declared = jwk.common.key_algorithm.is_none_or(|alg| alg.to_string() == header.alg);
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    if !declared || !signs {
        return Err("the key with this kid is for something else");
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "the key with this kid is not usable")?;
    // Another provider may be there already; then that one checks the signature.
    let _ = PROVIDER.install_default();
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).map(drop).map_err(|_| "the signature is wrong")
}

/// jsonwebtoken's cryptography: verification of what lingpai signs.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::ES256 | Algorithm::EdDSA | Algorithm::RS256 => {
            Ok(Box::new(SignatureVerifier { algorithm: *algorithm, key: key.clone() }))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct SignatureVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for SignatureVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for SignatureVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
