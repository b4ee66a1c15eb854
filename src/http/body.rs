//! Bodies: first the size, then the media type, then the form.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;
use std::{fmt, io};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Bytes;
use poem::http::HeaderMap;
use poem::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use zeroize::Zeroizing;

use super::limits::MAX_BODY;
use super::parameters::parameters;
use super::problem::Problem;
use super::query;

/// The media type, as the specification names it.
const MEDIA_TYPE: &str = "application/json";
/// Initial buffer of a body that does not announce its length, in bytes: more than most bodies have.
const USUAL_BODY: usize = 4 << 10;
/// Maximum time for a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A kind of member: how its value is parsed, described and named in errors.
pub(super) trait Kind {
    /// The parsed value.
    type Value;

    /// The form of a valid value, to complete a sentence.
    fn expected() -> Cow<'static, str>;

    /// Returns the schema of its values.
    fn schema() -> MetaSchema;

    /// Parses a value. The error's text is ignored: the client gets [`Kind::expected`].
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error>;
}

/// A member, for the specification.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: fn() -> MetaSchema,
}

/// A JSON object with optional members only, parsed directly from bytes. [`json_object`] implements
/// it.
pub(super) trait JsonObject: Default + Send {
    /// Its name in the specification.
    const NAME: &'static str;
    /// Its description.
    const ABOUT: &'static str;
    /// The purpose of a body of this type.
    const PURPOSE: &'static str;
    /// All its members.
    const MEMBERS: &'static [Member];

    /// Parses the value of the member `name`.
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, reading: &mut Reading<'_, A>) -> Result<(), A::Error>;
}

/// Declares a [`JsonObject`]: each member once, with what it means and its [`Kind`].
macro_rules! json_object {
    (
        $(#[doc = $about:literal])*
        #[purpose = $purpose:literal]
        $vis:vis struct $name:ident {
            $($(#[doc = $meaning:literal])* $member:ident: $kind:ty,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Default)]
        $vis struct $name {
            $($(#[doc = $meaning])* $vis $member: Option<<$kind as $crate::http::body::Kind>::Value>,)*
        }

        impl $crate::http::body::JsonObject for $name {
            const NAME: &'static str = stringify!($name);
            const ABOUT: &'static str = concat!($($about),*).trim_ascii();
            const PURPOSE: &'static str = $purpose;
            const MEMBERS: &'static [$crate::http::body::Member] = &[$($crate::http::body::Member {
                name: stringify!($member),
                about: concat!($($meaning),*).trim_ascii(),
                schema: <$kind as $crate::http::body::Kind>::schema,
            }),*];

            fn read<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                reading: &mut $crate::http::body::Reading<'_, A>,
            ) -> Result<(), A::Error> {
                match name {
                    $(stringify!($member) => reading.value::<$kind>(stringify!($member), &mut self.$member),)*
                    unknown => reading.unknown(unknown),
                }
            }
        }
    };
}
pub(super) use json_object;

/// The body of a request; the default if it is empty.
pub(super) struct JsonBody<T>(pub(super) T);

impl<'a, T: JsonObject> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_schema::<T, _>(T::NAME.to_owned(), |_| MetaSchema {
            title: Some(T::NAME.to_owned()),
            description: Some(T::ABOUT),
            properties: T::MEMBERS.iter().map(property).collect(),
            ..MetaSchema::new("object")
        });
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some(T::PURPOSE),
            content: vec![MetaMediaType {
                content_type: MEDIA_TYPE,
                schema: MetaSchemaRef::Reference(T::NAME.to_owned()),
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
        if !is_media_type(request.headers(), MEDIA_TYPE) {
            return Err(Problem::UnsupportedMediaType.into());
        }
        query::refuse_credentials(request.uri())?;
        Ok(Self(parse(&bytes).map_err(Problem::bad)?))
    }
}

fn property(member: &Member) -> (&'static str, MetaSchemaRef) {
    let schema = MetaSchema { description: Some(member.about), ..(member.schema)() };
    (member.name, MetaSchemaRef::Inline(Box::new(schema)))
}

