//! A connection, from when it is accepted until it is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::abort::Abort;
use super::exchange::{Connection, Exchange, Security};
use super::leftover::{Lingering, Unread};
use super::listen::{Accepted, Listener};
use super::patience::{Limits, Patient, Shared};
use super::slots::Slot;
use super::turns::{Lane, Turns};
use super::{Serving, handshake, proxy, tls};

/// Longer than the usual minute of proxies, so that the proxy closes an idle
/// connection first, and no request meets a connection that is being closed here.
pub(super) const PATIENCE: Limits =
    Limits { head: Duration::from_secs(5), idle: Duration::from_secs(75), answer: Duration::from_mins(1) };
/// How long to wait before accepting again when accepting failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Maximum accepted connections that have not begun.
pub(super) const FRESH: usize = 128;
/// Maximum connections that begin at once.
pub(super) const TOGETHER: usize = 8;

/// A connection that has not begun.
pub(super) type Fresh = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Begins accepted connections, until all senders are gone. Where they come in a crowd, requests take turns at once, until
/// the next look at how long they wait tells whether they need to.
///
/// This is a task of the runtime, because what a worker spawns joins its own queue. What another thread spawns joins the
/// queue that workers take from first: with many new connections, open ones would not be served at all.
pub(super) async fn begin(mut accepted: mpsc::Receiver<Fresh>, turns: Arc<Turns>) {
    let mut fresh = Vec::with_capacity(TOGETHER);
    while accepted.recv_many(&mut fresh, TOGETHER).await > 0 {
        if fresh.len() == TOGETHER {
            turns.need(true);
        }
        fresh.drain(..).for_each(|connection| _ = tokio::spawn(connection));
        // It goes on after the next poll for I/O, when open connections had their turn.
        tokio::task::yield_now().await;
    }
}

/// Accepts connections, which go to [`begin`].
pub(super) async fn accept<E>(
    listener: Listener,
    serving: Arc<Serving<E>>,
    graceful: Arc<GracefulShutdown>,
    accepted: mpsc::Sender<Fresh>,
) where
    E: Endpoint<Output = Response> + 'static,
{
    // Each listener holds a place while it waits.
    while let Ok(place) = accepted.reserve().await {
        let connection: Fresh = match listener.accept().await {
            Ok(Accepted::Tcp(stream, local, remote, asks)) => {
                // The PROXY header will name the caller.
                let caller = if serving.proxy_protocol { None } else { serving.sole_caller(&remote) };
                // One waits here; others wait in the kernel's accept queue, where they cost nothing.
                let Some(room) = serving.slots.room(caller).await else { continue };
                // Registered at once, so that the next connection is counted against it.
                let held = if serving.proxy_protocol {
                    Place::Unnamed(room)
                } else {
                    let Some(slot) = serving.slots.enter(room, caller) else { continue };
                    Place::Entered(slot)
                };
                let peer = (remote, asks);
                Box::pin(tcp(stream, local, peer, held, Arc::clone(&serving), graceful.watcher()))
            }
            Ok(Accepted::Unix(stream, local, remote)) => {
                let Some(room) = serving.slots.room(None).await else { continue };
                let Some(slot) = serving.slots.enter(room, None) else { continue };
                let (serving, watcher) = (Arc::clone(&serving), graceful.watcher());
                Box::pin(connection(stream, local, remote, Security::None, slot, serving, watcher))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        place.send(connection);
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
    let accepting = Box::pin(tokio::time::timeout(PATIENCE.head, acceptor.accept_with(stream, tls::bound_buffers)));
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

pub(super) async fn connection<S, E>(
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
    // Of a proxy, which speaks for others, its own address counts.
    let sender = serving.caller(&remote, &HeaderMap::new());
    let shared = Shared { open: Arc::clone(&open), heads: Arc::clone(&serving.heads), caller: sender };
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
