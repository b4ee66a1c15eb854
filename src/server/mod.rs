//! The transport: connections in, requests to one endpoint.
//!
//! This room owns sockets and their number, TLS and the PROXY protocol; time limits
//! for the first bytes, the head, the rest of a body and clients that do not read;
//! load shedding; and the graceful shutdown. What a request means must not enter.
//! poem's own server is not used: it has no time limit for an incomplete head, and
//! it spins when accepting fails.
//!
//! What a peer can make this process hold (2026-11-28; `tests/abuse/run` prints the peak of each
//! case, each judged against half of the memory that the manifests give; `memory.rs` has the figures
//! that the default limits are made of):
//! - an open connection: 26 KiB, most of it hyper's two buffers of 8 KiB; idle or half a head alike;
//! - a request in flight, of either protocol: 80 KiB, of which up to 64 are its body. It counts from
//!   when its handler begins, of HTTP/2 from its head, until the last piece of its answer has left.
//!   A stream that makes no progress is reset after a minute, whatever else its connection does;
//! - a head of more than 8 KiB: 128 KiB until it is whole.
//!
//! Each has a limit over all connections, and one caller gets half of what others leave
//! (`shares.rs`). HTTP/2 beyond it gets `REFUSED_STREAM`, which says that it may be tried again;
//! HTTP/1 gets 503. What was written and not taken keeps a connection from being read, for five
//! seconds without progress and a minute in all.
//!
//! All threads take from one queue (tokio's multi-threaded runtime). A single-threaded
//! runtime for each core, with a listener of its own (`SO_REUSEPORT`), takes a little
//! less: beside it, on 2026-11-26 (`benches/compare/run runtime`), its CPU time for a
//! request was 0.95 to 1.00 of this on one core and 0.89 to 1.09 on two, over 3, 16 and
//! 1,000 connections, its memory the same. But there the kernel chooses a connection's
//! thread for good by a hash: few and busy connections can leave cores idle, and no
//! queue tells that there is too much to do. That is worth more than a twentieth.

mod exchange;
mod handshake;
mod leftover;
mod listen;
pub mod manager;
mod memory;
mod overload;
mod patience;
mod proxy;
mod shares;
mod slots;
mod tls;
mod turns;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Version};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use exchange::{Connection, Exchange, Streams};
use leftover::{Lingering, Unread};
use listen::Accepted;
use overload::Overload;
use patience::{Abort, Limits, Patient, Shared};
use shares::{Caller, Pool};
use slots::{Slot, Slots};
use turns::{Lane, Turns};

use crate::http::LoadShedding;
use crate::peer::ClientCertificate;

pub use listen::{Inherited, Listener, can_open};
pub use memory::Capacity;
pub use tls::{Identity, Tls, TlsError, TlsFiles};

type BoxBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// Longer than the usual minute of proxies, so that the proxy closes an idle
/// connection first, and no request meets a connection that is being closed here.
const PATIENCE: Limits =
    Limits { head: Duration::from_secs(5), idle: Duration::from_secs(75), answer: Duration::from_mins(1) };
/// Maximum head for the HTTP parser. The contract's own limit is lower, so that
/// its refusal has a body.
const PARSER_HEAD: u32 = 64 << 10;
/// How long to wait before accepting again when accepting failed.
const BACK_OFF: Duration = Duration::from_millis(100);
const H2_STREAMS: u32 = 100;
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
    let accepting = listeners.into_iter().map(|listener| accept(listener, Arc::clone(&serving), Arc::clone(&graceful)));
    let accepting = futures_util::future::join_all(accepting);
    let (enough, until_enough) = oneshot::channel::<Infallible>();
    // Not on the workers: a new connection would otherwise wait in their queue twice, to be accepted and to be
    // answered.
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
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(H2_HEADER_LIST)
        .max_pending_accept_reset_streams(H2_RESETS)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}

