//! Answers `GET /token` about one known token, for `benches/revocations` to count instructions: revocations CONFIG COUNT.
#![expect(clippy::unwrap_used, reason = "a measurement may fail so")]

mod first;

use std::hint::black_box;
use std::net::SocketAddr;

use futures_util::FutureExt as _;
use lingpai::clock::Clock;
use lingpai::token::SessionId;
use lingpai::{app, http};
use poem::endpoint::{BoxEndpoint, EndpointExt as _};
use poem::http::header::{AUTHORIZATION, HOST};
use poem::http::{HeaderValue, Uri, uri::Scheme};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint as _, Request};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let (config, count) = first::arguments();
    let now = Clock::system().now();
    let loaded = app::load(&config, now).unwrap();
    let state = app::state(loaded.snapshot, Clock::manual(now));
    state.revoke(loaded.revocations.unwrap());
    let snapshot = state.snapshot();
    let (client, mut session) = first::session(&snapshot, now);
    session.id = Some(SessionId::new(now).unwrap());
    let pair = first::pair(&snapshot, client, &session, now);
    let authorization = HeaderValue::try_from(format!("Bearer {}", pair.access)).unwrap();
    let routes = http::routes(&state, http::RequestIds::new().unwrap()).boxed();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    answer(&runtime, &routes, request(&authorization));
    for _ in 0..count {
        answer_known(&runtime, &routes, request(&authorization));
    }
}

fn request(authorization: &HeaderValue) -> Request {
    let mut head = poem::http::Request::new(()).into_parts().0;
    head.uri = Uri::from_static("/token");
    head.headers.insert(HOST, HeaderValue::from_static("tokens.example.com"));
    head.headers.insert(AUTHORIZATION, authorization.clone());
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let parts = (head, LocalAddr::default(), RemoteAddr(peer.into()), Scheme::HTTP).into();
    Request::from_parts(parts, Body::empty())
}

/// What is counted.
#[inline(never)]
fn answer_known(runtime: &Runtime, routes: &BoxEndpoint<'static>, request: Request) {
    answer(runtime, routes, request);
}

fn answer(runtime: &Runtime, routes: &BoxEndpoint<'static>, request: Request) {
    let _inside = runtime.enter();
    let response = routes.get_response(request).now_or_never().unwrap();
    assert!(black_box(response).is_success());
}
