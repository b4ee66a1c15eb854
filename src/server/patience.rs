//! Time-outs on the first bytes of a connection, and on a client that does not read.
//!
//! Until it can tell HTTP/1 from HTTP/2, hyper-util waits without a timer: for
//! as long as what has arrived is the beginning of HTTP/2's preface.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails if nobody can tell within the time-out what it speaks, and
/// if nothing can be written to it for as long.
pub(super) struct Patient<S> {
    stream: S,
    timeout: Duration,
    /// While it is undecided.
    deadline: Option<Pin<Box<Sleep>>>,
    /// How much of the preface has arrived.
    matched: usize,
    /// While it takes nothing more.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, deadline: Some(Box::pin(tokio::time::sleep(timeout))), matched: 0, stalled: None }
    }

    /// Gives up on a client that has not read for too long.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let timeout = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let awaited = PREFACE.get(self.matched..).unwrap_or_default();
        let undecided = !bytes.is_empty() && bytes.len() < awaited.len() && awaited.starts_with(bytes);
        self.matched += bytes.len();
        if !undecided {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(deadline) = &mut this.deadline {
            if polled.is_ready() {
                this.look_at(buf.filled().get(before..).unwrap_or_default());
            } else if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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

    /// Whether a read still fails at the deadline after `sent` arrived in `pieces`.
    async fn times_out(pieces: &[&[u8]]) -> bool {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, Duration::from_secs(5));
        let mut buffer = [0; 64];
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), piece.len());
        }
        let read = tokio::time::timeout(Duration::from_secs(6), stream.read(&mut buffer)).await;
        matches!(read, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_preface_begun_time_out() {
        assert!(times_out(&[]).await);
        assert!(times_out(&[b"P"]).await);
        assert!(times_out(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r"]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_is_clear_others_keep_the_time() {
        assert!(!times_out(&[b"G"]).await);
        assert!(!times_out(&[b"P", b"O"]).await);
        assert!(!times_out(&[PREFACE]).await);
        assert!(!times_out(&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n"]).await);
    }

    /// The buffer takes 64 bytes; then nobody reads.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_silent, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, Duration::from_secs(5));
        let written = tokio::time::timeout(Duration::from_secs(6), stream.write_all(&[0; 65])).await;
        assert!(matches!(written, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut));

        // One that reads slowly is not.
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, Duration::from_secs(5));
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
