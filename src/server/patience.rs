//! Time and memory limits of a connection while nothing is being answered on it, or while its client
//! does not read (slowloris and slow read).
//!
//! hyper has a single timer for a slow head and for an idle keep-alive connection, and
//! none before it can tell HTTP/1 from HTTP/2. So the timers are here, where bytes are
//! read and written, and hyper's is off. hyper also keeps reading while its client does
//! not: here nothing is read until everything written has been sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::{Instant, Sleep};

use super::abort::Abort;
use super::heads::{Heads, PIECE};
use super::open::Open;
use super::shares::{Caller, Pool};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the client may not read any of an answer if the connection must make room.
const HURRY: Duration = Duration::from_secs(1);

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the start, or from the first byte of a head, to the end of the head; and
    /// how long a client may not read any of an answer.
    pub(super) head: Duration,
    /// From an answer to the first byte of the next request.
    pub(super) idle: Duration,
    /// From the first write that blocks until the client has read everything.
    pub(super) answer: Duration,
}

/// What is awaited from the client.
enum Awaited {
    /// Its first bytes: this many have matched HTTP/2's preface.
    Preface(usize),
    /// The rest of a head.
    Head,
    /// Another request, or other HTTP/2 frames.
    More,
    /// Nothing: a request is being answered.
    Answer,
}

/// What a connection shares with other code.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) open: Arc<Open>,
    /// Large heads.
    pub(super) heads: Arc<Pool>,
    pub(super) caller: Caller,
}

/// A stream that fails if its client is too slow, or if the connection must make room.
pub(super) struct Patient<S> {
    stream: Take<S>,
    limits: Limits,
    open: Arc<Open>,
    awaited: Awaited,
    /// When the wait for that ends.
    until: Instant,
    /// Its timer, which is only set when a read has to wait: a request that comes whole needs none.
    timer: Pin<Box<Sleep>>,
    is_http2: bool,
    /// Since when the client has not read, and the timer.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Since when written bytes have been waiting.
    unsent: Option<Instant>,
    /// The task that wanted to read meanwhile.
    held_back: Option<Waker>,
    /// Requests that were answered.
    answered: u32,
    heads: Heads,
    is_closing: bool,
}

impl<S: AsyncRead> Patient<S> {
    pub(super) fn new(stream: S, limits: Limits, Shared { open, heads, caller }: Shared) -> Self {
        let until = Instant::now() + limits.head;
        Self {
            stream: stream.take(PIECE),
            limits,
            heads: Heads::new(heads, caller),
            open,
            awaited: Awaited::Preface(0),
            until,
            timer: Box::pin(tokio::time::sleep_until(until)),
            is_http2: false,
            stalled: None,
            unsent: None,
            held_back: None,
            answered: 0,
            is_closing: false,
        }
    }

