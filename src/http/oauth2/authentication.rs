//! Client authentication in this dialect: exactly one method (RFC 6749 §2.3).

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::errors::OAuthFailure;
use super::form::Form;
use crate::clients::{Client, ClientAuth};
use crate::http::credentials::BasicAuth;
use crate::http::query::decode;
use crate::service::{Call, Caller, Denied, Statement, Unauthenticated};

/// The accepted assertion types: any JWT (RFC 7523 §2.2), and a JWT-SVID
/// (draft-ietf-oauth-spiffe-client-auth §4.1). Which one it is follows from the assertion itself.
const ASSERTION_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
];

/// How a request authenticates its client.
enum Method {
    /// By a JWT (RFC 7523 §2.2).
    Assertion(Zeroizing<String>),
    /// By anything else, or not at all.
    Auth(ClientAuth),
}

/// The credentials in a request.
pub(super) struct Presented {
    method: Method,
    /// `client_id` in the body, which must agree with the method next to it.
    client_id: Option<Zeroizing<String>>,
    /// Whether there was an `Authorization` header: then a refusal needs a challenge.
    pub(super) in_header: bool,
}

impl Presented {
    /// Takes the credentials out of the header and the form. There may be one method.
    pub(super) fn take(header: BasicAuth, form: &mut Form) -> Result<Self, OAuthFailure> {
        let (client_id, secret) = (form.take("client_id"), form.take("client_secret"));
        let assertion = (form.take("client_assertion"), form.take("client_assertion_type"));
        let in_header = !matches!(header, BasicAuth::Absent);
        let invalid = |description: &'static str| Err(OAuthFailure::invalid_request(description));
        let auth = match (header, secret, assertion) {
            (BasicAuth::Absent, None, (None, None)) => ClientAuth::None,
            (BasicAuth::Absent, Some(secret), (None, None)) => match client_id.clone() {
                Some(id) => ClientAuth::Secret(id, bytes(secret)),
                None => return invalid("client_id is missing; client_secret needs it"),
            },
            (BasicAuth::Absent, None, (Some(assertion), Some(kind))) if ASSERTION_TYPES.contains(&kind.as_str()) => {
                return Ok(Self { method: Method::Assertion(assertion), client_id, in_header });
            }
            (BasicAuth::Absent, None, (Some(_), Some(_))) => {
                let [any, spiffe] = ASSERTION_TYPES;
                let expected = format!("client_assertion_type must be {any} or {spiffe}");
                return Err(OAuthFailure::invalid_request(expected));
            }
            (BasicAuth::Absent, None, (Some(_), None)) => return invalid("client_assertion_type is missing"),
            (BasicAuth::Absent, None, (None, Some(_))) => return invalid("client_assertion is missing"),
            (BasicAuth::Basic(id, secret), None, (None, None)) => match (decoded(id), text(secret).and_then(decoded)) {
                (Some(id), _) if client_id.as_ref().is_some_and(|named| *named != id) => {
                    return invalid("client_id must be the client that authenticates");
                }
                (Some(id), Some(secret)) => ClientAuth::Secret(id, bytes(secret)),
                _ => ClientAuth::nobody(),
            },
            (BasicAuth::Malformed, None, (None, None)) => ClientAuth::nobody(),
            _ => return invalid("use one method of client authentication"),
        };
        Ok(Self { method: Method::Auth(auth), client_id, in_header })
    }

    /// Parses the assertion, if there is one, and fetches the keys that it needs if they are missing.
    pub(super) async fn prepare<'p, 's>(&'p self, call: &Call<'s>) -> Prepared<'p, 's> {
        let Self { method, client_id, in_header } = self;
        let method = match method {
            Method::Auth(auth) => PreparedMethod::Auth(auth),
            Method::Assertion(text) => PreparedMethod::Statement(call.statement(text).await),
        };
        Prepared { method, client_id: client_id.as_ref(), in_header: *in_header }
    }
}

/// What a request presents, ready to be verified.
pub(super) struct Prepared<'p, 's> {
    method: PreparedMethod<'p, 's>,
    client_id: Option<&'p Zeroizing<String>>,
    in_header: bool,
}

enum PreparedMethod<'p, 's> {
    Auth(&'p ClientAuth),
    Statement(Statement<'s, 'p>),
}

impl<'s> Prepared<'_, 's> {
    /// Returns the client that authenticated, by its own credential or by a trusted issuer's
    /// statement.
    pub(super) fn client(self, call: &Call<'s>) -> Result<&'s Client, OAuthFailure> {
        self.caller(call).map(|caller| caller.client())
    }

    /// Whether everything in the request agrees with `client`: `client_id`, and the method if one
    /// was used.
    pub(super) fn agrees(self, call: &Call<'s>, client: &Client) -> Result<bool, OAuthFailure> {
        let is_named = self.client_id.is_none_or(|id| id.as_str() == client.id.as_str());
        // `client_id` alone is not a method.
        let is_absent = matches!(self.method, PreparedMethod::Auth(ClientAuth::None));
        Ok(is_named && (is_absent || self.client(call)?.id == client.id))
    }

    /// Returns the authenticated client, and how it authenticated.
    pub(super) fn caller(self, call: &Call<'s>) -> Result<Caller<'s>, OAuthFailure> {
        let Self { method, client_id, in_header } = self;
        let refused = |denied| OAuthFailure::of(denied, in_header);
        let caller = match (method, client_id, call.carried.certificate) {
            (PreparedMethod::Auth(ClientAuth::None), Some(id), Some(_)) => {
                call.authenticate(&ClientAuth::Certificate(id.clone())).map(Caller::Own)
            }
            (PreparedMethod::Auth(ClientAuth::None), ..) => {
                Err(call.note(Denied::Client(Unauthenticated::NoCredentials)))
            }
            (PreparedMethod::Auth(auth), ..) => call.authenticate(auth).map(Caller::Own),
            (PreparedMethod::Statement(statement), ..) => call.stated(statement),
        };
        let caller = caller.map_err(refused)?;
        match client_id {
            Some(id) if id.as_str() != caller.client().id.as_str() => {
                Err(refused(call.note(Denied::Client(Unauthenticated::AssertionSubject))))
            }
            _ => Ok(caller),
        }
    }
}

/// Form-decodes a part of HTTP Basic (RFC 6749 §2.3.1).
fn decoded(text: Zeroizing<String>) -> Option<Zeroizing<String>> {
    match decode(&text)? {
        Cow::Borrowed(_) => Some(text),
        Cow::Owned(decoded) => Some(Zeroizing::new(decoded)),
    }
}

/// Returns the same bytes as text, if they are UTF-8.
fn text(mut bytes: Zeroizing<Vec<u8>>) -> Option<Zeroizing<String>> {
    std::str::from_utf8(&bytes).ok()?;
    String::from_utf8(std::mem::take(&mut *bytes)).ok().map(Zeroizing::new)
}

/// Returns the same text as bytes.
fn bytes(mut text: Zeroizing<String>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}
