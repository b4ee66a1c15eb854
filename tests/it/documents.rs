//! What everybody may read is made once, and confirmed to those that have it.

use lingpai::crypto::Document;

use crate::app::{TestApp, standard};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const ES256: &str = "2026-01-01T00-00-00Z.es256.pem";

/// What the snapshot keeps is what is sent, so that no request reads through all the clients.
#[test]
fn metadata_is_made_once_per_snapshot() {
    let app = TestApp::start();
    let snapshot = app.state.snapshot();
    assert!(snapshot.documents.metadata.get().is_none(), "nobody has asked");
    let first = app.send("GET", METADATA, &[], "");
    assert_eq!(snapshot.documents.metadata.get().unwrap().body(), &first.body);
    assert!(snapshot.documents.openid_metadata.get().is_none());

    app.reconfigure(&standard());
    let snapshot = app.state.snapshot();
    for (path, place) in [(METADATA, &snapshot.documents.metadata), (OPENID, &snapshot.documents.openid_metadata)] {
        place.set(Document::new("{\"issuer\":\"kept\"}")).unwrap();
        assert_eq!(app.send("GET", path, &[], "").body, "{\"issuer\":\"kept\"}", "{path}");
    }
    app.reconfigure(&standard());
    assert_eq!(app.send("GET", METADATA, &[], "").body, first.body);
}

/// A reload that changes what clients can use changes the document and its tag.
#[test]
fn metadata_follow_the_configuration() {
    let app = TestApp::start();
    let before = app.send("GET", METADATA, &[], "");
    let refreshing = "id = \"orders\"\ngrants = [\"refresh_token\"]\nalgorithm = \"EdDSA\"";
    let eddsa = "2026-01-01T00-00-00Z.eddsa.pem";
    crate::app::copy_key(eddsa, &app.folder.path().join("keys").join(eddsa));
    app.reconfigure(&standard().replacen("id = \"orders\"", refreshing, 1));
    let stale = format!("If-None-Match: {}", before.header("etag").unwrap());
    let after = app.send("GET", METADATA, &[&stale], "");
    assert_eq!(after.status, 200);
    assert_eq!(after.json()["grant_types_supported"], serde_json::json!(["client_credentials", "refresh_token"]));
    let openid = app.send("GET", OPENID, &[], "").json();
    assert_eq!(openid["id_token_signing_alg_values_supported"], serde_json::json!(["ES256", "EdDSA"]));
}

/// "`ETag` (a digest), `Cache-Control: public, max-age=N`, 304", "CORS `*`", of every such document.
#[test]
fn caches_may_keep_every_document() {
    let config = standard() + "[keys]\njwks_max_age = \"7m\"\n";
    let app = TestApp::with(&config, &[ES256]);
    for path in [METADATA, OPENID, "/.well-known/jwks.json"] {
        let answer = app.send("GET", path, &[], "");
        let etag = answer.header("etag").unwrap();
        assert_eq!(etag, Document::new(answer.body.clone()).etag(), "{path}");
        let again = app.send("GET", path, &[&format!("If-None-Match: \"other\", W/{etag}")], "");
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        for answer in [&answer, &again] {
            assert_eq!(answer.header("etag"), Some(etag), "{path}");
            assert_eq!(answer.header("cache-control"), Some("public, max-age=420"), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        }
    }
}
