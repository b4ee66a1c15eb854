//! Queries: parsed strictly, because a typo must not answer a policy question.

use std::borrow::Cow;

use poem::http::Uri;

use super::problem::Problem;
use crate::foreign::TargetUrl;
use crate::token::{Audience, Scope, ScopeToken};

/// Never accepted in a query, where logs and histories would keep them (RFC 6750 §5.3).
const CREDENTIALS: [&str; 5] = ["access_token", "token", "refresh", "client_id", "client_secret"];

/// Refuses credentials in the query of any path.
pub(super) fn refuse_credentials(uri: &Uri) -> Result<(), Problem> {
    for (name, _) in pairs(uri.query().unwrap_or_default()) {
        if let Some(name) = CREDENTIALS.into_iter().find(|one| decode(name).as_deref() == Some(*one)) {
            return Err(Problem::bad(format!("{name} must not be in the query, where logs would keep it")));
        }
    }
    Ok(())
}

/// Iterates over the names and values in `text`, still encoded.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let text = Some(text).filter(|text| !text.is_empty());
    text.into_iter().flat_map(|text| text.split('&')).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

/// Decodes `application/x-www-form-urlencoded` strictly: None if it is malformed. All of `text` is
/// borrowed if there is nothing to decode.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    // The common case for tokens. Each of two passes looks at many bytes at a time; one for both would not.
    if !text.contains('%') && !text.contains('+') {
        return Some(text.into());
    }
    // Written once and in one place: it may be a secret, which its reader wipes.
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => (digit(bytes.next()?)? << 4) | digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::from)
}

/// Returns the value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16)?.try_into().ok()
}

/// The question in a query.
#[derive(Debug, Clone, Default)]
pub(super) struct Question {
    pub(super) scope: Vec<ScopeToken>,
    pub(super) audience: Option<Audience>,
    pub(super) method: Option<String>,
    pub(super) url: Option<TargetUrl>,
}

/// Maximum length of a method that a proxy may name, in bytes.
const MAX_METHOD: usize = 32;

/// Parses a method (RFC 9110 §9.1): the characters of a token.
fn method(text: &str) -> Option<String> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    ((1..=MAX_METHOD).contains(&text.len()) && text.bytes().all(right)).then(|| text.to_owned())
}

