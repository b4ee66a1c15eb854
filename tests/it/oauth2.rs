//! The OAuth dialect: `/oauth2/token`, `/oauth2/introspect` and the metadata. Each test quotes the sentence that it asks
//! about.

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, ISSUER, SECRET, START, TestApp, basic, segment, standard};
use crate::forge::Forge;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";

/// `orders` may refresh; `gate` serves an API and introspects; `other` is somebody else.
fn start() -> TestApp {
    let config = standard().replacen(
        "id = \"orders\"",
        "id = \"orders\"\ngrants = [\"client_credentials\", \"refresh_token\"]",
        1,
    );
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    let more = format!(
        r#"
[[clients]]
id = "gate"
secrets = ["{digest}"]
accepts = ["https://orders.example.com"]
[[clients]]
id = "other"
secrets = ["{digest}"]
scope = ["x"]
grants = ["client_credentials", "refresh_token"]
[[clients]]
id = "idle"
secrets = ["{digest}"]
grants = []
"#
    );
    TestApp::with(&(config + &more), &["2026-01-01T00-00-00Z.es256.pem"])
}

pub trait OAuth {
    fn form(&self, path: &str, headers: &[&str], form: &str) -> Answer;

    /// `POST /oauth2/token` by HTTP Basic.
    fn token_as(&self, id: &str, form: &str) -> Answer {
        self.form("/oauth2/token", &[&basic(id, SECRET)], form)
    }

    /// `POST /oauth2/introspect` by HTTP Basic.
    fn introspect_as(&self, id: &str, token: &str) -> Answer {
        self.form("/oauth2/introspect", &[&basic(id, SECRET)], &format!("token={token}"))
    }
}

impl OAuth for TestApp {
    fn form(&self, path: &str, headers: &[&str], form: &str) -> Answer {
        self.send("POST", path, &[&[FORM], headers].concat(), form)
    }
}

impl Answer {
    /// Asserts an error of this kind, in this dialect's shape. Its description.
    #[track_caller]
    pub fn assert_oauth(&self, status: u16, error: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert!(self.header("x-request-id").is_some());
        let body = self.json();
        assert_eq!(body["error"], error, "{self:?}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{self:?}");
        let description = body["error_description"].as_str().unwrap().to_owned();
        let allowed = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!description.is_empty() && description.bytes().all(allowed), "{description:?}");
        description
    }

    /// Asserts the 401 of every cause; with a challenge where an `Authorization` header was sent.
    #[track_caller]
    pub fn assert_invalid_client(&self, challenged: bool) {
        assert_eq!(self.assert_oauth(401, "invalid_client"), "client authentication failed");
        let expected: &[&str] = if challenged { &crate::app::BASIC } else { &[] };
        assert_eq!(self.all("www-authenticate"), expected, "{self:?}");
    }
}

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