async fn accept<E>(listener: Listener, serving: Arc<Serving<E>>, graceful: Arc<GracefulShutdown>)
where
    E: Endpoint<Output = Response> + 'static,
{
    loop {
        match listener.accept().await {
            Ok(Accepted::Tcp(stream, local, remote, asks)) => {
                // The PROXY header will name the caller.
                let caller = if serving.proxy_protocol { None } else { serving.sole_caller(&remote) };
                // One connection waits here; others wait in the kernel's accept queue, where they cost nothing.
                let Some(room) = serving.slots.room(caller).await else { continue };
                // Registered at once, so that the next connection is counted against it.
                let place = if serving.proxy_protocol {
                    Place::Unnamed(room)
                } else {
                    let Some(slot) = serving.slots.enter(room, caller) else { continue };
                    Place::Entered(slot)
                };
                let peer = (remote, asks);
                tokio::spawn(tcp(stream, local, peer, place, Arc::clone(&serving), graceful.watcher()));
            }
            Ok(Accepted::Unix(stream, local, remote)) => {
                let Some(room) = serving.slots.room(None).await else { continue };
                let Some(slot) = serving.slots.enter(room, None) else { continue };
                let (serving, watcher) = (Arc::clone(&serving), graceful.watcher());
                tokio::spawn(connection(stream, local, remote, Security::None, slot, serving, watcher));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Handles what precedes HTTP on a TCP connection. A client that is too slow or
/// sends something else gets no answer. `asks` says whether it is asked for a certificate.
async fn tcp<E>(
    mut stream: TcpStream,
    local: LocalAddr,
    (mut remote, asks): (RemoteAddr, bool),
    place: Place,
    serving: Arc<Serving<E>>,
    watcher: Watcher,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let slot = match place {
        Place::Entered(slot) => slot,
        Place::Unnamed(room) => {
            match tokio::time::timeout(PATIENCE.head, proxy::announced(&mut stream)).await {
                Ok(Ok(Some(source))) => remote = RemoteAddr(source.into()),
                Ok(Ok(None)) => {}
                _ => return,
            }
            let Some(slot) = serving.slots.enter(room, serving.sole_caller(&remote)) else { return };
            slot
        }
    };
    let Some(acceptor) = serving.tls.as_deref().map(|tls| tls.acceptor(asks)) else {
        return connection(stream, local, remote, Security::None, slot, serving, watcher).await;
    };
    // Boxed, so that a connection without TLS does not hold the memory for it.
    let accepting = Box::pin(tokio::time::timeout(PATIENCE.head, acceptor.accept(stream)));
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        () = slot.open.unwanted() => return,
    };
    let failed = match accepted {
        Ok(Ok(stream)) => {
            let security = Security::Tls(tls::client_certificate(stream.get_ref().1));
            return Box::pin(connection(stream, local, remote, security, slot, serving, watcher)).await;
        }
        Ok(Err(error)) => Ok(error),
        Err(late) => Err(late),
    };
    if let Some(refusals) = &serving.refusals {
        refusals.handshake_failed(&remote, handshake::reason(&failed));
    }
}

/// The place that an accepted connection holds.
enum Place {
    /// Room, until the PROXY header names the caller.
    Unnamed(OwnedSemaphorePermit),
    /// A slot.
    Entered(Slot),
}

/// How a connection is secured.
enum Security {
    None,
    Tls(Option<ClientCertificate>),
}

impl Security {
    fn scheme(&self) -> Scheme {
        match self {
            Self::None => Scheme::HTTP,
            Self::Tls(_) => Scheme::HTTPS,
        }
    }
}

async fn connection<S, E>(
    stream: S,
    local: LocalAddr,
    remote: RemoteAddr,
    security: Security,
    slot: Slot,
    serving: Arc<Serving<E>>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Abort + Unpin + Send + 'static,
    E: Endpoint<Output = Response> + 'static,
{
    let (open, caller) = (Arc::clone(&slot.open), serving.sole_caller(&remote));
    let shared =
        Shared { open: Arc::clone(&open), heads: Arc::clone(&serving.heads), caller: caller.unwrap_or_default() };
    let unread = Unread::default();
    let io = TokioIo::new(Lingering::new(Patient::new(stream, PATIENCE, shared), unread.clone()));
    let shared_by_all = Arc::clone(&serving);
    let connection =
        Arc::new(Connection { serving, open, local, remote, security, caller, unread, lane: Lane::default() });
    let service = service_fn(move |request| Exchange::new(&connection, request));
    // Connection errors are the client's: it hung up, was too slow, or did not speak HTTP.
    let _ = watcher.watch(shared_by_all.builder.serve_connection(io, service).into_owned()).await;
    drop(slot);
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::service::State;

    fn serving(
        capacity: Capacity,
        overload: Option<Overload>,
    ) -> Arc<Serving<impl Endpoint<Output = Response> + 'static>> {
        let transport = Transport {
            capacity,
            connections_per_address: None,
            lame_duck: Duration::ZERO,
            drain: Duration::ZERO,
            proxy_protocol: false,
        };
        let ids = crate::http::RequestIds::new().unwrap();
        let refusals = Some(LoadShedding::new(&Arc::new(State::empty()), ids));
        let endpoint = make_sync(|_| Response::builder().body("good day"));
        let mut serving = Serving::new(endpoint, refusals, transport, None);
        if let Some(overload) = overload {
            serving.overload = Arc::new(overload);
        }
        Arc::new(serving)
    }

    /// A client's end of a connection that is served.
    async fn connected<E: Endpoint<Output = Response> + 'static>(serving: &Arc<Serving<E>>) -> DuplexStream {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (local, remote) = (LocalAddr::default(), RemoteAddr::default());
        let slot = serving.slots.enter(serving.slots.room(None).await.unwrap(), None).unwrap();
        let (graceful, serving) = (GracefulShutdown::new(), Arc::clone(serving));
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            connection(server, local, remote, Security::None, slot, serving, watcher).await;
            // Dropped earlier, it would end the connection.
            drop(graceful);
        });
        client
    }

    /// What comes until `end` has come.
    async fn until(client: &mut DuplexStream, end: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        while !answer.ends_with(end) {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "closed after {answer:?}");
        }
        answer
    }

    /// A refusal is an answer: the connection stays as long as after any other.
    #[tokio::test(start_paused = true)]
    async fn who_is_refused_keeps_the_connection() {
        let serving = serving(Capacity { connections: 1, requests: 2, large_heads: 1 }, Some(Overload::total()));
        let mut client = connected(&serving).await;
        // With a body, which is read and thrown away, and without.
        let requests =
            ["GET /token HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"];
        for request in requests.into_iter().cycle().take(6) {
            client.write_all(request.as_bytes()).await.unwrap();
            let answer = until(&mut client, br#""stack":[]}"#).await;
            assert!(answer.starts_with(b"HTTP/1.1 503 "));
            tokio::time::sleep(PATIENCE.head * 2).await;
        }
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// The longest idle connection is closed for a new one, and answers that were begun are not.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_makes_room() {
        let serving = serving(Capacity { connections: 2, requests: 8, large_heads: 1 }, None);
        let [mut first, mut second] = [connected(&serving).await, connected(&serving).await];
        for client in [&mut first, &mut second] {
            client.write_all(ASK).await.unwrap();
            until(client, b"good day").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut third = timeout(Duration::from_secs(1), connected(&serving)).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(1), first.read(&mut [0; 9])).await.unwrap().unwrap(), 0);
        for client in [&mut second, &mut third] {
            client.write_all(ASK).await.unwrap();
            until(client, b"good day").await;
        }
    }

    /// Requests that come together are answered one after the other, each in a turn of its own.
    #[tokio::test(start_paused = true)]
    async fn pipelined_requests_are_all_answered() {
        for needed in [false, true] {
            let serving = serving(Capacity { connections: 1, requests: 8, large_heads: 1 }, None);
            serving.turns.need(needed);
            tokio::spawn(Arc::clone(&serving.turns).run());
            let mut client = connected(&serving).await;
            client.write_all(&ASK.repeat(50)).await.unwrap();
            let mut came = String::new();
            while came.matches("good day").count() < 50 {
                let mut piece = [0; 4_096];
                let length = client.read(&mut piece).await.unwrap();
                assert_ne!(length, 0);
                came.push_str(std::str::from_utf8(&piece[..length]).unwrap());
            }
        }
    }

    /// An answer over HTTP/2 that its peer gives no window, or not all, counts as in flight until its stream is reset,
    /// though the peer answers every PING.
    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_window_ends() {
        for window in [0, 1] {
            let serving = serving(Capacity { connections: 1, requests: 2, large_heads: 1 }, None);
            let client = connected(&serving).await;
            let handshake = h2::client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(client);
            let (mut asking, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let request = || http::Request::get("http://a/").body(()).unwrap();
            let begun = Instant::now();
            let mut first = asking.send_request(request(), true).unwrap().0.await.unwrap().into_body();
            // One caller gets half of what is left.
            let second = asking.send_request(request(), true).unwrap().0.await.unwrap_err();
            assert_eq!(second.reason(), Some(h2::Reason::REFUSED_STREAM));
            let failed = loop {
                match first.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("it was answered"),
                }
            };
            assert_eq!((failed.reason(), begun.elapsed().as_secs()), (Some(h2::Reason::CANCEL), 60));
            assert!(asking.send_request(request(), true).unwrap().0.await.is_ok());
        }
    }
}