impl Question {
    /// Adds the parameter `name`. Returns whether there is one that is called so.
    fn add(&mut self, name: &str, value: Option<&str>) -> Result<bool, Problem> {
        match name {
            "scope" => self.add_scope(value.unwrap_or_default())?,
            "audience" => {
                let expected = || format!("audience must be {}", Audience::EXPECTED);
                once(&mut self.audience, value.and_then(Audience::parse), "audience", expected)?;
            }
            "htm" => {
                let expected = || "htm must be the method of a request, such as GET".to_owned();
                once(&mut self.method, value.and_then(method), "htm and htu", expected)?;
            }
            "htu" => {
                let expected = || "htu must be the URL of a request, with http or https".to_owned();
                once(&mut self.url, value.and_then(TargetUrl::parse), "htm and htu", expected)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_scope(&mut self, scope: &str) -> Result<(), Problem> {
        for token in scope.split(' ') {
            let token = ScopeToken::parse(token).ok_or_else(|| {
                let expected = ScopeToken::EXPECTED;
                Problem::bad(format!("scope must be scope tokens separated by single spaces, each {expected}"))
            })?;
            self.scope.push(token);
            if self.scope.len() > Scope::MAX {
                return Err(Problem::bad(format!("scope must be at most {} scope tokens", Scope::MAX)));
            }
        }
        Ok(())
    }
}

/// Sets the parameter `name`, which may occur once.
fn once<T>(
    place: &mut Option<T>,
    value: Option<T>,
    name: &str,
    expected: impl FnOnce() -> String,
) -> Result<(), Problem> {
    if place.is_some() {
        return Err(Problem::bad(format!("{name} must occur at most once")));
    }
    *place = Some(value.ok_or_else(|| Problem::bad(expected()))?);
    Ok(())
}

/// Parses the query of `uri`.
pub(super) fn question(uri: &Uri) -> Result<Question, Problem> {
    let mut question = Question::default();
    for (name, value) in pairs(uri.query().unwrap_or_default()) {
        let value = value.and_then(decode);
        let is_known = decode(name).map(|name| question.add(&name, value.as_deref())).transpose()?;
        if is_known != Some(true) {
            refuse_credentials(uri)?;
            let expected = "the query has an unknown or empty parameter; expected scope, audience, htm or htu";
            return Err(Problem::bad(expected));
        }
    }
    if question.method.is_some() != question.url.is_some() {
        return Err(Problem::bad("htm and htu must be sent together"));
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Result<(Vec<String>, Option<String>), Problem> {
        let question = question(&format!("/token{query}").parse().unwrap())?;
        Ok((question.scope.into_iter().map(String::from).collect(), question.audience.map(String::from)))
    }

    /// A growing buffer would leave copies of a secret behind.
    #[test]
    fn what_is_decoded_is_written_in_one_place() {
        for (text, expected) in [("a+%2B%c3%A9", "a +é"), ("%25%34%31", "%41"), ("++", "  ")] {
            let Some(Cow::Owned(decoded)) = decode(text) else { panic!("{text}") };
            assert_eq!((decoded.as_str(), decoded.capacity()), (expected, text.len()));
        }
        for wrong in ["%", "%4", "%+1", "%zz", "%ff", "a%2", "%\u{e9}1"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn questions() {
        assert_eq!(ask(""), Ok((vec![], None)));
        assert_eq!(ask("?"), Ok((vec![], None)));
        assert_eq!(ask("?scope=a&scope=b%3Ac"), Ok((vec!["a".into(), "b:c".into()], None)));
        for two in ["?scope=a%20b", "?scope=a+b", "?scope=a&scope=b", "?sc%6fpe=a+b"] {
            assert_eq!(ask(two), Ok((vec!["a".into(), "b".into()], None)), "{two}");
        }
        assert_eq!(ask("?scope=c+b&scope=a+d").unwrap().0, ["c", "b", "a", "d"]);
        assert_eq!(ask("?audience=https%3A%2F%2Fa.example"), Ok((vec![], Some("https://a.example".into()))));
        assert_eq!(ask("?audience=two+words%20here"), Ok((vec![], Some("two words here".into()))));
        assert_eq!(ask("?s%63ope=a"), Ok((vec!["a".into()], None)));
    }

    #[test]
    fn typos_answer_nothing() {
        for wrong in [
            "?scopes=a",
            "?Scope=a",
            "?scope",
            "?scope=",
            "?scope=+",
            "?scope=a+",
            "?scope=%20a",
            "?scope=a++b",
            "?scope=a%09b",
            "?scope=a%20b&scope=",
            "?scope=a+%22",
            "?scope=a&",
            "?&scope=a",
            "?=a",
            "?scope=%",
            "?scope=%4",
            "?scope=%zz",
            "?scope=%ff",
            "?scope=%22",
            "?audience=",
            "?audience=a&audience=a",
            "?audience=%ff",
            "?audience=%00",
            "?scope[]=a",
            "?scope=a;scope=b&x=1",
            "?scope=a&sc%6fpes=b",
        ] {
            assert!(matches!(ask(wrong), Err(Problem::BadRequest(_))), "{wrong}");
        }
        assert!(ask(&format!("?{}", ["scope=a"; 64].join("&"))).is_ok());
        assert!(ask(&format!("?{}", ["scope=a"; 65].join("&"))).is_err());
        assert!(ask(&format!("?scope={}", ["a"; 64].join("+"))).is_ok());
        assert!(ask(&format!("?scope={}&scope=a", ["a"; 64].join("+"))).is_err());
        assert!(ask(&format!("?scope={}", ["a"; 65].join("%20"))).is_err());
    }

    #[test]
    fn credentials_in_any_query() {
        for name in ["access_token", "token", "refresh", "client_id", "client_secret", "t%6Fken"] {
            for query in [format!("?{name}=x"), format!("?{name}"), format!("?a=1&{name}=")] {
                assert!(refuse_credentials(&format!("/docs{query}").parse().unwrap()).is_err(), "{query}");
            }
        }
        assert_eq!(refuse_credentials(&"/docs?tokens=1&Token=2".parse().unwrap()), Ok(()));
    }
}
