//! The `Authorization` header: split here, verified elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::HeaderValue;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use zeroize::Zeroizing;

use super::problem::{Challenge, Problem};

const BASIC: &str = "basic";
const BEARER: &str = "bearer";
const TOKEN: &str = "token";

const NO_SCHEME: MetaSecurityScheme = MetaSecurityScheme {
    ty: "http",
    description: None,
    name: None,
    key_in: None,
    scheme: None,
    bearer_format: None,
    flows: None,
    openid_connect_url: None,
};

/// The content of a request's `Authorization` header.
enum Field<'r> {
    Absent,
    /// A scheme, and the value after the spaces.
    One(&'r str, &'r str),
    /// Not visible ASCII, or not a scheme and a value separated by spaces.
    Malformed,
}

fn field(request: &Request) -> Result<Field<'_>, Problem> {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let Some(value) = fields.next() else { return Ok(Field::Absent) };
    if fields.next().is_some() {
        return Err(Problem::bad("Authorization must occur at most once"));
    }
    Ok(match visible(value).and_then(|text| text.split_once(' ')) {
        Some((scheme, rest)) => Field::One(scheme, rest.trim_start_matches(' ')),
        None => Field::Malformed,
    })
}

/// Returns the text of `value` if it is visible ASCII and spaces; without a branch per byte, because
/// tokens are long.
fn visible(value: &HeaderValue) -> Option<&str> {
    let is_visible = value.as_bytes().iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
    std::str::from_utf8(value.as_bytes()).ok().filter(|_| is_visible)
}

/// Client credentials in the `Authorization` header (RFC 7617).
pub(super) enum BasicAuth {
    /// Nothing.
    Absent,
    /// An id and a secret.
    Basic(Zeroizing<String>, Zeroizing<Vec<u8>>),
    /// Anything else.
    Malformed,
}

fn basic(scheme: &str, encoded: &str) -> Option<BasicAuth> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut pair = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = pair.iter().position(|b| *b == b':')?;
    std::str::from_utf8(pair.get(..colon)?).ok()?;
    let secret = Zeroizing::new(pair.split_off(colon + 1));
    pair.truncate(colon);
    // The secret's bytes are still in its spare capacity, which is wiped, too.
    let id = Zeroizing::new(String::from_utf8(std::mem::take(&mut *pair)).ok()?);
    Some(BasicAuth::Basic(id, secret))
}

impl<'a> ApiExtractor<'a> for BasicAuth {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            BASIC,
            MetaSecurityScheme {
                scheme: Some("basic"),
                description: Some("The client's id and secret: to create a token and to introspect one."),
                ..NO_SCHEME
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BASIC]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(match field(request)? {
            Field::Absent => Self::Absent,
            Field::One(scheme, encoded) => basic(scheme, encoded).unwrap_or(Self::Malformed),
            Field::Malformed => Self::Malformed,
        })
    }
}

/// The token in a request (RFC 6750 §2.1).
pub(super) enum Presented<'r> {
    /// No token.
    Absent,
    /// A token, or text in its place: the verifier refuses malformed ones.
    Token(&'r str),
    /// The same under `DPoP`, with a proof of the sender (RFC 9449 §7.1).
    Proved(&'r str),
    /// Anything else.
    Malformed,
}

impl<'r> Presented<'r> {
    /// Returns the token, if it came without a proof.
    pub(super) fn token(self) -> Result<&'r str, Problem> {
        match self.access_token()? {
            (text, false) => Ok(text),
            (_, true) => Err(MALFORMED),
        }
    }

    /// Returns the token, if any, and whether it came with a proof.
    pub(super) fn access_token(self) -> Result<(&'r str, bool), Problem> {
        match self {
            Self::Token(text) => Ok((text, false)),
            Self::Proved(text) => Ok((text, true)),
            Self::Absent => Err(Problem::Unauthorized(Challenge::Token, "no_token")),
            Self::Malformed => Err(MALFORMED),
        }
    }
}

const MALFORMED: Problem = Problem::Unauthorized(Challenge::InvalidToken(None), "malformed_authorization");

/// Parses one token under `Token`, `Toekn`, `Bearer` or `DPoP`, case-insensitively.
fn token<'r>(scheme: &str, text: &'r str) -> Presented<'r> {
    let is = |one: &str| scheme.eq_ignore_ascii_case(one);
    if text.is_empty() {
        return Presented::Malformed;
    }
    match ["token", "toekn", "bearer"].into_iter().any(is) {
        true => Presented::Token(text),
        false if is("dpop") => Presented::Proved(text),
        false => Presented::Malformed,
    }
}

impl<'a> ApiExtractor<'a> for Presented<'a> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            BEARER,
            MetaSecurityScheme {
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                description: Some("The access token to inspect, or the refresh token to refresh."),
                ..NO_SCHEME
            },
        );
        registry.create_security_scheme(
            TOKEN,
            MetaSecurityScheme {
                ty: "apiKey",
                name: Some("Authorization"),
                key_in: Some("header"),
                description: Some("The same as `Token …`: type the word, a space and the token."),
                ..NO_SCHEME
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, TOKEN]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(match field(request)? {
            Field::Absent => Self::Absent,
            Field::One(scheme, text) => token(scheme, text),
            Field::Malformed => Self::Malformed,
        })
    }
}
