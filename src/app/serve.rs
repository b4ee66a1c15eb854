//! Serves both listeners until the process is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::listeners::Listeners;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{self, LoadShedding, RequestIds};
use crate::server::{self, Capacity, Tls, Transport};
use crate::service::{Snapshot, State};

/// Limits of the operator's listener.
const OPS_CAPACITY: Capacity = Capacity { connections: 64, requests: 64, large_heads: 4 };

/// Returns what `config` says about connections.
#[must_use]
pub fn transport(config: &Config) -> Transport {
    // None of them is negative.
    let seconds = |number: i64| Duration::from_secs(number.unsigned_abs());
    let limits = &config.limits;
    let mut capacity = limits.memory.map_or_else(Capacity::of_this_process, Capacity::of);
    capacity.connections = limits.connections.unwrap_or(capacity.connections);
    capacity.requests = limits.requests.unwrap_or(capacity.requests);
    Transport {
        capacity,
        connections_per_address: limits.connections_per_address,
        lame_duck: seconds(config.drain.lame_duck),
        drain: seconds(config.drain.limit),
        proxy_protocol: config.proxy_protocol,
    }
}

/// Serves `state` on `listeners` until `stop` completes, and then until all requests
/// have finished; meanwhile it reports that it is not ready. Requests without an id
/// get one of `ids`.
pub async fn serve(
    state: Arc<State>,
    ids: RequestIds,
    listeners: Listeners,
    transport: Transport,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) {
    let draining = Arc::clone(&state);
    let stop = stop.map(move |()| draining.drain()).shared();
    // The operator can still connect when all public connections are taken.
    let for_ops =
        Transport { capacity: OPS_CAPACITY, connections_per_address: None, proxy_protocol: false, ..transport };
    let refusals = LoadShedding::new(&state, ids.clone());
    let (public, ops) = (http::routes(&state, ids.clone()), http::ops_routes(&state, ids));
    tokio::join!(
        server::serve(listeners.public, public, Some(refusals), transport, tls, stop.clone()),
        server::serve(listeners.ops, ops, None, for_ops, None, stop),
    );
}

/// Returns the state of a service that starts with `snapshot`.
#[must_use]
pub fn state(snapshot: Snapshot, clock: Clock) -> Arc<State> {
    Arc::new(State::new(snapshot, clock))
}