/// "`invalid_client` 401, whatever the method and the cause the same body byte for byte, with the `Basic` challenge only
/// where an `Authorization` header was sent."
#[test]
fn client_authentication() {
    let app = start();
    let with =
        |headers: &[&str], more: &str| app.form("/oauth2/token", headers, &format!("{CLIENT_CREDENTIALS}&{more}"));
    let good = basic("orders", SECRET);
    let post = format!("client_id=orders&client_secret={SECRET}");
    assert_eq!(with(&[&good], "").status, 200);
    assert_eq!(with(&[], &post).status, 200);
    // "`client_id` in the body is no method: beside any it must agree."
    assert_eq!(with(&[&good], "client_id=orders").status, 200);
    with(&[&good], "client_id=billing").assert_oauth(400, "invalid_request");
    // "id and secret form-decoded, RFC 6749 §2.3.1."
    assert_eq!(with(&[&basic("%6Frders", &SECRET.replace('_', "%5F"))], "").status, 200);
    with(&[&basic("orders", "%zz")], "").assert_invalid_client(true);

    for header in [
        basic("orders", "wrong"),
        basic("nobody", SECRET),
        basic("anonymous", SECRET),
        basic("orders", ""),
        basic("", ""),
        "Authorization: Basic !".to_owned(),
        "Authorization: Bearer x".to_owned(),
        "Authorization: Digest".to_owned(),
    ] {
        with(&[&header], "").assert_invalid_client(true);
    }
    for more in [
        "",
        "client_id=orders",
        "client_id=orders&client_secret=",
        "client_id=orders&client_secret=wrong",
        "client_id=nobody&client_secret=wrong",
        "client_id=anonymous&client_secret=x",
    ] {
        with(&[], more).assert_invalid_client(false);
    }
    // "Two methods are `invalid_request`."
    with(&[&good], &post).assert_oauth(400, "invalid_request");
    with(&["Authorization: Bearer x"], &post).assert_oauth(400, "invalid_request");
    with(&[], &format!("client_secret={SECRET}")).assert_oauth(400, "invalid_request");
    with(&[&good, &good], "").assert_oauth(400, "invalid_request");
    let one = with(&[&basic("orders", "wrong")], "").body;
    assert_eq!(one, with(&[], "client_id=nobody&client_secret=x").body);
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
    let many = (0..10_000).map(|i| format!("p{i}")).collect::<Vec<_>>().join("&");
    assert_eq!(send(&[FORM], &format!("{CLIENT_CREDENTIALS}&{many}")).status, 200);

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

/// "The refresh token is §2's with `"dialect": "oauth2"` and its client bound: another client, or the other dialect, is
/// `invalid_grant` (natively 401). `scope` may only narrow the new access token; the new refresh token keeps the session."
#[test]
fn refresh_tokens() {
    let app = start();
    let refresh = |id: &str, token: &str, more: &str| {
        app.token_as(id, &format!("grant_type=refresh_token&refresh_token={token}{more}"))
    };
    let first = app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token");
    app.at(60);
    let narrow = refresh("orders", &first, "&scope=orders:read");
    assert_eq!((narrow.status, narrow.json()["scope"].clone()), (200, json!("orders:read")), "{narrow:?}");
    let second = narrow.text("refresh_token");
    assert_eq!(refresh("orders", &second, "").json()["scope"], "orders:read orders:write");
    assert_eq!(segment(&second, 1)["session_start"], START);
    refresh("orders", &second, "&scope=bills").assert_oauth(400, "invalid_scope");

    let not_accepted = |answer: Answer| {
        assert_eq!(answer.assert_oauth(400, "invalid_grant"), "the token is not accepted");
    };
    not_accepted(refresh("other", &second, ""));
    app.refresh(&second, "").assert_invalid_token(None);
    let native = app.create("");
    not_accepted(refresh("orders", &native.text("refresh"), ""));
    not_accepted(refresh("orders", &native.text("value"), ""));
    not_accepted(refresh("orders", &second[..second.len() - 1], ""));
    not_accepted(refresh("orders", "x", ""));
    refresh("orders", "", "").assert_oauth(400, "invalid_request");
    app.form("/oauth2/token", &[], &format!("grant_type=refresh_token&refresh_token={second}"))
        .assert_invalid_client(false);
    app.at(86_400 + 66);
    not_accepted(refresh("orders", &second, ""));
}

/// "The new refresh token keeps the session (§1.3)": the client is looked up again, and what it may no longer have is gone.
#[test]
fn refresh_looks_at_the_client_again() {
    let app = start();
    let token = app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token");
    let refresh = || app.token_as("orders", &format!("grant_type=refresh_token&refresh_token={token}"));
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    let change = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        app.reconfigure(&config.replacen(from, to, 1));
    };
    change("\"orders:read\", \"orders:write\"", "\"orders:read\", \"orders:new\"");
    let less = refresh();
    assert_eq!((less.status, &less.json()["scope"]), (200, &json!("orders:read")), "{less:?}");
    assert_eq!(segment(&less.text("refresh_token"), 1)["scope"], "orders:read orders:write");
    change("\"https://orders.example.com\", \"https://stock", "\"https://stock");
    assert_eq!(segment(&refresh().text("access_token"), 1)["aud"], "https://stock.example.com");
    for (from, to) in [
        ("\"https://orders.example.com\", \"https://stock.example.com\"", "\"https://new.example.com\""),
        ("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:01Z\""),
    ] {
        change(from, to);
        assert_eq!(refresh().assert_oauth(400, "invalid_grant"), "the token is not accepted");
    }
    change("grants = [\"client_credentials\", \"refresh_token\"]", "grants = [\"client_credentials\"]");
    refresh().assert_oauth(400, "unauthorized_client");
    change("id = \"orders\"", "id = \"orders2\"");
    refresh().assert_invalid_client(true);
    app.reconfigure(&config);
    assert_eq!(refresh().json()["scope"], "orders:read orders:write");
}

