//! Time-outs of a connection on which nothing is being answered, and of a client
//! that does not read.
//!
//! hyper has one clock for a head that is slow to arrive and for a connection that
//! is merely kept open, and none at all until it can tell HTTP/1 from HTTP/2. So
//! the clocks are here, where bytes come and go, and hyper's is off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection on which nothing is being answered may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From its start, or from the first byte of a head, to the end of the head; and
    /// how long a client may read nothing of an answer.
    pub(super) head: Duration,
    /// From an answer to the first byte of the next request.
    pub(super) idle: Duration,
}

/// How many requests of a connection are being answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering(Arc<AtomicUsize>);

impl Answering {
    /// One more, until this is dropped.
    pub(super) fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(Arc::clone(&self.0))
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A request that is being answered.
pub(super) struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is awaited from the client.
enum Awaited {
    /// Its first bytes: so many have matched HTTP/2's preface.
    Preface(usize),
    /// The rest of a head.
    Head,
    /// Another request, or whatever HTTP/2 says in between.
    More,
    /// Nothing: it is being answered.
    Answer,
}

/// A stream that fails if its client keeps it waiting for too long.
pub(super) struct Patient<S> {
    stream: S,
    limits: Limits,
    answering: Answering,
    awaited: Awaited,
    is_http2: bool,
    deadline: Pin<Box<Sleep>>,
    /// While it takes nothing more.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limits: Limits, answering: Answering) -> Self {
        let deadline = Box::pin(tokio::time::sleep(limits.head));
        Self { stream, limits, answering, awaited: Awaited::Preface(0), is_http2: false, deadline, stalled: None }
    }

    /// Gives up on a client that has not read for too long.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let timeout = self.limits.head;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn await_within(&mut self, awaited: Awaited, limit: Duration) {
        self.awaited = awaited;
        self.deadline.as_mut().reset(Instant::now() + limit);
    }

    /// Takes note of whether something is being answered.
    fn look_at_answers(&mut self) {
        match (self.answering.any(), &self.awaited) {
            (true, _) => self.awaited = Awaited::Answer,
            (false, Awaited::Answer) => self.await_within(Awaited::More, self.limits.idle),
            (false, _) => {}
        }
    }

    /// Takes note of an answer that is written: hyper need not read while a request is answered.
    fn look_at_writing(&mut self) {
        match self.answering.any() {
            // HTTP/2 writes without a request, too.
            _ if self.is_http2 => {}
            true => self.awaited = Awaited::Answer,
            false => self.await_within(Awaited::More, self.limits.idle),
        }
    }

    /// Takes note of what has arrived.
    fn look_at(&mut self, bytes: &[u8]) {
        match self.awaited {
            Awaited::Preface(matched) => {
                let awaited = PREFACE.get(matched..).unwrap_or_default();
                if awaited.starts_with(bytes) && bytes.len() < awaited.len() {
                    self.awaited = Awaited::Preface(matched + bytes.len());
                } else if bytes.starts_with(awaited) {
                    self.is_http2 = true;
                    self.await_within(Awaited::More, self.limits.idle);
                } else {
                    self.awaited = Awaited::Head;
                }
            }
            // HTTP/2 has something to say without a request, too, which is no reason to wait for longer.
            Awaited::More if !self.is_http2 => self.await_within(Awaited::Head, self.limits.head),
            _ => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look_at_answers();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let arrived = buf.filled().get(before..).unwrap_or_default();
        if !arrived.is_empty() {
            this.look_at(arrived);
        } else if polled.is_pending()
            && !matches!(this.awaited, Awaited::Answer)
            && this.deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.look_at_writing();
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_stalled(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stalled(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.unless_stalled(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look_at_writing();
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMITS: Limits = Limits { head: Duration::from_secs(5), idle: Duration::from_mins(1) };

    /// Seconds until a read fails.
    async fn patience<S: AsyncRead + Unpin>(stream: &mut Patient<S>) -> u64 {
        let begun = Instant::now();
        let read = stream.read(&mut [0; 64]).await;
        assert!(matches!(read, Err(error) if error.kind() == io::ErrorKind::TimedOut));
        begun.elapsed().as_secs()
    }

    /// Seconds until a read fails after this arrived in `pieces`, a second between.
    async fn after(pieces: &[&[u8]]) -> u64 {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, Answering::default());
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), piece.len());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        patience(&mut stream).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_five_seconds_whatever_it_is() {
        assert_eq!(after(&[]).await, 5);
        assert_eq!(after(&[b"P"]).await, 4);
        assert_eq!(after(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r"]).await, 3);
        assert_eq!(after(&[b"G"]).await, 4);
        assert_eq!(after(&[b"P", b"O", b"S", b"T"]).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_may_be_idle_from_its_start() {
        assert_eq!(after(&[PREFACE]).await, 59);
        assert_eq!(after(&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n", b"a frame"]).await, 58);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_answer_it_may_be_idle_but_not_slow() {
        let (mut client, server) = tokio::io::duplex(64);
        let answering = Answering::default();
        let mut stream = Patient::new(server, LIMITS, answering.clone());
        client.write_all(b"GET").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        let one = answering.one();
        // Its body has a limit elsewhere.
        let read = tokio::time::timeout(Duration::from_mins(10), stream.read(&mut [0; 64])).await;
        assert!(read.is_err());
        drop(one);
        assert_eq!(patience(&mut stream).await, 60);

        let mut stream = Patient::new(stream.stream, LIMITS, answering.clone());
        client.write_all(b"GET").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        drop(answering.one());
        let one = answering.one();
        assert!(tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await.is_err());
        drop(one);
        assert!(tokio::time::timeout(Duration::from_secs(59), stream.read(&mut [0; 64])).await.is_err());
        client.write_all(b"G").await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(patience(&mut stream).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_not_seen_to_begin_ends_the_wait_for_a_head() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, Answering::default());
        for _ in 0..3 {
            client.write_all(b"GET").await.unwrap();
            stream.read_exact(&mut [0; 3]).await.unwrap();
            stream.write_all(b"200").await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(patience(&mut stream).await, 50);
    }

    /// The buffer takes 64 bytes; then nobody reads.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_silent, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, Answering::default());
        let written = tokio::time::timeout(Duration::from_secs(6), stream.write_all(&[0; 65])).await;
        assert!(matches!(written, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut));

        // One that reads slowly is not.
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, Answering::default());
        let slow = tokio::spawn(async move {
            let mut taken = [0; 64];
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                client.read_exact(&mut taken).await.unwrap();
            }
        });
        stream.write_all(&[0; 192]).await.unwrap();
        slow.await.unwrap();
    }
}