    /// Fails if the client has not read for too long, or has not read everything in time. If the connection must make room,
    /// it has less time: what was answered counts as idle, and only who goes on reading gets the rest of it.
    fn unless_stalled<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>>
    where
        S: Abort,
    {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let limits = self.limits;
        self.open.wake_when_unwanted(cx.waker());
        let patience = if self.open.is_unwanted() { HURRY } else { limits.head };
        let whole = *self.unsent.get_or_insert_with(Instant::now) + limits.answer;
        let (since, timer) = self.stalled.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now)))
        });
        let end = whole.min(*since + patience);
        passed(timer, end, cx).map(|()| {
            self.stream.get_ref().abort();
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    /// Everything that was written has been sent.
    fn sent(&mut self) {
        self.unsent = None;
        if let Some(waker) = self.held_back.take() {
            waker.wake();
        }
    }

    /// The head that was read may have become a request.
    fn settle(&mut self) {
        self.heads.settle(self.open.asked());
    }

    /// Returns how many bytes may be read now; None if the head is large and this caller has its share of those, or if
    /// HTTP/2 sent too many frames for its requests.
    fn room(&mut self) -> Option<u64> {
        // HTTP/2 bounds an incomplete head itself.
        if self.is_http2 {
            return self.heads.frames();
        }
        // What comes belongs to a body, or waits behind one: requests in flight have their own limit. After the last answer
        // all is discarded.
        if self.open.is_answering() || self.is_closing {
            return Some(PIECE);
        }
        self.heads.room()
    }

    fn await_within(&mut self, awaited: Awaited, limit: Duration) {
        self.awaited = awaited;
        self.until = Instant::now() + limit;
    }

    /// Records whether something is being answered.
    fn look_at_answers(&mut self) {
        let asked = self.open.asked();
        match (self.open.is_answering(), &self.awaited) {
            (true, _) => self.awaited = Awaited::Answer,
            // It may have been answered already.
            (false, awaited) if matches!(awaited, Awaited::Answer) || self.answered != asked => {
                self.answered = asked;
                self.await_within(Awaited::More, self.limits.idle);
            }
            (false, _) => {}
        }
    }

    /// Records that an answer is written: hyper need not read while a request is answered.
    fn look_at_writing(&mut self) {
        match self.open.is_answering() {
            // HTTP/2 also writes without a request.
            _ if self.is_http2 => {}
            true => self.awaited = Awaited::Answer,
            false => self.await_within(Awaited::More, self.limits.idle),
        }
    }

    /// Records what has arrived.
    fn look_at(&mut self, bytes: &[u8]) {
        match self.awaited {
            Awaited::Preface(matched) => {
                let (_, awaited) = PREFACE.split_at(matched);
                if awaited.starts_with(bytes) && bytes.len() < awaited.len() {
                    self.awaited = Awaited::Preface(matched + bytes.len());
                } else if bytes.starts_with(awaited) {
                    self.is_http2 = true;
                    self.await_within(Awaited::More, self.limits.idle);
                } else {
                    self.awaited = Awaited::Head;
                }
            }
            // HTTP/2 also sends frames without a request, which do not extend the time limit.
            Awaited::More if !self.is_http2 => {
                self.open.mark_busy();
                self.await_within(Awaited::Head, self.limits.head);
            }
            _ => {}
        }
    }
}

/// Ready at `end`, for which it sets the timer.
fn passed(timer: &mut Pin<Box<Sleep>>, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() != end {
        timer.as_mut().reset(end);
    }
    timer.as_mut().poll(cx)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.settle();
        if this.unsent.is_some() {
            this.held_back = Some(cx.waker().clone());
            return Poll::Pending;
        }
        this.look_at_answers();
        let before = buf.filled().len();
        let Some(room) = this.room() else { return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into())) };
        this.stream.set_limit(room);
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let (_, arrived) = buf.filled().split_at(before);
        if !arrived.is_empty() {
            this.look_at(arrived);
            if this.is_http2 {
                this.heads.frames_arrived(arrived.len());
            } else if !this.open.is_answering() {
                this.heads.arrived(arrived.len());
            }
        } else if polled.is_pending() {
            this.open.mark_read();
            this.open.wake_when_unwanted(cx.waker());
            if !matches!(this.awaited, Awaited::Answer)
                && (this.open.is_unwanted() || passed(&mut this.timer, this.until, cx).is_ready())
            {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Abort + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.settle();
        self.look_at_writing();
        let polled = Pin::new(self.stream.get_mut()).poll_write(cx, buf);
        self.unless_stalled(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(self.stream.get_mut()).poll_flush(cx);
        if polled.is_ready() && self.unsent.is_some() {
            self.sent();
        }
        self.unless_stalled(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closing = true;
        let polled = Pin::new(self.stream.get_mut()).poll_shutdown(cx);
        self.unless_stalled(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle();
        self.look_at_writing();
        let polled = Pin::new(self.stream.get_mut()).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::super::heads::{FRAMES, SMALL};
    use super::*;

    impl Abort for tokio::io::DuplexStream {
        fn abort(&self) {}
    }

    const LIMITS: Limits =
        Limits { head: Duration::from_secs(5), idle: Duration::from_mins(1), answer: Duration::from_secs(30) };

    fn shared(open: &Arc<Open>) -> Shared {
        Shared { open: Arc::clone(open), heads: Pool::new(4), caller: Caller::default() }
    }

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
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
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
        let answering = Arc::<Open>::default();
        let mut stream = Patient::new(server, LIMITS, shared(&answering));
        // The timer of this wait goes off while the request is answered.
        assert!(tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await.is_err());
        client.write_all(b"GET").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        let one = answering.one();
        // Its body has a limit elsewhere.
        let read = tokio::time::timeout(Duration::from_mins(10), stream.read(&mut [0; 64])).await;
        assert!(read.is_err());
        drop(one);
        assert_eq!(patience(&mut stream).await, 60);

        let mut stream = Patient::new(stream.stream, LIMITS, shared(&answering));
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
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
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
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
        let written = tokio::time::timeout(Duration::from_secs(6), stream.write_all(&[0; 65])).await;
        assert!(matches!(written, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut));

        // One that reads slowly is not.
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
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

    /// One that takes something each time, but too little, is given up in the end; meanwhile nothing is read.
    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_whole_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(4)).await;
                if client.read_exact(&mut [0; 8]).await.is_err() {
                    break;
                }
            }
        });
        let begun = Instant::now();
        let written = stream.write_all(&[0; 1_000]).await;
        assert!(matches!(written, Err(error) if error.kind() == io::ErrorKind::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_until_all_has_left() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
        client.write_all(b"more").await.unwrap();
        assert!(stream.write_all(&[0; 65]).now_or_never().is_none());
        assert!(stream.read(&mut [0; 4]).now_or_never().is_none());
        client.read_exact(&mut [0; 64]).await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 4);
    }

    /// hyper reads as much as HTTP/2's preface has first, and then what a small head may have in all. What comes with a
    /// request may be the next ones.
    #[tokio::test]
    async fn requests_sent_ahead_are_no_large_head() {
        let open = Arc::default();
        let (mut client, server) = tokio::io::duplex(SMALL * 5);
        let mut stream = Patient::new(server, LIMITS, Shared { heads: Pool::new(0), ..shared(&open) });
        client.write_all(&vec![0; SMALL * 5]).await.unwrap();
        stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        let mut piece = [0; SMALL];
        for most in [SMALL - PREFACE.len(), SMALL - 1, SMALL - 1] {
            assert_eq!(stream.read(&mut piece).await.unwrap(), most);
            drop(open.one());
        }
        // Without a request in it, it is one.
        for most in [SMALL - 1, 1] {
            assert_eq!(stream.read(&mut piece).await.unwrap(), most);
        }
        let error = stream.read(&mut piece).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    }

    /// HTTP/2 also sends frames that belong to no request, but not without end.
    #[tokio::test]
    async fn frames_without_requests_are_bounded() {
        let open = Arc::default();
        let (mut client, server) = tokio::io::duplex(4 * FRAMES);
        let mut stream = Patient::new(server, LIMITS, shared(&open));
        client.write_all(PREFACE).await.unwrap();
        stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        drop(open.one());
        client.write_all(&vec![0; 4 * FRAMES]).await.unwrap();
        // Those of two requests in advance, and of the one that came. What was read with the preface counts too.
        let mut read = vec![0; 3 * FRAMES - PREFACE.len()];
        stream.read_exact(&mut read).await.unwrap();
        let mut more = vec![0; 2 * SMALL];
        let error = stream.read_exact(&mut more).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        // Another request allows more.
        drop(open.one());
        assert!(stream.read(&mut more).await.unwrap() > 0);
    }

    /// HTTP/2 sends frames without a request, and bodies are discarded after the last answer.
    #[tokio::test]
    async fn what_is_no_head_is_no_large_one() {
        for is_http2 in [true, false] {
            let open = Arc::default();
            let (mut client, server) = tokio::io::duplex(SMALL * 5);
            let mut stream = Patient::new(server, LIMITS, Shared { heads: Pool::new(0), ..shared(&open) });
            if is_http2 {
                client.write_all(PREFACE).await.unwrap();
                stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
            } else {
                stream.shutdown().await.unwrap();
            }
            client.write_all(&vec![0; SMALL * 4]).await.unwrap();
            stream.read_exact(&mut vec![0; SMALL * 4]).await.unwrap();
        }
    }

    /// Of a pool of one, the first connection with a large head takes it until its request has come.
    #[tokio::test(start_paused = true)]
    async fn large_heads_are_limited() {
        let heads = Pool::new(1);
        let opens = [Arc::<Open>::default(), Arc::default()];
        let mut ends = opens.each_ref().map(|open| {
            let (client, server) = tokio::io::duplex(SMALL * 2);
            (client, Patient::new(server, LIMITS, Shared { heads: Arc::clone(&heads), ..shared(open) }))
        });
        let mut large = vec![0; SMALL * 2];
        for (client, _) in &mut ends {
            client.write_all(&large).await.unwrap();
        }
        let [(_client, first), (_, second)] = &mut ends;
        first.read_exact(&mut large).await.unwrap();
        let read = second.read_exact(&mut large).await;
        assert!(matches!(read, Err(error) if error.kind() == io::ErrorKind::QuotaExceeded));
        assert!(heads.take(Caller::default()).is_none());
        drop(opens[0].one());
        first.write_all(b"the answer").await.unwrap();
        assert!(heads.take(Caller::default()).is_some());
    }
}
