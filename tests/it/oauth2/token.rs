//! `/oauth2/token`: the form, the order of the checks, client credentials, limits.

use serde_json::{Value, json};

use super::{CLIENT_CREDENTIALS, FORM, OAuth as _, jwk, start};
use crate::app::{ISSUER, SECRET, TestApp, basic, segment, standard};
use crate::forge::Forge;

/// "200: `access_token`, `token_type` "Bearer", `expires_in`, `scope`, and `refresh_token` only where `grants` has it."
#[test]
fn client_credentials() {
    let app = start();
    let answer = app.token_as("orders", CLIENT_CREDENTIALS);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["access_token", "token_type", "expires_in", "scope", "refresh_token"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(body["scope"], "orders:read orders:write");
    // The same tokens, by the same policy: the native dialect takes the access token.
    let told = app.inspect(body["access_token"].as_str().unwrap(), "").json();
    assert_eq!((&told["client"], &told["subject"]), (&json!("orders"), &json!("orders")));
    let refresh = segment(body["refresh_token"].as_str().unwrap(), 1);
    assert_eq!((&refresh["dialect"], &refresh["v"]), (&json!("oauth2"), &json!(1)));

    let without = app.token_as("billing", CLIENT_CREDENTIALS).json();
    assert!(without.get("refresh_token").is_none(), "{without}");
    // A client without scope gets a token without scope.
    let bare = app.token_as("gate", CLIENT_CREDENTIALS).json();
    assert_eq!(bare["scope"], "");
}

/// "`scope` (space-delimited; default all), `audience` and `resource` (each must be one of the client's audiences)."
#[test]
fn scope_audience_and_resource() {
    let app = start();
    let claims = |form: &str| {
        let answer = app.token_as("orders", &format!("{CLIENT_CREDENTIALS}&{form}"));
        assert_eq!(answer.status, 200, "{form}: {answer:?}");
        segment(&answer.text("access_token"), 1)
    };
    assert_eq!(claims("scope=orders:read")["scope"], "orders:read");
    assert_eq!(claims("scope=orders:write+orders:read+orders:read")["scope"], "orders:read orders:write");
    assert_eq!(claims("scope=")["scope"], "orders:read orders:write");
    let (one, two) = ("https://orders.example.com", "https://stock.example.com");
    assert_eq!(claims("")["aud"], json!([one, two]));
    assert_eq!(claims("audience=https://orders.example.com")["aud"], one);
    assert_eq!(claims("resource=https%3A%2F%2Fstock.example.com")["aud"], two);
    assert_eq!(claims(&format!("resource={one}&resource={two}"))["aud"], json!([one, two]));
    assert_eq!(claims(&format!("audience={two}&resource={one}&audience={two}"))["aud"], json!([two, one]));

    let refused = |form: &str, error: &str| {
        app.token_as("orders", &format!("{CLIENT_CREDENTIALS}&{form}")).assert_oauth(400, error)
    };
    assert_eq!(refused("scope=bills", "invalid_scope"), "the scope bills is not allowed");
    for malformed in ["scope=a++b", "scope=+a", "scope=%22", "scope=%00", "scope=a%09b"] {
        assert!(refused(malformed, "invalid_scope").starts_with("scope must be 1 to 64"), "{malformed}");
    }
    let many = |count: usize| (0..count).map(|i| format!("s{i}")).collect::<Vec<_>>().join("+");
    assert_eq!(refused(&format!("scope={}", many(64)), "invalid_scope"), "the scope s0 is not allowed");
    assert!(refused(&format!("scope={}", many(65)), "invalid_scope").starts_with("scope must be"));
    assert_eq!(
        refused("audience=https://bills.example.com", "invalid_target"),
        "the audience https://bills.example.com is not allowed"
    );
    // "Characters of its set", also where the caller's own text is quoted.
    assert_eq!(refused("audience=urn:a%22b%5Cc%C3%A9", "invalid_target"), "the audience urn:a?b?c? is not allowed");
    refused("resource=nowhere", "invalid_target");
    refused("resource=%00", "invalid_target");
    refused(&["resource=https://orders.example.com"; 9].join("&"), "invalid_target");
}

/// "`POST` only (405 with `Allow`); `application/x-www-form-urlencoded`, UTF-8, at most 64 KiB. Unknown parameters are
/// ignored, an empty one counts as absent, a repeated one is `invalid_request`, except `resource` and `audience`.
/// Parameters in the query are `invalid_request`."
#[test]
fn forms() {
    let app = start();
    let good = basic("orders", SECRET);
    for path in ["/oauth2/token", "/oauth2/introspect"] {
        for method in ["GET", "PUT", "DELETE", "HEAD"] {
            let answer = app.send(method, path, &[], "");
            assert_eq!((answer.status, answer.header("allow")), (405, Some("OPTIONS, POST")), "{method} {path}");
            if method != "HEAD" {
                answer.assert_oauth(405, "invalid_request");
            }
        }
    }
    let send =
        |headers: &[&str], body: &str| app.send("POST", "/oauth2/token", &[&[good.as_str()], headers].concat(), body);
    for media in ["", "; charset=utf-8", ";charset=UTF-8", "; charset=\"utf-8\""] {
        assert_eq!(send(&[&format!("{FORM}{media}")], CLIENT_CREDENTIALS).status, 200, "{media}");
    }
    for wrong in ["; charset=iso-8859-1", "; charset=utf-16"] {
        send(&[&format!("{FORM}{wrong}")], CLIENT_CREDENTIALS).assert_oauth(415, "invalid_request");
    }
    send(&[], CLIENT_CREDENTIALS).assert_oauth(415, "invalid_request");
    send(&["Content-Type: application/json"], "{\"grant_type\":\"client_credentials\"}")
        .assert_oauth(415, "invalid_request");
    send(&[FORM, "Content-Encoding: gzip"], CLIENT_CREDENTIALS).assert_oauth(415, "invalid_request");
    let large = format!("{CLIENT_CREDENTIALS}&x={}", "a".repeat(65_536));
    send(&[FORM], &large).assert_oauth(413, "invalid_request");
    assert_eq!(send(&[FORM], &format!("{CLIENT_CREDENTIALS}&x={}", "a".repeat(60_000))).status, 200);
    let with_more = |count: usize| (0..count).fold(CLIENT_CREDENTIALS.to_owned(), |form, i| format!("{form}&p{i}"));
    assert_eq!(send(&[FORM], &with_more(255)).status, 200);
    for count in [256, 10_000] {
        let said = send(&[FORM], &with_more(count)).assert_oauth(400, "invalid_request");
        assert_eq!(said, "a form has at most 256 parameters");
    }

    assert_eq!(send(&[FORM], &format!("{CLIENT_CREDENTIALS}&unknown=1&resource=&scope=")).status, 200);
    for wrong in [
        "",
        "grant_type=",
        "scope=x",
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=client_credentials&scope=&scope=",
        "grant_type=client_credentials&x=1&x=1",
        "grant_type=client_credentials&x=%",
        "grant_type=client_credentials&x=%ff",
        "grant_type=client_credentials&%ff",
    ] {
        send(&[FORM], wrong).assert_oauth(400, "invalid_request");
    }
    for (more, expected) in [
        ("scope=a&scope=b", "scope is repeated; it is one value, with a space between scope tokens"),
        ("client_id=&client_id=", "client_id is repeated"),
        ("%22=&%22=", "a parameter is repeated"),
        ("=x&=x", "a parameter is repeated"),
    ] {
        let said = send(&[FORM], &format!("{CLIENT_CREDENTIALS}&{more}")).assert_oauth(400, "invalid_request");
        assert_eq!(said, expected);
    }
    let raw = [b"grant_type=client_credentials&x=".as_slice(), b"\xff"].concat();
    let head =
        format!("POST /oauth2/token HTTP/1.1\r\nHost: a\r\n{good}\r\n{FORM}\r\nContent-Length: {}\r\n\r\n", raw.len());
    app.raw(&[head.as_bytes(), &raw].concat()).assert_oauth(400, "invalid_request");
    for other in ["password", "authorization_code", "Client_Credentials", "client_credentials "] {
        let body = format!("grant_type={}", other.replace(' ', "+"));
        assert_eq!(
            send(&[FORM], &body).assert_oauth(400, "unsupported_grant_type"),
            "grant_type must be client_credentials or refresh_token or urn:ietf:params:oauth:grant-type:token-exchange or urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
    }
    for query in ["?grant_type=client_credentials", "?scope=orders:read", "?x"] {
        app.form(&format!("/oauth2/token{query}"), &[&good], CLIENT_CREDENTIALS).assert_oauth(400, "invalid_request");
    }
    // A form at the native path is another media type.
    app.send("POST", "/token", &[&good, FORM], CLIENT_CREDENTIALS).assert_says(415, "UnsupportedMediaType", "");
}

/// "413, then 415, then 400 of form; 401; then policy."
#[test]
fn what_is_wrong_first_speaks() {
    let app = start();
    let wrong = [&*basic("orders", &SECRET.replace('A', "B"))];
    for (path, form, error) in [
        ("/oauth2/token", "", "invalid_request"),
        ("/oauth2/token", "grant_type=password", "unsupported_grant_type"),
        ("/oauth2/token", "grant_type=refresh_token", "invalid_request"),
        ("/oauth2/token", "grant_type=client_credentials&scope=%22", "invalid_scope"),
        ("/oauth2/token", "grant_type=client_credentials&resource=%00", "invalid_target"),
        ("/oauth2/token", "grant_type=client_credentials&client_id=billing", "invalid_request"),
        ("/oauth2/introspect", "", "invalid_request"),
    ] {
        app.form(path, &wrong, form).assert_oauth(400, error);
    }
    for (path, form) in [
        ("/oauth2/token", "grant_type=client_credentials&scope=not:granted"),
        ("/oauth2/token", "grant_type=refresh_token&refresh_token=x"),
        ("/oauth2/introspect", "token=x"),
    ] {
        app.form(path, &wrong, form).assert_invalid_client(true);
    }
}

/// "a grant outside the client's `grants` is `unauthorized_client`."
#[test]
fn grants_are_the_client_s() {
    let app = start();
    app.token_as("idle", CLIENT_CREDENTIALS).assert_oauth(400, "unauthorized_client");
    app.token_as("billing", "grant_type=refresh_token&refresh_token=x").assert_oauth(400, "unauthorized_client");
    // The native dialect knows no grants.
    assert_eq!(app.create_as("idle", SECRET, "").status, 200);
}

/// "Rate limits, metrics, request ids and overload behave as they do natively."
#[test]
fn limits_and_metrics() {
    let config = standard().replacen("id = \"orders\"", "id = \"orders\"\nrate = 2", 1) + "[limits]\nfailures = 2\n";
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    assert_eq!(app.token_as("orders", CLIENT_CREDENTIALS).status, 200);
    assert_eq!(app.create("").status, 200);
    let limited =
        (0..1_000).map(|_| app.token_as("orders", CLIENT_CREDENTIALS)).find(|answer| answer.status == 429).unwrap();
    limited.assert_oauth(429, "temporarily_unavailable");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(app.metric("lingpai_tokens_total{dialect=\"oauth2\",event=\"issued\"}") >= 1);
    assert_eq!(app.metric("lingpai_tokens_total{dialect=\"native\",event=\"issued\"}"), 1);
    let failed = (0..1_000).map(|_| app.form("/oauth2/token", &[&basic("billing", "x")], CLIENT_CREDENTIALS));
    let limited = failed.into_iter().find(|answer| answer.status == 429).unwrap();
    limited.assert_oauth(429, "temporarily_unavailable");
    assert_eq!(app.token_as("billing", CLIENT_CREDENTIALS).status, 200);
}

/// "405, 413, 415, 429 and 503 keep their status and headers and say `invalid_request` or, for the last two,
/// `temporarily_unavailable`."
#[test]
fn when_there_is_too_much_to_do() {
    let app = TestApp::start();
    let refusals = lingpai::http::LoadShedding::new(&app.state, lingpai::http::RequestIds::new().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for path in ["/oauth2/token", "/oauth2/introspect"] {
        let request = poem::http::Request::builder().method("POST").uri(path).header("host", "a").body(()).unwrap();
        let answer = refusals.of(&request, true).unwrap();
        assert_eq!(answer.status(), 503);
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((header("retry-after"), header("cache-control")), (Some("1"), Some("no-store")));
        assert_eq!(header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&runtime.block_on(answer.into_body().into_vec()).unwrap()).unwrap();
        assert_eq!(body["error"], "temporarily_unavailable", "{body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    }
}

/// A value of `grants` that is none of those stops the start.
#[test]
fn settings_are_checked() {
    for (line, expected) in [
        ("grants = [\"password\"]", "expected a grant: \"client_credentials\" or \"refresh_token\""),
        ("accepts = [\"\"]", "expected an audience"),
        ("jwks = \"nowhere.json\"", "nowhere.json: cannot be read"),
        ("jwks = \"lingpai.toml\"", "lingpai.toml: "),
        ("accepts = [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]", "expected at most 8 audiences"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = standard().replacen("id = \"orders\"", &format!("id = \"orders\"\n{line}"), 1);
        let config = crate::app::load(folder.path(), &config).unwrap();
        let said = lingpai::clients::Registry::compile(&config).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    // "`secrets` may be empty when there is another way to authenticate."
    let folder = tempfile::tempdir().unwrap();
    let alone = format!("issuer = \"{ISSUER}\"\n[[clients]]\nid = \"idle\"\nsecrets = []\n");
    let compile = |config: &str| lingpai::clients::Registry::compile(&crate::app::load(folder.path(), config).unwrap());
    let said = compile(&alone).unwrap_err().to_string();
    assert!(said.contains("nobody can authenticate as this client"), "{said}");
    // "A JWKS file, relative to the configuration's."
    std::fs::write(folder.path().join("keys.json"), json!({"keys": [jwk(&Forge::es256())]}).to_string()).unwrap();
    assert!(compile(&(alone + "jwks = \"keys.json\"\n")).is_ok());
}
