//! Verifies a token: its signature, then its claims against the caller's rules.

use serde_json::{Map, Value};

use super::unverified::Claims;
use super::{KeySet, Rejected, Unverified};
use crate::clock::Timestamp;

/// Seconds by which `iat` and `nbf` may be ahead, even if the leeway is less.
const AHEAD: i64 = 10;

/// What an assertion must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What `iss` must be. With None it is not read: `sub` alone names a SPIFFE identity.
    pub issuer: Option<&'a str>,
    /// The values that `aud` may have.
    pub audiences: &'a [&'a str],
    /// How far ahead `exp` may be.
    pub max_age: MaxAge,
    /// Maximum difference between clocks, in seconds.
    pub leeway: i64,
    /// The current second.
    pub now: Timestamp,
}

/// Maximum lifetime of an assertion, in seconds. Where it is measured from now, the leeway is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxAge {
    /// From now to `exp`, whatever `iat` says.
    FromNow(i64),
    /// From `iat` to `exp`; without `iat`, from now to `exp`.
    FromIssue(i64),
}

/// The claims of a verified token. Only this room makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<C>(C);

impl<C> Verified<C> {
    /// Returns the claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.0
    }

    /// Returns the claims by value.
    #[must_use]
    pub fn into_claims(self) -> C {
        self.0
    }
}

/// The claims of an assertion: a subject, one audience, an expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// `iss`, if present.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: String,
    /// `aud`, its only value.
    pub audience: String,
    /// `exp`.
    pub expires: Timestamp,
    /// `iat`, if present.
    pub issued: Option<Timestamp>,
    /// `nbf`, if present.
    pub not_before: Option<Timestamp>,
    /// `jti`, if present and a string.
    pub id: Option<String>,
    /// All claims as written, including those above.
    pub claims: Map<String, Value>,
}

/// Verifies an assertion: its key and signature, then its claims.
///
/// # Errors
/// The first check that failed: key, signature, shape and issuer, `exp`, `nbf` and `iat`, audience.
pub fn verify(token: Unverified<'_>, keys: &KeySet, rules: Rules<'_>) -> Result<Verified<Assertion>, Rejected> {
    verify_signature(&token, keys)?;
    let assertion = Assertion::read(token.into_claims(), rules)?;
    Ok(Verified(assertion))
}

/// Checks the claims alone, for a diagnosis: anybody could have written them.
///
/// # Errors
/// The first claim that is wrong.
pub fn check_claims(token: Unverified<'_>, rules: Rules<'_>) -> Result<(), Rejected> {
    Assertion::read(token.into_claims(), rules).map(drop)
}

/// Checks the signature alone, with the only key of the set that the token can mean. The caller
/// checks the claims.
///
/// # Errors
/// There is no such key, or the signature does not match it.
pub fn verify_signature(token: &Unverified<'_>, keys: &KeySet) -> Result<(), Rejected> {
    keys.verify(token.jws())
}

impl Assertion {
    fn read(claims: Claims, rules: Rules<'_>) -> Result<Self, Rejected> {
        let text = |name| claims.text(name).map(str::to_owned);
        let issuer = text("iss");
        let subject = text("sub").ok_or(Rejected::BadClaims)?;
        let audiences = claims.all.get("aud").ok_or(Rejected::BadClaims)?;
        let expires = claims.expires.ok_or(Rejected::BadClaims)?;
        if rules.issuer.is_some_and(|expected| issuer.as_deref() != Some(expected)) {
            return Err(Rejected::WrongIssuer);
        }
        // In plain seconds: a `Timestamp` ends with the year 9999.
        let (now, end) = (rules.now.unix(), expires.unix());
        if now >= end.saturating_add(rules.leeway) {
            return Err(Rejected::Expired);
        }
        let (from, longest) = match (rules.max_age, claims.issued) {
            // Both instants are by the issuer's clock.
            (MaxAge::FromIssue(seconds), Some(iat)) => (iat.unix(), seconds),
            (MaxAge::FromIssue(seconds) | MaxAge::FromNow(seconds), _) => (now, seconds.saturating_add(rules.leeway)),
        };
        if end - from > longest {
            return Err(Rejected::MaxAge);
        }
        let latest = now.saturating_add(rules.leeway.max(AHEAD));
        if [claims.not_before, claims.issued].iter().flatten().any(|start| start.unix() > latest) {
            return Err(Rejected::NotYetValid);
        }
        let audience = match audiences {
            Value::Array(several) => match several.as_slice() {
                [one] => one.as_str(),
                _ => None,
            },
            one => one.as_str(),
        };
        let audience = audience.filter(|one| rules.audiences.contains(one)).ok_or(Rejected::WrongAudience)?.to_owned();
        let id = text("jti");
        let Claims { all, issued, not_before, .. } = claims;
        Ok(Self { issuer, subject, audience, expires, issued, not_before, id, claims: all })
    }
}