/// Reads a whole body of at most [`MAX_BODY`] bytes. It may hold a secret, so it is wiped when it
/// is dropped. The connection's own read buffer belongs to hyper and is not wiped.
pub(super) async fn receive(headers: &HeaderMap, body: &mut RequestBody) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(Problem::PayloadTooLarge);
    }
    let body = body.take().map_err(|_| Problem::Internal("body_taken_twice"))?;
    if body.is_empty() {
        return Ok(Zeroizing::default());
    }
    let room = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(USUAL_BODY)));
    match tokio::time::timeout(ARRIVAL, collect(Limited::new(BoxBody::from(body), MAX_BODY), room)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::PayloadTooLarge),
        Ok(Err(_)) => Err(Problem::bad("the body ended before it was complete, or is not framed as announced")),
        Err(_) => Err(Problem::RequestTimeout),
    }
}

/// Reads a whole body into one buffer. Chunks are copied, because keeping one would keep the
/// connection's read buffer, and a client may send a byte at a time. (poem's own function puts 4
/// KiB into every request's future.)
async fn collect(
    mut body: Limited<BoxBody<Bytes, io::Error>>,
    mut bytes: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Box<dyn Error + Send + Sync>> {
    while let Some(frame) = body.frame().await {
        // Other frames are trailers, which are ignored.
        if let Some(part) = frame?.data_ref() {
            append(&mut bytes, part);
        }
    }
    Ok(bytes)
}

/// Appends `part` to `bytes`. A vector that grows by itself would leave its old content in freed
/// memory; when the capacity is exhausted, one with the maximum capacity replaces it, and the old
/// one is wiped.
fn append(bytes: &mut Zeroizing<Vec<u8>>, part: &[u8]) {
    if part.len() > bytes.capacity() - bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(MAX_BODY));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(part);
}

/// Whether the body has the media type `expected` and no content encoding. `charset` must be UTF-8
/// or absent; other parameters are ignored (RFC 9110 §8.3.1).
pub(super) fn is_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(written), None) = (types.next(), types.next()) else { return false };
    let written = written.as_bytes();
    let (media, rest) = written.split_at(written.iter().position(|byte| *byte == b';').unwrap_or(written.len()));
    let Some(parameters) = parameters(rest) else { return false };
    let mut charsets = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"charset"));
    // A repeated parameter is an error (RFC 6838 §4.3).
    let is_utf8 = match (charsets.next(), charsets.next()) {
        (None, _) => true,
        (Some((_, charset)), None) => charset.eq_ignore_ascii_case(b"utf-8"),
        _ => false,
    };
    media.trim_ascii().eq_ignore_ascii_case(expected.as_bytes()) && is_utf8 && !headers.contains_key(CONTENT_ENCODING)
}

/// The parser's position, so that an error can name the member.
enum At {
    Object,
    Member(&'static str, fn() -> Cow<'static, str>),
    Twice(&'static str),
    Unknown(String),
}

/// Parses a JSON object. The error is a sentence for the client.
pub(super) fn parse<T: JsonObject>(bytes: &[u8]) -> Result<T, String> {
    let at = Cell::new(At::Object);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = json.deserialize_map(ObjectVisitor { object: T::default(), at: &at });
    let error = match read.and_then(|object| json.end().map(|()| object)) {
        Ok(object) => return Ok(object),
        Err(error) => error,
    };
    Err(match (error.classify(), at.into_inner()) {
        (Category::Data, At::Object) => "the body must be a JSON object".to_owned(),
        (Category::Data, At::Member(name, expected)) => format!("{name} must be {}", expected()),
        (Category::Data, At::Twice(name)) => format!("duplicate member \"{name}\""),
        (Category::Data, At::Unknown(name)) => {
            let known: Vec<_> = T::MEMBERS.iter().map(|member| member.name).collect();
            let name = serde_json::Value::from(name);
            format!("unknown member {name}; expected one of {}", known.join(", "))
        }
        _ => format!("the body is not valid JSON at line {}, column {}", error.line(), error.column()),
    })
}

struct ObjectVisitor<'a, T> {
    object: T,
    at: &'a Cell<At>,
}

