//! How a client authenticates in a request of this dialect (contract: one method, RFC 6749 §2.3).

use zeroize::Zeroizing;

use super::errors::OAuthFailure;
use super::form::Form;
use crate::clients::{Client, ClientAuth};
use crate::http::credentials::BasicAuth;
use crate::http::query::decode;
use crate::service::Call;

/// What a request presents.
pub(super) struct Presented {
    auth: ClientAuth,
    /// `client_id` in the body, which must agree with the method beside it.
    client_id: Option<Zeroizing<String>>,
    /// Whether there was an `Authorization` header, so that a refusal needs a challenge.
    pub(super) in_header: bool,
}

impl Presented {
    /// Takes the method out of the header and the form.
    pub(super) fn take(header: BasicAuth, form: &mut Form) -> Result<Self, OAuthFailure> {
        let (client_id, secret) = (form.take("client_id"), form.take("client_secret"));
        let in_header = !matches!(header, BasicAuth::Absent);
        let auth = match (header, secret) {
            (BasicAuth::Absent, None) => ClientAuth::None,
            (BasicAuth::Absent, Some(secret)) => {
                let id = client_id.clone().ok_or_else(|| OAuthFailure::invalid_request("client_id is missing"))?;
                ClientAuth::Secret(id, Zeroizing::new(secret.as_bytes().to_vec()))
            }
            (BasicAuth::Basic(id, secret), None) => match (decoded(id.as_bytes()), decoded(&secret)) {
                (Some(id), Some(secret)) => ClientAuth::Secret(id, Zeroizing::new(secret.as_bytes().to_vec())),
                _ => ClientAuth::nobody(),
            },
            (BasicAuth::Malformed, None) => ClientAuth::nobody(),
            (_, Some(_)) => return Err(OAuthFailure::invalid_request("use one method of client authentication")),
        };
        Ok(Self { auth, client_id, in_header })
    }

    /// The client that has proved who it is.
    pub(super) fn client<'s>(&self, call: &Call<'s>) -> Result<&'s Client, OAuthFailure> {
        if matches!(self.auth, ClientAuth::None) {
            return Err(OAuthFailure::invalid_client(self.in_header, "client_authentication"));
        }
        let client = call.authenticate(&self.auth).map_err(|denied| OAuthFailure::of(denied, self.in_header))?;
        match &self.client_id {
            Some(id) if id.as_str() != client.id.as_str() => {
                Err(OAuthFailure::invalid_request("client_id is not the client that authenticates"))
            }
            _ => Ok(client),
        }
    }
}

/// Form-decodes what stands in HTTP Basic (RFC 6749 §2.3.1).
fn decoded(bytes: &[u8]) -> Option<Zeroizing<String>> {
    decode(std::str::from_utf8(bytes).ok()?).map(|text| Zeroizing::new(text.into_owned()))
}
