//! Whose instructions `benches/instructions/run` counts: the steps behind `/token`, and the handlers of each door, from a
//! request to the answer, with its metrics and its line in the log. Each is done [`OPERATIONS`] times.
//!
//! Counted is the thread that asks, inside of the functions that are marked: not what was made or signed before, nor what
//! only a first time costs, nor the thread that writes the log. No two tokens are alike, because what it costs to verify
//! a signature depends on its bits.
#![expect(missing_docs, clippy::must_use_candidate, reason = "the macros make public items")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement stops when it is wrong")]

mod others;
mod service;

use std::hint::black_box;

use gungraun::{Callgrind, EntryPoint, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use lingpai::clients::renew;
use lingpai::token::{self, AccessClaims, Compact, Fingerprint, Kind, Pair, RefreshClaims, Verified};
use poem::http::Method;
use poem::http::header::AUTHORIZATION;
use poem::{Body, Request};

use others::Signed;
use service::{Service, Trusting, client_credentials, get, introspection, now, post, with};

const OPERATIONS: usize = 100;

impl Service {
    fn verify<K: Kind>(&self, token: &str) -> Verified<K> {
        token::verify(Compact::parse(token).unwrap(), &self.snapshot.keys, self.snapshot.verifying(now())).unwrap()
    }

    fn refresh(&self, token: &str) -> Pair {
        let session = self.verify::<RefreshClaims>(token).into_claims().session;
        let renewal = renew(&self.snapshot.registry, session, now()).unwrap();
        token::mint(&self.snapshot.keys, &self.snapshot.issuer, &renewal.session, &renewal.grant(), now()).unwrap()
    }
}

/// `PUT /token`
fn put(refresh: &str) -> Request {
    with("/token", Method::PUT, [(AUTHORIZATION, format!("Bearer {refresh}"))], Body::empty())
}

/// A service, and a pair of tokens for each operation.
fn minted() -> (Service, Vec<Pair>) {
    minted_by(Service::new(Trusting::NOBODY))
}

fn minted_by(service: Service) -> (Service, Vec<Pair>) {
    let pairs = (0..OPERATIONS).map(|_| service.mint()).collect();
    service.answer(put(&service.mint().refresh));
    (service, pairs)
}

/// A service that has seen every access token before.
fn seen() -> (Service, Vec<Pair>) {
    let (service, pairs) = minted();
    for pair in &pairs {
        service.answer(get(&pair.access));
    }
    (service, pairs)
}

type Ask = fn(&Service, &Pair) -> Request;

/// A service that trusts so many, and a request for each operation.
fn asked(trusting: Trusting, ask: Ask) -> (Service, Vec<Request>) {
    let (service, pairs) = minted_by(Service::new(trusting));
    let requests = pairs.iter().map(|pair| ask(&service, pair)).collect();
    (service, requests)
}

/// The same, of tokens that the service was asked about before.
fn asked_again(ask: Ask) -> (Service, Vec<Request>) {
    let (service, pairs) = minted();
    for pair in &pairs {
        service.answer(ask(&service, pair));
    }
    let requests = pairs.iter().map(|pair| ask(&service, pair)).collect();
    (service, requests)
}

/// A signature of others for each operation.
fn signed() -> (Service, Vec<Signed>) {
    let service = Service::new(Trusting::NOBODY);
    let tokens = (0..OPERATIONS).map(|_| Signed::from(&*service.assertion())).collect();
    (service, tokens)
}

#[library_benchmark]
#[bench::es256(minted())]
fn mint((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for _ in 0..OPERATIONS {
        black_box(service.mint());
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(minted())]
fn mint_access((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for _ in 0..OPERATIONS {
        black_box(service.mint_access());
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(minted())]
fn verify((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        black_box(service.verify::<AccessClaims>(&pair.access));
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(signed())]
fn verify_bare((service, tokens): (Service, Vec<Signed>)) -> (Service, Vec<Signed>) {
    for token in &tokens {
        service.signer.verify(token);
    }
    (service, tokens)
}

#[library_benchmark]
#[bench::es256(seen())]
fn verify_again((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        let fingerprint = Fingerprint::of(&pair.access);
        black_box(service.snapshot.inspected.get(&fingerprint, now()).unwrap().claims());
    }
    (service, pairs)
}

#[library_benchmark]
#[bench::es256(minted())]
fn refresh((service, pairs): (Service, Vec<Pair>)) -> (Service, Vec<Pair>) {
    for pair in &pairs {
        black_box(service.refresh(&pair.refresh));
    }
    (service, pairs)
}

#[library_benchmark(config = counting("*::answer_one"))]
#[bench::post(asked(Trusting::NOBODY, |_, _| post()))]
#[bench::post_50_issuers(asked(Trusting::MANY, |_, _| post()))]
#[bench::get(asked(Trusting::NOBODY, |_, pair| get(&pair.access)))]
#[bench::get_again(asked_again(|_, pair| get(&pair.access)))]
#[bench::put(asked(Trusting::NOBODY, |_, pair| put(&pair.refresh)))]
#[bench::client_credentials(asked(Trusting::NOBODY, |_, _| client_credentials()))]
#[bench::introspect_again(asked_again(|_, pair| introspection(&pair.access)))]
#[bench::private_key_jwt(asked(Trusting::NOBODY, |service, _| service.private_key_jwt()))]
#[bench::private_key_jwt_50_issuers(asked(Trusting::MANY, |service, _| service.private_key_jwt()))]
#[bench::federated(asked(Trusting::ONE, |service, _| service.federated()))]
#[bench::federated_50_issuers(asked(Trusting::MANY, |service, _| service.federated()))]
#[bench::dpop_issue(asked(Trusting::NOBODY, |service, _| service.dpop_issue()))]
#[bench::dpop_get(asked(Trusting::NOBODY, |service, _| service.dpop_get()))]
fn answer((service, requests): (Service, Vec<Request>)) {
    for request in requests {
        answer_one(&service, request);
    }
}

#[inline(never)]
fn answer_one(service: &Service, request: Request) {
    black_box(service.answer(request));
}

/// Counts inside of one function only.
fn counting(function: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.entry_point(EntryPoint::Custom(function.to_owned()));
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

library_benchmark_group!(
    name = path,
    benchmarks = [mint, mint_access, verify, verify_bare, verify_again, refresh, answer]
);
main!(library_benchmark_groups = path);
