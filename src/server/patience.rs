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
    /// Bytes of HTTP/2 frames since this task last yielded: hyper reads until there is nothing to read.
    in_a_row: u64,
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
            in_a_row: 0,
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
        if this.in_a_row >= PIECE {
            this.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Some(room) = this.room() else { return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into())) };
        this.stream.set_limit(room);
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let (_, arrived) = buf.filled().split_at(before);
        if !arrived.is_empty() {
            this.look_at(arrived);
            if this.is_http2 {
                this.heads.frames_arrived(arrived.len());
                this.in_a_row += arrived.len() as u64;
            } else if !this.open.is_answering() {
                this.heads.arrived(arrived.len());
            }
        } else if polled.is_pending() {
            this.in_a_row = 0;
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
mod tests;
