//! Minting: claims, one buffer, one signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::claims::{NewAccess, WireRefresh};
use super::{Grant, MAX_TOKEN, Session};
use crate::clock::Timestamp;
use crate::crypto::{NoRandomness, unique};
use crate::keys::{Key, KeyRing, Kid, Purpose};

/// An access token.
pub struct Access {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires: Timestamp,
    /// Its id: `jti`.
    pub id: String,
    /// The key that signed it.
    pub kid: Kid,
}

/// An access token and its refresh token.
pub struct Pair {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// When the access token expires.
    pub expires: Timestamp,
    /// The access token's id: `jti`.
    pub id: String,
    /// The key that signed both.
    pub kid: Kid,
}

/// Without the token: it is a credential.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires, id, kid, .. } = self;
        f.debug_struct("Access").field("expires", expires).field("id", id).field("kid", kid).finish_non_exhaustive()
    }
}

/// Without the tokens: they are credentials.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires, id, kid, .. } = self;
        f.debug_struct("Pair").field("expires", expires).field("id", id).field("kid", kid).finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintError {
    /// No key signs at this instant.
    NoKey,
    /// A token would be longer than [`MAX_TOKEN`].
    TooLarge,
    /// The system's random number generator failed.
    NoRandomness,
}

impl From<NoRandomness> for MintError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// Mints an access token with what `grant` allows of `session`, which must not have ended, and a
/// refresh token.
///
/// # Errors
/// See [`MintError`].
pub fn mint(
    keys: &KeyRing,
    issuer: &str,
    session: &Session,
    grant: &Grant<'_>,
    now: Timestamp,
) -> Result<Pair, MintError> {
    let key = keys.signer(grant.algorithm, now).ok_or(MintError::NoKey)?;
    let ids = unique::<32>()?;
    let (access_id, refresh_id) = ids.split_at(16);
    let Access { token: access, expires, id, kid } = access(key, issuer, session, grant, now, access_id)?;
    let refresh_id = URL_SAFE_NO_PAD.encode(refresh_id);
    let refresh_expires = now.plus(grant.refresh_lifetime).min(session.end);
    let claims = WireRefresh::new(issuer, session, refresh_expires, now, &refresh_id);
    let refresh = compact(key, Purpose::Refresh, &claims)?;
    Ok(Pair { access, refresh, expires, id, kid })
}

/// Mints an access token with what `grant` allows of `session`, which must not have ended.
///
/// # Errors
/// See [`MintError`].
pub fn mint_access(
    keys: &KeyRing,
    issuer: &str,
    session: &Session,
    grant: &Grant<'_>,
    now: Timestamp,
) -> Result<Access, MintError> {
    let key = keys.signer(grant.algorithm, now).ok_or(MintError::NoKey)?;
    access(key, issuer, session, grant, now, &unique::<16>()?)
}

fn access(
    key: &Key,
    issuer: &str,
    session: &Session,
    grant: &Grant<'_>,
    now: Timestamp,
    id: &[u8],
) -> Result<Access, MintError> {
    let id = URL_SAFE_NO_PAD.encode(id);
    let expires = now.plus(grant.access_lifetime).min(session.end);
    let claims = NewAccess { issuer, session, grant, expires, issued: now, id: &id };
    let token = compact(key, Purpose::Access, &claims)?;
    Ok(Access { token, expires, id, kid: key.kid().clone() })
}

/// Writes header, claims and signature into one buffer (RFC 7515 §7.1).
fn compact(key: &Key, purpose: Purpose, claims: &impl Serialize) -> Result<String, MintError> {
    let mut json = Vec::with_capacity(512);
    #[expect(clippy::expect_used, reason = "strings and numbers, into memory")]
    serde_json::to_writer(&mut json, claims).expect("JSON");
    let header = key.header(purpose);
    let mut token = String::with_capacity(header.len() + json.len() * 4 / 3 + 96);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&json, &mut token);
    let signature = key.sign(purpose, token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > MAX_TOKEN { Err(MintError::TooLarge) } else { Ok(token) }
}
