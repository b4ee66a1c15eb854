//! Wire types: what stands in bodies.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::body::{Form, Member};
use super::reply::Answer;
use crate::clients::Order;
use crate::token::{Audience, Audiences, ExtraClaims, Scope, ScopeToken, Subject};

/// What went wrong.
#[derive(Debug, Object, Serialize)]
pub(super) struct ApiError {
    /// The kind of error, for programs: `BadRequest`, `Unauthorized`, `Forbidden`, …
    pub(super) name: String,
    /// What is wrong and what would be right, for people.
    pub(super) message: String,
    /// Always empty: internals stay in the server's log.
    pub(super) stack: Vec<String>,
}

/// An access token and what continues it.
#[derive(Debug, Object)]
pub(super) struct TokenPair {
    /// The access token: a JWT (RFC 9068).
    pub(super) value: String,
    /// The refresh token. Only this service can read it.
    pub(super) refresh: String,
    /// When `value` ends: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) expire: String,
}

impl TokenPair {
    /// Base64url, dots and an instant: JSON escapes none of these, so nobody needs to look at each byte.
    pub(super) fn json(&self) -> String {
        let Self { value, refresh, expire } = self;
        format!(r#"{{"value":"{value}","refresh":"{refresh}","expire":"{expire}"}}"#)
    }
}

impl Answer for TokenPair {
    const MEANING: &'static str = "The token was issued.";
}

/// What a token says.
#[derive(Debug, Object, Serialize)]
pub(super) struct TokenInfo {
    /// When the token ends: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) expire: String,
    /// What the token allows, sorted.
    pub(super) scope: Vec<String>,
    /// Whom the token is about.
    pub(super) subject: String,
    /// The client that asked for it.
    pub(super) client: String,
    /// Who may accept it.
    pub(super) audience: Vec<String>,
    /// When it was issued: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) issued: String,
    /// The token's id (`jti`).
    pub(super) id: String,
    /// Its extra claims.
    pub(super) claims: BTreeMap<String, serde_json::Value>,
}

impl Answer for TokenInfo {
    const MEANING: &'static str = "The token is valid, is for the audience and has every scope that was asked about.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("X-Token-Subject", "Whom the token is about."),
        ("X-Token-Client", "The client that asked for it."),
        ("X-Token-Scope", "What it allows: scope tokens with one space between, maybe none."),
    ];
}

/// Whether the service works.
#[derive(Debug, Object, Serialize)]
pub(super) struct Health {
    /// `ok`.
    pub(super) status: String,
}

impl Answer for Health {
    const MEANING: &'static str = "It does.";
}

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Debug, Object)]
pub(super) struct JwkSet {
    /// Every key that signs, will sign, or has signed what is still valid.
    pub(super) keys: Vec<Jwk>,
}

impl Answer for JwkSet {
    const MEANING: &'static str = "The published keys.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("ETag", "The version of the set, for `If-None-Match`."),
        ("Cache-Control", "How long the set may be cached."),
    ];
    const CACHEABLE: bool = true;
}

/// A public key (RFC 7517 §4).
#[derive(Debug, Object)]
pub(super) struct Jwk {
    /// `EC`, `OKP` or `RSA`.
    pub(super) kty: String,
    /// The key's id: its RFC 7638 thumbprint.
    pub(super) kid: String,
    /// `ES256`, `EdDSA` or `RS256`.
    pub(super) alg: String,
    /// `sig`.
    #[oai(rename = "use")]
    pub(super) use_: String,
    /// The curve of an EC or OKP key: `P-256` or `Ed25519`.
    pub(super) crv: Option<String>,
    /// The x coordinate of an EC key, or an OKP key, in base64url.
    pub(super) x: Option<String>,
    /// The y coordinate of an EC key, in base64url.
    pub(super) y: Option<String>,
    /// The modulus of an RSA key, in base64url.
    pub(super) n: Option<String>,
    /// The exponent of an RSA key, in base64url.
    pub(super) e: Option<String>,
}

/// What to issue. Every member is optional; so is the body.
#[derive(Debug, Object)]
#[oai(rename = "CreateToken")]
pub(super) struct CreateTokenSchema {
    /// The client's id, where it is not in the `Authorization` header.
    client_id: Option<String>,
    /// The client's secret, where it is not in the `Authorization` header.
    client_secret: Option<String>,
    /// What the token is to allow; default: all that the client may have.
    #[oai(validator(min_items = 1, max_items = 64))]
    scope: Option<Vec<String>>,
    /// Who may accept it; default: the client's audience, else the service's.
    #[oai(validator(min_items = 1, max_items = 8))]
    audience: Option<Vec<String>>,
    /// Whom it is about; default: the client's id.
    #[oai(validator(min_length = 1, max_length = 255))]
    subject: Option<String>,
    /// Seconds that it lives; default and most: the client's access lifetime.
    #[oai(validator(minimum(value = "1")))]
    lifetime: Option<i64>,
    /// Extra claims: strings, booleans, integers, or arrays of these.
    claims: Option<BTreeMap<String, serde_json::Value>>,
}

