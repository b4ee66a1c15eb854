//! Token exchange: the tokens in a form, and their types (RFC 8693 §2.1, §3).

use zeroize::Zeroizing;

use super::errors::OAuthFailure;
use super::form::Form;

/// The type of every issued token.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The tokens of an exchange, as presented.
pub(super) struct Exchange {
    pub(super) subject_token: Zeroizing<String>,
    pub(super) actor_token: Option<Zeroizing<String>>,
}

impl Exchange {
    /// Takes the tokens and their types out of `form`.
    pub(super) fn take(form: &mut Form) -> Result<Self, OAuthFailure> {
        let missing = || OAuthFailure::invalid_request("subject_token is missing");
        let subject_token = token(form, "subject_token", &[ACCESS_TOKEN, JWT, ID_TOKEN])?.ok_or_else(missing)?;
        let actor_token = token(form, "actor_token", &[ACCESS_TOKEN, JWT])?;
        if let Some(kind) = form.take("requested_token_type") {
            is_one_of("requested_token_type", &kind, &[ACCESS_TOKEN, JWT])?;
        }
        Ok(Self { subject_token, actor_token })
    }
}

/// Takes the token `name` out of `form`, if present; its type must be one of `types`.
fn token(form: &mut Form, name: &str, types: &[&str]) -> Result<Option<Zeroizing<String>>, OAuthFailure> {
    let missing = |what: String| Err(OAuthFailure::invalid_request(format!("{what} is missing")));
    let type_name = format!("{name}_type");
    match (form.take(name), form.take(&type_name)) {
        (None, None) => Ok(None),
        (Some(token), Some(kind)) => is_one_of(&type_name, &kind, types).map(|()| Some(token)),
        (Some(_), None) => missing(type_name),
        (None, Some(_)) => missing(name.to_owned()),
    }
}

fn is_one_of(name: &str, kind: &str, types: &[&str]) -> Result<(), OAuthFailure> {
    if types.contains(&kind) {
        return Ok(());
    }
    Err(OAuthFailure::invalid_request(format!("{name} must be {}", types.join(" or "))))
}
