//! The transport: connections in, requests to one endpoint.
//!
//! This room owns sockets, how many there may be, TLS and what comes before it;
//! time-outs: the first bytes, the head, what is left of a body, clients that do
//! not read; how much is too much; and the end of the process. What a request means must not enter.
//! poem's own server is not used: it never gives up on a half-sent head and spins
//! when accepting fails.
//!
//! All threads take from one queue (tokio's multi-threaded runtime). A single-threaded
//! runtime for each core, with a listener of its own (`SO_REUSEPORT`), takes a little
//! less: beside it, on 2026-11-26 (`benches/compare/run runtime`), its CPU time for a
//! request was 0.95 to 1.00 of this on one core and 0.89 to 1.09 on two, over 3, 16 and
//! 1,000 connections, its memory the same. But there the kernel chooses a connection's
//! thread for good by a hash: few and busy connections can leave cores idle, and no
//! queue tells that there is too much to do. That is worth more than a twentieth.

mod leftover;
mod listen;
pub mod manager;
mod overload;
mod patience;
mod proxy;
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, lazy};
use http::header::CONNECTION;
use http::uri::Scheme;
use http::{HeaderValue, Version};
use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use leftover::{Lingering, Unread};
use listen::Accepted;
use overload::Overload;
use patience::{Answering, Limits, Patient};

use crate::http::Refusals;
use crate::peer::ClientCertificate;

pub use listen::{Inherited, Listener, can_open};
pub use tls::{Identity, Tls, TlsError, TlsFiles};

type BoxBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// Longer than the proxies' usual minute, so that it is they who close a connection
/// that they keep, and no request meets one that is being closed here.
const PATIENCE: Limits = Limits { head: Duration::from_secs(5), idle: Duration::from_secs(75) };
/// What the HTTP parser takes as a head at most; the contract's own limit is
/// lower, so that its refusal has a body.
const PARSER_HEAD: u32 = 64 << 10;
/// How long to wait before accepting again when accepting failed.
const BACK_OFF: Duration = Duration::from_millis(100);
const H2_STREAMS: u32 = 100;
/// Bytes of a request's fields, counted as RFC 9113 §6.5.2 does.
const H2_HEADER_LIST: u32 = 16 << 10;
/// Streams that a client has reset before they were looked at; one more ends its connection (rapid reset).
const H2_RESETS: usize = 20;
const H2_PING: Duration = Duration::from_secs(20);

/// Descriptors that are kept back from connections: for files that are read, logs, listeners.
const RESERVED_DESCRIPTORS: u64 = 32;
/// More than this, and memory is what runs out.
const MOST_CONNECTIONS: u64 = 10_000;

/// How many connections there may be at once, unless somebody says so: what the
/// limit of open files leaves room for.
#[must_use]
pub fn default_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = files.saturating_sub(RESERVED_DESCRIPTORS).clamp(8, MOST_CONNECTIONS);
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// How connections are taken and ended.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    /// The most connections at once. Who comes then waits until one is free.
    pub connections: usize,
    /// How long connections are still accepted once the process is to end, each for
    /// one more request, while load balancers learn of it.
    pub lame_duck: Duration,
    /// How long requests in flight then have to finish.
    pub drain: Duration,
    /// Every TCP connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Serves `endpoint` on every listener until `stop` is done and what was begun has
