//! The transport: connections in, requests to one endpoint.
//!
//! This room owns sockets and their number, TLS and the PROXY protocol; time limits
//! for the first bytes, the head, the rest of a body and clients that do not read;
//! load shedding; and the graceful shutdown. What a request means must not enter.
//! poem's own server is not used: it has no time limit for an incomplete head, and
//! it spins when accepting fails.
//!
//! What a peer can make this process hold (2026-11-29; `tests/abuse/run` prints the peak of each
//! case, each judged against half of the memory that the manifests give; `memory.rs` has the figures
//! that the default limits are made of):
//! - an open connection: 26 KiB, most of it hyper's two buffers of 8 KiB; idle or half a head alike;
//! - a request in flight, of either protocol: 80 KiB, of which up to 64 are its body. It counts from
//!   when its handler begins, of HTTP/2 from its head, until the last piece of its answer has left.
//!   A stream that makes no progress is reset after a minute, whatever else its connection does;
//! - a head of more than 8 KiB: 128 KiB until it is whole; of HTTP/2, which has no limit over all connections for it, 54
//!   KiB for its connection and the head together;
//! - answers that are not read: up to 50 KiB of such without a body, with TLS 16 KiB more. Requests sent ahead of their
//!   answers take nothing more;
//! - the kernel's buffers of a connection, which count as this process's memory: 32 KiB for what arrives, and about as
//!   much for answers, at most 80 KiB (`listen.rs`).
//!
//! Each has a limit over all connections, and one caller gets half of what others leave
//! (`shares.rs`). HTTP/2 beyond it gets `REFUSED_STREAM`, which says that it may be tried again;
//! HTTP/1 gets 503. What was written and not taken keeps a connection from being read, for five
//! seconds without progress and a minute in all.
//!
//! All threads share their work (tokio's multi-threaded runtime). A single-threaded
//! runtime for each core, with a listener of its own (`SO_REUSEPORT`), takes a little
//! less: beside it, on 2026-11-26 (`benches/compare/run runtime`), its CPU time for a
//! request was 0.95 to 1.00 of this on one core and 0.89 to 1.09 on two, over 3, 16 and
//! 1,000 connections, its memory the same. But there the kernel chooses a connection's
//! thread for good by a hash: few and busy connections can leave cores idle, and no
//! queue tells that there is too much to do. That is worth more than a twentieth.

mod abort;
mod connection;
mod exchange;
mod handshake;
mod heads;
mod leftover;
mod listen;
pub mod manager;
mod memory;
mod open;
mod overload;
mod patience;
mod proxy;
mod shares;
mod slots;
#[cfg(test)]
mod tests;
mod tls;
mod turns;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Version};
use hyper::body::Bytes;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use poem::web::RemoteAddr;
use poem::{Endpoint, Response};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use connection::{FRESH, accept, begin};
use exchange::Streams;
use overload::Overload;
use shares::{Caller, Pool};
use slots::Slots;
use turns::Turns;

use crate::http::LoadShedding;

pub use listen::{Inherited, Listener, can_open};
pub use memory::Capacity;
pub use tls::{Identity, Tls, TlsError, TlsFiles};

type BoxBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// Maximum head for the HTTP parser. The contract's own limit is lower, so that
/// its refusal has a body.
const PARSER_HEAD: u32 = 64 << 10;
/// Bytes of a request's fields, counted as RFC 9113 §6.5.2 does.
const H2_HEADER_LIST: u32 = 16 << 10;
/// Streams that a client may reset before they are handled; one more closes its connection (rapid reset).
const H2_RESETS: usize = 20;
const H2_PING: Duration = Duration::from_secs(20);
/// Bytes of a body that a stream may send before they are read, and a connection's streams together.
const H2_STREAM_WINDOW: u32 = 16 << 10;
const H2_WINDOW: u32 = 64 << 10;

/// How connections are accepted and closed.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    /// How much may be held at once. Beyond it, a new connection displaces an idle one, or waits.
    pub capacity: Capacity,
    /// Maximum connections of one address (of IPv6, of one /64); None: as many as there may be.
    pub connections_per_address: Option<u32>,
    /// How long connections are still accepted after the stop signal, each for one
    /// more request, while load balancers learn of it.
    pub lame_duck: Duration,
    /// How long requests in flight then have to finish.
    pub drain: Duration,
    /// Every TCP connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Serves `endpoint` on every listener until `stop` completes and all requests have
