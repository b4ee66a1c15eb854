//! The metadata (RFC 8414).

use serde_json::{Value, json};

use super::{jwk, start, with_signer};
use crate::app::{ISSUER, TestApp, standard};
use crate::forge::Forge;

/// "Complete and true, built from the configuration, never from Host; algorithms and methods listed are exactly those
/// that work. `ETag`, 304, CORS `*`."
#[test]
fn metadata() {
    let app = start();
    let answer = app.send("GET", "/.well-known/oauth-authorization-server", &["X-Forwarded-Host: evil.example"], "");
    let expected = json!({
        "issuer": ISSUER,
        "token_endpoint": format!("{ISSUER}/oauth2/token"),
        "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{ISSUER}/oauth2/introspect"),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"],
        "service_documentation": format!("{ISSUER}/docs"),
    });
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    let other_host = "GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(app.raw(other_host.as_bytes()).json(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let etag = answer.header("etag").unwrap();
    let again = app.send("GET", "/.well-known/oauth-authorization-server", &[&format!("If-None-Match: {etag}")], "");
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(etag)));

    let openid = app.send("GET", "/.well-known/openid-configuration", &[], "").json();
    let mut wanted = expected;
    wanted["subject_types_supported"] = json!(["public"]);
    wanted["id_token_signing_alg_values_supported"] = json!(["ES256"]);
    assert_eq!(openid, wanted);
}

/// "also with the issuer's path inserted after it."
#[test]
fn metadata_where_the_issuer_has_a_path() {
    let config = standard().replacen(ISSUER, "https://example.com/auth/tokens", 1);
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    for path in ["", "/auth/tokens"] {
        let document: Value =
            app.send("GET", &format!("/.well-known/oauth-authorization-server{path}"), &[], "").json();
        assert_eq!(document["token_endpoint"], "https://example.com/auth/tokens/oauth2/token");
    }
    assert_eq!(app.send("GET", "/.well-known/oauth-authorization-server/other", &[], "").status, 404);
}

/// The metadata list what works, and no more.
#[test]
fn metadata_of_clients_with_keys() {
    let app = with_signer(&[&Forge::es256()]);
    let document = app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(document["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(document["introspection_endpoint_auth_methods_supported"], methods);
    for endpoint in ["token", "introspection"] {
        let listed = &document[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(listed, &json!(["ES256", "EdDSA", "Ed25519", "PS256", "RS256"]));
    }
}

/// "Algorithms and methods listed are exactly those that work": where clients have keys alone, and none may refresh.
#[test]
fn metadata_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signer.json");
    std::fs::write(&file, json!({"keys": [jwk(&Forge::es256())]}).to_string()).unwrap();
    let file = file.display();
    let config = format!("issuer = \"{ISSUER}\"\n[[clients]]\nid = \"signer\"\njwks = \"{file}\"\n");
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let document = app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
    assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
    for endpoint in ["token", "introspection"] {
        assert_eq!(document[format!("{endpoint}_endpoint_auth_methods_supported")], json!(["private_key_jwt"]));
    }
}
