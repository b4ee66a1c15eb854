//! Client authentication in this dialect: exactly one method (RFC 6749 §2.3).

use zeroize::Zeroizing;

use super::errors::OAuthFailure;
use super::form::Form;
use crate::clients::{Client, ClientAuth};
use crate::federation::Named;
use crate::http::credentials::BasicAuth;
use crate::http::query::decode;
use crate::service::{Call, Caller, Denied, Statement, Unauthenticated};

/// The accepted assertion types: any JWT (RFC 7523 §2.2), and a JWT-SVID
/// (draft-ietf-oauth-spiffe-client-auth §4.1). Which one it is follows from the assertion itself.
const ASSERTION_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
];

/// The credentials in a request.
pub(super) struct Presented {
    auth: ClientAuth,
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
                Some(id) => ClientAuth::Secret(id, Zeroizing::new(secret.as_bytes().to_vec())),
                None => return invalid("client_id is missing; client_secret needs it"),
            },
            (BasicAuth::Absent, None, (Some(assertion), Some(kind))) if ASSERTION_TYPES.contains(&kind.as_str()) => {
                ClientAuth::Assertion(assertion)
            }
            (BasicAuth::Absent, None, (Some(_), Some(_))) => {
                let [any, spiffe] = ASSERTION_TYPES;
                let expected = format!("client_assertion_type must be {any} or {spiffe}");
                return Err(OAuthFailure::invalid_request(expected));
            }
            (BasicAuth::Absent, None, (Some(_), None)) => return invalid("client_assertion_type is missing"),
            (BasicAuth::Absent, None, (None, Some(_))) => return invalid("client_assertion is missing"),
            (BasicAuth::Basic(id, secret), None, (None, None)) => match (decoded(id.as_bytes()), decoded(&secret)) {
                (Some(id), _) if client_id.as_ref().is_some_and(|named| *named != id) => {
                    return invalid("client_id must be the client that authenticates");
                }
                (Some(id), Some(secret)) => ClientAuth::Secret(id, Zeroizing::new(secret.as_bytes().to_vec())),
                _ => ClientAuth::nobody(),
            },
            (BasicAuth::Malformed, None, (None, None)) => ClientAuth::nobody(),
            _ => return invalid("use one method of client authentication"),
        };
        Ok(Self { auth, client_id, in_header })
    }

    /// Adds the trusted issuer that the assertion names, and fetches its keys if they are missing.
    pub(super) async fn prepare<'p, 's>(&'p self, call: &Call<'s>) -> Prepared<'p, 's> {
        let named = match &self.auth {
            ClientAuth::Assertion(text) => match call.statement(text).await {
                Statement::Issuer(named) => Some(named),
                Statement::Client(_) => None,
            },
            ClientAuth::None | ClientAuth::Secret(..) | ClientAuth::Certificate(_) => None,
        };
        Prepared { presented: self, named }
    }

    /// Whether no method was used. `client_id` alone is not a method.
    fn is_absent(&self) -> bool {
        matches!(self.auth, ClientAuth::None)
    }
}

/// What a request presents, ready to be verified.
pub(super) struct Prepared<'p, 's> {
    presented: &'p Presented,
    named: Option<Named<'s, 'p>>,
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
        let Presented { client_id, .. } = self.presented;
        let is_named = client_id.as_ref().is_none_or(|id| id.as_str() == client.id.as_str());
        Ok(is_named && (self.presented.is_absent() || self.client(call)?.id == client.id))
    }

    /// Returns the authenticated client, and how it authenticated.
    pub(super) fn caller(self, call: &Call<'s>) -> Result<Caller<'s>, OAuthFailure> {
        let Self { presented: Presented { auth, client_id, in_header }, named } = self;
        let refused = |denied| OAuthFailure::of(denied, *in_header);
        if let (ClientAuth::None, Some(id), Some(_)) = (auth, client_id, call.carried.certificate) {
            let by_certificate = call.authenticate(&ClientAuth::Certificate(id.clone()));
            return by_certificate.map(Caller::Own).map_err(refused);
        }
        if matches!(auth, ClientAuth::None) {
            return Err(refused(call.note(Denied::Client(Unauthenticated::NoCredentials))));
        }
        let caller = match named {
            Some(named) => call.vouched(named).map(Caller::Vouched),
            None => call.authenticate(auth).map(Caller::Own),
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
fn decoded(bytes: &[u8]) -> Option<Zeroizing<String>> {
    decode(std::str::from_utf8(bytes).ok()?).map(|text| Zeroizing::new(text.into_owned()))
}