/// The body of `POST /token`.
#[derive(Debug, Default)]
pub(super) struct CreateToken {
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<zeroize::Zeroizing<String>>,
    pub(super) order: Order,
}

const SCOPE: Member = Member {
    name: "scope",
    expected: "an array of 1 to 64 scope tokens, each 1 to 128 visible ASCII characters without \" and \\",
};

impl Form for CreateToken {
    type Schema = CreateTokenSchema;

    const DESCRIPTION: &'static str = "What to issue; leave it out to get all that the client may have.";

    const MEMBERS: &'static [Member] = &[
        Member { name: "client_id", expected: "a string" },
        Member { name: "client_secret", expected: "a string" },
        SCOPE,
        Member {
            name: "audience",
            expected: "an array of 1 to 8 audiences, each 1 to 255 characters and none of them a control character",
        },
        Member { name: "subject", expected: Subject::EXPECTED },
        Member { name: "lifetime", expected: "an integer of seconds, 1 or more" },
        Member { name: "claims", expected: ExtraClaims::EXPECTED },
    ];

    fn read<'de, A: MapAccess<'de>>(&mut self, member: &str, value: &mut A) -> Result<(), A::Error> {
        match member {
            "client_id" => self.client_id = Some(value.next_value()?),
            "client_secret" => self.client_secret = Some(value.next_value::<String>()?.into()),
            "scope" => self.order.scope = Some(value.next_value::<Listed<_, { Scope::MAX }>>()?.0),
            "audience" => self.order.audience = Some(value.next_value::<Listed<_, { Audiences::MAX }>>()?.0),
            "subject" => self.order.subject = Some(value.next_value()?),
            "lifetime" => self.order.lifetime = Some(value.next_value::<Positive>()?.0),
            _ => self.order.claims = Some(value.next_value()?),
        }
        Ok(())
    }
}

/// What to narrow the new access token to. The body is optional.
#[derive(Debug, Object)]
#[oai(rename = "RefreshToken")]
pub(super) struct RefreshTokenSchema {
    /// What the new access token is to allow; default: all that it may.
    #[oai(validator(min_items = 1, max_items = 64))]
    scope: Option<Vec<String>>,
}

/// The body of `PUT /token`.
#[derive(Debug, Default)]
pub(super) struct RefreshToken {
    pub(super) scope: Option<Vec<ScopeToken>>,
}

impl Form for RefreshToken {
    type Schema = RefreshTokenSchema;

    const DESCRIPTION: &'static str = "What to narrow the new access token to; leave it out to keep all.";

    const MEMBERS: &'static [Member] = &[SCOPE];

    fn read<'de, A: MapAccess<'de>>(&mut self, _: &str, value: &mut A) -> Result<(), A::Error> {
        self.scope = Some(value.next_value::<Listed<_, { Scope::MAX }>>()?.0);
        Ok(())
    }
}

/// One to `MAX` elements, in the order given; duplicates collapse, and count.
struct Listed<T, const MAX: usize>(Vec<T>);

/// What stands in a list: a string with a grammar.
trait Element: Sized + PartialEq {
    fn parse(text: &str) -> Option<Self>;
}

impl Element for ScopeToken {
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Element for Audience {
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl<'de, T: Element, const MAX: usize> Deserialize<'de> for Listed<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Element, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = Listed<T, MAX>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "an array of 1 to {MAX} strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let wrong = || serde::de::Error::custom("an element of another form, none, or too many");
                let (mut all, mut written) = (Vec::new(), 0);
                while let Some(text) = items.next_element::<std::borrow::Cow<str>>()? {
                    written += 1;
                    if written > MAX {
                        return Err(wrong());
                    }
                    let element = T::parse(&text).ok_or_else(wrong)?;
                    if !all.contains(&element) {
                        all.push(element);
                    }
                }
                if all.is_empty() { Err(wrong()) } else { Ok(Listed(all)) }
            }
        }
        deserializer.deserialize_seq(Elements(std::marker::PhantomData))
    }
}

struct Positive(i64);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            seconds if seconds >= 1 => Ok(Self(seconds)),
            _ => Err(serde::de::Error::custom("an integer of 1 or more")),
        }
    }
}
