//! The part of a body that a handler did not read.
//!
//! A caller may still be writing when the answer is ready. If the method gives a body a meaning, the
//! rest is read, within limits, and discarded before the answer, and the connection stays open. If it
//! does not (GET), only what has already arrived is read: some proxies forward the caller's
//! `Content-Length` without the body, so waiting for it would take long, and the next request would
//! be mistaken for it. If more is expected, the answer says `Connection: close`, and the connection
//! closes slowly ([`Lingering`]): if it were closed at once with unread bytes, the kernel would reset
//! it and the answer could be lost.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Method;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::BoxBody;

/// Maximum bytes to discard.
const MOST: usize = 1 << 20;
/// How long the rest may take to arrive.
const LONGEST: Duration = Duration::from_secs(2);
/// How often the connection is polled before it counts as empty: once to pass on what it has read,
/// and once to read.
const LOOKS: u8 = 2;
/// Buffer size in bytes of a closing connection.
const CHUNK: usize = 4 << 10;

/// Whether the body of a request with this method has a meaning.
pub(super) fn means_its_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Tracks the body of `request`, wherever it goes. `unread` tells the connection what becomes of it.
pub(super) fn track(request: &mut poem::Request, unread: Unread) -> Leftover {
    let (home, back) = oneshot::channel();
    let body = Some(request.take_body().into());
    let is_awaited = means_its_body(request.method());
    let expects_continue = request.headers().contains_key(EXPECT);
    request.set_body(BoxBody::new(Tracked { body, home: Some(home), touched: false, broken: false }));
    Leftover { back, unread, is_awaited, expects_continue }
}

/// The rest of a body.
struct Rest {
    body: BoxBody,
    /// The handler began to read it.
    touched: bool,
    /// It could not be read: it is not well-formed, or it ended too early.
    broken: bool,
}

/// What is left once the handler has dropped the body.
pub(super) struct Leftover {
    back: oneshot::Receiver<Rest>,
    unread: Unread,
    /// It is worth waiting for.
    is_awaited: bool,
    /// The caller sends nothing before `100 Continue`.
    expects_continue: bool,
}

impl Leftover {
    /// Reads the rest. Returns false if the caller sends more than the limit, or something that is not
    /// a body. A caller that waits for `100 Continue` is not asked to send what nothing reads.
    pub(super) async fn discard(mut self) -> bool {
        let Rest { body, touched, broken } = match self.back.try_recv() {
            Ok(rest) => rest,
            // Everything was read.
            Err(oneshot::error::TryRecvError::Closed) => return true,
            // The handler still holds it.
            Err(oneshot::error::TryRecvError::Empty) => {
                self.unread.set();
                return false;
            }
        };
        let is_unasked = self.expects_continue && !touched;
        let was_read = if broken || is_unasked || body.size_hint().lower() > MOST as u64 {
            drop(body);
            false
        } else if self.is_awaited {
            tokio::time::timeout(LONGEST, to_the_end(body)).await.unwrap_or(false)
        } else {
            what_is_there(body).await
        };
        if !was_read {
            self.unread.set();
            // The connection learns that the body is not read, and closes after the answer.
            tokio::task::yield_now().await;
        }
        was_read
    }
}

async fn to_the_end(mut body: BoxBody) -> bool {
    let mut room = MOST;
    while let Some(frame) = body.frame().await {
        if !fits(&frame, &mut room) {
            return false;
        }
    }
    true
}

/// Reads what has arrived. Returns whether that was everything.
async fn what_is_there(mut body: BoxBody) -> bool {
    let (mut room, mut looks) = (MOST, 0);
    loop {
        match body.frame().now_or_never() {
            Some(None) => return true,
            Some(Some(frame)) if fits(&frame, &mut room) => looks = 0,
            None if looks < LOOKS => {
                looks += 1;
                // Meanwhile the connection reads.
                tokio::task::yield_now().await;
            }
            _ => return false,
        }
    }
}

fn fits(frame: &io::Result<Frame<Bytes>>, room: &mut usize) -> bool {
    let length = frame.as_ref().ok().map(|frame| frame.data_ref().map_or(0, Bytes::len));
    let Some(left) = length.and_then(|length| room.checked_sub(length)) else { return false };
    *room = left;
    true
}

/// Whether bytes were left when a connection closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that keeps reading after its shutdown if bytes were left, until its peer closes too, within
/// the same limits of time and size. The peer sees the end of the answer at once.
pub(super) struct Lingering<S> {
    stream: S,
    unread: Unread,
    closing: Option<Closing>,
}

