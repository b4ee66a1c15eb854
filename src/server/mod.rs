//! The transport: connections in, requests to one endpoint.
//!
//! This room owns sockets and time-outs: the first bytes, the head, what is
//! left of a body, clients that do not read, and the end of the process. What a request means must not
//! enter. poem's own server is not used: it never gives up on a half-sent head
//! and spins when accepting fails.

mod leftover;
mod patience;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
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
use tokio::net::{TcpListener, TcpStream};

use patience::{Answering, Limits, Patient};

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
const H2_PING: Duration = Duration::from_secs(20);

/// Serves `endpoint` on every listener until `stop` is done, then lets requests
/// in flight finish, for at most `drain`.
pub async fn serve<E>(listeners: Vec<TcpListener>, endpoint: E, stop: impl Future<Output = ()>, drain: Duration)
where
    E: Endpoint<Output = Response> + 'static,
{
    let endpoint = Arc::new(endpoint);
    let builder = Arc::new(builder());
    let connections = Arc::new(GracefulShutdown::new());
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&endpoint), Arc::clone(&builder), Arc::clone(&connections)));
    }
    stop.await;
    accepting.shutdown().await;
    if let Some(connections) = Arc::into_inner(connections)
        && tokio::time::timeout(drain, connections.shutdown()).await.is_err()
    {
        tracing::warn!(seconds = drain.as_secs(), "requests were still in flight at the end of the drain");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(PARSER_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(PARSER_HEAD)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    builder
}

async fn accept<E>(
    listener: TcpListener,
    endpoint: Arc<E>,
    builder: Arc<Builder<TokioExecutor>>,
    connections: Arc<GracefulShutdown>,
) where
    E: Endpoint<Output = Response> + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let (endpoint, builder) = (Arc::clone(&endpoint), Arc::clone(&builder));
                tokio::spawn(connection(stream, remote, endpoint, builder, connections.watcher()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn connection<E>(
    stream: TcpStream,
    remote: SocketAddr,
    endpoint: Arc<E>,
    builder: Arc<Builder<TokioExecutor>>,
    watcher: Watcher,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let Ok(local) = stream.local_addr() else { return };
    // An answer is one small write; without this it can wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let (local, remote) = (LocalAddr(local.into()), RemoteAddr(remote.into()));
    let answering = Answering::default();
    let io = TokioIo::new(Patient::new(stream, PATIENCE, answering.clone()));
    let service = service_fn(move |request| {
        let (endpoint, local, remote, one) = (Arc::clone(&endpoint), local.clone(), remote.clone(), answering.one());
        async move {
            let answer = answer(&*endpoint, request, local, remote).await;
            drop(one);
            Ok::<_, Infallible>(answer)
        }
    });
    // What goes wrong on a connection is its client's doing: it hung up, was too slow, or spoke no HTTP.
    let _ = watcher.watch(builder.serve_connection(io, service).into_owned()).await;
}

async fn answer<E>(
    endpoint: &E,
    request: http::Request<Incoming>,
    local: LocalAddr,
    remote: RemoteAddr,
) -> http::Response<BoxBody>
where
    E: Endpoint<Output = Response>,
{
    let version = request.version();
    let expects = request.headers().contains_key(EXPECT);
    let has_body = version < Version::HTTP_2 && !request.body().is_end_stream();
    let mut request = poem::Request::from((request, local, remote, Scheme::HTTP));
    let leftover = has_body.then(|| leftover::track(&mut request));
    let mut response = endpoint.get_response(request).await;
    let unread = match leftover {
        Some(leftover) => !leftover.discard(expects).await,
        None => false,
    };
    if unread || version == Version::HTTP_10 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.into()
}
