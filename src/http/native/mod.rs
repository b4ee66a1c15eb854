//! The native dialect: `/token`.

mod errors;
mod kinds;
mod wire;

use std::sync::Arc;

use hyper::body::Bytes;
use poem::http::{HeaderName, HeaderValue};
use poem::web::Data;
use poem_openapi::{OpenApi, Tags};

use super::asked::{AskedAudience, AskedMethod, AskedScope, AskedUrl};
use super::body::JsonBody;
use super::context::RequestContext;
use super::credentials::{BasicAuth, Presented};
use super::problem::{Failure, WithBody, WithQuestion};
use super::reply::Reply;
use crate::grants::{self, NativeCreate, NativeRefresh};
use crate::service::{Question, Rendered, State, Target};
use crate::token::{AccessClaims, Actor, Dialect, Subject};

use wire::{CreateToken, RefreshToken, TokenInfo, TokenPair};

const SUBJECT: HeaderName = HeaderName::from_static("x-token-subject");
const CLIENT: HeaderName = HeaderName::from_static("x-token-client");
const SCOPE: HeaderName = HeaderName::from_static("x-token-scope");
const ACTOR: HeaderName = HeaderName::from_static("x-token-actor");

#[derive(Tags)]
enum Tag {
    /// Create, inspect and refresh tokens.
    Token,
}

pub(super) struct Native {
    state: Arc<State>,
}

impl Native {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[expect(clippy::unused_async, reason = "poem-openapi takes async handlers")]
#[OpenApi(tag = "Tag::Token")]
impl Native {
    /// Create a token
    ///
    /// Issues an access token and a refresh token to a client. The client sends its id and secret
    /// as HTTP Basic or as members of the body; without either it gets an anonymous token, if the
    /// service issues such tokens.
    #[oai(path = "/token", method = "post", operation_id = "createToken")]
    async fn create(
        &self,
        body: JsonBody<CreateToken>,
        header: BasicAuth,
        context: Data<&RequestContext>,
    ) -> Result<Reply<TokenPair>, Failure<WithBody>> {
        context.refuse_proof()?;
        let call = context.call(&self.state);
        let (auth, order) = body.0.authenticated_by(header)?;
        let client = call.authenticate(&auth)?;
        let issued = grants::issue(&call, NativeCreate { client, order })?;
        Ok(Reply::no_store(TokenPair::from(issued).json().into()))
    }

    /// Inspect a token
    ///
    /// Describes the access token in the `Authorization` header, if it is valid. With `scope` and
    /// `audience` it also checks that the token allows that and is for that API. Without
    /// `audience`, tokens meant for other APIs are accepted too. Send a token that is bound to a
    /// key as `Authorization: DPoP`, with a proof in `DPoP` (RFC 9449) for this request, or for the
    /// one that `htm` and `htu` name.
    #[oai(path = "/token", method = "get", operation_id = "inspectToken")]
    async fn inspect(
        &self,
        /// A scope token that the access token must have, otherwise 403. May be repeated.
        scope: AskedScope,
        /// The API that the access token must be for, otherwise 401.
        audience: AskedAudience,
        /// The method of the request that a proof must be for, if a proxy asks; together with
        /// `htu`.
        htm: AskedMethod,
        /// The URL of the request that a proof must be for, as the proxy received it; together with
        /// `htm`.
        htu: AskedUrl,
        presented: Presented<'_>,
        context: Data<&RequestContext>,
    ) -> Result<Reply<TokenInfo>, Failure<WithQuestion>> {
        let call = context.call(&self.state);
        let (token, is_proved) = presented.access_token()?;
        let target = match (&htm.0, &htu.0) {
            (Some(method), Some(url)) => Target { method, url: Some(url) },
            _ => Target { method: context.method(), url: call.snapshot.urls.token.as_ref() },
        };
        let target = is_proved.then_some(target);
        let inspected = call.check(token, Question { target, audience: audience.0.as_ref(), scope: &scope.0 })?;
        Ok(inspected.rendered::<Inspected>().reply())
    }

    /// Refresh a token
    ///
    /// Exchanges the refresh token in the `Authorization` header for a new pair. The client is
    /// looked up again: whatever it may no longer request is left out. The old refresh token stays
    /// valid until it expires.
    #[oai(path = "/token", method = "put", operation_id = "refreshToken")]
    async fn refresh(
        &self,
        body: JsonBody<RefreshToken>,
        presented: Presented<'_>,
        context: Data<&RequestContext>,
    ) -> Result<Reply<TokenPair>, Failure<WithBody>> {
        context.refuse_proof()?;
        let call = context.call(&self.state);
        let issued = grants::issue(&call, NativeRefresh { token: presented.token()?, scope: body.0.scope })?;
        Ok(Reply::no_store(TokenPair::from(issued).json().into()))
    }
}

/// The answer about an access token, which never changes.
#[derive(Debug)]
struct Inspected {
    body: Bytes,
    subject: HeaderValue,
    client: HeaderValue,
    scope: HeaderValue,
    actor: HeaderValue,
}

impl Rendered for Inspected {
    const DIALECT: Dialect = Dialect::Native;

    fn of(claims: &AccessClaims, _: &str) -> Self {
        #[expect(clippy::expect_used, reason = "names and scopes are visible ASCII, as their types say")]
        let header = |text: &str| HeaderValue::from_str(text).expect("visible ASCII");
        Self {
            body: TokenInfo::of(claims).json().into(),
            subject: header(claims.subject.as_str()),
            client: header(claims.client.as_str()),
            scope: header(claims.scope.as_str()),
            actor: header(claims.actor.as_ref().and_then(Actor::current).map_or("", Subject::as_str)),
        }
    }
}

impl Inspected {
    fn reply(&self) -> Reply<TokenInfo> {
        Reply::no_store(self.body.clone().into())
            .header(SUBJECT, self.subject.clone())
            .header(CLIENT, self.client.clone())
            .header(SCOPE, self.scope.clone())
            .header(ACTOR, self.actor.clone())
    }
}