impl<'de, T: JsonObject> Visitor<'de> for ObjectVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, members: A) -> Result<T, A::Error> {
        let mut reading = Reading { members, at: self.at };
        while let Some(name) = reading.members.next_key::<Cow<str>>()? {
            self.object.read(&name, &mut reading)?;
        }
        Ok(self.object)
    }
}

/// An object that is being parsed.
pub(super) struct Reading<'a, A> {
    members: A,
    at: &'a Cell<At>,
}

impl<'de, A: MapAccess<'de>> Reading<'_, A> {
    /// Parses the value of the member `name` into `place`.
    pub(super) fn value<K: Kind>(&mut self, name: &'static str, place: &mut Option<K::Value>) -> Result<(), A::Error> {
        if place.is_some() {
            self.at.set(At::Twice(name));
            return Err(A::Error::custom("twice"));
        }
        self.at.set(At::Member(name, K::expected));
        *place = Some(self.members.next_value_seed(Seed::<K>(PhantomData))?);
        self.at.set(At::Object);
        Ok(())
    }

    /// Refuses a member that the type does not have.
    pub(super) fn unknown(&mut self, name: &str) -> Result<(), A::Error> {
        self.at.set(At::Unknown(name.chars().take(64).collect()));
        Err(A::Error::custom("unknown"))
    }
}

struct Seed<K>(PhantomData<fn() -> K>);

impl<'de, K: Kind> DeserializeSeed<'de> for Seed<K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        K::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use poem::http::HeaderValue;

    use super::*;

    /// Where the body lies after each of `parts`, and what it is.
    async fn received(length: Option<usize>, parts: &[&[u8]]) -> (usize, Vec<u8>) {
        let frames = parts.iter().map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))));
        let stream = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<io::Result<_>>>()));
        let mut headers = HeaderMap::new();
        headers.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        let mut body = RequestBody::new(poem::Body::from(BoxBody::new(stream)));
        let bytes = receive(&headers, &mut body).await.unwrap();
        (bytes.capacity(), bytes.to_vec())
    }

    /// A body of known length has one buffer; one of unknown length has at most a second, with room
    /// for the longest body.
    #[tokio::test]
    async fn a_body_is_moved_once_at_most() {
        for length in [1, 100, USUAL_BODY + 1, MAX_BODY] {
            let whole: Vec<_> = (0..=u8::MAX).cycle().take(length).collect();
            for size in [1, 999, length] {
                let parts: Vec<_> = whole.chunks(size).collect();
                assert_eq!(received(Some(length), &parts).await, (length, whole.clone()));
                let room = if length > USUAL_BODY { MAX_BODY } else { USUAL_BODY };
                assert_eq!(received(None, &parts).await, (room, whole.clone()));
            }
        }
    }

    /// What is moved is copied and not grown: a vector that grows may stay where it is or leave its old place unwiped.
    #[test]
    fn only_a_full_place_is_left() {
        let mut bytes = Zeroizing::new(Vec::with_capacity(8));
        let first = bytes.as_ptr();
        append(&mut bytes, b"12345678");
        assert_eq!((bytes.as_ptr(), bytes.capacity()), (first, 8));
        append(&mut bytes, b"9");
        let second = bytes.as_ptr();
        assert_eq!((bytes.as_slice(), bytes.capacity()), (&b"123456789"[..], MAX_BODY));
        for _ in 9..MAX_BODY {
            append(&mut bytes, b"x");
        }
        assert_eq!((bytes.as_ptr(), bytes.len(), bytes.capacity()), (second, MAX_BODY, MAX_BODY));
    }

    #[test]
    fn media_types() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        let is_json = |headers: &HeaderMap| is_media_type(headers, MEDIA_TYPE);
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
