//! The public keys of a client or an issuer (RFC 7517), parsed strictly and checked once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;
use x509_cert::der::Decode as _;

use super::keyset_error::{KeySetError, MAX_KEY_SET, MAX_KEYS, Unusable};
use super::public_key::{Owner, PublicKey, private_member};
use super::unverified::Jws;
use super::{Rejected, decoy, json};
use crate::crypto::{self, Digester};

/// Public keys, ready to verify signatures.
#[derive(Debug, Clone)]
pub struct KeySet {
    owner: Owner,
    keys: Vec<PublicKey>,
    /// The SHA-256 of the first certificate in `x5c` of each of a client's keys.
    certificates: Vec<[u8; 32]>,
    passed_over: Vec<(usize, Unusable)>,
}

impl KeySet {
    /// Parses the JSON text of a set.
    ///
    /// # Errors
    /// What is wrong with the set as a whole or, for a client's, with one of its keys.
    pub fn parse(text: &[u8], owner: Owner) -> Result<Self, KeySetError> {
        if text.len() > MAX_KEY_SET {
            return Err(KeySetError::TooLarge);
        }
        let set = json::object(text).ok_or(KeySetError::NotAKeySet)?;
        if let (Owner::Client, Some(member)) = (owner, private_member(&set)) {
            return Err(KeySetError::PrivateBeside(member));
        }
        let written = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotAKeySet)?;
        if written.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut all = Self { owner, ..Self::none() };
        for (index, jwk) in written.iter().enumerate() {
            let jwk = jwk.as_object().ok_or(KeySetError::NotAKeySet)?;
            if let Some(member) = private_member(jwk) {
                return Err(KeySetError::Private { index, member });
            }
            match PublicKey::read(jwk, owner) {
                Ok(key) => {
                    if let Some(chain) = jwk.get("x5c").filter(|_| owner == Owner::Client) {
                        let why = Unusable::Certificate;
                        let digest = certificate(chain, &key.key).ok_or(KeySetError::Unusable { index, why })?;
                        all.certificates.push(digest);
                    }
                    all.add(key)?;
                }
                Err(why) if owner == Owner::Client => return Err(KeySetError::Unusable { index, why }),
                Err(why) => all.passed_over.push((index, why)),
            }
        }
        if owner == Owner::Client && all.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(all)
    }

    /// Refuses keys that a token could not tell apart: two with the same `kid`, and a client's key
    /// that appears twice without a `kid` for each.
    fn add(&mut self, key: PublicKey) -> Result<(), KeySetError> {
        if let Some(kid) = key.kid.as_ref().filter(|_| self.keys.iter().any(|other| other.kid == key.kid)) {
            return Err(KeySetError::RepeatedKid(kid.clone()));
        }
        if let (Owner::Client, Some(first)) =
            (self.owner, self.keys.iter().position(|other| other.is_confused_with(&key)))
        {
            return Err(KeySetError::RepeatedKey { index: self.keys.len(), first });
        }
        self.keys.push(key);
        Ok(())
    }

    /// Returns a client's set without keys, in place of a missing one: every token is refused, and
    /// costs as much as one with a wrong signature.
    #[must_use]
    pub const fn none() -> Self {
        Self { owner: Owner::Client, keys: Vec::new(), certificates: Vec::new(), passed_over: Vec::new() }
    }

    /// Returns the number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no usable keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the certificate with this SHA-256 comes first in `x5c` of one of a client's keys
    /// (RFC 7517 §4.7).
    #[must_use]
    pub fn has_certificate(&self, digest: &[u8; 32]) -> bool {
        self.certificates.contains(digest)
    }

    /// Whether one of a client's keys has a certificate.
    #[must_use]
    pub fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a usable key has this `kid`.
    #[must_use]
    pub fn has_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Returns an issuer's unusable keys: their positions in the set, from 0, and why.
    #[must_use]
    pub fn passed_over(&self) -> &[(usize, Unusable)] {
        &self.passed_over
    }

    /// Adds everything that affects verification: each key, its `kid` and its algorithms.
    pub fn digest(&self, all: &mut Digester) {
        self.certificates.iter().for_each(|digest| all.add(digest));
        for PublicKey { kid, algorithms, key } in &self.keys {
            all.add(format!("{kid:?} {algorithms:?}").as_bytes());
            match key.kind() {
                DecodingKeyKind::SecretOrDer(point) => all.add(point),
                DecodingKeyKind::RsaModulusExponent { n, e } => {
                    all.add(n);
                    all.add(e);
                }
            }
        }
    }

    /// Checks the signature. With a client's set it costs one check without a matching key, too, so
    /// that timing does not tell which clients have keys. An issuer's keys are no secret, and a flood
    /// of tokens that name none of them must be cheap.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), Rejected> {
        let (kid, algorithm) = (jws.header.kid.as_deref(), jws.header.algorithm);
        let key = self.candidate(kid, algorithm).and_then(|key| key.accepts(algorithm).map(|()| key));
        match key {
            Ok(key) => key.verify(jws),
            Err(why) => {
                if self.owner == Owner::Client {
                    decoy::check(jws.message.as_bytes(), algorithm);
                }
                Err(why)
            }
        }
    }

    /// Returns the only key that the token can mean. Never tries several.
    pub(super) fn candidate(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, Rejected> {
        if kid.is_some() {
            return self.keys.iter().find(|key| key.kid.as_deref() == kid).ok_or(Rejected::UnknownKey);
        }
        let mut candidates = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        let first = candidates.next().ok_or(Rejected::UnknownKey)?;
        if candidates.next().is_some() { Err(Rejected::AmbiguousKey) } else { Ok(first) }
    }
}

/// Returns the SHA-256 of a chain's first certificate (RFC 7517 §4.7), which must be for this key.
fn certificate(chain: &Value, key: &DecodingKey) -> Option<[u8; 32]> {
    let der = STANDARD.decode(chain.as_array()?.first()?.as_str()?).ok()?;
    let certificate = x509_cert::Certificate::from_der(&der).ok()?;
    let public = certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    let is_of_key = match key.kind() {
        DecodingKeyKind::SecretOrDer(point) => public == point,
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let public = pkcs1::RsaPublicKeyRef::from_der(public).ok()?;
            public.modulus.as_bytes() == n && public.public_exponent.as_bytes() == e
        }
    };
    is_of_key.then(|| crypto::sha256(&der))
}