/// "Active when the access token is good and for an audience in the caller's `accepts`, or was issued to the caller;
/// everything else, refresh tokens too, is exactly `{"active":false}`."
#[test]
fn introspection() {
    let app = start();
    let pair =
        app.create(r#"{"audience":["https://orders.example.com"],"claims":{"tenant":"acme"},"subject":"user:7"}"#);
    let token = pair.text("value");
    let active = app.introspect_as("gate", &token);
    assert_eq!(active.header("cache-control"), Some("no-store"));
    let claims = segment(&token, 1);
    let expected = json!({
        "active": true, "scope": "orders:read orders:write", "client_id": "orders", "sub": "user:7",
        "aud": "https://orders.example.com", "iss": ISSUER, "exp": START + 600, "iat": START, "jti": claims["jti"],
        "token_type": "Bearer", "tenant": "acme",
    });
    assert_eq!((active.status, active.json()), (200, expected.clone()));
    // Asked again, it is known; and its own client may ask too.
    assert_eq!(app.introspect_as("gate", &token).json(), expected);
    assert_eq!(app.introspect_as("orders", &token).json(), expected);
    let hinted = format!("token={token}&token_type_hint=refresh_token");
    assert_eq!(app.form("/oauth2/introspect", &[&basic("gate", SECRET)], &hinted).json(), expected);

    let inactive = |answer: Answer| assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"active":false}"#));
    let elsewhere = app.create(r#"{"audience":["https://stock.example.com"]}"#);
    for token in [
        elsewhere.text("value"),
        pair.text("refresh"),
        app.token_as("orders", CLIENT_CREDENTIALS).text("refresh_token"),
        token[..token.len() - 2].to_owned(),
        format!("{token}x"),
        "x".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ] {
        inactive(app.introspect_as("gate", &token));
    }
    inactive(app.introspect_as("other", &token));
    app.form("/oauth2/introspect", &[], &format!("token={token}")).assert_invalid_client(false);
    app.form("/oauth2/introspect", &[&basic("gate", "wrong")], &format!("token={token}")).assert_invalid_client(true);
    app.introspect_as("gate", "").assert_oauth(400, "invalid_request");
    app.at(605);
    inactive(app.introspect_as("gate", &token));
}

/// "And extra claims that do not collide."
#[test]
fn introspection_has_its_own_members_alone() {
    let names = "claims = [\"tenant\", \"active\", \"token_type\", \"username\"]";
    let config = standard().replacen("claims = [\"tenant\", \"groups\"]", names, 1);
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let claims = r#"{"claims":{"tenant":["a",1,true],"active":false,"token_type":"DPoP","username":"root"}}"#;
    let token = app.create(claims).text("value");
    let told = app.introspect_as("orders", &token).json();
    assert_eq!(
        (&told["active"], &told["token_type"], &told["tenant"]),
        (&json!(true), &json!("Bearer"), &json!(["a", 1, true]))
    );
    assert!(told.get("username").is_none(), "{told}");
    // A token without scope says so.
    let bare = standard().replacen("scope = [\"bills\"]\n", "", 1);
    app.reconfigure(&bare);
    let token = app.create_as("billing", SECRET, "").text("value");
    assert_eq!(app.introspect_as("billing", &token).json()["scope"], "");
}

/// A gone client's tokens, and those issued before its `not_before`, are not active.
#[test]
fn introspection_looks_at_the_client() {
    let app = start();
    let token = app.create("").text("value");
    assert_eq!(app.introspect_as("gate", &token).json()["active"], true);
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    let later = config.replacen("id = \"orders\"", "id = \"orders\"\nnot_before = \"2026-06-01T12:00:01Z\"", 1);
    app.reconfigure(&later);
    assert_eq!(app.introspect_as("gate", &token).json(), json!({"active": false}));
    app.inspect(&token, "").assert_invalid_token(None);
    app.reconfigure(&config.replacen("id = \"orders\"", "id = \"orders2\"", 1));
    assert_eq!(app.introspect_as("gate", &token).json(), json!({"active": false}));
    app.inspect(&token, "").assert_invalid_token(None);
    app.reconfigure(&config);
    assert_eq!(app.introspect_as("gate", &token).json()["active"], true);
}

/// "Rate limits, metrics, request ids and overload behave as they do natively."
#[test]
fn limits_and_metrics() {
    let config = standard().replacen("id = \"orders\"", "id = \"orders\"\nrate = 2", 1) + "[limits]\nfailures = 2\n";
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    assert_eq!(app.token_as("orders", CLIENT_CREDENTIALS).status, 200);
    assert_eq!(app.create("").status, 200);
    let limited =
        (0..20).map(|_| app.token_as("orders", CLIENT_CREDENTIALS)).find(|answer| answer.status == 429).unwrap();
    limited.assert_oauth(429, "temporarily_unavailable");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(app.metric("lingpai_tokens_total{dialect=\"oauth2\",event=\"issued\"}") >= 1);
    assert_eq!(app.metric("lingpai_tokens_total{dialect=\"native\",event=\"issued\"}"), 1);
    let failed = (0..20).map(|_| app.form("/oauth2/token", &[&basic("billing", "x")], CLIENT_CREDENTIALS));
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

/// A client's key, and what it signs: the header's members, then the payload.
fn assertion(forge: &Forge, header: &str, payload: &str) -> String {
    forge.token(Purpose::Access, header, payload)
}

fn client_payload(changes: &[(&str, Value)]) -> String {
    let mut payload = json!({
        "iss": "signer", "sub": "signer", "aud": ISSUER, "exp": START + 300, "iat": START, "jti": "1",
    });
    for (name, value) in changes {
        if value.is_null() {
            payload.as_object_mut().unwrap().shift_remove(*name);
        } else {
            payload[*name] = value.clone();
        }
    }
    payload.to_string()
}

/// Like [`start`], with a client `signer` whose key set holds the public keys of `forges`.
fn with_signer(forges: &[&Forge]) -> TestApp {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = forges.iter().map(|forge| jwk(forge)).collect();
    let file = folder.path().join("signer.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let more = format!(
        "[[clients]]\nid = \"signer\"\njwks = \"{}\"\nscope = [\"s\"]\naccepts = [\"https://orders.example.com\"]\n\
         grants = [\"client_credentials\", \"refresh_token\"]\n",
        file.display()
    );
    TestApp::with(&(standard() + &more), &["2026-01-01T00-00-00Z.es256.pem"])
}

pub fn jwk(forge: &Forge) -> Value {
    let mut jwk: Value = serde_json::from_str(&forge.jwk).unwrap();
    jwk["kid"] = forge.kid.as_str().into();
    jwk
}

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn with_assertion(app: &TestApp, assertion: &str, more: &str) -> Answer {
    let form = format!("{CLIENT_CREDENTIALS}&client_assertion_type={JWT_BEARER}&client_assertion={assertion}{more}");
    app.form("/oauth2/token", &[], &form)
}

/// "`private_key_jwt` (RFC 7523): `client_assertion` is signed by a key of the client's `jwks` file with `ES256`,
/// `EdDSA` (also named Ed25519; a key of either `alg` matches both names), PS256 or RS256; `iss` = `sub` = the client; `aud` is
/// the issuer or the token endpoint's URL, alone or in an array of one."
#[test]
fn a_client_signs_its_assertions() {
    let forges = Forge::all();
    let app = with_signer(&forges.iter().collect::<Vec<_>>());
    for forge in &forges {
        let names: &[&str] = if forge.alg == "EdDSA" { &["EdDSA", "Ed25519"] } else { &[forge.alg] };
        for alg in names {
            let kid = &forge.kid;
            for header in [
                json!({"alg": alg, "kid": kid}),
                json!({"alg": alg, "kid": kid, "typ": "JWT"}),
                json!({"alg": alg, "kid": kid, "typ": "client-authentication+jwt", "x5t": "ignored", "more": 1}),
            ] {
                let answer = with_assertion(&app, &assertion(forge, &header.to_string(), &client_payload(&[])), "");
                assert_eq!((answer.status, answer.json()["scope"].as_str()), (200, Some("s")), "{header} {answer:?}");
                assert!(answer.json()["refresh_token"].is_string());
            }
        }
    }
    let forge = &forges[0];
    let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
    let endpoint = format!("{ISSUER}/oauth2/token");
    for aud in [json!(ISSUER), json!([ISSUER]), json!(endpoint), json!([endpoint])] {
        let signed = assertion(forge, &header, &client_payload(&[("aud", aud.clone())]));
        assert_eq!(with_assertion(&app, &signed, "").status, 200, "{aud}");
    }
    let signed = assertion(forge, &header, &client_payload(&[]));
    // "It may be presented again until it expires", and introspects too.
    assert_eq!(with_assertion(&app, &signed, "&client_id=signer").status, 200);
    let token = app.create("").text("value");
    let form = format!("token={token}&client_assertion_type={JWT_BEARER}&client_assertion={signed}");
    assert_eq!(app.form("/oauth2/introspect", &[], &form).json()["active"], true);
    // "`exp` is at most 3600 s + `leeway` ahead."
    let until = |seconds: i64| assertion(forge, &header, &client_payload(&[("exp", json!(START + seconds))]));
    assert_eq!(with_assertion(&app, &until(3_605), "").status, 200);
    with_assertion(&app, &until(3_606), "").assert_invalid_client(false);
    let ahead = |seconds: i64| assertion(forge, &header, &client_payload(&[("iat", json!(START + seconds))]));
    assert_eq!(with_assertion(&app, &ahead(10), "").status, 200);
    with_assertion(&app, &ahead(11), "").assert_invalid_client(false);
}

/// Each is a good assertion but for one thing, signed with the client's own key.
#[test]
fn wrong_assertions() {
    let forges = Forge::all();
    let (forge, other) = (&forges[0], &forges[1]);
    let app = with_signer(&[forge]);
    let kid = forge.kid.as_str();
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let good = assertion(forge, &header, &client_payload(&[]));
    assert_eq!(with_assertion(&app, &good, "").status, 200);
    let headers = [
        json!({"alg": "none", "kid": kid}).to_string(),
        json!({"alg": "HS256", "kid": kid}).to_string(),
        json!({"alg": "RS256", "kid": kid}).to_string(),
        json!({"alg": ["ES256"], "kid": kid}).to_string(),
        format!(r#"{{"alg":"ES\u0032\u0035\u0036","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}"}}"#),
        json!({"alg": "ES256", "kid": "other"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "crit": []}).to_string(),
        json!({"alg": "ES256", "kid": kid, "b64": true}).to_string(),
        json!({"alg": "ES256", "kid": kid, "zip": "DEF"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "enc": "A256GCM"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "jku": "https://a.example"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "x5u": "https://a.example"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "jwk": jwk(forge)}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "dpop+jwt"}).to_string(),
        json!({"alg": "ES256", "kid": kid, "typ": "JOSE"}).to_string(),
    ];
    let mut wrong: Vec<_> = headers.iter().map(|header| assertion(forge, header, &client_payload(&[]))).collect();
    let payloads = [
        ("iss", json!("orders")),
        ("sub", json!("orders")),
        ("sub", json!(1)),
        ("iss", json!(["signer"])),
        ("iss", Value::Null),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("aud", json!("https://other.example.com")),
        ("aud", json!([ISSUER, "https://other.example.com"])),
        ("aud", json!([])),
        ("aud", json!(format!("{ISSUER}/"))),
        ("exp", Value::Null),
        ("exp", json!(START - 5)),
        ("exp", json!("1780315500")),
        ("exp", json!(1_780_315_500.5)),
        ("nbf", json!(START + 11)),
        ("nbf", json!("x")),
        ("iat", json!(1.5)),
    ];
    wrong
        .extend(payloads.iter().map(|change| assertion(forge, &header, &client_payload(std::slice::from_ref(change)))));
    let other_key = assertion(other, &header, &client_payload(&[]));
    wrong.extend([
        other_key,
        assertion(forge, &header, "[]"),
        assertion(forge, &header, &client_payload(&[]).replacen('{', r#"{"sub":"signer","#, 1)),
        good[..good.len() - 1].to_owned(),
        format!("{good}="),
        "a.b.c".to_owned(),
        "x".to_owned(),
        "x".repeat(9_000),
    ]);
    for wrong in &wrong {
        let answer = with_assertion(&app, wrong, "");
        assert_eq!(answer.status, 401, "{wrong}");
        answer.assert_invalid_client(false);
    }
    with_assertion(&app, &good, "&client_id=orders").assert_oauth(401, "invalid_client");
    // "Two methods are `invalid_request`."
    let two = format!("&client_id=signer&client_secret={SECRET}");
    with_assertion(&app, &good, &two).assert_oauth(400, "invalid_request");
    for form in [
        format!("{CLIENT_CREDENTIALS}&client_assertion={good}"),
        format!("{CLIENT_CREDENTIALS}&client_assertion_type={JWT_BEARER}"),
        format!("{CLIENT_CREDENTIALS}&client_assertion={good}&client_assertion_type=other"),
    ] {
        app.form("/oauth2/token", &[], &form).assert_oauth(400, "invalid_request");
    }
    // A right one is heard whatever failed before it.
    assert_eq!(with_assertion(&app, &good, "").status, 200);
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

/// A changed key set is a change of the configuration; a private key in it is refused by name.
#[test]
fn key_sets_are_reloaded() {
    let forges = Forge::all();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signer.json");
    let write = |keys: Value| {
        let aside = folder.path().join(".new");
        std::fs::write(&aside, json!({"keys": keys}).to_string()).unwrap();
        std::fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::rename(&aside, &file).unwrap();
    };
    write(json!([jwk(&forges[0])]));
    let config = standard() + &format!("[[clients]]\nid = \"signer\"\njwks = \"{}\"\n", file.display());
    let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
    let signed = |forge: &Forge| {
        let header = json!({"alg": forge.alg, "kid": forge.kid}).to_string();
        with_assertion(&app, &assertion(forge, &header, &client_payload(&[])), "").status
    };
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (200, 401));
    write(json!([jwk(&forges[1])]));
    app.look().look();
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (401, 200));
    let mut private = jwk(&forges[0]);
    private["d"] = "x".into();
    write(json!([private]));
    app.look().look();
    assert_eq!((signed(&forges[0]), signed(&forges[1])), (401, 200));
    let said = app.operator("/readyz").json()["reload_error"].to_string();
    assert!(said.contains("signer.json") && said.contains("\\\"d\\\""), "{said}");
}
