//! Wire types: what stands in bodies.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::clients::{ClientAuth, Order};
use crate::http::body::{Form, Member};
use crate::http::credentials::BasicAuth;
use crate::http::problem::Problem;
use crate::http::reply::Answer;
use crate::service::Issued;
use crate::token::{AccessClaims, Audience, Audiences, ExtraClaims, Scope, ScopeToken, Subject};

/// What went wrong.
#[derive(Debug, Object, Serialize)]
pub(in crate::http) struct ApiError {
    /// The kind of error, for programs: `BadRequest`, `Unauthorized`, `Forbidden`, …
    pub(in crate::http) name: String,
    /// What is wrong and what would be right, for people.
    pub(in crate::http) message: String,
    /// Always empty: internals stay in the server's log.
    pub(in crate::http) stack: Vec<String>,
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

impl From<Issued<'_>> for TokenPair {
    fn from(issued: Issued<'_>) -> Self {
        #[expect(clippy::expect_used, reason = "every native grant gives one")]
        let refresh = issued.refresh.expect("a refresh token");
        Self { value: issued.access.token, refresh, expire: issued.expire }
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

impl TokenInfo {
    /// What these claims say.
    pub(super) fn of(claims: &AccessClaims) -> Self {
        #[expect(clippy::expect_used, reason = "a claim's value is a string, a boolean, an integer or a list of these")]
        let value = |value| serde_json::to_value(value).expect("JSON");
        Self {
            expire: claims.expires.iso_millis(),
            scope: claims.scope.iter().map(str::to_owned).collect(),
            subject: claims.subject.as_str().to_owned(),
            client: claims.client.as_str().to_owned(),
            audience: claims.audience.iter().map(ToString::to_string).collect(),
            issued: claims.issued.iso_millis(),
            id: claims.id.clone().into(),
            claims: claims.extra.iter().map(|(name, claim)| (name.to_owned(), value(claim))).collect(),
        }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings, lists and maps with strings as keys")]
        serde_json::to_vec(self).expect("JSON")
    }
}

impl Answer for TokenInfo {
    const MEANING: &'static str = "The token is valid, is for the audience and has every scope that was asked about.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("X-Token-Subject", "Whom the token is about."),
        ("X-Token-Client", "The client that asked for it."),
        ("X-Token-Scope", "What it allows: scope tokens with one space between, maybe none."),
    ];
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
    pub(super) client_secret: Option<Zeroizing<String>>,
    pub(super) order: Order,
}

impl CreateToken {
    /// The credentials, which stand in the header or in members, and the order.
    pub(super) fn authenticated_by(self, header: BasicAuth) -> Result<(ClientAuth, Order), Problem> {
        let missing = |missing, there| Err(Problem::bad(format!("{missing} must be there beside {there}")));
        let auth = match (header, self.client_id, self.client_secret) {
            (BasicAuth::Absent, None, None) => ClientAuth::None,
            (BasicAuth::Absent, Some(id), Some(secret)) => {
                ClientAuth::Secret(id.into(), Zeroizing::new(secret.as_bytes().to_vec()))
            }
            (BasicAuth::Absent, Some(_), None) => return missing("client_secret", "client_id"),
            (BasicAuth::Absent, None, Some(_)) => return missing("client_id", "client_secret"),
            (BasicAuth::Basic(id, secret), None, None) => ClientAuth::Secret(id, secret),
            (BasicAuth::Malformed, None, None) => ClientAuth::nobody(),
            _ => {
                let message = "client_id and client_secret must not be in the body beside an Authorization header";
                return Err(Problem::bad(message));
            }
        };
        Ok((auth, self.order))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::parse;

    #[test]
    fn mistakes_name_the_member() {
        let deep = "[".repeat(100_000);
        let cases: [(&str, &str); 24] = [
            ("[]", "the body must be a JSON object"),
            ("null", "the body must be a JSON object"),
            ("\"x\"", "the body must be a JSON object"),
            ("{", "the body is not valid JSON at line 1, column 1"),
            ("{} x", "the body is not valid JSON at line 1, column 4"),
            ("{\"scope\":[\"a\"],}", "the body is not valid JSON at line 1"),
            ("\u{feff}{}", "the body is not valid JSON at line 1"),
            ("{\"scopes\":1}", "there is no member \"scopes\"; there is client_id, client_secret, scope, audience"),
            ("{\"scope\":[\"a\"],\"scope\":[\"b\"]}", "scope must be there at most once"),
            ("{\"scope\":[\"a\"],\"sc\\u006fpe\":[\"b\"]}", "scope must be there at most once"),
            ("{\"scope\":null}", "scope must be an array of 1 to 64 scope tokens"),
            ("{\"scope\":[]}", "scope must be an array"),
            ("{\"scope\":\"a b\"}", "scope must be an array"),
            ("{\"scope\":[\"a b\"]}", "scope must be an array"),
            ("{\"scope\":[1]}", "scope must be an array"),
            ("{\"audience\":[\"\"]}", "audience must be an array of 1 to 8"),
            ("{\"subject\":\"a b\"}", "subject must be 1 to 255 visible ASCII characters"),
            ("{\"subject\":null}", "subject must be 1 to 255"),
            ("{\"lifetime\":0}", "lifetime must be an integer of seconds, 1 or more"),
            ("{\"lifetime\":1.0}", "lifetime must be an integer"),
            ("{\"lifetime\":99999999999999999999}", "lifetime must be an integer"),
            ("{\"claims\":{\"exp\":1}}", "claims must be an object"),
            ("{\"claims\":{\"a\":{\"b\":1}}}", "claims must be an object"),
            (&deep, "the body must be a JSON object"),
        ];
        for (body, expected) in cases {
            let said = parse::<CreateToken>(body.as_bytes()).unwrap_err();
            assert!(said.starts_with(expected), "{}\n said: {said}", body.get(..60).unwrap_or(body));
        }
        let nested = format!("{{\"claims\":{{\"a\":{}", "[".repeat(30_000));
        let said = parse::<CreateToken>(nested.as_bytes()).unwrap_err();
        assert!(said.starts_with("claims must be"), "{said}");
        assert!(parse::<CreateToken>(b"{\"scope\":[\"\xff\"]}").is_err());
        assert!(parse::<RefreshToken>(b"{\"audience\":[\"a\"]}").unwrap_err().contains("there is scope"));
    }

    #[test]
    fn duplicates_collapse_and_limits_hold() {
        let list = |n: usize| (0..n).map(|i| format!("\"s{i}\"")).collect::<Vec<_>>().join(",");
        let scope = |n| parse::<CreateToken>(format!("{{\"scope\":[{}]}}", list(n)).as_bytes());
        assert_eq!(scope(64).unwrap().order.scope.unwrap().len(), 64);
        assert!(scope(65).is_err());
        let audience = |n| parse::<CreateToken>(format!("{{\"audience\":[{}]}}", list(n)).as_bytes());
        assert!(audience(8).is_ok() && audience(9).is_err());
        let twice = parse::<CreateToken>(b"{\"scope\":[\"b\",\"a\",\"b\"]}").unwrap().order.scope.unwrap();
        assert_eq!(twice.iter().map(ScopeToken::as_str).collect::<Vec<_>>(), ["b", "a"]);
    }
}
