//! `PUT /token`

use serde_json::{Value, json};

use crate::app::{Answer, START, TOKEN, TestApp, edited, segment, standard};

const EXPIRED: Option<&str> = Some("the token has expired");
/// What the standard configuration says about the client `orders`.
const SCOPE: &str = r#"scope = ["orders:read", "orders:write"]"#;
const AUDIENCE: &str = r#"audience = ["https://orders.example.com", "https://stock.example.com"]"#;
const SUBJECTS: &str = r#"subjects = ["user:*", "robot"]"#;
const CLAIMS: &str = r#"claims = ["tenant", "groups"]"#;
const ANONYMOUS: &str = "[anonymous]\nscope = [\"guest\"]\n";

/// A service, and a refresh token that was made with this body.
fn with_refresh(body: &str) -> (TestApp, String) {
    let app = TestApp::start();
    let refresh = app.create(body).text("refresh");
    (app, refresh)
}

/// The claims of the new access token.
#[track_caller]
fn claims(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    segment(&answer.text("value"), 1)
}

#[test]
fn a_new_pair() {
    let (app, refresh) = with_refresh(r#"{"subject":"user:7","claims":{"tenant":"t"},"lifetime":300}"#);
    for body in ["", "{}"] {
        let answer = app.at(100).refresh(&refresh, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let at = |member: &str| answer.body.find(&format!("\"{member}\":\"")).unwrap();
        assert!(at("value") < at("refresh") && at("refresh") < at("expire"), "{}", answer.body);
        assert_eq!(answer.json().as_object().unwrap().len(), 3);
        assert_eq!(answer.text("expire"), "2026-06-01T12:06:40.000Z");

        let claims = claims(&answer);
        let kept = ["sub", "client_id", "scope", "tenant"].map(|name| claims[name].as_str().unwrap());
        assert_eq!(kept, ["user:7", "orders", "orders:read orders:write", "t"]);
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(START + 100), &json!(START + 400)));
        assert_eq!(app.inspect(&answer.text("value"), "?scope=orders:write").status, 200);
        // And so on.
        assert_eq!(app.refresh(&answer.text("refresh"), "").status, 200);
    }
}

