//! The OAuth 2.0 dialect: `/oauth2/…` and its metadata. The same tokens and the same policy, in the
//! protocol that client libraries already speak (RFC 6749, 7662, 8414, 8707).

mod authentication;
mod errors;
mod exchange;
mod form;
mod introspection;
mod metadata;
mod token;

use std::sync::Arc;

use poem::http::HeaderMap;
use poem::web::Data;
use poem_openapi::{OpenApi, Tags};

use super::context::RequestContext;
use super::credentials::BasicAuth;
use super::problem::{Failure, WithNothing};
use super::reply::Reply;
use crate::service::State;
use authentication::Presented;
use errors::OAuthFailure;
use form::FormBody;
use introspection::{INACTIVE, Introspected, IntrospectionRequest, IntrospectionSchema};
use metadata::{Kind, Metadata};
use token::{RequestedGrant, TokenRequest, TokenResponse};

pub(super) use errors::{example, shape};
pub(super) use metadata::add_to as add_metadata_to;

#[derive(Tags)]
enum Tag {
    /// Create, refresh and introspect tokens as OAuth 2.0 clients do.
    #[oai(rename = "OAuth 2.0")]
    OAuth2,
}

pub(super) struct OAuth2 {
    state: Arc<State>,
}

impl OAuth2 {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[expect(clippy::unused_async, reason = "poem-openapi takes async handlers")]
#[OpenApi(tag = "Tag::OAuth2")]
impl OAuth2 {
    /// Get a token (OAuth 2.0)
    ///
    /// Issues an access token by `client_credentials`, continues a session by `refresh_token` (RFC 6749), exchanges a
    /// token for one of the caller's own (RFC 8693), and takes an assertion as a grant (RFC 7523). The client
    /// authenticates by HTTP Basic, by `client_id` and `client_secret` in the form, or by a JWT that it signed
    /// (`private_key_jwt`, RFC 7523). A proof in the header `DPoP` binds the access token to the key that signed it
    /// (RFC 9449); `DPoP-Nonce` in an answer is for the next proof.
    #[oai(path = "/oauth2/token", method = "post", operation_id = "oauthToken")]
    async fn token(
        &self,
        body: FormBody<TokenRequest>,
        header: BasicAuth,
        context: Data<&RequestContext>,
    ) -> Result<Reply<TokenResponse>, OAuthFailure> {
        let call = context.call(&self.state);
        let mut form = body.form;
        let presented = Presented::take(header, &mut form)?;
        let grant = RequestedGrant::read(&mut form)?;
        // Keys may take seconds.
        drop(form);
        let (presented, prepared) = (presented.prepare(&call).await, grant.prepare(&call).await);
        let call = call.resumed();
        let issued = prepared.issue(&call, presented)?;
        Ok(Reply::no_store(TokenResponse::new(issued, call.now, grant.is_exchange()).json().into()))
    }

    /// Introspect a token
    ///
    /// Says whether an access token is active, and what it says (RFC 7662), to the client that it was issued to and to
    /// clients whose `accepts` has one of its audiences.
    #[oai(path = "/oauth2/introspect", method = "post", operation_id = "oauthIntrospect")]
    async fn introspect(
        &self,
        body: FormBody<IntrospectionRequest>,
        header: BasicAuth,
        context: Data<&RequestContext>,
    ) -> Result<Reply<IntrospectionSchema>, OAuthFailure> {
        let call = context.call(&self.state);
        let mut form = body.form;
        let presented = Presented::take(header, &mut form)?;
        let token = form.take("token").ok_or_else(|| OAuthFailure::invalid_request("token is missing"))?;
        drop(form);
        let prepared = presented.prepare(&call).await;
        let call = call.resumed();
        let client = prepared.client(&call)?;
        Ok(match call.introspect(client, &token) {
            Ok(inspected) => Reply::no_store(inspected.rendered::<Introspected>().0.clone().into()),
            Err(_) => Reply::no_store(INACTIVE.into()),
        })
    }

    /// Read the metadata
    ///
    /// What the service is and can do, for clients that discover it (RFC 8414).
    #[oai(path = "/.well-known/oauth-authorization-server", method = "get", operation_id = "getMetadata")]
    async fn metadata(
        &self,
        headers: &HeaderMap,
        context: Data<&RequestContext>,
    ) -> Result<Reply<Metadata>, Failure<WithNothing>> {
        Ok(metadata::reply(Kind::OAuth, context.snapshot(), headers)?)
    }

    /// Read the metadata, for OpenID Connect
    ///
    /// The same with two more members, for clients that look where OpenID Connect has it. There are no ID tokens.
    #[oai(path = "/.well-known/openid-configuration", method = "get", operation_id = "getOpenIdMetadata")]
    async fn openid_metadata(
        &self,
        headers: &HeaderMap,
        context: Data<&RequestContext>,
    ) -> Result<Reply<Metadata>, Failure<WithNothing>> {
        Ok(metadata::reply(Kind::OpenId, context.snapshot(), headers)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use poem_openapi::registry::{MetaSchemaRef, Registry};
    use poem_openapi::types::Type;

    use super::form::Form;
    use super::*;
    use crate::clients::GrantType;

    /// Returns the parameters of a `T` in the specification.
    fn described<T: Type>() -> BTreeSet<String> {
        let mut registry = Registry::new();
        T::register(&mut registry);
        let MetaSchemaRef::Reference(name) = T::schema_ref() else { panic!("a schema of its own") };
        registry.schemas[&name].properties.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_read_is_what_is_described() {
        let given =
            "assertion=x&refresh_token=x&subject_token=x&subject_token_type=urn:ietf:params:oauth:token-type:jwt";
        let mut asked = BTreeSet::new();
        for grant in GrantType::ALL {
            let mut form = Form::parse(&format!("grant_type={}&{given}", grant.name())).unwrap();
            assert!(Presented::take(BasicAuth::Absent, &mut form).is_ok() && RequestedGrant::read(&mut form).is_ok());
            asked.append(&mut form.asked.borrow_mut());
        }
        assert_eq!(asked, described::<TokenRequest>());
    }
}
