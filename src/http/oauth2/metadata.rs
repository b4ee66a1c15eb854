//! Authorization server metadata (RFC 8414): complete, true, and built from the configuration alone.

use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ETAG};
use poem::http::{HeaderMap, HeaderValue};
use poem::{Endpoint, IntoResponse as _, Request, Response};
use poem_openapi::Object;
use serde_json::{Value, json};

use crate::clients::GrantType;
use crate::crypto::{hex, sha256};
use crate::http::context::RequestContext;
use crate::http::cors::ANY_ORIGIN;
use crate::http::problem::Problem;
use crate::http::public::names;
use crate::http::reply::{Answer, Reply};
use crate::http::routes::Routes;
use crate::service::{Snapshot, TOKEN_ENDPOINT};

/// Where the document is; the issuer's path may come after it (RFC 8414 §3.1).
const PATH: &str = "/.well-known/oauth-authorization-server";

/// What a client may sign its assertions with; both names of Ed25519 (RFC 8037, RFC 9864).
const CLIENT_ALGORITHMS: [&str; 5] = ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"];

/// Which members the document has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 8414's.
    OAuth,
    /// Also those without which readers of `OpenID` Connect Discovery refuse it.
    OpenId,
}

/// What the service is and can do (RFC 8414 §2).
#[derive(Debug, Object)]
#[oai(rename = "Metadata")]
pub(super) struct Metadata {
    /// What tokens say in `iss`.
    issuer: String,
    /// Where to get tokens.
    token_endpoint: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// Where to introspect tokens.
    introspection_endpoint: String,
    /// Empty: nothing is authorized in a browser.
    response_types_supported: Vec<String>,
    /// The grants that some client may use.
    grant_types_supported: Vec<String>,
    /// How clients authenticate.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// What they may sign assertions with.
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// How clients authenticate.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// What they may sign assertions with.
    introspection_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// A page for people.
    service_documentation: String,
    /// `public`; at `/.well-known/openid-configuration` only.
    subject_types_supported: Option<Vec<String>>,
    /// What access tokens are signed with; at `/.well-known/openid-configuration` only.
    id_token_signing_alg_values_supported: Option<Vec<String>>,
}

impl Answer for Metadata {
    const MEANING: &'static str = "The metadata.";
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("ETag", "The version of the document, for `If-None-Match`."),
        ("Cache-Control", "How long the document may be cached."),
    ];
    const CACHEABLE: bool = true;
}

/// Adds the route with the issuer's path inserted, where the issuer has one.
pub(in crate::http) fn add_to(routes: Routes, issuer: &str) -> Routes {
    match issuer.splitn(4, '/').nth(3).filter(|path| !path.is_empty()) {
        None => routes,
        Some(path) => routes.page(&format!("{PATH}/{path}"), Inserted),
    }
}

/// The document at the path that ends with the issuer's.
struct Inserted;

impl Endpoint for Inserted {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let context = request.data::<RequestContext>().ok_or(Problem::Internal("no_context"))?;
        Ok(reply(Kind::OAuth, context.snapshot(), request.headers()).into_response())
    }
}

/// The document, or 304 for a copy that is current.
pub(super) fn reply(kind: Kind, snapshot: &Snapshot, request: &HeaderMap) -> Reply<Metadata> {
    let body = format!("{:#}\n", document(kind, snapshot));
    let etag = format!("\"{}\"", hex(&sha256(body.as_bytes())).get(..32).unwrap_or_default());
    let reply = if names(request, &etag) { Reply::not_modified() } else { Reply::bytes(body.into()) };
    #[expect(clippy::expect_used, reason = "digits and letters")]
    let text = |text: &str| HeaderValue::from_str(text).expect("visible ASCII");
    reply
        .header(ETAG, text(&etag))
        .header(CACHE_CONTROL, text(&format!("public, max-age={}", snapshot.jwks_max_age)))
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN)
}

fn document(kind: Kind, snapshot: &Snapshot) -> Value {
    let issuer = &snapshot.issuer;
    let grants: Vec<_> = snapshot.registry.grants().iter().map(GrantType::name).collect();
    let (by_secret, by_own_key) = snapshot.registry.methods();
    let by_assertion = by_own_key || !snapshot.issuers.is_empty();
    let secret = ["client_secret_basic", "client_secret_post"].into_iter().filter(|_| by_secret);
    let methods: Vec<_> = secret.chain(by_assertion.then_some("private_key_jwt")).collect();
    let mut document = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN_ENDPOINT}"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "response_types_supported": [],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "service_documentation": format!("{issuer}/docs"),
    });
    let members = document.as_object_mut();
    if let (true, Some(members)) = (by_assertion, members) {
        for endpoint in ["token", "introspection"] {
            let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
            let of_issuers = (!snapshot.issuers.is_empty()).then_some("ES384");
            let names: Vec<_> = CLIENT_ALGORITHMS.into_iter().chain(of_issuers).collect();
            members.insert(name, json!(names));
        }
    }
    if let (true, Some(members)) = (kind == Kind::OpenId, document.as_object_mut()) {
        let algorithms: Vec<_> = snapshot.registry.algorithms().into_iter().map(crate::keys::Alg::name).collect();
        members.insert("subject_types_supported".to_owned(), json!(["public"]));
        members.insert("id_token_signing_alg_values_supported".to_owned(), json!(algorithms));
    }
    document
}
