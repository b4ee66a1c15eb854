//! Introspection: the form and the answer (RFC 7662).

use hyper::body::Bytes;
use poem_openapi::Object;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::token::token_type;
use crate::http::reply::Answer;
use crate::service::Rendered;
use crate::token::{AccessClaims, Audiences, Dialect, Scope};

/// A token to introspect (RFC 7662 §2.1).
#[derive(Object)]
#[oai(rename = "IntrospectionRequest")]
pub(super) struct IntrospectionRequest {
    /// The token.
    token: String,
    /// Ignored: a token shows its own type.
    token_type_hint: Option<String>,
    /// The client's id, unless it is in the `Authorization` header.
    client_id: Option<String>,
    /// The client's secret, unless it is in the `Authorization` header.
    client_secret: Option<String>,
    /// A JWT that the client signed with a key of its `jwks` (RFC 7523 §2.2).
    client_assertion: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with `client_assertion`.
    client_assertion_type: Option<String>,
}

/// The content of the token (RFC 7662 §2.2). A token that is not active has `active` alone; an
/// active one has its extra claims next to these members.
#[derive(Debug, Object)]
#[oai(rename = "Introspection")]
pub(super) struct IntrospectionSchema {
    /// Whether the token is valid, and the caller may know.
    active: bool,
    /// What it allows: scope tokens separated by spaces.
    scope: Option<String>,
    /// The client that requested it.
    client_id: Option<String>,
    /// Its subject.
    sub: Option<String>,
    /// The APIs that may accept it.
    aud: Option<serde_json::Value>,
    /// Its issuer.
    iss: Option<String>,
    /// When it expires, in seconds since 1970.
    exp: Option<i64>,
    /// When it was issued, in seconds since 1970.
    iat: Option<i64>,
    /// The token's id.
    jti: Option<String>,
    /// `Bearer`, or `DPoP` for a token that is bound to a key: the caller checks the proof.
    token_type: Option<String>,
    /// What it is bound to (RFC 7800 §3.1): a key, by `jkt`, or a certificate, by `x5t#S256`.
    cnf: Option<serde_json::Value>,
    /// The actors, if the subject does not act itself: `sub`, and `act` of the previous one (RFC
    /// 8693 §4.1).
    act: Option<serde_json::Value>,
}

impl Answer for IntrospectionSchema {
    const MEANING: &'static str = "Whether the token is active, and its content.";
}

/// The answer for everything else.
pub(super) const INACTIVE: &str = r#"{"active":false}"#;

/// The answer about an active token, which never changes.
pub(super) struct Introspected(pub(super) Bytes);

impl Rendered for Introspected {
    const DIALECT: Dialect = Dialect::OAuth2;

    fn of(claims: &AccessClaims, issuer: &str) -> Self {
        #[expect(clippy::expect_used, reason = "claims were read from JSON")]
        Self(serde_json::to_vec(&Active { claims, issuer }).expect("JSON").into())
    }
}

struct Active<'a> {
    claims: &'a AccessClaims,
    issuer: &'a str,
}

/// Members of introspection's own, which no extra claim may replace.
const OWN: [&str; 3] = ["active", "token_type", "username"];

impl Serialize for Active<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.claims;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("active", &true)?;
        map.serialize_entry::<_, Scope>("scope", &claims.scope)?;
        map.serialize_entry("client_id", claims.client.as_str())?;
        map.serialize_entry("sub", claims.subject.as_str())?;
        map.serialize_entry::<_, Audiences>("aud", &claims.audience)?;
        map.serialize_entry("iss", self.issuer)?;
        map.serialize_entry("exp", &claims.expires)?;
        map.serialize_entry("iat", &claims.issued)?;
        map.serialize_entry("jti", &claims.id)?;
        map.serialize_entry("token_type", token_type(claims.confirmation.map(|one| one.sender)))?;
        if let Some(confirmation) = &claims.confirmation {
            map.serialize_entry("cnf", confirmation)?;
        }
        if let Some(actor) = &claims.actor {
            map.serialize_entry("act", actor)?;
        }
        for (name, value) in claims.extra.iter().filter(|(name, _)| !OWN.contains(name)) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
