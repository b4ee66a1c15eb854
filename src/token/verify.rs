//! Verification: look up the header, then check the signature, then the claims.
//!
//! The first failure is reported and stops the rest: no claim is parsed before its signature is
//! verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{AccessClaims, MAX_TOKEN, RefreshClaims};
use crate::clock::Timestamp;
use crate::keys::{KeyRing, MAX_SIGNATURE, Purpose};

/// Three segments separated by dots, unverified.
#[derive(Clone, Copy)]
pub struct Compact<'t> {
    message: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Compact<'t> {
    /// Splits a compact JWS (RFC 7515 §7.1). None if it does not have three segments or is longer
    /// than [`MAX_TOKEN`].
    #[must_use]
    pub fn parse(token: &'t str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        (!payload.contains('.')).then_some(Self { message, header, payload, signature })
    }

    /// Returns the length of its claims as JSON, in bytes.
    #[must_use]
    pub fn claims_len(&self) -> usize {
        self.payload.len() * 3 / 4
    }
}

/// What a token must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Verifying<'a> {
    /// The issuer whose tokens are accepted.
    pub issuer: &'a str,
    /// Maximum difference between clocks, in seconds.
    pub leeway: i64,
    /// The current second.
    pub now: Timestamp,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its header is not one that a key here would write.
    UnknownHeader,
    /// It is of the other kind.
    WrongKind,
    /// Its key no longer verifies.
    RetiredKey,
    /// Its key has been revoked.
    RevokedKey,
    /// Its signature does not match its key.
    BadSignature,
    /// Its claims are malformed, or of another issuer.
    BadClaims,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
}

impl Rejection {
    /// Returns the log's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownHeader => "unknown_header",
            Self::WrongKind => "wrong_kind",
            Self::RetiredKey => "retired_key",
            Self::RevokedKey => "revoked_key",
            Self::BadSignature => "bad_signature",
            Self::BadClaims => "bad_claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }
}

/// The claims of a verified token. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<K> {
    claims: K,
    from: Timestamp,
    until: Timestamp,
}

impl<K> Verified<K> {
    /// Returns the claims.
    #[must_use]
    pub fn claims(&self) -> &K {
        &self.claims
    }

    /// Returns the claims by value.
    #[must_use]
    pub fn into_claims(self) -> K {
        self.claims
    }

    /// Whether it is still valid at `now`, with the same keys, issuer and leeway.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

#[cfg(test)]
impl Verified<AccessClaims> {
    /// Makes one that is valid at `now` and for a minute.
    pub(super) fn sample(now: Timestamp) -> Self {
        let payload = format!(
            r#"{{"iss":"i","sub":"s","aud":"a","exp":{},"iat":{},"jti":"j","client_id":"c"}}"#,
            now.unix() + 60,
            now.unix()
        );
        let claims = AccessClaims::read(payload.as_bytes(), "i").unwrap();
        Self { claims, from: now, until: now.plus(60) }
    }
}

/// The two kinds of token.
pub trait Kind: Sized + sealed::Read {}

impl Kind for AccessClaims {}
impl Kind for RefreshClaims {}

mod sealed {
    use super::{Purpose, Timestamp};

    pub trait Read: Sized {
        const PURPOSE: Purpose;
        fn read_claims(payload: &[u8], issuer: &str) -> Option<Self>;
        /// Returns when it expires, and when it becomes valid.
        fn validity(&self) -> (Timestamp, Timestamp);
    }
}

impl sealed::Read for AccessClaims {
    const PURPOSE: Purpose = Purpose::Access;

    fn read_claims(payload: &[u8], issuer: &str) -> Option<Self> {
        Self::read(payload, issuer)
    }

    fn validity(&self) -> (Timestamp, Timestamp) {
        (self.expires, self.not_before.map_or(self.issued, |nbf| nbf.max(self.issued)))
    }
}

impl sealed::Read for RefreshClaims {
    const PURPOSE: Purpose = Purpose::Refresh;

    fn read_claims(payload: &[u8], issuer: &str) -> Option<Self> {
        Self::read(payload, issuer)
    }

    fn validity(&self) -> (Timestamp, Timestamp) {
        (self.expires, self.issued)
    }
}

/// Verifies `token` with `keys`.
///
/// # Errors
/// The first check that failed.
pub fn verify<K: Kind>(token: Compact<'_>, keys: &KeyRing, with: Verifying<'_>) -> Result<Verified<K>, Rejection> {
    let key = keys.find(token.header).ok_or(Rejection::UnknownHeader)?;
    if key.purpose() != K::PURPOSE {
        return Err(Rejection::WrongKind);
    }
    if key.is_revoked() {
        return Err(Rejection::RevokedKey);
    }
    if !key.accepts(with.now) {
        return Err(Rejection::RetiredKey);
    }
    // The decoder needs room for whole groups of three bytes.
    let mut signature = [0; MAX_SIGNATURE + 2];
    let length = URL_SAFE_NO_PAD.decode_slice(token.signature, &mut signature).map_err(|_| Rejection::BadSignature)?;
    let signature = signature.get(..length).ok_or(Rejection::BadSignature)?;
    if !key.verifies(token.message.as_bytes(), signature) {
        return Err(Rejection::BadSignature);
    }
    let payload = URL_SAFE_NO_PAD.decode(token.payload).map_err(|_| Rejection::BadClaims)?;
    let claims: K = examine(&payload, with)?;
    let (expires, valid_from) = claims.validity();
    let expires = expires.plus(with.leeway);
    let until = key.ends().map_or(expires, |end| end.min(expires));
    Ok(Verified { claims, from: valid_from.plus(-with.leeway), until })
}

/// Checks the claims of a token whose signature was checked elsewhere: first their shape and
/// issuer, then their times.
///
/// # Errors
/// The first check that failed.
pub fn examine<K: Kind>(payload: &[u8], with: Verifying<'_>) -> Result<K, Rejection> {
    let claims = K::read_claims(payload, with.issuer).ok_or(Rejection::BadClaims)?;
    let (expires, valid_from) = claims.validity();
    if with.now >= expires.plus(with.leeway) {
        return Err(Rejection::Expired);
    }
    if valid_from > with.now.plus(with.leeway) {
        return Err(Rejection::NotYetValid);
    }
    Ok(claims)
}
