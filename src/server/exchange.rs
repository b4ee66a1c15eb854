//! One request, from its head until its answer has been sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::{Buf, Bytes, Incoming};
use hyper::rt::Executor;
use poem::Endpoint;
use poem::web::{LocalAddr, RemoteAddr};

use super::leftover::Unread;
use super::open::{One, Open};
use super::shares::{Caller, Held};
use super::turns::{Admission, Lane, Turn};
use super::{BoxBody, Serving, leftover};
use crate::peer::ClientCertificate;

/// Time limit from the head of an HTTP/2 request until its answer has been sent, for peers that give a stream no
/// window. HTTP/1 has this limit where bytes are written.
const WHOLE: Duration = Duration::from_mins(1);

/// State shared by all requests of a connection.
pub(super) struct Connection<E> {
    pub(super) serving: Arc<Serving<E>>,
    pub(super) open: Arc<Open>,
    pub(super) local: LocalAddr,
    pub(super) remote: RemoteAddr,
    pub(super) security: Security,
    /// The caller of all requests; None behind a proxy, where each request may have another.
    pub(super) caller: Option<Caller>,
    /// Tells the connection about a body that was not read.
    pub(super) unread: Unread,
    pub(super) lane: Lane,
}

/// How a connection is secured.
pub(super) enum Security {
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

#[expect(clippy::large_enum_variant, reason = "a head is there for a moment, and a box would cost each request")]
enum Phase {
    /// It waits for its turn.
    Head(Request<Incoming>, One, Option<Held>),
    Answering(Pin<Box<dyn Future<Output = Response<Answer>> + Send>>),
    /// It is one too many, over HTTP/2.
    Refused,
    Over,
}

/// Answers one request.
pub(super) struct Exchange<E> {
    connection: Arc<Connection<E>>,
    caller: Caller,
    phase: Phase,
    turn: Turn,
    is_pipelined: bool,
}

impl<E> Exchange<E>
where
    E: Endpoint<Output = poem::Response> + 'static,
{
    pub(super) fn new(connection: &Arc<Connection<E>>, request: Request<Incoming>) -> Self {
        let connection = Arc::clone(connection);
        let serving = &connection.serving;
        let caller = connection.caller.unwrap_or_else(|| serving.caller(&connection.remote, request.headers()));
        serving.overload.note(caller);
        let is_http2 = request.version() == Version::HTTP_2;
        let is_pipelined = !is_http2 && connection.open.take_turn();
        // HTTP/1 has one request per connection, which is counted once it gets its turn.
        let held = if is_http2 { serving.requests.take(caller) } else { None };
        let phase = if is_http2 && held.is_none() {
            connection.open.was_asked();
            if let Some(refusals) = &serving.refusals {
                refusals.stream_refused();
            }
            Phase::Refused
        } else {
            Phase::Head(request, connection.open.one(), held)
        };
        Self { connection, caller, phase, turn: Turn::default(), is_pipelined }
    }

    fn begin(&mut self, (request, one, held): (Request<Incoming>, One, Option<Held>), admission: Admission) {
        let (connection, serving) = (&self.connection, &self.connection.serving);
        let is_secure = matches!(connection.security, Security::Tls(_));
        let version = request.version();
        let refuses = serving.overload.refuses(admission);
        let held = held.or_else(|| serving.requests.take(self.caller));
        let refusals = serving.refusals.as_ref();
        let has_body = version < Version::HTTP_2 && !request.body().is_end_stream();
        let refusal = match (refuses, &held) {
            (_, None) => refusals.map(|refusals| refusals.exhausted(&request, is_secure)),
            (true, _) => refusals.and_then(|refusals| refusals.of(&request, is_secure)),
            _ => None,
        };
        let connection = Arc::clone(connection);
        self.phase = match refusal {
            // The rest of its body is not read if there is no room to wait for it.
            Some(refusal) if !has_body || held.is_none() => {
                let answer = connection.finish(refusal, version, has_body, held);
                // Before the answer is written: then the connection looks whether one is being made.
                drop(one);
                Phase::Answering(Box::pin(std::future::ready(answer)))
            }
            // Boxed, so that an idle connection does not hold the memory for it.
            refusal => Phase::Answering(Box::pin(connection.answer((request, one, held), refusal, has_body))),
        };
    }
}

impl<E> Future for Exchange<E>
where
    E: Endpoint<Output = poem::Response> + 'static,
{
    type Output = Result<Response<Answer>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let serving = &this.connection.serving;
        if let Phase::Refused = this.phase {
            this.phase = Phase::Over;
            return Poll::Ready(Err(h2::Reason::REFUSED_STREAM.into()));
        }
        let may_pass = !this.is_pipelined;
        let admission = ready!(this.turn.poll(&serving.turns, (this.caller, &this.connection.lane), may_pass, cx));
        // After one pipelined request, other tasks get their chance.
        if std::mem::take(&mut this.is_pipelined) && !matches!(admission, Admission::Waited(_)) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Phase::Head(..) = this.phase
            && let Phase::Head(request, one, held) = std::mem::replace(&mut this.phase, Phase::Over)
        {
            this.begin((request, one, held), admission);
        }
        let Phase::Answering(answering) = &mut this.phase else { return Poll::Pending };
        let polled = answering.as_mut().poll(cx);
        // A request that waits for something needs no turn meanwhile.
        this.turn.end(&this.connection.serving.turns);
        if polled.is_ready() {
            this.phase = Phase::Over;
        }
        polled.map(Ok)
    }
}