struct Closing {
    until: Pin<Box<Sleep>>,
    room: usize,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, unread: Unread) -> Self {
        Self { stream, unread, closing: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, unread, closing } = self.get_mut();
        if closing.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        if !unread.get() {
            return Poll::Ready(Ok(()));
        }
        let closing =
            closing.get_or_insert_with(|| Closing { until: Box::pin(tokio::time::sleep(LONGEST)), room: MOST });
        loop {
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            let read = Pin::new(&mut *stream).poll_read(cx, &mut chunk);
            let left = closing.room.checked_sub(chunk.filled().len());
            match (read, left) {
                (Poll::Ready(Ok(())), Some(left)) if left < closing.room => closing.room = left,
                (Poll::Pending, _) => return closing.until.as_mut().poll(cx).map(Ok),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

struct Tracked {
    body: Option<BoxBody>,
    home: Option<oneshot::Sender<Rest>>,
    touched: bool,
    broken: bool,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.touched = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        match polled {
            Poll::Ready(None) => self.body = None,
            Poll::Ready(Some(Err(_))) => self.broken = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let (Some(body), Some(home)) = (self.body.take(), self.home.take())
            && (self.broken || !body.is_end_stream())
        {
            let _ = home.send(Rest { body, touched: self.touched, broken: self.broken });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::body::Incoming;
    use hyper::server::conn::http1::Builder;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use poem::web::{LocalAddr, RemoteAddr};
    use poem::{Request, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    use super::*;

    /// Answers 200 if what nobody read of the body could be thrown away, otherwise 400.
    async fn answer(request: http::Request<Incoming>, unread: Unread) -> Result<http::Response<BoxBody>, Infallible> {
        let mut request =
            Request::from((request, LocalAddr::default(), RemoteAddr::default(), http::uri::Scheme::HTTP));
        let leftover = track(&mut request, unread);
        let reads = request.headers().contains_key("read");
        let body: BoxBody = request.take_body().into();
        if reads {
            to_the_end(body).await;
        } else {
            drop(body);
        }
        let status = if leftover.discard().await { http::StatusCode::OK } else { http::StatusCode::BAD_REQUEST };
        Ok(Response::builder().status(status).finish().into())
    }

    fn serve(room: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(room);
        let unread = Unread::default();
        let io = TokioIo::new(Lingering::new(server, unread.clone()));
        let service = service_fn(move |request| answer(request, unread.clone()));
        tokio::spawn(Builder::new().half_close(true).serve_connection(io, service));
        client
    }

    /// The status, and the seconds that it took.
    async fn status(client: &mut DuplexStream) -> (u16, u64) {
        let (begun, mut head) = (Instant::now(), Vec::new());
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
        (status, begun.elapsed().as_secs())
    }

    async fn asked(request: &str) -> (u16, u64) {
        let mut client = serve(1 << 16);
        client.write_all(request.as_bytes()).await.unwrap();
        status(&mut client).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_meaning_is_not_waited_for() {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            let with = |rest: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n{rest}");
            assert_eq!(asked(&with("Content-Length: 10\r\n\r\n")).await, (400, 0));
            assert_eq!(asked(&with("Content-Length: 10\r\n\r\n012345678")).await, (400, 0));
            assert_eq!(asked(&with("Content-Length: 10\r\n\r\n0123456789")).await, (200, 0));
            assert_eq!(asked(&with("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")).await, (400, 0));
            let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
            assert_eq!(asked(&with(chunked)).await, (200, 0));
        }
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000));
        assert_eq!(asked(&large).await, (200, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_a_meaning_is() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n";
        assert_eq!(asked(&format!("{head}\r\n")).await, (400, 2));
        // But for what nobody would send, or read.
        assert_eq!(asked(&format!("{head}Expect: 100-continue\r\n\r\n")).await, (400, 0));
        assert_eq!(asked("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n").await, (400, 0));
        let mut client = serve(1 << 16);
        client.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.write_all(b"1234").await.unwrap();
        assert_eq!(status(&mut client).await.0, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_body_ends_the_connection() {
        for read in ["", "Read: it\r\n"] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{read}Transfer-Encoding: chunked\r\n\r\n");
            assert_eq!(asked(&format!("{head}x\r\n")).await, (400, 0));
            assert_eq!(asked(&format!("{head}1\r\nabc\r\n")).await, (400, 0));
            assert_eq!(asked(&format!("{head}1\r\na\r\n0\r\n\r\n")).await, (200, 0));
        }
    }

    /// The peer goes on to write after the answer. It reads the end of the answer, and is not reset.
    #[tokio::test(start_paused = true)]
    async fn a_connection_with_unread_bytes_closes_slowly() {
        let piece = [b'x'; 1 << 10];
        let mut client = serve(1 << 10);
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").await.unwrap();
        assert_eq!(status(&mut client).await, (400, 0));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        for _ in 0..512 {
            client.write_all(&piece).await.unwrap();
        }
        // A peer that writes nothing has two seconds, and one that writes as fast as it can a megabyte.
        tokio::time::sleep(LONGEST * 2).await;
        assert!(client.write_all(&piece).await.is_err());

        let mut client = serve(1 << 10);
        client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").await.unwrap();
        let mut written = 0;
        while client.write_all(&piece).await.is_ok() {
            written += piece.len();
        }
        assert!((MOST..MOST + 8 * piece.len()).contains(&written), "{written}");
    }
}
