//! Whose instructions `benches/instructions/run` counts: the steps behind `/token`, and the handlers of each door, from a
//! request to the answer, with its metrics and its line in the log. Each is done [`OPERATIONS`] times.
//!
//! Counted is the thread that asks, inside of [`counted`]: not what was made or signed before, nor what only a first time
//! costs, nor the thread that writes the log. No two tokens are alike, because what it costs to verify a signature depends
//! on its bits.
//!
//! `instructions` lists what can be counted, and `instructions NAME` does it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement stops when it is wrong")]
#![expect(clippy::print_stdout, reason = "a program for a script")]

#[path = "../others.rs"]
mod others;
#[path = "../service.rs"]
mod service;

use std::env;
use std::hint::black_box;

use lingpai::clients::renew;
use lingpai::token::{self, AccessClaims, Compact, Fingerprint, Kind, Pair, RefreshClaims, Verified};
use poem::http::Method;
use poem::http::header::AUTHORIZATION;
use poem::{Body, Request};

use others::Signed;
use service::{
    Service, Trusting, client_credentials, client_credentials_for_scope, get, introspection, now, post, post_for_scope,
    with,
};

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

/// What can be counted, by name.
const ALL: &[(&str, fn())] = &[
    ("mint", || mint(|service| drop(black_box(service.mint())))),
    ("mint_access", || mint(|service| drop(black_box(service.mint_access())))),
    ("verify", || with_each(minted(), |service, pair| drop(black_box(service.verify::<AccessClaims>(&pair.access))))),
    ("verify_bare", || with_each(signed(), |service, token| service.signer.verify(token))),
    ("verify_again", || with_each(seen(), verify_again)),
    ("refresh", || with_each(minted(), |service, pair| drop(black_box(service.refresh(&pair.refresh))))),
    ("post", || answer(asked(Trusting::NOBODY, |_, _| post()))),
    ("post_50_issuers", || answer(asked(Trusting::MANY, |_, _| post()))),
    ("post_for_scope", || answer(asked(Trusting::NOBODY, |_, _| post_for_scope()))),
    ("get", || answer(asked(Trusting::NOBODY, |_, pair| get(&pair.access)))),
    ("get_again", || answer(asked_again(|_, pair| get(&pair.access)))),
    ("put", || answer(asked(Trusting::NOBODY, |_, pair| put(&pair.refresh)))),
    ("client_credentials", || answer(asked(Trusting::NOBODY, |_, _| client_credentials()))),
    ("client_credentials_for_scope", || answer(asked(Trusting::NOBODY, |_, _| client_credentials_for_scope()))),
    ("introspect_again", || answer(asked_again(|_, pair| introspection(&pair.access)))),
    ("private_key_jwt", || answer(asked(Trusting::NOBODY, |service, _| service.private_key_jwt()))),
    ("private_key_jwt_50_issuers", || answer(asked(Trusting::MANY, |service, _| service.private_key_jwt()))),
    ("federated", || answer(asked(Trusting::ONE, |service, _| service.federated()))),
    ("federated_50_issuers", || answer(asked(Trusting::MANY, |service, _| service.federated()))),
    ("dpop_issue", || answer(asked(Trusting::NOBODY, |service, _| service.dpop_issue()))),
    ("dpop_get", || answer(asked(Trusting::NOBODY, |service, _| service.dpop_get()))),
];

fn mint(one: fn(&Service)) {
    let service = Service::new(Trusting::NOBODY);
    one(&service);
    counted(|| (0..OPERATIONS).for_each(|_| one(&service)));
}

fn with_each<T>((service, these): (Service, Vec<T>), one: fn(&Service, &T)) {
    counted(|| these.iter().for_each(|this| one(&service, this)));
}

fn verify_again(service: &Service, pair: &Pair) {
    let fingerprint = Fingerprint::of(&pair.access);
    black_box(service.snapshot.inspected.get(&fingerprint, now()).unwrap().claims());
}

fn answer((service, requests): (Service, Vec<Request>)) {
    counted(|| requests.into_iter().for_each(|request| drop(black_box(service.answer(request)))));
}

/// callgrind counts between its beginning and its end.
#[inline(never)]
fn counted(work: impl FnOnce()) {
    work();
}

fn main() {
    let Some(name) = env::args().nth(1) else {
        return ALL.iter().for_each(|(name, _)| println!("{name}"));
    };
    let (_, count) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    count();
}
