//! What the operator may read, on a listener of its own: health, readiness with
//! everything that is known about it, metrics.

use std::sync::Arc;

use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};

use super::problem::{JSON, NO_STORE, Problem};
use super::state::State;
use crate::clock::Timestamp;
use crate::keys::{Alg, Scheduled, State as KeyState, hex};

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Where the pages are.
pub(super) const PAGES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The operator's pages.
pub(super) struct Ops {
    state: Arc<State>,
}

impl Ops {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    fn readiness(&self) -> Response {
        let (snapshot, now) = self.state.now();
        let unready = self.state.unready();
        let body = json!({
            "status": unready.unwrap_or("ok"),
            "time": now.rfc3339(),
            "keys_digest": hex(&snapshot.keys.digest()),
            "configuration_digest": hex(&snapshot.configuration_digest),
            "reload_error": self.state.refused().as_deref(),
            "warnings": self.state.warnings(),
            "clients": snapshot.registry.len(),
            "keys": snapshot.keys.schedule(now).iter().map(key).collect::<Vec<_>>(),
        });
        let status = if unready.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply(status, JSON, body.to_string())
    }

    fn metrics(&self) -> Response {
        let (snapshot, now) = self.state.now();
        let keys = snapshot.keys.schedule(now);
        let count = |state| keys.iter().filter(|key| key.state == state).count();
        let states = KeyState::ALL.map(|state| (state.word(), count(state)));
        let newest = Alg::ALL.map(|alg| (alg.name(), snapshot.keys.newest(alg).map(Timestamp::unix)));
        reply(StatusCode::OK, TEXT, self.state.metrics.text(&states, &newest, self.state.warnings().len()))
    }
}

impl Endpoint for Ops {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(match request.uri().path() {
            "/healthz" => reply(StatusCode::OK, JSON, json!({"status": "ok"}).to_string()),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            _ => return Err(Problem::NotFound.into()),
        })
    }
}

fn key(one: &Scheduled<'_>) -> Value {
    json!({
        "from": one.key.name().from.rfc3339(),
        "state": one.state.word(),
        "alg": one.key.name().alg.name(),
        "kid": one.key.kid().as_str(),
        "signs_until": one.signs_until.map(Timestamp::rfc3339),
        "published_until": one.published_until.map(Timestamp::rfc3339),
        "verifies_until": one.verifies_until.map(Timestamp::rfc3339),
    })
}

fn reply(status: StatusCode, media_type: HeaderValue, body: String) -> Response {
    let mut response = Response::default();
    response.set_status(status);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.set_body(body);
    response
}
