//! Token exchange (RFC 8693) of our own tokens. Each test quotes the sentence that it asks about.

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, SECRET, START, TestApp, basic, segment, standard};
use crate::forge::{Forge, claims};
use crate::oauth2::OAuth as _;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

/// `gate` serves an API of `orders` and calls `stock`; `stock` serves `gate`'s tokens and so on; `idle` serves the same
/// as `gate`, and may not exchange.
fn start() -> TestApp {
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    let client = |id: &str, grants: &str, accepts: &str, audience: &str, more: &str| {
        format!(
            "[[clients]]\nid = \"{id}\"\nsecrets = [\"{digest}\"]\ngrants = [{grants}]\naccepts = [\"{accepts}\"]\n\
             audience = [{audience}]\n{more}\n"
        )
    };
    let exchange = format!("\"{EXCHANGE}\", \"client_credentials\", \"refresh_token\"");
    let mut config = standard().replacen("id = \"orders\"", &format!("id = \"orders\"\ngrants = [{exchange}]"), 1);
    let scope = "scope = [\"orders:read\", \"stock:read\"]\nclaims = [\"tenant\"]";
    config += &client("gate", &exchange, "https://orders.example.com", "\"urn:stock\", \"urn:more\"", scope);
    config += &client("stock", &exchange, "urn:stock", "\"urn:c\"", "scope = [\"orders:read\"]");
    for (id, accepts, audience) in [("c", "urn:c", "urn:d"), ("d", "urn:d", "urn:e"), ("e", "urn:e", "urn:f")] {
        config += &client(id, &exchange, accepts, &format!("\"{audience}\""), "access_lifetime = \"24h\"");
    }
    config += &client("idle", "\"client_credentials\"", "https://orders.example.com", "\"urn:x\"", "");
    TestApp::with(&config, &[KEY])
}

/// A user's token for an API that `gate` serves.
fn of_user(app: &TestApp) -> String {
    let asked =
        r#"{"subject":"user:7","audience":["https://orders.example.com"],"claims":{"tenant":"acme","groups":["a"]}}"#;
    app.create(asked).text("value")
}

fn exchange(app: &TestApp, id: &str, token: &str, more: &str) -> Answer {
    let form = format!("grant_type={EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}{more}");
    app.form("/oauth2/token", &[&basic(id, SECRET)], &form)
}

/// The claims of the token that comes of it.
#[track_caller]
fn exchanged(app: &TestApp, id: &str, token: &str, more: &str) -> Value {
    let answer = exchange(app, id, token, more);
    assert_eq!(answer.status, 200, "{answer:?}");
    segment(&answer.text("access_token"), 1)
}

fn acting(token: &str) -> String {
    format!("&actor_token={token}&actor_token_type={ACCESS_TOKEN}")
}