/// finished. `refusals` answer requests under overload.
pub async fn serve<E>(
    listeners: Vec<Listener>,
    endpoint: E,
    refusals: Option<LoadShedding>,
    transport: Transport,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let serving = Arc::new(Serving::new(endpoint, refusals, transport, tls));
    let graceful = Arc::new(GracefulShutdown::new());
    let (accepted, fresh) = mpsc::channel(FRESH);
    tokio::spawn(begin(fresh, Arc::clone(&serving.turns)));
    let accepting = futures_util::future::join_all(
        listeners
            .into_iter()
            .map(|listener| accept(listener, Arc::clone(&serving), Arc::clone(&graceful), accepted.clone())),
    );
    drop(accepted);
    let (enough, until_enough) = oneshot::channel::<Infallible>();
    // Not on the workers, which would come to it only between requests.
    let accepting = tokio::task::spawn_blocking(|| {
        Handle::current().block_on(async {
            tokio::select! {
                _ = accepting => {}
                _ = until_enough => {}
            }
        });
    });
    if serving.refusals.is_some()
        && let Err(error) = serving.overload.watch()
    {
        tracing::warn!(%error, "load shedding is off: its thread did not start");
    }
    let granting = tokio::spawn(Arc::clone(&serving.turns).run());
    stop.await;
    serving.ending.store(true, Ordering::Relaxed);
    tokio::time::sleep(transport.lame_duck).await;
    drop(enough);
    // The task ends, whatever its result.
    let _ = accepting.await;
    if let Some(graceful) = Arc::into_inner(graceful)
        && tokio::time::timeout(transport.drain, graceful.shutdown()).await.is_err()
    {
        let seconds = transport.drain.as_secs();
        tracing::warn!(seconds, "requests were still in flight at the end of the drain");
    }
    granting.abort();
}

/// What all connections share.
struct Serving<E> {
    endpoint: E,
    refusals: Option<LoadShedding>,
    builder: Builder<Streams>,
    slots: Arc<Slots>,
    /// Requests in flight.
    requests: Arc<Pool>,
    /// Incomplete large heads.
    heads: Arc<Pool>,
    /// The process is stopping.
    ending: AtomicBool,
    /// The identity of TLS connections, if configured.
    tls: Option<Arc<Tls>>,
    proxy_protocol: bool,
    overload: Arc<Overload>,
    turns: Arc<Turns>,
}

impl<E> Serving<E> {
    fn new(endpoint: E, refusals: Option<LoadShedding>, transport: Transport, tls: Option<Arc<Tls>>) -> Self {
        let turns = Turns::new(Handle::current().metrics().num_workers());
        let Capacity { connections, requests, large_heads } = transport.capacity;
        Self {
            endpoint,
            refusals,
            builder: builder(),
            slots: Slots::new(connections, transport.connections_per_address),
            requests: Pool::new(requests),
            heads: Pool::new(large_heads),
            ending: AtomicBool::new(false),
            tls,
            proxy_protocol: transport.proxy_protocol,
            overload: Arc::new(Overload::new(Arc::clone(&turns))),
            turns,
        }
    }

    /// Returns the caller of a request from `remote` with these `headers`.
    fn caller(&self, remote: &RemoteAddr, headers: &HeaderMap) -> Caller {
        let refusals = self.refusals.as_ref();
        refusals.map_or_else(Caller::default, |refusals| Caller::at(refusals.limit_prefix(remote, headers)))
    }

    /// Returns the caller of everything from `remote`; None if it is a proxy for others.
    fn sole_caller(&self, remote: &RemoteAddr) -> Option<Caller> {
        match &self.refusals {
            Some(refusals) if refusals.speaks_for_others(remote) => None,
            _ => Some(self.caller(remote, &HeaderMap::new())),
        }
    }

    /// Completes an answer; `closes` says whether the connection closes after it.
    fn finish(&self, mut response: Response, version: Version, closes: bool) -> http::Response<BoxBody> {
        let ending = version < Version::HTTP_2 && self.ending.load(Ordering::Relaxed);
        if version == Version::HTTP_10 {
            // Otherwise hyper would add `keep-alive` if the request has it.
            response.set_version(version);
        }
        if closes || ending || version == Version::HTTP_10 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.into()
    }
}

fn builder() -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    // A caller may close its side after its last request and still get its answers.
    builder.http1().half_close(true);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(PARSER_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(heads::STREAMS)
        .max_header_list_size(H2_HEADER_LIST)
        .max_pending_accept_reset_streams(H2_RESETS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}