#[test]
fn narrowing_does_not_stick() {
    let (app, refresh) = with_refresh("");
    let narrowed = app.refresh(&refresh, r#"{"scope":["orders:write","orders:write"]}"#);
    assert_eq!(claims(&narrowed)["scope"], "orders:write");
    let again = app.refresh(&narrowed.text("refresh"), "");
    assert_eq!(claims(&again)["scope"], "orders:read orders:write");
}

#[test]
fn nothing_beyond_the_original_or_the_current_scope() {
    let (app, refresh) = with_refresh(r#"{"scope":["orders:read"]}"#);
    let beyond = r#"{"scope":["orders:read","orders:write"]}"#;
    app.refresh(&refresh, beyond).assert_says(403, "Forbidden", "orders:write");
    assert_eq!(claims(&app.refresh(&refresh, ""))["scope"], "orders:read");

    // Nor what the client was given since, or has no more.
    let (app, refresh) = with_refresh("");
    app.reconfigure(&edited(SCOPE, r#"scope = ["orders:read", "orders:delete"]"#));
    assert_eq!(claims(&app.refresh(&refresh, ""))["scope"], "orders:read");
    for (body, refused) in [
        (r#"{"scope":["orders:write"]}"#, "orders:write"),
        (r#"{"scope":["orders:read","orders:delete"]}"#, "orders:delete"),
        (r#"{"scope":["never"]}"#, "never"),
    ] {
        app.refresh(&refresh, body).assert_says(403, "Forbidden", refused);
    }
    // The refresh token keeps it for the day when it comes back.
    let next = app.refresh(&refresh, "").text("refresh");
    app.reconfigure(&standard());
    assert_eq!(claims(&app.refresh(&next, ""))["scope"], "orders:read orders:write");
}

#[test]
fn no_scope_left() {
    let (app, refresh) = with_refresh("");
    app.reconfigure(&edited(SCOPE, "scope = [\"other\"]"));
    let answer = app.refresh(&refresh, "");
    assert_eq!(claims(&answer).get("scope"), None);
    assert_eq!(app.inspect(&answer.text("value"), "").json()["scope"], json!([]));
}

/// The body is read as at POST, and has one member.
#[test]
fn bodies() {
    let (app, refresh) = with_refresh("");
    for (body, part) in [
        (r#"{"scope":[]}"#, "scope must be"),
        (r#"{"scope":null}"#, "scope must be"),
        (r#"{"scope":"orders:read"}"#, "scope must be"),
        (r#"{"scope":["a b"]}"#, "scope must be"),
        (r#"{"scope":["a"],"scope":["a"]}"#, "duplicate member \"scope\""),
        (r#"{"audience":["https://orders.example.com"]}"#, "audience"),
        (r#"{"lifetime":1}"#, "lifetime"),
        (r#"{"client_id":"orders"}"#, "client_id"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ("{", "JSON"),
    ] {
        app.refresh(&refresh, body).assert_says(400, "BadRequest", part);
        // Before anybody looks at the token.
        app.refresh("x", body).assert_says(400, "BadRequest", part);
    }
    let authorization = format!("Authorization: Token {refresh}");
    let send = |headers: &[&str], body| app.send("PUT", "/token", &[&[&*authorization][..], headers].concat(), body);
    send(&[], "{}").assert_says(415, "UnsupportedMediaType", "application/json");
    send(&["Content-Type: text/plain"], "{}").assert_says(415, "UnsupportedMediaType", "application/json");
    assert_eq!(send(&["Content-Type: text/plain", "Content-Encoding: gzip"], "").status, 200);
    let long = format!("{{{}}}", " ".repeat(200_000));
    send(&["Content-Type: application/json"], &long).assert_says(413, "PayloadTooLarge", "65536");
}

#[test]
fn credentials() {
    let (app, refresh) = with_refresh("");
    for scheme in ["Token", "toekn", "BEARER"] {
        assert_eq!(app.send("PUT", "/token", &[&format!("Authorization: {scheme} {refresh}")], "").status, 200);
    }
    app.send("PUT", "/token", &[], "").assert_unauthorized(&TOKEN);
    let access = app.create("").text("value");
    app.refresh(&access, "").assert_invalid_token(None);
    // Of the wrong kind first, then too old.
    app.at(700).refresh(&access, "").assert_invalid_token(None);
    app.at(0);
    let (head, tail) = refresh.rsplit_once('.').unwrap();
    for wrong in ["x", head, &format!("{head}."), &format!("{head}.{}", "A".repeat(tail.len())), &format!("{refresh}A")]
    {
        app.refresh(wrong, "").assert_invalid_token(None);
        // 401 before 403.
        app.refresh(wrong, r#"{"scope":["never"]}"#).assert_invalid_token(None);
    }
}

#[test]
fn times() {
    let (app, refresh) = with_refresh("");
    for seconds in [-5, 0, 86_404] {
        assert_eq!(app.at(seconds).refresh(&refresh, "").status, 200, "{seconds}");
    }
    app.at(86_405).refresh(&refresh, "").assert_invalid_token(EXPIRED);
    app.at(-6).refresh(&refresh, "").assert_invalid_token(Some("the token is not yet valid"));
}

#[test]
fn an_old_refresh_token_stays_good() {
    let (app, refresh) = with_refresh("");
    let second = app.at(10).refresh(&refresh, "").text("refresh");
    assert_ne!(second, refresh);
    for token in [&refresh, &second, &refresh] {
        assert_eq!(app.at(20).refresh(token, "").status, 200);
    }
}

/// Each of these ends the session, without a description, and its return
/// resumes it: nothing is kept here.
#[test]
fn what_ends_a_session() {
    let with_subject = |subject: &str| with_refresh(&json!({"subject": subject}).to_string());
    let robot_is_a_client = standard().replace("id = \"billing\"", "id = \"robot\"");
    let table = [
        ("user:7", "the client", edited("id = \"orders\"", "id = \"other\"")),
        ("user:7", "the subject", edited(SUBJECTS, "subjects = [\"user:8\", \"user:7*\"]")),
        ("user:7", "every subject", edited(SUBJECTS, "")),
        ("robot", "the subject's name", robot_is_a_client),
        ("user:7", "every audience", edited(AUDIENCE, "audience = [\"https://new.example.com\"]")),
        ("user:7", "its own audiences", edited(AUDIENCE, "")),
        ("user:7", "the time before", edited(CLAIMS, "not_before = \"2026-06-01T12:00:01Z\"")),
    ];
    for (subject, gone, config) in table {
        let (app, refresh) = with_subject(subject);
        app.reconfigure(&config);
        let answer = app.refresh(&refresh, "");
        assert_eq!(answer.status, 401, "{gone}: {answer:?}");
        answer.assert_invalid_token(None);
        // Also where too much is asked for.
        app.refresh(&refresh, r#"{"scope":["never"]}"#).assert_invalid_token(None);
        app.reconfigure(&standard());
        assert_eq!(app.refresh(&refresh, "").status, 200, "{gone}");
    }
    // The client's own name needs no pattern.
    let (app, refresh) = with_refresh("");
    app.reconfigure(&edited(SUBJECTS, ""));
    assert_eq!(app.refresh(&refresh, "").status, 200);
}

#[test]
fn single_audiences_and_claims_go_and_come_back() {
    let (app, refresh) = with_refresh(r#"{"claims":{"tenant":"t","groups":[1]}}"#);
    let less = edited(AUDIENCE, "audience = [\"https://new.example.com\", \"https://stock.example.com\"]");
    app.reconfigure(&less.replace(CLAIMS, "claims = [\"groups\", \"new\"]"));
    let answer = app.refresh(&refresh, "");
    let narrowed = claims(&answer);
    assert_eq!(narrowed["aud"], "https://stock.example.com");
    assert_eq!((narrowed.get("tenant"), &narrowed["groups"]), (None, &json!([1])));

    app.reconfigure(&standard());
    let whole = claims(&app.refresh(&answer.text("refresh"), ""));
    assert_eq!(whole["aud"], json!(["https://orders.example.com", "https://stock.example.com"]));
    assert_eq!((&whole["tenant"], &whole["groups"]), (&json!("t"), &json!([1])));
}

#[test]
fn the_requested_lifetime_is_kept_and_the_current_one_caps_it() {
    let limited = |limit: &str| edited(CLAIMS, &format!("{CLAIMS}\naccess_lifetime = \"{limit}\""));
    let (app, mut refresh) = with_refresh(r#"{"lifetime":500}"#);
    for (limit, expected) in [("5m", 300), ("499s", 499), ("20m", 500), ("1s", 1), ("10m", 500)] {
        app.reconfigure(&limited(limit));
        let answer = app.refresh(&refresh, "");
        assert_eq!(claims(&answer)["exp"], START + expected, "{limit}");
        refresh = answer.text("refresh");
    }
    // Where none was requested, the client's counts, as it is now.
    let (app, refresh) = with_refresh("");
    app.reconfigure(&limited("20m"));
    assert_eq!(claims(&app.refresh(&refresh, ""))["exp"], START + 1200);
}

/// The standard configuration with these lifetimes.
fn with_lifetimes(refresh: &str, session: &str) -> String {
    edited("[token]", &format!("[token]\nrefresh_lifetime = \"{refresh}\"\nsession_lifetime = \"{session}\""))
}

#[test]
fn nothing_outlives_the_session() {
    let (app, _) = with_refresh("");
    app.reconfigure(&with_lifetimes("1h", "1h"));
    let first = app.create("").text("refresh");
    let second = app.at(1800).refresh(&first, "");
    assert_eq!(claims(&second)["exp"], START + 2400);
    for seconds in [3000, 3001, 3599] {
        let answer = app.at(seconds).refresh(&second.text("refresh"), "");
        assert_eq!(claims(&answer)["exp"], START + 3600, "{seconds}");
        assert_eq!(segment(&answer.text("refresh"), 1)["exp"], START + 3600);
    }
    assert_eq!(app.refresh(&first, "").text("expire"), "2026-06-01T13:00:00.000Z");
    // The token would be good for five seconds more, its session is not: there is no leeway.
    for seconds in [3600, 3604] {
        app.at(seconds).refresh(&second.text("refresh"), "").assert_invalid_token(None);
    }
    app.at(3605).refresh(&second.text("refresh"), "").assert_invalid_token(EXPIRED);

    // A longer session, as configured now, does not prolong those that began before.
    app.reconfigure(&with_lifetimes("1h", "30d"));
    app.at(3600).refresh(&second.text("refresh"), "").assert_invalid_token(None);
}

#[test]
fn a_session_lifetime_that_is_now_shorter_counts() {
    let (app, refresh) = with_refresh("");
    app.reconfigure(&with_lifetimes("1d", "1h"));
    let answer = app.at(3300).refresh(&refresh, "");
    assert_eq!(claims(&answer)["exp"], START + 3600);
    app.at(3600).refresh(&refresh, "").assert_invalid_token(None);
    app.at(3600).refresh(&answer.text("refresh"), "").assert_invalid_token(None);
    // A client's own wins over the service's.
    let own = with_lifetimes("1d", "1h").replace(CLAIMS, "session_lifetime = \"2h\"");
    app.reconfigure(&own);
    assert_eq!(claims(&app.at(7000).refresh(&refresh, ""))["exp"], START + 7200);
    app.at(7200).refresh(&refresh, "").assert_invalid_token(None);
}

#[test]
fn not_before_looks_at_the_start_of_the_session() {
    let since = |time: &str| edited(CLAIMS, &format!("not_before = \"2026-06-01T{time}Z\""));
    let (app, first) = with_refresh("");
    let second = app.at(100).refresh(&first, "").text("refresh");
    app.reconfigure(&since("12:00:00"));
    assert_eq!((app.refresh(&first, "").status, app.refresh(&second, "").status), (200, 200));
    app.reconfigure(&since("12:00:50"));
    for token in [&first, &second] {
        app.refresh(token, "").assert_invalid_token(None);
    }
    // Those that begin later, and other clients, go on.
    assert_eq!(app.refresh(&app.create("").text("refresh"), "").status, 200);
    let other = app.at(0).create_as("billing", crate::app::SECRET, "").text("refresh");
    assert_eq!(app.refresh(&other, "").status, 200);
}

#[test]
fn anonymous_sessions() {
    let app = TestApp::with(&edited("[\"guest\"]", "[\"guest\", \"read\"]"), &["2026-01-01T00-00-00Z.es256.pem"]);
    let asked = app.send("POST", "/token", &["Content-Type: application/json"], r#"{"lifetime":60}"#);
    let refresh = asked.text("refresh");
    let renewed = claims(&app.at(50).refresh(&refresh, ""));
    assert_eq!((&renewed["sub"], &renewed["scope"]), (&json!("anonymous"), &json!("guest read")));
    assert_eq!(renewed["exp"], START + 110);
    assert_eq!(claims(&app.refresh(&refresh, r#"{"scope":["read"]}"#))["scope"], "read");
    app.refresh(&refresh, r#"{"scope":["orders:read"]}"#).assert_says(403, "Forbidden", "orders:read");
    app.reconfigure(&standard());
    assert_eq!(claims(&app.refresh(&refresh, ""))["scope"], "guest");
    app.reconfigure(&edited(ANONYMOUS, ""));
    app.refresh(&refresh, "").assert_invalid_token(None);
}

/// Replacing a secret, or the key, ends no session.
#[test]
fn a_session_outlives_secrets_and_keys() {
    let (app, refresh) = with_refresh("");
    app.add_key(600);
    let other = lingpai::clients::SecretDigest::of(b"another").written();
    let ours = lingpai::clients::SecretDigest::of(crate::app::SECRET.as_bytes()).written();
    app.reconfigure(&standard().replace(&ours, &other));
    let answer = app.at(600).refresh(&refresh, "");
    assert_ne!(segment(&answer.text("value"), 0)["kid"], segment(&refresh, 0)["kid"]);
    assert_eq!(app.refresh(&answer.text("refresh"), "").status, 200);
}

/// Three replicas, of which the first one's clock is ahead: what a later one
/// issues is good, although its session began in that one's future.
#[test]
fn a_session_goes_on_where_the_clock_is_behind() {
    let app = TestApp::start();
    let pair = app.at(5).create("");
    let second = app.at(0).refresh(&pair.text("refresh"), "");
    assert_eq!(second.status, 200, "{second:?}");
    assert_eq!(app.inspect(&second.text("value"), "").status, 200);
    assert_eq!(app.refresh(&second.text("refresh"), "").status, 200);
}

/// Each is within the leeway of the one before it, and so the last one is too far behind the first: what it issued would
/// be refused everywhere.
#[test]
fn a_session_that_began_too_far_ahead_is_not_continued() {
    let app = TestApp::start();
    app.reconfigure(&edited("[token]", "[token]\nleeway = \"60s\""));
    let first = app.at(100).create("").text("refresh");
    let second = app.at(50).refresh(&first, "").text("refresh");
    let last = app.at(40).refresh(&second, "");
    assert_eq!(last.status, 200, "{last:?}");
    assert_eq!(app.refresh(&last.text("refresh"), "").status, 200);
    for behind in [39, 0] {
        app.at(behind).refresh(&second, "").assert_invalid_token(Some("the token is not yet valid"));
    }
    assert_eq!(app.at(100).refresh(&second, "").status, 200);
}
