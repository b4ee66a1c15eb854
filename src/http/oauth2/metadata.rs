//! Authorization server metadata (RFC 8414): complete, true, and built from the configuration alone.

use poem::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG};
use poem::http::{HeaderMap, HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};

use crate::clients::GrantType;
use crate::crypto::{hex, sha256};
use crate::http::context::RequestContext;
use crate::http::cors::ANY_ORIGIN;
use crate::http::problem::{JSON, Problem};
use crate::http::public::names;
use crate::http::routes::Routes;
use crate::service::{Snapshot, TOKEN_ENDPOINT};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// What a client may sign its assertions with; both names of Ed25519 (RFC 8037, RFC 9864).
const CLIENT_ALGORITHMS: [&str; 5] = ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"];

/// Adds the document's routes for the service that calls itself `issuer`.
pub(in crate::http) fn add_to(routes: Routes, issuer: &str) -> Routes {
    let routes = routes.page(OAUTH, Metadata { is_openid: false }).page(OPENID, Metadata { is_openid: true });
    // The issuer's path comes after the well-known one (RFC 8414 §3.1).
    match issuer.splitn(4, '/').nth(3).filter(|path| !path.is_empty()) {
        None => routes,
        Some(path) => routes.page(&format!("{OAUTH}/{path}"), Metadata { is_openid: false }),
    }
}

/// The document at one path.
struct Metadata {
    is_openid: bool,
}

impl Endpoint for Metadata {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let snapshot = request.data::<RequestContext>().ok_or(Problem::Internal("no_context"))?.snapshot();
        Ok(respond(&self.document(snapshot), snapshot.jwks_max_age, request.headers()))
    }
}

fn respond(document: &Value, max_age: i64, request: &HeaderMap) -> Response {
    let body = format!("{document:#}\n");
    let etag = format!("\"{}\"", hex(&sha256(body.as_bytes())).get(..32).unwrap_or_default());
    let mut response = Response::default();
    let headers = response.headers_mut();
    #[expect(clippy::expect_used, reason = "digits and letters")]
    let text = |text: &str| HeaderValue::from_str(text).expect("visible ASCII");
    headers.insert(ETAG, text(&etag));
    headers.insert(CACHE_CONTROL, text(&format!("public, max-age={max_age}")));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    if names(request, &etag) {
        response.set_status(StatusCode::NOT_MODIFIED);
    } else {
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        response.set_body(body);
    }
    response
}

impl Metadata {
    fn document(&self, snapshot: &Snapshot) -> Value {
        let issuer = &snapshot.issuer;
        let grants: Vec<_> = snapshot.registry.grants().iter().map(GrantType::name).collect();
        let (by_secret, by_assertion) = snapshot.registry.methods();
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
                members.insert(name, json!(CLIENT_ALGORITHMS));
            }
        }
        if let (true, Some(members)) = (self.is_openid, document.as_object_mut()) {
            let algorithms: Vec<_> = snapshot.registry.algorithms().into_iter().map(crate::keys::Alg::name).collect();
            members.insert("subject_types_supported".to_owned(), json!(["public"]));
            members.insert("id_token_signing_alg_values_supported".to_owned(), json!(algorithms));
        }
        document
    }
}