impl<E> Drop for Exchange<E> {
    fn drop(&mut self) {
        self.turn.end(&self.connection.serving.turns);
    }
}

impl<E> Connection<E> {
    /// Answers a request. It becomes poem's before the future is made: so the future stores it once, and is small to
    /// move.
    fn answer(
        self: Arc<Self>,
        (request, one, held): (Request<Incoming>, One, Option<Held>),
        refusal: Option<poem::Response>,
        has_body: bool,
    ) -> impl Future<Output = Response<Answer>> + Send
    where
        E: Endpoint<Output = poem::Response>,
    {
        let version = request.version();
        let (local, remote) = (self.local.clone(), self.remote.clone());
        let mut request = poem::Request::from((request, local, remote, self.security.scheme()));
        if let Security::Tls(Some(certificate)) = &self.security {
            request.extensions_mut().insert(certificate.clone());
        }
        let leftover = has_body.then(|| leftover::track(&mut request, self.unread.clone()));
        async move {
            let response = match refusal {
                Some(refusal) => {
                    drop(request);
                    refusal
                }
                None => self.serving.endpoint.call(request).await.unwrap_or_else(poem::Error::into_response),
            };
            let unread = match leftover {
                Some(leftover) => !leftover.discard().await,
                None => false,
            };
            let answer = self.finish(response, version, unread, held);
            // Before the answer is written: then the connection looks whether one is being made.
            drop(one);
            answer
        }
    }

    /// Completes an answer. The connection closes if the client has sent more than was read.
    fn finish(&self, response: poem::Response, version: Version, unread: bool, held: Option<Held>) -> Response<Answer> {
        let response: Response<BoxBody> = self.serving.finish(response, version, unread || self.open.is_unwanted());
        response.map(|body| Answer { body, last: None, is_http2: version == Version::HTTP_2, held })
    }
}

/// The body of an answer. Its request is in flight until it and its last piece are dropped.
///
/// hyper considers an HTTP/2 answer sent once it has room for its last piece. The last byte is a separate piece, so
/// that this happens only when the peer has given the window for everything before it.
pub(super) struct Answer {
    body: BoxBody,
    last: Option<Bytes>,
    is_http2: bool,
    held: Option<Held>,
}

impl Body for Answer {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, io::Error>>> {
        if let Some(bytes) = self.last.take() {
            let held = self.held.take();
            return Poll::Ready(Some(Ok(Frame::data(Piece { bytes, _held: held }))));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let Ok(data) = frame?.into_data() else { return Poll::Ready(None) };
        let mut bytes = data;
        let is_last = self.body.is_end_stream();
        if is_last && self.is_http2 && bytes.len() > 1 {
            self.last = Some(bytes.split_off(bytes.len() - 1));
        }
        let held = if is_last && self.last.is_none() { self.held.take() } else { None };
        Poll::Ready(Some(Ok(Frame::data(Piece { bytes, _held: held }))))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let last = self.last.as_ref().map_or(0, Bytes::len) as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + last);
        }
        hint.set_lower(hint.lower() + last);
        hint
    }
}

/// A piece of an answer. The last one holds the request's place among those in flight.
pub(super) struct Piece {
    bytes: Bytes,
    _held: Option<Held>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// Runs the streams of HTTP/2 in tasks with a time limit, whatever the peer does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // A stream that is dropped is reset.
        tokio::spawn(tokio::time::timeout(WHOLE, stream));
    }
}