/// "`sub` of the subject token; `client_id` the caller; scope ⊆ subject token's ∩ the caller's; audience from the caller's;
/// claims that the subject token carries and the caller's `claims` lists. `issued_token_type` is `…:access_token`."
#[test]
fn a_token_is_exchanged() {
    let app = start();
    let answer = exchange(&app, "gate", &of_user(&app), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["access_token", "token_type", "expires_in", "scope", "issued_token_type"]);
    assert_eq!((&body["issued_token_type"], &body["token_type"]), (&json!(ACCESS_TOKEN), &json!("Bearer")));
    let says = segment(body["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        (&says["sub"], &says["client_id"], &says["scope"]),
        (&json!("user:7"), &json!("gate"), &json!("orders:read"))
    );
    assert_eq!((&says["aud"], &says["exp"]), (&json!(["urn:stock", "urn:more"]), &json!(START + 600)));
    assert_eq!((&says["tenant"], says.get("groups")), (&json!("acme"), None));
    assert_eq!(says["act"], json!({"sub": "gate"}));
    // Each type that a library may say.
    for kind in ["jwt", "id_token"] {
        let form = format!(
            "grant_type={EXCHANGE}&subject_token={}&subject_token_type=urn:ietf:params:oauth:token-type:{kind}\
             &requested_token_type=urn:ietf:params:oauth:token-type:jwt",
            of_user(&app)
        );
        assert_eq!(app.token_as("gate", &form).status, 200, "{kind}");
    }
}

/// "`GET /token` adds `act` to its answer, and `X-Token-Actor` (maybe empty) to its headers, always present on 200";
/// introspection has `act` too.
#[test]
fn who_acts_is_told() {
    let app = start();
    let user = of_user(&app);
    let plain = app.inspect(&user, "");
    assert_eq!((plain.header("x-token-actor"), plain.json().get("act")), (Some(""), None));
    let first = exchange(&app, "gate", &user, "").text("access_token");
    let second = exchange(&app, "stock", &first, "").text("access_token");
    for _ in ["verified", "known"] {
        let told = app.inspect(&second, "");
        let nested = json!({"sub": "stock", "act": {"sub": "gate"}});
        assert_eq!((told.header("x-token-actor"), &told.json()["act"]), (Some("stock"), &nested));
        assert_eq!(told.header("x-token-subject"), Some("user:7"));
        assert_eq!(app.introspect_as("c", &second).json()["act"], nested);
    }
    assert_eq!(app.introspect_as("gate", &user).json().get("act"), None);
}

/// "scope ⊆ subject token's ∩ the caller's (an empty one gives a token without scope)."
#[test]
fn scope_does_not_widen() {
    let app = start();
    let user = of_user(&app);
    for wider in ["orders:write", "stock:read", "orders:read+orders:write", "bills"] {
        exchange(&app, "gate", &user, &format!("&scope={wider}")).assert_oauth(400, "invalid_scope");
    }
    assert_eq!(exchanged(&app, "gate", &user, "&scope=orders:read")["scope"], "orders:read");
    let narrow = app.create(r#"{"scope":["orders:write"],"audience":["https://orders.example.com"]}"#).text("value");
    let answer = exchange(&app, "gate", &narrow, "");
    assert_eq!(answer.json()["scope"], "");
    assert_eq!(segment(&answer.text("access_token"), 1).get("scope"), None);
    // "audience from the caller's": not from the subject token's.
    assert_eq!(exchanged(&app, "gate", &user, "&audience=urn:stock")["aud"], "urn:stock");
    for foreign in ["https://orders.example.com", "urn:c"] {
        exchange(&app, "gate", &user, &format!("&resource={foreign}")).assert_oauth(400, "invalid_target");
    }
}

/// "`exp` = min(now + the caller's lifetime, subject token's, actor token's), and not later than now is
/// `invalid_request`."
#[test]
fn nothing_outlives_what_it_came_from() {
    let app = start();
    let until = |seconds: i64| {
        let asked = format!(r#"{{"lifetime":{seconds},"audience":["https://orders.example.com"]}}"#);
        app.create(&asked).text("value")
    };
    let (short, long) = (until(60), until(600));
    assert_eq!(exchanged(&app, "gate", &short, "")["exp"], START + 60);
    let own = app.create_as("gate", SECRET, r#"{"lifetime":30}"#).text("value");
    assert_eq!(exchanged(&app, "gate", &long, &acting(&own))["exp"], START + 30);
    app.at(30);
    // The actor token is good for the leeway still, and nothing is left of it.
    let said = exchange(&app, "gate", &long, &acting(&own)).assert_oauth(400, "invalid_request");
    assert_eq!(said, "nothing is left of the tokens' lifetime");
    app.at(60);
    exchange(&app, "gate", &short, "").assert_oauth(400, "invalid_request");
    app.at(65);
    let said = exchange(&app, "gate", &short, "").assert_oauth(400, "invalid_request");
    assert_eq!(said, "the subject_token is not accepted");
    assert_eq!(exchanged(&app, "gate", &long, "")["exp"], START + 600);
    // The caller's own lifetime counts too.
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    app.reconfigure(&config.replacen("id = \"gate\"", "id = \"gate\"\naccess_lifetime = \"10s\"", 1));
    assert_eq!(exchanged(&app, "gate", &long, "")["exp"], START + 75);
}

/// "Ours must be good and either for an audience in the caller's `accepts` or issued to the caller; else
/// `invalid_request`": the same for every cause.
#[test]
fn only_what_reached_the_caller_is_exchanged() {
    let app = start();
    let user = of_user(&app);
    let elsewhere = app.create(r#"{"audience":["https://stock.example.com"]}"#);
    let mut bodies = Vec::new();
    for (id, token) in [
        ("gate", elsewhere.text("value")),
        ("stock", user.clone()),
        ("gate", app.create("").text("refresh")),
        ("gate", app.token_as("orders", "grant_type=client_credentials").text("refresh_token")),
        ("gate", format!("{user}x")),
        ("gate", user[..user.len() - 2].to_owned()),
        ("gate", "x".to_owned()),
        ("gate", "a.b.c".to_owned()),
        ("gate", "x".repeat(20_000)),
    ] {
        let answer = exchange(&app, id, &token, "");
        assert_eq!(answer.assert_oauth(400, "invalid_request"), "the subject_token is not accepted");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // Known by now, it is still another's.
    assert_eq!(app.inspect(&user, "").status, 200);
    exchange(&app, "stock", &user, "").assert_oauth(400, "invalid_request");
    exchange(&app, "idle", &user, "").assert_oauth(400, "unauthorized_client");
    let form = format!("grant_type={EXCHANGE}&subject_token={user}&subject_token_type={ACCESS_TOKEN}");
    app.form("/oauth2/token", &[], &form).assert_invalid_client(false);
    app.form("/oauth2/token", &[&basic("gate", "wrong")], &form).assert_invalid_client(true);
    // A client that is gone takes its tokens along.
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    app.reconfigure(&config.replacen("id = \"orders\"", "id = \"orders2\"", 1));
    exchange(&app, "gate", &user, "").assert_oauth(400, "invalid_request");
}

/// "`act` = `{"sub"}` of the actor token, else the caller's id, with the subject token's own `act` inside, at most 4 deep;
/// one that narrows a token issued to itself, without an `actor_token`, adds no `act`."
#[test]
fn actors_are_chained() {
    let app = start();
    let user = of_user(&app);
    let narrowed = exchange(&app, "orders", &user, "&scope=orders:read").text("access_token");
    assert_eq!(segment(&narrowed, 1).get("act"), None);
    let robot = app.create(r#"{"subject":"robot"}"#).text("value");
    assert_eq!(exchanged(&app, "orders", &user, &acting(&robot))["act"], json!({"sub": "robot"}));

    let mut token = user;
    for id in ["gate", "stock", "c", "d"] {
        token = exchange(&app, id, &token, "").text("access_token");
    }
    let nested = json!({"sub": "d", "act": {"sub": "c", "act": {"sub": "stock", "act": {"sub": "gate"}}}});
    assert_eq!(segment(&token, 1)["act"], nested);
    assert_eq!(app.inspect(&token, "").json()["act"], nested);
    let said = exchange(&app, "e", &token, "").assert_oauth(400, "invalid_request");
    assert_eq!(said, "the token would name more than 4 actors");
    // It may still be narrowed by its own client, and acts for nobody more.
    assert_eq!(exchanged(&app, "d", &token, "")["act"], nested);
}

/// "`actor_token` (+ type, one without the other is refused) is an access token of ours that is good, unbound and was
/// issued to the caller."
#[test]
fn actor_tokens() {
    let app = start();
    let user = of_user(&app);
    let own = app.create_as("gate", SECRET, "").text("value");
    assert_eq!(exchanged(&app, "gate", &user, &acting(&own))["act"], json!({"sub": "gate"}));
    let refresh = app.create_as("gate", SECRET, "").text("refresh");
    // The last one says that gate acts for the user: as an actor, gate would hide behind the user.
    let delegated = exchange(&app, "gate", &user, "").text("access_token");
    for token in [&user, &refresh, &format!("{own}x"), "x", &delegated] {
        let said = exchange(&app, "gate", &user, &acting(token)).assert_oauth(400, "invalid_request");
        assert_eq!(said, "the actor_token is not accepted");
    }
    for (more, expected) in [
        (format!("&actor_token={own}"), "actor_token_type is missing"),
        (format!("&actor_token_type={ACCESS_TOKEN}"), "actor_token is missing"),
        (
            format!("&actor_token={own}&actor_token_type=urn:ietf:params:oauth:token-type:id_token"),
            "actor_token_type must be",
        ),
        (
            "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token".to_owned(),
            "requested_token_type must be",
        ),
    ] {
        let said = exchange(&app, "gate", &user, &more).assert_oauth(400, "invalid_request");
        assert!(said.starts_with(expected), "{said}");
    }
    for (form, expected) in [
        (format!("subject_token={user}"), "subject_token_type is missing"),
        (format!("subject_token_type={ACCESS_TOKEN}"), "subject_token is missing"),
        (String::new(), "subject_token is missing"),
        (format!("subject_token={user}&subject_token_type=jwt"), "subject_token_type must be"),
    ] {
        let answer = app.token_as("gate", &format!("grant_type={EXCHANGE}&{form}"));
        let said = answer.assert_oauth(400, "invalid_request");
        assert!(said.starts_with(expected), "{said}");
    }
}

/// A subject token may say of itself who acts: what somebody signed with our key is read, and kept.
#[test]
fn the_subject_token_s_actors_are_read() {
    let app = start();
    let says = claims(Purpose::Access).and("act", r#"{"sub":"before","act":{"sub":"first"}}"#).to_string();
    let token = Forge::es256().sign_payload(Purpose::Access, says);
    assert_eq!(
        exchanged(&app, "gate", &token, "")["act"],
        json!({"sub": "gate", "act": {"sub": "before", "act": {"sub": "first"}}})
    );
}

/// The metadata list the grant where some client may use it.
#[test]
fn metadata_list_the_grant() {
    let has = |app: &TestApp| {
        let document = app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
        document["grant_types_supported"].as_array().unwrap().contains(&json!(EXCHANGE))
    };
    assert!(has(&start()));
    assert!(!has(&TestApp::start()));
}
