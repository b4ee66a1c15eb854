//! Connections that are served.

use std::sync::atomic::AtomicUsize;

use poem::endpoint::make_sync;
use poem::web::LocalAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout};

use super::connection::{Fresh, PATIENCE, TOGETHER, connection};
use super::exchange::Security;
use super::*;
use crate::service::State;

fn serving(capacity: Capacity, overload: Option<Overload>) -> Arc<Serving<impl Endpoint<Output = Response> + 'static>> {
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

/// A connection that does not read its answers makes room after a second.
#[tokio::test]
async fn one_that_does_not_read_makes_room() {
    let serving = serving(Capacity { connections: 1, requests: 8, large_heads: 2 }, None);
    let mut client = connected(&serving).await;
    // Their answers are more than the stream holds.
    let asking = async {
        for _ in 0..20_000 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        }
        std::io::Result::Ok(())
    };
    assert!(timeout(Duration::from_millis(200), asking).await.is_err());
    assert!(timeout(Duration::from_secs(3), serving.slots.room(None)).await.unwrap().is_some());
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
        let mut serving = serving(Capacity { connections: 1, requests: 2, large_heads: 1 }, None);
        let state = Arc::new(State::empty());
        let ids = crate::http::RequestIds::new().unwrap();
        Arc::get_mut(&mut serving).unwrap().refusals = Some(LoadShedding::new(&state, ids));
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
        assert!(state.metrics.text(&[], &[], 0).contains("lingpai_requests_shed_total 1\n"));
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

/// However many connections begin, the others have their turn after a few, and in a crowd requests take turns.
#[tokio::test]
async fn a_crowd_begins_a_few_at_a_time() {
    let turns = Turns::new(1);
    let (accepted, fresh) = mpsc::channel(FRESH);
    tokio::spawn(begin(fresh, Arc::clone(&turns)));
    let begun = Arc::new(AtomicUsize::new(0));
    let crowd = async |size: usize| {
        for _ in 0..size {
            let begun = Arc::clone(&begun);
            let connection: Fresh = Box::pin(async move { _ = begun.fetch_add(1, Ordering::Relaxed) });
            assert!(accepted.try_send(connection).is_ok());
        }
        let mut most = 0;
        for _ in 0..FRESH {
            let before = begun.load(Ordering::Relaxed);
            tokio::task::yield_now().await;
            most = most.max(begun.load(Ordering::Relaxed) - before);
        }
        (most, turns.are_needed())
    };
    assert_eq!(crowd(TOGETHER - 1).await, (TOGETHER - 1, false));
    assert_eq!(crowd(FRESH).await, (TOGETHER, true));
    assert_eq!(begun.load(Ordering::Relaxed), FRESH + TOGETHER - 1);
}