/// been finished. Where there are `refusals`, they are said when more requests come than can be answered.
pub async fn serve<E>(
    listeners: Vec<Listener>,
    endpoint: E,
    refusals: Option<Refusals>,
    transport: Transport,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let serving = Arc::new(Serving {
        endpoint,
        refusals,
        builder: builder(),
        room: Arc::new(Semaphore::new(transport.connections)),
        ending: AtomicBool::new(false),
        tls,
        proxy_protocol: transport.proxy_protocol,
        overload: Arc::default(),
    });
    let graceful = Arc::new(GracefulShutdown::new());
    let accepting = listeners.into_iter().map(|listener| accept(listener, Arc::clone(&serving), Arc::clone(&graceful)));
    let accepting = futures_util::future::join_all(accepting);
    let (enough, until_enough) = oneshot::channel::<Infallible>();
    // Outside of the workers: who is new would else wait in their queue once to be accepted, and once more to be
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
        tracing::warn!(%error, "requests are not refused when there are too many");
    }
    stop.await;
    serving.ending.store(true, Ordering::Relaxed);
    tokio::time::sleep(transport.lame_duck).await;
    drop(enough);
    // It ends, whatever it ends with.
    let _ = accepting.await;
    if let Some(graceful) = Arc::into_inner(graceful)
        && tokio::time::timeout(transport.drain, graceful.shutdown()).await.is_err()
    {
        let seconds = transport.drain.as_secs();
        tracing::warn!(seconds, "requests were still in flight at the end of the drain");
    }
}

