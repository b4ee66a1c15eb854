//! How often a client may ask, and an address may be wrong.

use poem::http::Method;
use serde_json::Value;

use crate::app::{Answer, BASIC, SECRET, TestApp, basic, edited, standard};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

impl TestApp {
    /// `POST /token` from an address that a trusted proxy names.
    fn create_from(&self, address: &str, id: &str, secret: &str) -> Answer {
        self.send("POST", "/token", &[&basic(id, secret), &format!("X-Forwarded-For: {address}")], "")
    }
}

/// Asks until it is too often: how often that was, which on a slow machine is more than at once.
fn until_too_many(mut ask: impl FnMut(usize) -> Answer) -> usize {
    let refused = (0..1_000).find(|number| {
        let answer = ask(*number);
        let too_many = answer.status == 429;
        if too_many {
            assert_too_many(&answer);
        }
        too_many
    });
    refused.unwrap()
}

fn behind_a_proxy() -> TestApp {
    TestApp::with(&format!("trusted_proxies = [\"127.0.0.1\"]\n{}", standard()), &[KEY])
}

#[track_caller]
fn assert_too_many(answer: &Answer) {
    answer.assert_error(429, "TooManyRequests", "too many requests; try again later");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

/// "default 60 at once, then one a second"
#[test]
fn an_address_that_is_wrong_too_often_is_not_heard() {
    let app = behind_a_proxy();
    let often = until_too_many(|_| app.create_from("192.0.2.1", "orders", "wrong"));
    assert!((60..200).contains(&often), "{often}");
    // Not even with the right one, or this were no limit.
    let wrong = app.create_from("192.0.2.1", "orders", "wrong").status;
    let right = app.create_from("192.0.2.1", "orders", SECRET).status;
    assert!(wrong == 429 || wrong == 401, "{wrong}");
    assert!(right == 429 || wrong == 401, "{right}");
    // Who asks from there too, and is right, is not kept out; nor is anybody elsewhere.
    assert_eq!(app.create_from("192.0.2.1", "billing", SECRET).status, 200);
    assert_eq!(app.create_from("192.0.2.2", "orders", SECRET).status, 200);
    assert_eq!(app.send("POST", "/token", &["X-Forwarded-For: 192.0.2.1"], "").status, 200);
    // Tokens are checked and refreshed as ever.
    let pair = app.create_from("192.0.2.2", "orders", SECRET);
    assert_eq!(app.inspect(&pair.text("value"), "").status, 200);
    assert_eq!(app.refresh(&pair.text("refresh"), "").status, 200);
    assert!(app.metric("lingpai_refusals_total{reason=\"TooManyRequests\"}") >= 1);
}

/// One household has a /64, and whoever is wrong with many names is one who is wrong.
#[test]
fn households_and_names() {
    let app = behind_a_proxy();
    let often = until_too_many(|number| {
        let address = format!("2001:db8:0:1::{number:x}");
        app.create_from(&address, &format!("nobody-{}", number % 30), "wrong")
    });
    assert!((60..200).contains(&often), "{often}");
    app.create_from("2001:db8:0:2::1", "nobody-7", "wrong").assert_unauthorized(&BASIC);
}

#[test]
fn what_is_no_credential_counts_too() {
    let app = TestApp::start();
    assert!(until_too_many(|_| app.send("POST", "/token", &["Authorization: Basic x"], "")) >= 60);
    assert_eq!(app.create("").status, 200);
}

#[test]
fn the_limit_can_be_another_or_none() {
    let with = |failures: u32| TestApp::with(&format!("{}\n[limits]\nfailures = {failures}", standard()), &[KEY]);
    let app = with(2);
    assert!((2..30).contains(&until_too_many(|_| app.create_as("orders", "wrong", ""))));
    let app = with(0);
    for _ in 0..70 {
        app.create_as("orders", "wrong", "").assert_unauthorized(&BASIC);
    }
}

/// `rate`: so many pairs of tokens a second, created or refreshed.
#[test]
fn a_client_has_a_rate() {
    let app = TestApp::with(&edited("id = \"orders\"", "id = \"orders\"\nrate = 2"), &[KEY]);
    let pair = app.create("");
    let often = until_too_many(|number| match number % 2 {
        0 => app.create(""),
        _ => app.refresh(&pair.text("refresh"), ""),
    });
    assert!(often >= 1);
    // Checks are not counted, and other clients have a rate of their own.
    assert_eq!(app.inspect(&pair.text("value"), "").status, 200);
    for _ in 0..5 {
        assert_eq!(app.create_as("billing", SECRET, "").status, 200);
    }
}

/// What balancers, verifiers and preflights need is not refused.
#[test]
fn when_there_is_too_much_only_what_is_cheap_is_answered() {
    let app = TestApp::start();
    let refusals = lingpai::http::Refusals::new(&app.state, lingpai::http::RequestIds::new().unwrap());
    let ask = |method: Method, path: &'static str| {
        let request = poem::http::Request::builder().method(method).uri(path).header("host", "a").body(()).unwrap();
        refusals.of(&request, true)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for method in [Method::POST, Method::GET, Method::PUT, Method::HEAD] {
        let answer = ask(method.clone(), "/token").unwrap();
        assert_eq!(answer.status(), 503);
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("retry-after"), Some("1"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("strict-transport-security"), Some("max-age=31536000"));
        assert!(header("x-request-id").is_some());
        let length = header("content-length").map(str::to_owned);
        let body = runtime.block_on(answer.into_body().into_vec()).unwrap();
        if method == Method::HEAD {
            assert!(body.is_empty() && length.is_some());
        } else {
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["name"], "ServiceUnavailable");
        }
    }
    assert_eq!(ask(Method::GET, "/nowhere").unwrap().status(), 503);
    for path in ["/healthz", "/readyz", "/.well-known/jwks.json"] {
        assert!(ask(Method::GET, path).is_none());
    }
    assert!(ask(Method::OPTIONS, "/token").is_none());
    assert_eq!(app.metric("lingpai_requests_shed_total"), 5);
}
