//! DPoP proofs: tokens for one request, signed by the key that they carry (RFC 9449 §4).
//!
//! Checks here need no memory. The caller checks for replays and for the service's nonces once
//! everything else holds.

use super::public_key::PublicKey;
use super::unverified::Claims;
use super::{HeaderPolicy, Rejected, TargetUrl, Unverified};
use crate::clock::Timestamp;
use crate::token::{Fingerprint, Thumbprint};

/// What a proof must agree with.
#[derive(Debug, Clone, Copy)]
pub struct ProofRules<'a> {
    /// What `htm` must be: the request's method, in the same case (RFC 9110 §9.1).
    pub method: &'a str,
    /// What `htu` must be equivalent to: the request's URL.
    pub url: &'a TargetUrl,
    /// The access token that `ath` must name. With None `ath` is not read.
    pub access_token: Option<&'a Fingerprint>,
    /// The current second.
    pub now: Timestamp,
}

/// A proof that passed every check of [`verify_proof`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key that signed it (RFC 7638).
    pub thumbprint: Thumbprint,
    /// `jti`, not empty.
    pub id: String,
    /// `nonce`, if present.
    pub nonce: Option<String>,
    /// The first second at which its `iat` is too old: from then on it need not be remembered.
    pub ends: Timestamp,
}

impl Proof {
    /// Maximum seconds between `iat` and now, either way.
    pub const WINDOW: i64 = 60;
}

/// Checks a proof by every rule of RFC 9449 §4.3 that needs no memory.
///
/// # Errors
/// The first check that failed: form, key, signature, claims, `htm`, `htu`, times, `ath`.
pub fn verify_proof(text: &str, rules: ProofRules<'_>) -> Result<Proof, Rejected> {
    let unverified = Unverified::parse(text, HeaderPolicy::PROOF)?;
    let (key, thumbprint) = unverified.unverified_jwk().and_then(PublicKey::of_proof).ok_or(Rejected::BadKey)?;
    key.verify(unverified.jws())?;
    read(&unverified.into_claims(), Thumbprint::new(thumbprint), rules)
}

fn read(claims: &Claims, thumbprint: Thumbprint, rules: ProofRules<'_>) -> Result<Proof, Rejected> {
    let required = |name| claims.text(name).ok_or(Rejected::BadClaims);
    let (id, method, url) = (required("jti")?, required("htm")?, required("htu")?);
    let issued = claims.issued.ok_or(Rejected::BadClaims)?;
    let nonce = match claims.all.get("nonce") {
        None => None,
        Some(nonce) => Some(nonce.as_str().ok_or(Rejected::BadClaims)?.to_owned()),
    };
    if id.is_empty() {
        return Err(Rejected::BadClaims);
    }
    if method != rules.method {
        return Err(Rejected::WrongMethod);
    }
    // Most clients write the normal form.
    if url != rules.url.as_str() && TargetUrl::parse(url).as_ref() != Some(rules.url) {
        return Err(Rejected::WrongUrl);
    }
    let ends = times(claims, issued, rules.now)?;
    if rules.access_token.is_some_and(|token| claims.text("ath") != Some(&*token.base64())) {
        return Err(Rejected::WrongTokenHash);
    }
    Ok(Proof { thumbprint, id: id.to_owned(), nonce, ends })
}

/// Checks `iat`, and `exp` and `nbf` if present. Returns when the proof expires.
fn times(claims: &Claims, issued: Timestamp, now: Timestamp) -> Result<Timestamp, Rejected> {
    let age = now.since(issued);
    if age > Proof::WINDOW || claims.expires.is_some_and(|end| now >= end) {
        return Err(Rejected::Expired);
    }
    let latest = now.plus(Proof::WINDOW);
    if age < -Proof::WINDOW || claims.not_before.is_some_and(|start| start > latest) {
        return Err(Rejected::NotYetValid);
    }
    Ok(issued.plus(Proof::WINDOW + 1))
}
