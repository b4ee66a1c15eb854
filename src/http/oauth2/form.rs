//! Forms: `application/x-www-form-urlencoded` in UTF-8, parsed once, strictly (RFC 6749 §3.2,
//! appendix B).

use std::borrow::Cow;

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use zeroize::Zeroizing;

use super::errors::OAuthFailure;
use crate::http::body::{is_media_type, receive};
use crate::http::problem::Problem;
use crate::http::query::{decode, pairs};

/// Maximum parameters of a form.
const MAX_PARAMETERS: usize = 256;

/// Parameters that may occur more than once (RFC 8707 §2, RFC 8693 §2.1).
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// The media type, as the specification names it.
pub(super) const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters of a form. Empty ones count as absent. Without `Debug`: it may hold credentials.
#[derive(Default)]
pub(super) struct Form {
    parameters: Vec<(String, Zeroizing<String>)>,
    /// The parameters that were read, so that a test can compare them with the specification.
    #[cfg(test)]
    pub(super) asked: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

impl Form {
    /// Parses `text`.
    pub(super) fn parse(text: &str) -> Result<Self, OAuthFailure> {
        let (mut form, mut names) = (Self::default(), Vec::new());
        // An empty sequence between ampersands is skipped (WHATWG URL §5.1).
        for (number, (name, value)) in pairs(text).filter(|pair| *pair != ("", None)).enumerate() {
            if number == MAX_PARAMETERS {
                return Err(OAuthFailure::invalid_request(format!("a form has at most {MAX_PARAMETERS} parameters")));
            }
            let malformed = || OAuthFailure::invalid_request("the body is not a well-formed form in UTF-8");
            let name = decode(name).ok_or_else(malformed)?;
            let value = value.map_or(Some(Cow::Borrowed("")), decode).ok_or_else(malformed)?;
            if !value.is_empty() {
                form.parameters.push((name.clone().into_owned(), Zeroizing::new(value.into_owned())));
            }
            if !REPEATABLE.contains(&&*name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut pairs = names.iter().zip(names.iter().skip(1));
        if let Some((repeated, _)) = pairs.find(|(one, next)| one == next) {
            let is_word = (1..=32).contains(&repeated.len())
                && repeated.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            return Err(OAuthFailure::invalid_request(match &**repeated {
                "scope" => "scope is repeated; it is one value, with a space between scope tokens".to_owned(),
                name if is_word => format!("{name} is repeated"),
                _ => "a parameter is repeated".to_owned(),
            }));
        }
        Ok(form)
    }

    /// Takes the value of `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name.to_owned());
        let (_, value) = self.parameters.iter_mut().find(|(one, _)| one == name)?;
        Some(std::mem::take(value)).filter(|value| !value.is_empty())
    }

    /// Iterates over the values of `name`, in order.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name.to_owned());
        self.parameters.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// A form as the body of a request, described as `T`.
pub(super) struct FormBody<T> {
    pub(super) form: Form,
    described: std::marker::PhantomData<fn() -> T>,
}

impl<'a, T: Type> ApiExtractor<'a> for FormBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: T::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = receive(request.headers(), body).await?;
        if !bytes.is_empty() && !is_media_type(request.headers(), MEDIA_TYPE) {
            return Err(Problem::UnsupportedMediaType.into());
        }
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(OAuthFailure::invalid_request("parameters belong in the body, not in the query").into());
        }
        let text = std::str::from_utf8(&bytes);
        let text = text.map_err(|_| OAuthFailure::invalid_request("the body is not a well-formed form in UTF-8"))?;
        Ok(Self { form: Form::parse(text)?, described: std::marker::PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderMap;
    use poem::http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn parameters() {
        let mut form = Form::parse("a=1&b=two+words%21&c=&d&resource=x&resource=y&=z").unwrap();
        assert_eq!(form.take("a").as_deref().map(String::as_str), Some("1"));
        assert_eq!(form.take("b").as_deref().map(String::as_str), Some("two words!"));
        assert!(form.take("c").is_none() && form.take("d").is_none() && form.take("e").is_none());
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["x", "y"]);
        for wrong in ["a=1&a=2", "a=1&%61=2", "a=&a=", "x=1&x=1", "a=%", "a=%4", "a=%zz", "a=%ff", "%ff=1", "a=%C3"] {
            assert!(Form::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Form::parse("&&a=1&&").unwrap().take("a").is_some());
        let many = |count: usize| (0..count).map(|number| format!("p{number}=")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(&many(MAX_PARAMETERS)).unwrap().parameters.is_empty());
        for count in [MAX_PARAMETERS + 1, 10_000] {
            assert!(Form::parse(&many(count)).is_err());
        }
        // A semicolon does not separate.
        assert_eq!(Form::parse("a=1;b=2").unwrap().take("a").as_deref().map(String::as_str), Some("1;b=2"));
    }

    #[test]
    fn media_types() {
        let is_form = |headers: &HeaderMap| is_media_type(headers, MEDIA_TYPE);
        let with = |value: &str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        for right in
            ["", ";charset=utf-8", "; charset=UTF-8", "; charset=\"Utf-8\"", "; a=b", ";", "; a=\"b;charset=latin1\""]
        {
            assert!(is_form(&with(&format!("{MEDIA_TYPE}{right}"))), "{right}");
        }
        assert!(is_form(&with("Application/X-WWW-Form-Urlencoded")));
        for wrong in ["; charset=latin1", "; charset", "; charset=\"\"utf-8\"\"", "; @@, text/html", ", text/html"] {
            assert!(!is_form(&with(&format!("{MEDIA_TYPE}{wrong}"))), "{wrong}");
        }
        for wrong in ["application/json", "text/plain", ""] {
            assert!(!is_form(&with(wrong)), "{wrong}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }
}
