//! Authorization server metadata (RFC 8414): complete, true, and built from the configuration alone.

use poem::http::HeaderMap;
use poem::{Endpoint, IntoResponse as _, Request, Response};
use poem_openapi::Object;
use serde_json::{Value, json};

use crate::clients::{AuthMethods, GrantType};
use crate::crypto::Document;
use crate::foreign::CLIENT_ALGORITHMS;
use crate::http::cacheable;
use crate::http::context::RequestContext;
use crate::http::problem::Problem;
use crate::http::reply::{Answer, Reply};
use crate::http::routes::Routes;
use crate::service::{Snapshot, TOKEN_ENDPOINT};
use crate::token::Sender;

/// The document's path; the issuer's path may follow it (RFC 8414 §3.1).
const PATH: &str = "/.well-known/oauth-authorization-server";

/// Which members the document has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 8414's.
    OAuth,
    /// Those, and the ones that `OpenID` Connect Discovery requires.
    OpenId,
}

/// What the service is and can do (RFC 8414 §2).
#[derive(Debug, Object)]
#[oai(rename = "Metadata")]
pub(super) struct Metadata {
    /// The value of `iss` in tokens.
    issuer: String,
    /// Where to get tokens.
    token_endpoint: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// Where to introspect tokens.
    introspection_endpoint: String,
    /// Empty: there is no authorization endpoint.
    response_types_supported: Vec<String>,
    /// The grants that some client may use.
    grant_types_supported: Vec<String>,
    /// How clients authenticate.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms for their assertions.
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// How clients authenticate.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms for their assertions.
    introspection_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// The algorithms for proofs (RFC 9449 §5.1).
    dpop_signing_alg_values_supported: Vec<String>,
    /// Whether tokens can be bound to a certificate (RFC 8705 §3.3).
    tls_client_certificate_bound_access_tokens: Option<bool>,
    /// Where clients are asked for a certificate: other URLs of `token_endpoint` and `introspection_endpoint`
    /// (RFC 8705 §5).
    mtls_endpoint_aliases: Option<Value>,
    /// The documentation, for people.
    service_documentation: String,
    /// `public`; at `/.well-known/openid-configuration` only.
    subject_types_supported: Option<Vec<String>>,
    /// The algorithms that sign access tokens; at `/.well-known/openid-configuration` only.
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

/// Adds the route with the issuer's path, if the issuer has one.
pub(in crate::http) fn add_to(routes: Routes, issuer: &str) -> Routes {
    match issuer.splitn(4, '/').nth(3).filter(|path| !path.is_empty()) {
        None => routes,
        Some(path) => routes.page(&format!("{PATH}/{path}"), Inserted),
    }
}

/// The document at the path that ends with the issuer's path.
struct Inserted;

impl Endpoint for Inserted {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let context = RequestContext::of(&request)?;
        Ok(reply(Kind::OAuth, context.snapshot(), request.headers())?.into_response())
    }
}

/// Returns the document, built once, or 304 if `request` names a current copy.
pub(super) fn reply(kind: Kind, snapshot: &Snapshot, request: &HeaderMap) -> Result<Reply<Metadata>, Problem> {
    let kept = match kind {
        Kind::OAuth => &snapshot.documents.metadata,
        Kind::OpenId => &snapshot.documents.openid_metadata,
    };
    let document = kept.get_or_init(|| Document::new(format!("{:#}\n", document(kind, snapshot))));
    cacheable::reply(request, document, snapshot.jwks_max_age)
}

fn document(kind: Kind, snapshot: &Snapshot) -> Value {
    let issuer = &snapshot.issuer;
    let grants: Vec<_> = snapshot.registry.grants().iter().map(GrantType::name).collect();
    let AuthMethods { secret: by_secret, assertion: by_own_key } = snapshot.registry.methods();
    let by_assertion = by_own_key || !snapshot.issuers.is_empty();
    let secret = ["client_secret_basic", "client_secret_post"].into_iter().filter(|_| by_secret);
    let (by_name, by_registered) = snapshot.registry.certificate_methods();
    let methods = secret.chain(by_assertion.then_some("private_key_jwt")).chain(by_name.then_some("tls_client_auth"));
    let methods: Vec<_> = methods.chain(by_registered.then_some("self_signed_tls_client_auth")).collect();
    let binds = snapshot.registry.binds(Sender::Mtls);
    let mut document = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN_ENDPOINT}"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "response_types_supported": [],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "dpop_signing_alg_values_supported": CLIENT_ALGORITHMS,
        "service_documentation": format!("{issuer}/docs"),
    });
    let Some(members) = document.as_object_mut() else { return document };
    if by_assertion {
        for endpoint in ["token", "introspection"] {
            let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
            let of_issuers = (!snapshot.issuers.is_empty()).then_some("ES384");
            let names: Vec<_> = CLIENT_ALGORITHMS.into_iter().chain(of_issuers).collect();
            members.insert(name, json!(names));
        }
    }
    if binds {
        members.insert("tls_client_certificate_bound_access_tokens".to_owned(), json!(true));
    }
    if let Some(url) = snapshot.mtls_url.as_ref().filter(|_| binds || by_name || by_registered) {
        members.insert("mtls_endpoint_aliases".to_owned(), aliases(url));
    }
    if kind == Kind::OpenId {
        let algorithms: Vec<_> = snapshot.registry.algorithms().iter().map(|alg| alg.name()).collect();
        members.insert("subject_types_supported".to_owned(), json!(["public"]));
        members.insert("id_token_signing_alg_values_supported".to_owned(), json!(algorithms));
    }
    document
}

/// Returns the endpoints at `url`, where clients are asked for a certificate (RFC 8705 §5).
fn aliases(url: &str) -> Value {
    json!({
        "token_endpoint": format!("{url}{TOKEN_ENDPOINT}"),
        "introspection_endpoint": format!("{url}/oauth2/introspect"),
    })
}
