//! How many allocations an answer takes, from a request to the answer with its metrics and its line in the log. The
//! thread that writes the log is not counted.

#![cfg(not(any(feature = "aws-lc", feature = "otlp")))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test prints, and stops when it is wrong"
)]

#[expect(dead_code, reason = "others count more")]
mod others;
#[expect(dead_code, reason = "others count more")]
mod service;

use poem::http::Method;
use poem::http::header::AUTHORIZATION;
use poem::{Body, Request};

use service::{Service, Trusting, client_credentials, get, introspection, post, with};

/// Returns the minimum of ten answers, because some also grow a table.
fn least(service: &Service, ask: impl Fn(&Service) -> Request) -> u64 {
    let count = |request| allocation_counter::measure(|| drop(service.answer(request))).count_total;
    (0..10).map(|_| count(ask(service))).min().unwrap()
}

#[test]
fn allocations_of_each_answer() {
    let service = Service::new(Trusting::ONE);
    let pair = service.mint();
    let refresh = || with("/token", Method::PUT, [(AUTHORIZATION, format!("Bearer {}", pair.refresh))], Body::empty());
    for (name, maximum, count) in [
        ("GET of a known token", 18, least(&service, |_| get(&pair.access))),
        ("GET of a new token", 48, least(&service, |service| get(&service.mint().access))),
        ("GET of a known token with a proof", 66, least(&service, Service::dpop_get)),
        ("POST", 36, least(&service, |_| post())),
        ("PUT", 41, least(&service, |_| refresh())),
        ("introspection of a known token", 26, least(&service, |_| introspection(&pair.access))),
        ("client credentials", 40, least(&service, |_| client_credentials())),
        ("private_key_jwt", 75, least(&service, Service::private_key_jwt)),
        ("federated identity", 127, least(&service, Service::federated)),
    ] {
        // The service keeps standard error, so a panic would say nothing.
        println!("{name}: {count} allocations, at most {maximum}");
        assert!(count <= maximum);
    }
}
