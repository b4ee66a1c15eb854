//! Limits: wrong secrets of an address, pairs of tokens of a client, and overload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lingpai::clients::Rate;
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
fn wrong_secrets_are_limited_and_right_ones_are_not() {
    let app = behind_a_proxy();
    let often = until_too_many(|_| app.create_from("192.0.2.1", "orders", "wrong"));
    assert!((60..200).contains(&often), "{often}");
    // The right secret of the same client, from the same address, and wrong ones after it.
    for _ in 0..3 {
        assert_eq!(app.create_from("192.0.2.1", "orders", SECRET).status, 200);
        assert_eq!(app.create_from("192.0.2.1", "billing", SECRET).status, 200);
    }
    until_too_many(|_| app.create_from("192.0.2.1", "billing", "wrong"));
    // Other addresses are not concerned, and tokens without credentials, inspected or refreshed are not limited.
    assert_eq!(app.create_from("192.0.2.2", "orders", SECRET).status, 200);
    app.create_from("192.0.2.2", "orders", "wrong").assert_unauthorized(&BASIC);
    assert_eq!(app.send("POST", "/token", &["X-Forwarded-For: 192.0.2.1"], "").status, 200);
    let pair = app.create_from("192.0.2.2", "orders", SECRET);
    assert_eq!(app.inspect(&pair.text("value"), "").status, 200);
    assert_eq!(app.refresh(&pair.text("refresh"), "").status, 200);
    assert!(app.metric("lingpai_refusals_total{reason=\"limited\"}") >= 1);
}

/// Ids that were never tried before are limited as well, whether there is such a client or not.
#[test]
fn distinct_ids_are_limited() {
    let app = behind_a_proxy();
    let begun = Instant::now();
    let tries = 300;
    let unauthorized = (0..tries).filter(|number| {
        let id = if number % 7 == 0 { "orders".to_owned() } else { format!("nobody-{number}") };
        let answer = app.create_from("192.0.2.1", &id, "wrong");
        if answer.status == 429 {
            assert_too_many(&answer);
            // The debt stops at the burst, so one more fits within a second.
            assert_eq!(answer.header("retry-after"), Some("1"));
            return false;
        }
        answer.assert_unauthorized(&BASIC);
        true
    });
    let unauthorized = u64::try_from(unauthorized.count()).unwrap();
    let allowed = 60 + begun.elapsed().as_secs() + 1;
    assert!((60..=allowed).contains(&unauthorized), "{unauthorized} of {tries}, {allowed} allowed");
    assert_eq!(app.create_from("192.0.2.1", "orders", SECRET).status, 200);
}

/// An IPv6 subscriber has a /64, whatever ids it tries.
#[test]
fn ipv6_is_limited_by_network() {
    let app = behind_a_proxy();
    let often = until_too_many(|number| {
        let address = format!("2001:db8:0:1::{number:x}");
        app.create_from(&address, &format!("nobody-{}", number % 30), "wrong")
    });
    assert!((60..200).contains(&often), "{often}");
    app.create_from("2001:db8:0:2::1", "nobody-7", "wrong").assert_unauthorized(&BASIC);
    assert_eq!(app.create_from("2001:db8:0:1::7", "orders", SECRET).status, 200);
}

/// A trusted proxy that passes on the caller's Host, quoted, does not let it name an address.
#[test]
fn a_quoted_host_names_nobody() {
    let settings = "trusted_proxies = [\"127.0.0.1\"]\nforwarded_header = \"Forwarded\"\n";
    let app = TestApp::with(&format!("{settings}{}\n[limits]\nfailures = 1", standard()), &[KEY]);
    let wrong = |forwarded: &str| app.send("POST", "/token", &[&basic("orders", "wrong"), forwarded], "");
    until_too_many(|number| match number % 2 {
        0 => wrong("Forwarded: proto=http;host=\"a,for=203.0.113.9\";for=198.51.100.1"),
        _ => wrong("Forwarded: for=198.51.100.1;host=\"a,for=203.0.113.9\""),
    });
    wrong("Forwarded: for=203.0.113.9").assert_unauthorized(&BASIC);
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

/// A configuration with `count` clients more, of this `rate`.
fn with_clients(count: usize, rate: u32) -> String {
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    (0..count).fold(standard(), |config, number| {
        config + &format!("[[clients]]\nid = \"c{number}\"\nsecrets = [\"{digest}\"]\nrate = {rate}\n")
    })
}

/// However many there are: each has a counter of its own.
#[test]
fn clients_do_not_share_their_rates() {
    let count = 1_000;
    let app = TestApp::with(&with_clients(count, 1), &[KEY]);
    for number in 0..count {
        assert_eq!(app.create_as(&format!("c{number}"), SECRET, "").status, 200, "c{number}");
    }
}

#[test]
fn requests_at_the_same_time_stay_within_the_rate() {
    let app = TestApp::with(&with_clients(1, 5), &[KEY]);
    let begun = Instant::now();
    let issued = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = app.create_as("c0", SECRET, "");
                    match answer.status {
                        200 => _ = issued.fetch_add(1, Ordering::Relaxed),
                        // A machine that is busy may shed some.
                        503 => {}
                        _ => assert_too_many(&answer),
                    }
                }
            });
        }
    });
    let (issued, allowed) = (issued.into_inner(), 5 + 5 * (begun.elapsed().as_secs() + 1));
    assert!((1..=allowed).contains(&issued), "{issued} of {allowed}");
}

/// A token that is too large is not issued, and so not counted.
#[test]
fn what_is_not_issued_costs_nothing() {
    let scope: Vec<_> = (0..64).map(|number| format!("{number:0>128}")).collect();
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    let client = format!("[[clients]]\nid = \"large\"\nsecrets = [\"{digest}\"]\nscope = {scope:?}\nrate = 1\n");
    let app = TestApp::with(&(standard() + &client), &[KEY]);
    for _ in 0..5 {
        app.create_as("large", SECRET, "").assert_says(400, "BadRequest", "longer than 8192 bytes");
    }
    let small = format!("{{\"scope\":[\"{}\"]}}", scope[0]);
    assert_eq!(app.create_as("large", SECRET, &small).status, 200);
}

/// A client of the same id and rate goes on with what it has used.
#[test]
fn rates_are_kept_over_a_reload() {
    let app = TestApp::with(&with_clients(2, 3), &[KEY]);
    let limiter = |id| app.state.snapshot().registry.named(id).unwrap().limiter.clone();
    let before = (limiter("c0").unwrap(), limiter("c1").unwrap());
    let reload = |config: &str| {
        std::fs::write(app.folder.path().join("lingpai.toml"), config).unwrap();
        app.look().look();
    };
    reload(&with_clients(3, 3).replacen("rate = 3", "rate = 4", 1));
    assert_eq!(limiter("c0").unwrap().rate(), Rate::per_second(4));
    assert!(Arc::ptr_eq(&limiter("c1").unwrap(), &before.1));
    assert!(limiter("c2").is_some() && limiter("orders").is_none());
    reload(&with_clients(2, 3));
    assert!(!Arc::ptr_eq(&limiter("c0").unwrap(), &before.0), "it begins anew");
    assert!(Arc::ptr_eq(&limiter("c1").unwrap(), &before.1));
}

/// What balancers, verifiers and preflights need is not refused.
#[test]
fn when_there_is_too_much_only_what_is_cheap_is_answered() {
    let app = TestApp::start();
    let refusals = lingpai::http::LoadShedding::new(&app.state, lingpai::http::RequestIds::new().unwrap());
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
