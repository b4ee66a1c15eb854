//! Wire types: what stands in bodies.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Serialize;
use zeroize::Zeroizing;

use super::kinds::{List, Seconds, Secret, Text};
use crate::clients::{ClientAuth, Order};
use crate::http::body::json_object;
use crate::http::credentials::BasicAuth;
use crate::http::problem::Problem;
use crate::http::reply::Answer;
use crate::service::Issued;
use crate::token::{AccessClaims, Actor, Audiences, ExtraClaims, ScopeToken, Subject};

/// An access token and what continues it.
// No `Debug`, so that nothing can print it.
#[derive(Object)]
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
#[oai(skip_serializing_if_is_none)]
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
    /// Who acts for the subject, where somebody does: `sub`, and `act` of the actor before (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<serde_json::Value>,
}

impl TokenInfo {
    /// What these claims say.
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
    const MEANING: &'static str = "The token is valid, is for the audience and has every scope that was asked about.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("X-Token-Subject", "Whom the token is about."),
        ("X-Token-Client", "The client that asked for it."),
        ("X-Token-Scope", "What it allows: scope tokens with one space between, maybe none."),
        ("X-Token-Actor", "Who acts for the subject now, maybe empty (RFC 8693 §4.1)."),
    ];
}

json_object! {
    /// What to issue. Every member is optional; so is the body.
    #[purpose = "What to issue; leave it out to get all that the client may have."]
    pub(super) struct CreateToken {
        /// The client's id, where it is not in the `Authorization` header.
        client_id: Text,
        /// The client's secret, where it is not in the `Authorization` header.
        client_secret: Secret,
        /// What the token is to allow; default: all that the client may have.
        scope: List<ScopeToken>,
        /// Who may accept it; default: the client's audience, else the service's.
        audience: Audiences,
        /// Whom it is about; default: the client's id.
        subject: Subject,
        /// Seconds that it lives; default and most: the client's access lifetime.
        lifetime: Seconds,
        /// Extra claims: strings, booleans, integers, or arrays of these.
        claims: ExtraClaims,
    }
}

json_object! {
    /// What to narrow the new access token to. The body is optional.
    #[purpose = "What to narrow the new access token to; leave it out to keep all."]
    pub(super) struct RefreshToken {
        /// What the new access token is to allow; default: all that it may.
        scope: List<ScopeToken>,
    }
}

impl CreateToken {
    /// The credentials, which stand in the header or in members, and the order.
    pub(super) fn authenticated_by(self, header: BasicAuth) -> Result<(ClientAuth, Order), Problem> {
        let Self { client_id, client_secret, scope, audience, subject, lifetime, claims } = self;
        let missing = |missing, there| Err(Problem::bad(format!("{missing} must be there beside {there}")));
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
                let message = "client_id and client_secret must not be in the body beside an Authorization header";
                return Err(Problem::bad(message));
            }
        };
        Ok((auth, Order { scope, audience, subject, lifetime, claims, limit: None }))
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
            "audience must be an array of 1 to 8 audiences, each 1 to 255 characters, none of them a control character"
        );
        assert_eq!(said("{\"client_secret\":0}"), "client_secret must be a string");
    }

    /// A member that is declared is read, refused the second time, and described.
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
