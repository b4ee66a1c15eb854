//! How many allocations an answer takes, and of how many bytes, from a request to the answer with its metrics and its
//! line in the log. The thread that writes the log is not counted.

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

/// Returns the fewest allocations and bytes of ten answers, because some also grow a table.
fn least(service: &Service, ask: impl Fn(&Service) -> Request) -> (u64, u64) {
    let one = |_| {
        let request = ask(service);
        let used = allocation_counter::measure(|| drop(service.answer(request)));
        (used.count_total, used.bytes_total)
    };
    let all: Vec<_> = (0..10).map(one).collect();
    (all.iter().map(|(count, _)| *count).min().unwrap(), all.iter().map(|(_, bytes)| *bytes).min().unwrap())
}

#[test]
fn allocations_of_each_answer() {
    let service = Service::new(Trusting::ONE);
    let pair = service.mint();
    let refresh = || with("/token", Method::PUT, [(AUTHORIZATION, format!("Bearer {}", pair.refresh))], Body::empty());
    for (name, most, most_bytes, (count, bytes)) in [
        ("GET of a known token", 18, 5_400, least(&service, |_| get(&pair.access))),
        ("GET of a new token", 48, 7_200, least(&service, |service| get(&service.mint().access))),
        ("GET of a known token with a proof", 66, 10_300, least(&service, Service::dpop_get)),
        ("POST", 36, 9_700, least(&service, |_| post())),
        ("PUT", 41, 9_900, least(&service, |_| refresh())),
        ("introspection of a known token", 26, 7_400, least(&service, |_| introspection(&pair.access))),
        ("client credentials", 40, 9_100, least(&service, |_| client_credentials())),
        ("private_key_jwt", 75, 12_900, least(&service, Service::private_key_jwt)),
        ("federated identity", 127, 28_000, least(&service, Service::federated)),
    ] {
        // The service keeps standard error, so a panic would say nothing.
        println!("{name}: {count} allocations (at most {most}), {bytes} bytes (at most {most_bytes})");
        assert!(count <= most && bytes <= most_bytes);
    }
}
