//! Wire types: the content of bodies.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Serialize;
use zeroize::Zeroizing;

use super::kinds::{List, Seconds, Secret, Text};
use crate::clients::{ClientAuth, GrantRequest};
use crate::http::body::json_object;
use crate::http::credentials::BasicAuth;
use crate::http::problem::Problem;
use crate::http::reply::Answer;
use crate::service::Issued;
use crate::token::{AccessClaims, Actor, Audiences, ExtraClaims, ScopeToken, Subject};

/// An access token and its refresh token.
// No `Debug`, so that nothing can print it.
#[derive(Object)]
pub(super) struct TokenPair {
    /// The access token: a JWT (RFC 9068).
    pub(super) value: String,
    /// The refresh token. Only this service can read it.
    pub(super) refresh: String,
    /// When `value` expires: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) expire: String,
}

impl TokenPair {
    /// Base64url, dots and an instant need no escapes in JSON, so bytes are copied unchecked.
    pub(super) fn json(&self) -> String {
        let Self { value, refresh, expire } = self;
        let parts = [r#"{"value":""#, value, r#"","refresh":""#, refresh, r#"","expire":""#, expire, r#""}"#];
        parts.concat()
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

/// The content of a token.
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct TokenInfo {
    /// When the token expires: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) expire: String,
    /// What the token allows, sorted.
    pub(super) scope: Vec<String>,
    /// The token's subject.
    pub(super) subject: String,
    /// The client that requested it.
    pub(super) client: String,
    /// The APIs that may accept it.
    pub(super) audience: Vec<String>,
    /// When it was issued: `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub(super) issued: String,
    /// The token's id (`jti`).
    pub(super) id: String,
    /// Its extra claims.
    pub(super) claims: BTreeMap<String, serde_json::Value>,
    /// The actors, if the subject does not act itself: `sub`, and `act` of the previous one (RFC
    /// 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<serde_json::Value>,
}

impl TokenInfo {
    /// Returns the content of these claims.
    pub(super) fn of(claims: &AccessClaims) -> Self {
        #[expect(clippy::expect_used, reason = "a claim's value is a string, a boolean, an integer or a list of these")]
        let value = |value| serde_json::to_value(value).expect("JSON");
        #[expect(clippy::expect_used, reason = "objects of strings")]
        let nested = |actor: &Actor| serde_json::to_value(actor).expect("JSON");
        Self {
            expire: claims.expires.iso_millis(),
            scope: claims.scope.iter().map(str::to_owned).collect(),
            subject: claims.subject.as_str().to_owned(),
            client: claims.client.as_str().to_owned(),
            audience: claims.audience.iter().map(ToString::to_string).collect(),
            issued: claims.issued.iso_millis(),
            id: claims.id.clone().into(),
            claims: claims.extra.iter().map(|(name, claim)| (name.to_owned(), value(claim))).collect(),
            act: claims.actor.as_ref().map(nested),
        }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings, lists and maps with strings as keys")]
        serde_json::to_vec(self).expect("JSON")
    }
}

impl Answer for TokenInfo {
    const MEANING: &'static str =
        "The token is valid, is for the requested audience and has every requested scope token.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("X-Token-Subject", "The token's subject."),
        ("X-Token-Client", "The client that requested it."),
        ("X-Token-Scope", "What it allows: scope tokens separated by single spaces; may be empty."),
        ("X-Token-Actor", "The current actor; empty if the subject acts itself (RFC 8693 §4.1)."),
    ];
}

json_object! {
    /// What to issue. Every member is optional; so is the body.
    #[purpose = "What to issue; without it, everything that the client may request."]
    pub(super) struct CreateToken {
        /// The client's id, unless it is in the `Authorization` header.
        client_id: Text,
        /// The client's secret, unless it is in the `Authorization` header.
        client_secret: Secret,
        /// What the token should allow; default: all that the client may request.
        scope: List<ScopeToken>,
        /// The APIs that may accept it; default: the client's audience, otherwise the service's.
        audience: Audiences,
        /// Its subject; default: the client's id.
        subject: Subject,
        /// Its lifetime in seconds; default and maximum: the client's access lifetime.
        lifetime: Seconds,
        /// Extra claims: strings, booleans, integers, or arrays of these.
        claims: ExtraClaims,
    }
}

json_object! {
    /// How to narrow the new access token. The body is optional.
    #[purpose = "How to narrow the new access token; without it, everything stays."]
    pub(super) struct RefreshToken {
        /// What the new access token should allow; default: everything that the session still may.
        scope: List<ScopeToken>,
    }
}

impl CreateToken {
    /// Returns the credentials, from the header or from members, and the rest of the request.
    pub(super) fn authenticated_by(self, header: BasicAuth) -> Result<(ClientAuth, GrantRequest), Problem> {
        let Self { client_id, client_secret, scope, audience, subject, lifetime, claims } = self;
        let missing = |missing, there| Err(Problem::bad(format!("{missing} is required with {there}")));
        let auth = match (header, client_id, client_secret) {
            (BasicAuth::Absent, None, None) => ClientAuth::None,
            (BasicAuth::Absent, Some(id), Some(secret)) => {
                ClientAuth::Secret(id.into(), Zeroizing::new(secret.as_bytes().to_vec()))
            }
            (BasicAuth::Absent, Some(_), None) => return missing("client_secret", "client_id"),
            (BasicAuth::Absent, None, Some(_)) => return missing("client_id", "client_secret"),
            (BasicAuth::Basic(id, secret), None, None) => ClientAuth::Secret(id, secret),
            (BasicAuth::Malformed, None, None) => ClientAuth::nobody(),
            _ => {
                let message =
                    "client_id and client_secret must not be in the body together with an Authorization header";
                return Err(Problem::bad(message));
            }
        };
        Ok((auth, GrantRequest { scope, audience, subject, lifetime, claims, limit: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::{JsonObject, parse};

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
            ("{\"scopes\":1}", "unknown member \"scopes\"; expected one of client_id, client_secret, scope, audience"),
            ("{\"scope\":[\"a\"],\"scope\":[\"b\"]}", "duplicate member \"scope\""),
            ("{\"scope\":[\"a\"],\"sc\\u006fpe\":[\"b\"]}", "duplicate member \"scope\""),
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
            let said = parse::<CreateToken>(body.as_bytes()).err().unwrap();
            assert!(said.starts_with(expected), "{}\n said: {said}", body.get(..60).unwrap_or(body));
        }
        let nested = format!("{{\"claims\":{{\"a\":{}", "[".repeat(30_000));
        let said = parse::<CreateToken>(nested.as_bytes()).err().unwrap();
        assert!(said.starts_with("claims must be"), "{said}");
        assert!(parse::<CreateToken>(b"{\"scope\":[\"\xff\"]}").is_err());
        assert!(parse::<RefreshToken>(b"{\"audience\":[\"a\"]}").err().unwrap().contains("expected one of scope"));
    }

    #[test]
    fn messages_say_the_limits() {
        let said = |body: &str| parse::<CreateToken>(body.as_bytes()).err().unwrap();
        assert_eq!(
            said("{\"scope\":0}"),
            "scope must be an array of 1 to 64 scope tokens, each 1 to 128 visible ASCII characters without quotation mark and backslash"
        );
        assert_eq!(
            said("{\"audience\":0}"),
            "audience must be an array of 1 to 8 audiences, each 1 to 255 characters without control characters"
        );
        assert_eq!(said("{\"client_secret\":0}"), "client_secret must be a string");
    }

    /// Each declared member is parsed, refused when it occurs twice, and described.
    #[test]
    fn each_member_is_read_and_described() {
        let values = [
            ("client_id", "\"a\""),
            ("client_secret", "\"a\""),
            ("scope", "[\"a\"]"),
            ("audience", "[\"a\"]"),
            ("subject", "\"a\""),
            ("lifetime", "1"),
            ("claims", "{}"),
        ];
        assert!(CreateToken::MEMBERS.iter().map(|member| member.name).eq(values.map(|(name, _)| name)));
        for (name, value) in values {
            assert!(parse::<CreateToken>(format!("{{\"{name}\":{value}}}").as_bytes()).is_ok(), "{name}");
            let twice = format!("{{\"{name}\":{value},\"{name}\":{value}}}");
            let said = parse::<CreateToken>(twice.as_bytes()).err().unwrap();
            assert_eq!(said, format!("duplicate member \"{name}\""));
        }
        assert!(
            CreateToken::MEMBERS.iter().all(|member| member.about.ends_with('.') && !member.about.starts_with(' '))
        );
    }

    #[test]
    fn duplicates_collapse_and_limits_hold() {
        let list = |n: usize| (0..n).map(|i| format!("\"s{i}\"")).collect::<Vec<_>>().join(",");
        let scope = |n| parse::<CreateToken>(format!("{{\"scope\":[{}]}}", list(n)).as_bytes());
        assert_eq!(scope(64).unwrap().scope.unwrap().len(), 64);
        assert!(scope(65).is_err());
        let audience = |n| parse::<CreateToken>(format!("{{\"audience\":[{}]}}", list(n)).as_bytes());
        assert!(audience(8).is_ok() && audience(9).is_err());
        let twice = parse::<CreateToken>(b"{\"scope\":[\"b\",\"a\",\"b\"]}").unwrap().scope.unwrap();
        assert_eq!(twice.iter().map(ScopeToken::as_str).collect::<Vec<_>>(), ["b", "a"]);
    }
}
