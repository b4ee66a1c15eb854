//! Bodies: size, then media type, then form (contract of the token endpoint).

use std::cell::RefCell;
use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Bytes;
use poem::http::HeaderMap;
use poem::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
// Its `Type` has an `is_empty` that would hide a string's own, so it is not imported.
use poem_openapi::types;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::error::Category;

use super::parameters::parameters;
use super::problem::Problem;
use super::{MAX_BODY, query};

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A member of a JSON object, and what a right value looks like.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) expected: &'static str,
}

/// A JSON object whose members are all optional, read straight from bytes.
pub(super) trait Form: Default + Send {
    /// The type that describes it in the specification.
    type Schema: types::Type;
    /// What the body is for.
    const DESCRIPTION: &'static str;
    /// Every member there is.
    const MEMBERS: &'static [Member];
    /// Reads the value of `member`, which is one of [`Form::MEMBERS`].
    fn read<'de, A: MapAccess<'de>>(&mut self, member: &str, value: &mut A) -> Result<(), A::Error>;
}

/// The body of a request; the default where there are no bytes.
pub(super) struct JsonBody<T>(pub(super) T);

impl<'a, T: Form> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <T::Schema as types::Type>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some(T::DESCRIPTION),
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: <T::Schema as types::Type>::schema_ref(),
            }],
            required: false,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = receive(request.headers(), body).await?;
        if bytes.is_empty() {
            query::refuse_credentials(request.uri())?;
            return Ok(Self(T::default()));
        }
        if !is_json(request.headers()) {
            return Err(Problem::UnsupportedMediaType.into());
        }
        query::refuse_credentials(request.uri())?;
        Ok(Self(parse(&bytes).map_err(Problem::bad)?))
    }
}

/// All bytes of a body, of which there may be [`MAX_BODY`].
pub(super) async fn receive(headers: &HeaderMap, body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(Problem::PayloadTooLarge);
    }
    let body = body.take().map_err(|_| Problem::Internal("body_taken_twice"))?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    match tokio::time::timeout(ARRIVAL, collect(Limited::new(BoxBody::from(body), MAX_BODY))).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::PayloadTooLarge),
        Ok(Err(_)) => Err(Problem::bad("the body ended before it was complete, or is not framed as announced")),
        Err(_) => Err(Problem::RequestTimeout),
    }
}

/// All of a body in one piece. Each part is copied, because one that is kept keeps the whole buffer of the connection
/// that it was read into, and a client may send a byte at a time. (poem's own way has 4 KiB in every request's future.)
async fn collect(mut body: Limited<BoxBody<Bytes, io::Error>>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame?.data_ref().map(Bytes::as_ref).unwrap_or_default());
    }
    Ok(bytes)
}

/// Whether the body is `application/json`, not encoded: its `charset` is UTF-8 or absent, and other
/// parameters have no meaning (RFC 9110 §8.3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(written), None) = (types.next(), types.next()) else { return false };
    let written = written.as_bytes();
    let (media, rest) = written.split_at(written.iter().position(|byte| *byte == b';').unwrap_or(written.len()));
    let Some(parameters) = parameters(rest) else { return false };
    let mut charsets = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"charset"));
    // A parameter that is there twice is an error (RFC 6838 §4.3).
    let is_utf8 = match (charsets.next(), charsets.next()) {
        (None, _) => true,
        (Some((_, charset)), None) => charset.eq_ignore_ascii_case(b"utf-8"),
        _ => false,
    };
    media.trim_ascii().eq_ignore_ascii_case(b"application/json") && is_utf8 && !headers.contains_key(CONTENT_ENCODING)
}

/// Where reading stands, so that an error can name the member.
enum At {
    Object,
    Member(&'static Member),
    Twice(&'static str),
    Unknown(String),
}

/// Reads a JSON object. The error is a sentence for people.
pub(super) fn parse<T: Form>(bytes: &[u8]) -> Result<T, String> {
    let at = RefCell::new(At::Object);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = json.deserialize_map(Object { form: T::default(), at: &at });
    let error = match read.and_then(|form| json.end().map(|()| form)) {
        Ok(form) => return Ok(form),
        Err(error) => error,
    };
    Err(match (error.classify(), &*at.borrow()) {
        (Category::Data, At::Object) => "the body must be a JSON object".to_owned(),
        (Category::Data, At::Member(member)) => format!("{} must be {}", member.name, member.expected),
        (Category::Data, At::Twice(name)) => format!("{name} must be there at most once"),
        (Category::Data, At::Unknown(name)) => {
            let known: Vec<_> = T::MEMBERS.iter().map(|member| member.name).collect();
            let name = serde_json::Value::from(name.as_str());
            format!("there is no member {name}; there is {}", known.join(", "))
        }
        _ => format!("the body is not valid JSON at line {}, column {}", error.line(), error.column()),
    })
}

struct Object<'a, T> {
    form: T,
    at: &'a RefCell<At>,
}

impl<'de, T: Form> Visitor<'de> for Object<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<T, A::Error> {
        let mut seen = 0_u32;
        while let Some(name) = members.next_key::<std::borrow::Cow<str>>()? {
            let Some((index, member)) = T::MEMBERS.iter().enumerate().find(|(_, member)| member.name == name) else {
                self.at.replace(At::Unknown(name.chars().take(64).collect()));
                return Err(A::Error::custom("unknown"));
            };
            if seen & (1 << index) != 0 {
                self.at.replace(At::Twice(member.name));
                return Err(A::Error::custom("twice"));
            }
            seen |= 1 << index;
            self.at.replace(At::Member(member));
            self.form.read(member.name, &mut members)?;
            self.at.replace(At::Object);
        }
        Ok(self.form)
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn media_types() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        for right in [
            "application/json",
            "APPLICATION/JSON",
            "application/json;charset=utf-8",
            "application/json ; charset=UTF-8",
            "application/json; charset=\"utf-8\"",
            "application/json;Charset=Utf-8",
            "application/json;",
            "application/json ; ;",
            "application/json; v=1",
            "application/json; profile=\"a;charset=latin1\"; charset=utf-8",
        ] {
            assert!(is_json(&with(&[right])), "{right}");
        }
        for wrong in [
            "",
            "text/plain",
            ";",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=utf-16; v=1",
            "application/json; v=1; charset=us-ascii",
            "application/json; charset=\"\"",
            "application/json; charset='utf-8'",
            "application/json; charset=\"utf-8",
            "application/json; v",
            "application/*",
            "application/json, application/json",
            "application/x-www-form-urlencoded",
            "application/json; charset",
        ] {
            assert!(!is_json(&with(&[wrong])), "{wrong}");
        }
        assert!(!is_json(&with(&[])));
        assert!(!is_json(&with(&["application/json", "application/json"])));
        let mut encoded = with(&["application/json"]);
        encoded.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
        assert!(!is_json(&encoded));
    }
}
