//! What everybody may read: keys, health, the specification and its pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::app::{Answer, TestApp, edited, segment, standard};

const ES256: &str = "2026-01-01T00-00-00Z.es256.pem";
const EDDSA: &str = "2026-01-01T00-00-00Z.eddsa.pem";
const RS256: &str = "2026-01-01T00-00-00Z.rs256.pem";
const JWKS: &str = "/.well-known/jwks.json";

fn jwks(app: &TestApp) -> Answer {
    let answer = app.send("GET", JWKS, &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The published keys' ids, in order.
fn kids(app: &TestApp) -> Vec<String> {
    let keys = jwks(app).json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid_of(token: &str) -> Value {
    segment(token, 0)["kid"].clone()
}

#[test]
fn the_keys_of_every_algorithm_without_their_private_parts() {
    let app = TestApp::with(&standard(), &[ES256, EDDSA, RS256]);
    let answer = jwks(&app);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let set = answer.json();
    assert_eq!(set.as_object().unwrap().len(), 1);
    for key in set["keys"].as_array().unwrap() {
        let members: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let (kty, own): (_, &[&str]) = match key["alg"].as_str().unwrap() {
            "ES256" => ("EC", &["crv", "x", "y"]),
            "EdDSA" => ("OKP", &["crv", "x"]),
            "RS256" => ("RSA", &["n", "e"]),
            other => panic!("{other}"),
        };
        assert_eq!((&key["kty"], &key["use"]), (&json!(kty), &json!("sig")));
        assert_eq!(members, own.iter().chain(&["alg", "kid", "kty", "use"]).copied().collect());
        assert_eq!(key["kid"].as_str().map(str::len), Some(43));
    }
    let signing = kid_of(&app.create("").text("value"));
    assert!(set["keys"].as_array().unwrap().iter().any(|key| key["kid"] == signing && key["alg"] == "ES256"));
    let algs = set["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap());
    assert_eq!(algs.collect::<BTreeSet<_>>(), BTreeSet::from(["ES256", "EdDSA", "RS256"]));
}

/// By instant, then by `alg` as bytes: S comes before d.
#[test]
fn the_keys_are_sorted() {
    let app = TestApp::with(&standard(), &[ES256, EDDSA, RS256]);
    let (last, middle) = (app.add_key(2000), app.add_key(1000));
    app.reconfigure(&standard());
    let all = kids(&app);
    assert_eq!(all[3..], [middle, last]);
    let algs: Vec<_> =
        jwks(&app).json()["keys"].as_array().unwrap().iter().map(|key| key["alg"].clone()).take(3).collect();
    assert_eq!(algs, ["ES256", "EdDSA", "RS256"]);
}

#[test]
fn replicas_publish_the_same_bytes() {
    let one = jwks(&TestApp::with(&standard(), &[ES256, EDDSA]));
    let two = jwks(&TestApp::with(&edited("id = \"orders\"", "id = \"other\""), &[EDDSA, ES256]));
    assert_eq!((&one.body, one.header("etag")), (&two.body, two.header("etag")));
    let other = jwks(&TestApp::start());
    assert_ne!(one.header("etag"), other.header("etag"));
}

#[test]
fn a_cached_copy_is_confirmed() {
    let app = TestApp::with(&edited("[token]", "[keys]\njwks_max_age = \"90s\"\n[token]"), &[ES256]);
    let etag = jwks(&app).header("etag").unwrap().to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let ask = |headers: &[&str]| app.send("GET", JWKS, headers, "");
    for value in [
        etag.clone(),
        format!("W/{etag}"),
        "*".into(),
        format!("\"a\", {etag}"),
        format!("\"a\",W/\"b\" ,{etag},\"c\""),
        format!("\"a\", W/{etag}"),
    ] {
        let answer = ask(&[&format!("If-None-Match: {value}")]);
        assert_eq!((answer.status, &*answer.body), (304, ""), "{value}");
        assert_eq!(answer.header("etag"), Some(&*etag));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=90"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("x-request-id").is_some());
        assert!(answer.header("content-length").is_none_or(|length| length != "0"), "{answer:?}");
    }
    assert_eq!(ask(&["If-None-Match: \"a\"", &format!("If-None-Match: {etag}")]).status, 304);
    for value in ["", "\"a\"", etag.trim_matches('"'), "W/", "\"*\"", "?"] {
        assert_eq!(ask(&[&format!("If-None-Match: {value}")]).status, 200, "{value}");
    }
    // Another set has another tag.
    app.add_key(1000);
    app.reconfigure(&standard());
    assert_eq!(ask(&[&format!("If-None-Match: {etag}")]).status, 200);
}

/// A key is published and verifies before its instant, signs from its instant
/// on, and stays for an access lifetime and the leeway after its successor's.
#[test]
fn the_schedule_of_keys() {
    let app = TestApp::start();
    let old = kids(&app)[0].clone();
    let new = app.add_key(1000);
    app.reconfigure(&standard());
    assert_eq!(kids(&app), [old.clone(), new.clone()]);

    let by_old = app.at(999).create("");
    assert_eq!(kid_of(&by_old.text("value")), old);
    let by_new = app.at(1000).create("");
    assert_eq!(kid_of(&by_new.text("value")), new);
    // A replica whose clock is a little behind accepts what this one signed.
    assert_eq!(app.at(999).inspect(&by_new.text("value"), "").status, 200);
    assert_eq!(app.refresh(&by_new.text("refresh"), "").status, 200);

    for (seconds, published) in [(1000, 2), (1604, 2), (1605, 1), (999, 2), (100_000, 1)] {
        assert_eq!(app.at(seconds).send("GET", JWKS, &[], "").json()["keys"].as_array().unwrap().len(), published);
    }
    assert_eq!(app.at(1603).inspect(&by_old.text("value"), "").status, 200);
    app.at(1604).inspect(&by_old.text("value"), "").assert_invalid_token(Some("the token has expired"));
    // Retired: not even its expiry is believed.
    app.at(1605).inspect(&by_old.text("value"), "").assert_invalid_token(None);
    assert_eq!(kids(&app), [new]);

    // What it signed to refresh with is good for longer.
    assert_eq!(app.at(80_000).refresh(&by_old.text("refresh"), "").status, 200);
    let shorter = edited("[token]", "[token]\nrefresh_lifetime = \"1h\"");
    app.at(0).reconfigure(&shorter);
    assert_eq!(app.at(4604).refresh(&by_old.text("refresh"), "").status, 200);
    app.at(4605).refresh(&by_old.text("refresh"), "").assert_invalid_token(None);
    assert_eq!(app.refresh(&by_new.text("refresh"), "").status, 200);
}

#[test]
fn the_longest_lifetime_of_any_client_counts() {
    let app = TestApp::start();
    app.add_key(1000);
    app.reconfigure(&edited("claims = [", "access_lifetime = \"2h\"\nclaims = ["));
    for (seconds, published) in [(8204, 2), (8205, 1)] {
        app.at(seconds);
        assert_eq!(kids(&app).len(), published, "{seconds}");
    }
}

#[test]
fn a_revoked_key_counts_as_absent() {
    let app = TestApp::start();
    let old = kids(&app)[0].clone();
    let new = app.add_key(1000);
    app.reconfigure(&standard());
    let by_old = app.at(990).create("");
    let by_new = app.at(2000).create("");
    let both = |of: &Answer| (app.inspect(&of.text("value"), ""), app.refresh(&of.text("refresh"), ""));

    let revoking = |kid: &str| edited("[token]", &format!("[keys]\nrevoked = [\"{kid}\"]\n[token]"));
    app.reconfigure(&revoking(&new));
    assert_eq!(kids(&app), [&*old]);
    // The one that was retiring, or retired, signs again.
    assert_eq!(kid_of(&app.create("").text("value")), old);
    let (inspected, refreshed) = both(&by_new);
    inspected.assert_invalid_token(None);
    refreshed.assert_invalid_token(None);
    app.at(1000);
    let (inspected, refreshed) = both(&by_old);
    assert_eq!((inspected.status, refreshed.status), (200, 200));

    app.reconfigure(&revoking(&old));
    assert_eq!(kids(&app), [new]);
    let (inspected, refreshed) = both(&by_old);
    inspected.assert_invalid_token(None);
    refreshed.assert_invalid_token(None);
}

#[test]
fn health() {
    let app = TestApp::start();
    for path in ["/healthz", "/readyz"] {
        let answer = app.send("GET", path, &[], "");
        assert_eq!((answer.status, &*answer.body), (200, r#"{"status":"ok"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    // The key's instant is the first second of the year.
    let new_year = -(151 * 86_400 + 43_200);
    assert_eq!(app.at(new_year).send("GET", "/readyz", &[], "").status, 200);
    let answer = app.at(new_year - 1).send("GET", "/readyz", &[], "");
    answer.assert_says(503, "ServiceUnavailable", "");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.send("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn the_specification() {
    let app = TestApp::start();
    let answer = app.send("GET", "/openapi.json", &[], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    let operation = |path: &str, method: &str| document["paths"][path][method]["operationId"].clone();
    assert_eq!(operation("/token", "post"), "createToken");
    assert_eq!(operation("/token", "get"), "inspectToken");
    assert_eq!(operation("/token", "put"), "refreshToken");
    assert!(operation(JWKS, "get").is_string());
    // The document speaks of the media type that is sent.
    for (_, operations) in document["paths"].as_object().unwrap() {
        for (_, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let types = response["content"].as_object().map(|types| types.keys().cloned().collect::<Vec<_>>());
                assert!(types.is_none_or(|types| types.is_empty() || types == ["application/json"]), "{status}");
            }
        }
    }
    let yaml = app.send("GET", "/openapi.yaml", &[], "");
    assert_eq!((yaml.status, yaml.header("content-type")), (200, Some("application/yaml")));
    assert!(yaml.body.contains("operationId: createToken"));
}

#[test]
fn the_page_for_people() {
    let app = TestApp::start();
    let docs = app.send("GET", "/docs", &[], "");
    assert_eq!(docs.status, 200);
    assert!(docs.header("content-type").is_some_and(|media| media.starts_with("text/html")));
    // Nothing is fetched from elsewhere.
    let markup = docs.body.to_ascii_lowercase().replace("<link rel=\"icon\" href=\"data:", "");
    for elsewhere in ["<link", "src=\"http", "src='http", "src=\"//", "@import", "url(http", "url(\"http", "url(//"] {
        assert!(!markup.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn the_root_says_what_this_is() {
    let app = TestApp::start();
    let root = app.send("GET", "/", &[], "");
    assert_eq!((root.status, root.header("content-type")), (200, Some("application/json")));
    assert_eq!(root.json()["issuer"], "https://tokens.example.com");
    assert_eq!(root.json()["jwks_uri"], "https://tokens.example.com/.well-known/jwks.json");
    let page = app.send("GET", "/", &["Accept: text/html,*/*;q=0.8"], "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for answer in [&root, &page] {
        assert_eq!((answer.header("vary"), answer.header("cache-control")), (Some("accept"), Some("no-store")));
        assert!(!answer.body.contains(env!("CARGO_PKG_VERSION")), "{answer:?}");
    }
    // Relative, so that they are right behind a proxy that strips a path; and each leads somewhere.
    let links: Vec<_> = page.body.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() >= 6 && links.iter().all(|link| !link.starts_with('/') && !link.contains(':')), "{links:?}");
    for link in links {
        assert_eq!(app.send("GET", &format!("/{link}"), &[], "").status, 200, "{link}");
    }
}

#[test]
fn other_origins_may_read_what_is_public_and_nothing_else() {
    let app = TestApp::start();
    let token = format!("Authorization: Token {}", app.create("").text("value"));
    for headers in [&[][..], &["Origin: https://a.example"]] {
        for path in [JWKS, "/openapi.json", "/openapi.yaml"] {
            for method in ["GET", "HEAD"] {
                let answer = app.send(method, path, headers, "");
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{method} {path}");
            }
        }
        for (method, path) in [
            ("GET", "/token"),
            ("POST", "/token"),
            ("PUT", "/token"),
            ("OPTIONS", "/token"),
            ("GET", "/healthz"),
            ("GET", "/readyz"),
            ("GET", "/docs"),
            ("GET", "/"),
            ("GET", "/nothing"),
        ] {
            let answer = app.send(method, path, headers, "");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
        }
        let answer = app.send("GET", "/token", &[headers, &[&token]].concat(), "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    }
}

/// On every answer: a browser makes no more of it than it is.
#[test]
fn defensive_headers() {
    let app = TestApp::start();
    let docs = app.send("GET", "/docs", &[], "");
    let answers = [
        app.create(""),
        app.send("GET", "/token", &[], ""),
        app.send("GET", "/nowhere", &[], ""),
        app.send("OPTIONS", "/token", &[], ""),
        app.send("GET", "/openapi.json", &[], ""),
        app.send("GET", &format!("/{}", "a".repeat(9_000)), &[], ""),
        app.operator("/metrics"),
    ];
    for answer in answers.iter().chain([&docs]) {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
    }
    for answer in &answers {
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'"), "{answer:?}");
    }
    let policy = docs.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'sha256-") && policy.starts_with("default-src 'none'"), "{policy}");
}

/// A preflight of what everybody may read is answered as GET is, whatever origins are configured.
#[test]
fn public_documents_are_open_to_preflights() {
    let key = ["2026-01-01T00-00-00Z.es256.pem"];
    let listed = "\n[cors]\norigins = [\"https://app.example.com\"]";
    for app in [TestApp::start(), TestApp::with(&(standard() + listed), &key)] {
        for path in ["/.well-known/jwks.json", "/openapi.json", "/openapi.yaml"] {
            for origin in ["Origin: https://app.example.com", "Origin: https://other.example.com", "Origin: null"] {
                let got = app.send("GET", path, &[origin], "");
                assert_eq!(got.header("access-control-allow-origin"), Some("*"), "{path}");
                assert_eq!(got.header("access-control-allow-methods"), None, "{path}");
                let headers = "Access-Control-Request-Headers: if-none-match, traceparent";
                let answer = app.send("OPTIONS", path, &[origin, "Access-Control-Request-Method: GET", headers], "");
                assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{path}");
                assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
                assert_eq!(answer.header("access-control-allow-headers"), Some("*, authorization"));
                assert_eq!((answer.header("access-control-max-age"), answer.header("vary")), (Some("600"), None));
            }
        }
        // Nothing else is.
        for path in ["/token", "/docs", "/healthz"] {
            let preflight = ["Origin: https://other.example.com", "Access-Control-Request-Method: GET"];
            let answer = app.send("OPTIONS", path, &preflight, "");
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None), "{path}");
            assert_eq!(answer.header("access-control-allow-methods"), None, "{path}");
        }
    }
}

/// Off by default; then an exact list.
#[test]
fn pages_of_other_origins() {
    let origin = "Origin: https://app.example.com";
    let app = TestApp::start();
    assert_eq!(app.send("GET", "/healthz", &[origin], "").header("access-control-allow-origin"), None);
    assert_eq!(app.send("GET", "/healthz", &[origin], "").header("vary"), None);

    let config = standard() + "\n[cors]\norigins = [\"https://app.example.com\", \"http://localhost:3000\"]";
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let answer = app.send("POST", "/token", &[origin], "");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in "www-authenticate dpop-nonce retry-after x-request-id".split(' ') {
        assert!(exposed.split(", ").any(|one| one == name), "{name}");
    }
    // All that the answer to a good token has of its own.
    for name in "x-token-subject x-token-client x-token-scope x-token-actor".split(' ') {
        assert!(exposed.split(", ").any(|one| one == name), "{name}");
    }
    assert_eq!((answer.header("vary"), answer.header("access-control-allow-credentials")), (Some("origin"), None));
    // Errors may be read, too.
    let refused = app.send("GET", "/token", &[origin], "");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("https://app.example.com")));

    let preflight = [origin, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"];
    let answer = app.send("OPTIONS", "/token", &preflight, "");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://app.example.com")));
    assert_eq!(answer.header("access-control-allow-methods"), answer.header("allow"));
    let sent = "authorization, content-type, dpop, x-request-id, traceparent, tracestate, baggage";
    assert_eq!(answer.header("access-control-allow-headers"), Some(sent));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));

    for other in [
        "Origin: https://app.example.com.evil.example",
        "Origin: https://app.example.co",
        "Origin: http://app.example.com",
        "Origin: null",
        "Origin: *",
        "X: y",
    ] {
        let answer = app.send("GET", "/healthz", &[other], "");
        assert_eq!(
            (answer.header("access-control-allow-origin"), answer.header("vary")),
            (None, Some("origin")),
            "{other}"
        );
    }
    let twice = app.send("GET", "/healthz", &[origin, origin], "");
    assert_eq!(twice.header("access-control-allow-origin"), None);
    // What everybody may read stays so.
    let jwks = app.send("GET", "/.well-known/jwks.json", &[origin], "");
    assert_eq!(jwks.header("access-control-allow-origin"), Some("*"));
}