/// What all connections share.
struct Serving<E> {
    endpoint: E,
    refusals: Option<Refusals>,
    builder: Builder<TokioExecutor>,
    room: Arc<Semaphore>,
    /// The process is about to end.
    ending: AtomicBool,
    /// What TCP connections are shown, if they speak TLS.
    tls: Option<Arc<Tls>>,
    proxy_protocol: bool,
    overload: Arc<Overload>,
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // A caller may close its side after its last request, and gets its answers.
    builder.http1().half_close(true);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(PARSER_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(H2_HEADER_LIST)
        .max_pending_accept_reset_streams(H2_RESETS)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}

async fn accept<E>(listener: Listener, serving: Arc<Serving<E>>, graceful: Arc<GracefulShutdown>)
where
    E: Endpoint<Output = Response> + 'static,
{
    loop {
        // Before anything is accepted: who waits in the kernel's queue costs nothing here.
        let Ok(room) = Arc::clone(&serving.room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(Accepted::Tcp(stream, local, remote)) => {
                spawn(tcp(stream, local, remote, Arc::clone(&serving), graceful.watcher()), room);
            }
            Ok(Accepted::Unix(stream, local, remote)) => {
                let (serving, watcher) = (Arc::clone(&serving), graceful.watcher());
                spawn(connection(stream, local, remote, Security::None, serving, watcher), room);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn spawn(connection: impl Future<Output = ()> + Send + 'static, room: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        connection.await;
        drop(room);
    });
}

/// What comes before HTTP on a TCP connection. Who is too slow with it, or says
/// something else, is not answered.
async fn tcp<E>(
    mut stream: TcpStream,
    local: LocalAddr,
    mut remote: RemoteAddr,
    serving: Arc<Serving<E>>,
    watcher: Watcher,
) where
    E: Endpoint<Output = Response> + 'static,
{
    if serving.proxy_protocol {
        match tokio::time::timeout(PATIENCE.head, proxy::announced(&mut stream)).await {
            Ok(Ok(Some(source))) => remote = RemoteAddr(source.into()),
            Ok(Ok(None)) => {}
            _ => return,
        }
    }
    let Some(acceptor) = serving.tls.as_deref().map(Tls::acceptor) else {
        return connection(stream, local, remote, Security::None, serving, watcher).await;
    };
    // In a box, so that a connection without TLS does not hold the room for it.
    let accepting = Box::pin(tokio::time::timeout(PATIENCE.head, acceptor.accept(stream)));
    if let Ok(Ok(stream)) = accepting.await {
        let security = Security::Tls(tls::client_certificate(stream.get_ref().1));
        Box::pin(connection(stream, local, remote, security, serving, watcher)).await;
    }
}

/// How a connection is secured.
#[derive(Clone, Copy)]
enum Security {
    None,
    Tls(Option<ClientCertificate>),
}

impl Security {
    fn scheme(self) -> Scheme {
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
    serving: Arc<Serving<E>>,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    E: Endpoint<Output = Response> + 'static,
{
    let answering = Answering::default();
    let unread = Unread::default();
    let io = TokioIo::new(Lingering::new(Patient::new(stream, PATIENCE, answering.clone()), unread.clone()));
    let shared = Arc::clone(&serving);
    let service = service_fn(move |request| {
        let (refusal, one) = (shared.refusal(&request, security), answering.one());
        let version = request.version();
        let has_body = version < Version::HTTP_2 && !request.body().is_end_stream();
        match refusal {
            Some(refusal) if !has_body => {
                let refusal = shared.finish(refusal, version, false);
                Either::Left(lazy(move |_| {
                    // Here, for the connection to see that something was being answered.
                    drop(one);
                    Ok(refusal)
                }))
            }
            refusal => {
                let (serving, local, remote) = (Arc::clone(&shared), local.clone(), remote.clone());
                let unread = has_body.then(|| unread.clone());
                // In a box, so that a connection on which nothing is asked does not hold the room for it.
                Either::Right(Box::pin(async move {
                    let answer = answer(&serving, request, refusal, unread, (local, remote, security)).await;
                    drop(one);
                    Ok::<_, Infallible>(answer)
                }))
            }
        }
    });
    // What goes wrong on a connection is its client's doing: it hung up, was too slow, or spoke no HTTP.
    let _ = watcher.watch(serving.builder.serve_connection(io, service).into_owned()).await;
}

async fn answer<E>(
    serving: &Serving<E>,
    request: http::Request<Incoming>,
    refusal: Option<Response>,
    unread: Option<Unread>,
    (local, remote, security): (LocalAddr, RemoteAddr, Security),
) -> http::Response<BoxBody>
where
    E: Endpoint<Output = Response>,
{
    let version = request.version();
    let mut request = poem::Request::from((request, local, remote, security.scheme()));
    if let Security::Tls(Some(certificate)) = security {
        request.extensions_mut().insert(certificate);
    }
    let leftover = unread.map(|unread| leftover::track(&mut request, unread));
    let response = match refusal {
        Some(refusal) => {
            drop(request);
            refusal
        }
        None => serving.endpoint.call(request).await.unwrap_or_else(poem::Error::into_response),
    };
    let unread = match leftover {
        Some(leftover) => !leftover.discard().await,
        None => false,
    };
    serving.finish(response, version, unread)
}

impl<E> Serving<E> {
    /// The refusal of a request, if there is too much to do for it.
    fn refusal(&self, request: &http::Request<Incoming>, security: Security) -> Option<Response> {
        let refusals = self.refusals.as_ref().filter(|_| self.overload.refuses())?;
        refusals.of(request, matches!(security, Security::Tls(_)))
    }

    /// An answer as it leaves; the connection closes if the client has sent more than was read.
    fn finish(&self, mut response: Response, version: Version, unread: bool) -> http::Response<BoxBody> {
        let ending = version < Version::HTTP_2 && self.ending.load(Ordering::Relaxed);
        if version == Version::HTTP_10 {
            // hyper would otherwise add `keep-alive` where the request has it.
            response.set_version(version);
        }
        if unread || ending || version == Version::HTTP_10 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.into()
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::service::State;

    /// A refusal is an answer: the connection stays as long as after any other.
    #[tokio::test(start_paused = true)]
    async fn who_is_refused_keeps_the_connection() {
        let serving = Serving {
            endpoint: make_sync(|_| Response::default()),
            refusals: Some(Refusals::new(&Arc::new(State::empty()), crate::http::RequestIds::new().unwrap())),
            builder: builder(),
            room: Arc::new(Semaphore::new(1)),
            ending: AtomicBool::new(false),
            tls: None,
            proxy_protocol: false,
            overload: Arc::new(Overload::total()),
        };
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (local, remote) = (LocalAddr::default(), RemoteAddr::default());
        let graceful = GracefulShutdown::new();
        tokio::spawn(connection(server, local, remote, Security::None, Arc::new(serving), graceful.watcher()));
        // With a body, which is read and thrown away, and without.
        let requests =
            ["GET /token HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"];
        for request in requests.into_iter().cycle().take(6) {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(br#""stack":[]}"#) {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "closed before the answer to {request}");
            }
            assert!(answer.starts_with(b"HTTP/1.1 503 "));
            tokio::time::sleep(PATIENCE.head * 2).await;
        }
    }
}
