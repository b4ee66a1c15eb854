//! `resource` and `audience` at refresh (RFC 8707 §2.2).

use serde_json::json;

use crate::app::{Answer, SECRET, TestApp, basic, segment, standard};

const ORDERS: &str = "https://orders.example.com";
const STOCK: &str = "https://stock.example.com";

fn start() -> TestApp {
    let grants = "id = \"orders\"\ngrants = [\"client_credentials\", \"refresh_token\"]";
    TestApp::with(&standard().replacen("id = \"orders\"", grants, 1), &["2026-01-01T00-00-00Z.es256.pem"])
}

fn token(app: &TestApp, form: &str) -> Answer {
    let headers = [&*basic("orders", SECRET), "Content-Type: application/x-www-form-urlencoded"];
    app.send("POST", "/oauth2/token", &headers, form)
}

fn refresh(app: &TestApp, session: &str, more: &str) -> Answer {
    token(app, &format!("grant_type=refresh_token&refresh_token={session}{more}"))
}

fn audience(answer: &Answer, member: &str) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    segment(&answer.text(member), 1)["aud"].clone()
}

#[track_caller]
fn assert_refused(answer: &Answer, description: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_target")), "{answer:?}");
    assert_eq!(answer.json()["error_description"], description);
}

/// The new access token is for less; the new refresh token keeps the session.
#[test]
fn a_refresh_narrows_the_audience() {
    let app = start();
    let first = token(&app, "grant_type=client_credentials").text("refresh_token");
    for name in ["audience", "resource"] {
        let narrow = refresh(&app, &first, &format!("&{name}={STOCK}"));
        assert_eq!(audience(&narrow, "access_token"), STOCK, "{name}");
        assert_eq!(audience(&narrow, "refresh_token"), json!([ORDERS, STOCK]), "{name}");
        let again = refresh(&app, &narrow.text("refresh_token"), "");
        assert_eq!(audience(&again, "access_token"), json!([ORDERS, STOCK]));
    }
    let both = refresh(&app, &first, &format!("&resource={STOCK}&audience={ORDERS}&resource={STOCK}"));
    assert_eq!(audience(&both, "access_token"), json!([ORDERS, STOCK]));
    let empty = refresh(&app, &first, "&resource=&audience=");
    assert_eq!(audience(&empty, "access_token"), json!([ORDERS, STOCK]));
    // Beside `scope`.
    let less = refresh(&app, &first, &format!("&resource={STOCK}&scope=orders:read"));
    assert_eq!((audience(&less, "access_token"), &less.json()["scope"]), (json!(STOCK), &json!("orders:read")));
}

/// "Each must be one of the client's audiences", and of the session's, even if the client may name it.
#[test]
fn a_refresh_never_widens_the_audience() {
    let app = start();
    let narrow = token(&app, &format!("grant_type=client_credentials&resource={STOCK}")).text("refresh_token");
    assert_refused(
        &refresh(&app, &narrow, &format!("&resource={ORDERS}")),
        "the audience https://orders.example.com is not allowed",
    );
    assert_refused(
        &refresh(&app, &narrow, &format!("&resource={STOCK}&audience={ORDERS}")),
        "the audience https://orders.example.com is not allowed",
    );
    assert_eq!(audience(&refresh(&app, &narrow, &format!("&resource={STOCK}")), "access_token"), STOCK);

    // What the client may no longer name is gone.
    let wide = token(&app, "grant_type=client_credentials").text("refresh_token");
    let config = std::fs::read_to_string(app.folder.path().join("lingpai.toml")).unwrap();
    app.reconfigure(&config.replacen(&format!("\"{ORDERS}\", "), "", 1));
    assert_refused(
        &refresh(&app, &wide, &format!("&resource={ORDERS}")),
        "the audience https://orders.example.com is not allowed",
    );
    assert_eq!(audience(&refresh(&app, &wide, ""), "access_token"), STOCK);
}

/// A malformed one is refused before anybody looks at the token or the client.
#[test]
fn the_form_speaks_first() {
    let app = start();
    for malformed in ["&resource=%00", &"&audience=a".repeat(9)] {
        let answer = refresh(&app, "x", malformed);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_target")), "{answer:?}");
    }
}
