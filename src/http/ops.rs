//! The operator's pages, on their own listener: health, readiness in full detail, metrics.

use std::sync::Arc;

use poem::Response;
use poem::endpoint::make_sync;
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::context::RequestContext;
use super::problem::{JSON, NO_STORE};
use super::routes::Routes;
use crate::clock::Timestamp;
use crate::crypto::hex;
use crate::keys::{Alg, Scheduled, State as KeyState};
use crate::service::State;

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// Returns the operator's routes.
pub(super) fn routes(state: &Arc<State>) -> Routes {
    let page = |page: fn(&Ops, &RequestContext) -> Response| {
        let ops = Ops { state: Arc::clone(state) };
        make_sync(move |request| RequestContext::of(&request).map(|context| page(&ops, context)))
    };
    Routes::default()
        .page("/healthz", make_sync(|_| reply(StatusCode::OK, JSON, json!({"status": "ok"}).to_string())))
        .page("/readyz", page(Ops::readiness))
        .page("/metrics", page(Ops::metrics))
}

struct Ops {
    state: Arc<State>,
}

impl Ops {
    fn readiness(&self, context: &RequestContext) -> Response {
        let unready = self.state.unready(context.snapshot(), context.now());
        let status = if unready.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply(status, JSON, self.known(context, unready.unwrap_or("ok")).to_string())
    }

    /// Returns the full state of the service, whose readiness is `status`.
    fn known(&self, context: &RequestContext, status: &str) -> Value {
        let (snapshot, now) = (context.snapshot(), context.now());
        json!({
            "status": status,
            "time": now.rfc3339(),
            "keys_digest": hex(&snapshot.keys.digest()),
            "configuration_digest": hex(&snapshot.configuration_digest),
            "revocations_digest": snapshot.has_session_ids.then(|| hex(&self.state.revocations().digest)),
            "reload_error": self.state.refused().as_deref(),
            "warnings": self.state.warnings(snapshot, now),
            "clients": snapshot.registry.len(),
            "keys": snapshot.keys.schedule(now).iter().map(key).collect::<Vec<_>>(),
        })
    }

    fn metrics(&self, context: &RequestContext) -> Response {
        let (snapshot, now) = (context.snapshot(), context.now());
        let keys = snapshot.keys.schedule(now);
        let count = |state| keys.iter().filter(|key| key.state == state).count();
        let states = KeyState::ALL.map(|state| (state.word(), count(state)));
        let newest = Alg::ALL.map(|alg| (alg.name(), snapshot.keys.newest(alg).map(Timestamp::unix)));
        self.state.metrics.issuer_keys(snapshot.issuers.ages(now));
        let warnings = self.state.warnings(snapshot, now).len();
        reply(StatusCode::OK, TEXT, self.state.metrics.text(&states, &newest, warnings))
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
