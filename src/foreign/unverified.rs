//! Splits and decodes a token, and checks its form. Nothing in it is verified yet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{Rejected, json};
use crate::clock::Timestamp;
use crate::token::MAX_TOKEN;

/// The algorithms of clients' assertions and proofs, with both names of Ed25519 (RFC 8037, RFC
/// 9864).
pub const CLIENT_ALGORITHMS: [&str; 5] = ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"];

/// Header members that change what is signed, or that name a key to fetch.
const FORBIDDEN: [&str; 6] = ["crit", "b64", "zip", "enc", "jku", "x5u"];

/// What a header may have besides its algorithm.
#[derive(Debug, Clone, Copy)]
pub struct HeaderPolicy<'a> {
    /// The values that `typ` may have, compared case-insensitively.
    ///
    /// A value with the prefix `application/` is refused: RFC 7515 §4.1.9 recommends omitting it,
    /// and every known library does.
    pub types: &'a [&'a str],
    /// Whether `typ` may be absent.
    pub untyped: bool,
    /// Whether the header may carry its key as `jwk` (RFC 9449 §4.2).
    pub embedded_key: bool,
    /// Whether the members must be exactly `alg`, `kid` and `typ`; otherwise unknown ones are
    /// ignored.
    pub exact: bool,
}

impl HeaderPolicy<'static> {
    /// Any assertion, before its signer is known: what [`Self::CLIENT`] or [`Self::ISSUER`] allows.
    pub const ASSERTION: Self =
        Self { types: &["jwt", "jose", "client-authentication+jwt"], untyped: true, embedded_key: false, exact: false };
    /// A client's assertion (RFC 7523).
    pub const CLIENT: Self =
        Self { types: &["jwt", "client-authentication+jwt"], untyped: true, embedded_key: false, exact: false };
    /// An identity that a trusted issuer signed.
    pub const ISSUER: Self = Self { types: &["jwt", "jose"], untyped: true, embedded_key: false, exact: false };
    /// A proof that its sender holds the key in `jwk` (RFC 9449 §4.2).
    pub const PROOF: Self = Self { types: &["dpop+jwt"], untyped: false, embedded_key: true, exact: false };
    /// An access token as this service writes it (RFC 9068).
    pub const ACCESS_TOKEN: Self = Self { types: &["at+jwt"], untyped: false, embedded_key: false, exact: true };
}

impl HeaderPolicy<'_> {
    fn allows_type(&self, typ: Option<&str>) -> bool {
        typ.map_or(self.untyped, |typ| self.types.iter().any(|allowed| allowed.eq_ignore_ascii_case(typ)))
    }
}

/// A well-formed token whose signature has not been checked. Its claims serve only to choose the
/// keys for [`verify`](super::verify).
pub struct Unverified<'t> {
    jws: Jws<'t>,
    claims: Claims,
}

impl<'t> Unverified<'t> {
    /// Splits a compact JWS (RFC 7515 §7.1) and checks the form of its header and claims.
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn parse(token: &'t str, policy: HeaderPolicy<'_>) -> Result<Self, Rejected> {
        let jws = Jws::cut(token, policy)?;
        let claims = Claims::read(&jws.payload).ok_or(Rejected::BadClaims)?;
        Ok(Self { jws, claims })
    }

    /// Whether `policy` allows its `typ`. What else a policy says was checked by the one that it was
    /// parsed with.
    #[must_use]
    pub fn has_type(&self, policy: HeaderPolicy<'_>) -> bool {
        policy.allows_type(self.jws.header.typ.as_deref())
    }

    /// Returns `iss`, unverified.
    #[must_use]
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.claims.text("iss")
    }

    /// Returns `sub`, unverified: a SPIFFE identity names its trust domain there.
    #[must_use]
    pub fn unverified_subject(&self) -> Option<&str> {
        self.claims.text("sub")
    }

    /// Returns `kid`, unverified.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.jws.header.kid.as_deref()
    }

    /// Returns `jwk`, unverified, if the policy allows one. It is an object; nothing else has been
    /// checked.
    #[must_use]
    pub fn unverified_jwk(&self) -> Option<&Value> {
        self.jws.header.jwk.as_ref()
    }

    pub(super) fn jws(&self) -> &Jws<'t> {
        &self.jws
    }

    pub(super) fn into_claims(self) -> Claims {
        self.claims
    }
}

