//! The digest in which replicas must agree.

use std::fs;

use lingpai::app;
use lingpai::clock::Timestamp;
use tempfile::tempdir;

use super::{KEY, client, digest, file, has, read};
use crate::app::{START, copy_key, load};

/// Each setting's key is in the digest or is not, and its value with it.
#[test]
fn what_replicas_must_agree_in() {
    let base = has("scope = [\"a\", \"b\"]");
    let digest_of =
        |content: &str| read(content).unwrap_or_else(|said| panic!("{said}\n{content}")).1.configuration_digest;
    let with = |lines: &str| digest_of(&format!("{lines}\n{base}"));
    let same = digest_of(&base);
    for lines in [
        "listen = \"127.0.0.1:1\"",
        "proxy_protocol = true",
        "ops.listen = \"127.0.0.1:2\"",
        "drain.limit = \"9s\"",
        "drain.lame_duck = \"9s\"",
        "limits.connections = 9",
        "keys.check_modes = false",
        "reload.interval = \"9s\"",
        "token.cache = 9",
        // A default that is written out.
        "token = { algorithm = \"ES256\", leeway = \"5s\", access_lifetime = \"600s\" }",
        "forwarded_header = \"x-forwarded-for\"",
        "cors.origins = []",
    ] {
        assert_eq!(with(lines), same, "{lines}");
    }
    let mut seen = vec![same];
    for lines in [
        "trusted_proxies = [\"unix\"]",
        "forwarded_header = \"Forwarded\"",
        "cors.origins = [\"https://a.example\"]",
        "keys.jwks_max_age = \"9s\"",
        "limits.failures = 9",
        "token.audience = [\"x\"]",
        "token.access_lifetime = \"9s\"",
        "token.refresh_lifetime = \"9s\"",
        "token.session_lifetime = \"9d\"",
        "token.leeway = \"9s\"",
        "anonymous = {}",
        "anonymous.scope = [\"x\"]",
    ] {
        seen.push(with(lines));
    }
    for lines in [
        "scope = [\"a\"]",
        "audience = [\"x\"]",
        "subjects = [\"x\"]",
        "claims = [\"x\"]",
        "grants = [\"refresh_token\"]",
        "accepts = [\"x\"]",
        "rate = 1",
        "access_lifetime = \"9s\"",
        "refresh_lifetime = \"9s\"",
        "session_lifetime = \"9d\"",
        "not_before = 2026-11-22T00:00:00Z",
    ] {
        seen.push(digest_of(&has(lines)));
    }
    seen.push(digest_of(&client("a", &[&digest("x"), &digest("y")], "scope = [\"a\", \"b\"]")));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two that differ have one digest");
    // Neither the order of clients and scope tokens counts, nor which secret it is.
    let other = client("a", &[&digest("z")], "scope = [\"b\", \"a\", \"b\"]");
    assert_eq!(digest_of(&other), same);
    let two = |first: &str, second: &str| {
        digest_of(&file(
            &[first, second].map(|id| format!("[[clients]]\nid = {id:?}\nsecrets = [{:?}]", digest("x"))).join("\n"),
        ))
    };
    assert_eq!(two("a", "b"), two("b", "a"));
}

/// The keys of a client's JWKS count, not how the file is called or laid out.
#[test]
fn a_clients_keys_are_in_the_digest() {
    let jwks = |name: &str, text: &str| {
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        copy_key(KEY, &folder.path().join("keys").join(KEY));
        fs::write(folder.path().join(name), text).unwrap();
        let config = load(folder.path(), &file(&format!("[[clients]]\nid = \"a\"\njwks = {name:?}"))).unwrap();
        app::snapshot(&config, Timestamp::from_unix(START)).unwrap().configuration_digest
    };
    let okp = |kid: &str, x: &str| {
        format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{kid}\",\"x\":\"{x}\"}}]}}")
    };
    // RFC 8037 appendix A.2 and RFC 8032 §7.1, TEST 2.
    let (one, other) = ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    let same = jwks("a.json", &okp("k", one));
    assert_eq!(jwks("b.json", &okp("k", one).replace(',', " , ")), same);
    assert_ne!(jwks("a.json", &okp("k", other)), same);
    assert_ne!(jwks("a.json", &okp("l", one)), same);
}