/// Prints nothing: a token is a credential.
impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").finish_non_exhaustive()
    }
}

/// A compact JWS with an acceptable header; its payload may be anything.
pub(super) struct Jws<'t> {
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
    pub(super) header: Header,
    payload: Vec<u8>,
}

pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    typ: Option<String>,
    jwk: Option<Value>,
}

impl<'t> Jws<'t> {
    pub(super) fn cut(token: &'t str, policy: HeaderPolicy<'_>) -> Result<Self, Rejected> {
        if token.len() > MAX_TOKEN {
            return Err(Rejected::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Rejected::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Rejected::Malformed)?;
        // This engine accepts neither padding nor stray bits at the end. A second dot is not in its
        // alphabet.
        let decode = |segment| URL_SAFE_NO_PAD.decode(segment).map_err(|_| Rejected::Malformed);
        let (header, payload) = (decode(header)?, decode(payload)?);
        let header = json::header(&header).ok_or(Rejected::BadHeader)?;
        Ok(Self { message, signature, header: Header::read(header, policy)?, payload })
    }
}

impl Header {
    fn read(mut members: Map<String, Value>, policy: HeaderPolicy<'_>) -> Result<Self, Rejected> {
        let is_forbidden = |name: &str| FORBIDDEN.contains(&name) || (name == "jwk" && !policy.embedded_key);
        if members.keys().any(|name| is_forbidden(name)) {
            return Err(Rejected::ForbiddenHeader);
        }
        if policy.exact && !(members.len() == 3 && members.contains_key("kid") && members.contains_key("typ")) {
            return Err(Rejected::BadHeader);
        }
        let typ = match members.remove("typ") {
            None => None,
            Some(Value::String(typ)) => Some(typ),
            Some(_) => return Err(Rejected::BadHeader),
        };
        if !policy.allows_type(typ.as_deref()) {
            return Err(Rejected::WrongType);
        }
        let kid = match members.remove("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid),
            Some(_) => return Err(Rejected::BadHeader),
        };
        let jwk = match members.remove("jwk") {
            None => None,
            Some(jwk @ Value::Object(_)) => Some(jwk),
            Some(_) => return Err(Rejected::BadHeader),
        };
        let name = members.get("alg").and_then(Value::as_str).ok_or(Rejected::BadHeader)?;
        let algorithm = algorithm(name).ok_or(Rejected::UnsupportedAlgorithm)?;
        Ok(Self { algorithm, kid, typ, jwk })
    }
}

/// Returns the algorithm with this name, if keys may use it.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        // RFC 8037, and RFC 9864 for the same signature.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        "PS256" => Algorithm::PS256,
        "RS256" => Algorithm::RS256,
        _ => return None,
    })
}

/// Claims whose registered ones have the types of RFC 7519 §4.1.
///
/// Except `jti`, which nothing here reads.
pub(super) struct Claims {
    pub(super) all: Map<String, Value>,
    pub(super) expires: Option<Timestamp>,
    pub(super) issued: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
}

impl Claims {
    fn read(payload: &[u8]) -> Option<Self> {
        let all = json::object(payload)?;
        if !["iss", "sub"].iter().all(|name| all.get(*name).is_none_or(Value::is_string)) {
            return None;
        }
        match all.get("aud") {
            None | Some(Value::String(_)) => {}
            Some(Value::Array(several)) if several.iter().all(Value::is_string) => {}
            Some(_) => return None,
        }
        let [expires, issued, not_before] = ["exp", "iat", "nbf"].map(|name| time(all.get(name)));
        Some(Self { expires: expires?, issued: issued?, not_before: not_before?, all })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }
}

/// Parses an optional instant. The outer None stands for anything but an integer of seconds between
/// the years 1970 and 9999.
#[expect(clippy::option_option, reason = "absent is no error")]
fn time(value: Option<&Value>) -> Option<Option<Timestamp>> {
    match value {
        None => Some(None),
        Some(value) => Timestamp::try_from(value.as_i64()?).ok().map(Some),
    }
}
