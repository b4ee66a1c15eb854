//! What a handler left of a body.
//!
//! An answer that comes before the whole request has been read is lost if the
//! connection is then closed on a client that is still writing. So a rest of
//! reasonable size is read and thrown away first; otherwise the answer says that
//! the connection closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use tokio::sync::oneshot;

use super::BoxBody;

/// The most that is thrown away, in bytes.
const MOST: usize = 1 << 20;
/// How long the rest may take to arrive.
const LONGEST: Duration = Duration::from_secs(2);

/// Watches the body of `request`, wherever it goes.
pub(super) fn track(request: &mut poem::Request) -> Leftover {
    let (home, back) = oneshot::channel();
    let tracked = Tracked { body: Some(request.take_body().into()), home: Some(home), touched: false };
    request.set_body(BoxBody::new(tracked));
    Leftover(back)
}

/// A rest, and whether anybody began to read it.
type Rest = (BoxBody, bool);

/// What is left once nobody holds the body any more.
pub(super) struct Leftover(oneshot::Receiver<Rest>);

impl Leftover {
    /// Reads the rest. False if the client has more to send than is waited for.
    /// A client that waits for `100 Continue` is not asked to send what nobody reads.
    pub(super) async fn discard(mut self, expects_continue: bool) -> bool {
        match self.0.try_recv() {
            // All was read.
            Err(oneshot::error::TryRecvError::Closed) => true,
            // Somebody still holds it.
            Err(oneshot::error::TryRecvError::Empty) => false,
            Ok((_, touched)) if expects_continue && !touched => false,
            Ok((body, _)) if body.size_hint().lower() > MOST as u64 => false,
            Ok((body, _)) => tokio::time::timeout(LONGEST, to_the_end(body)).await.unwrap_or(false),
        }
    }
}

async fn to_the_end(mut body: BoxBody) -> bool {
    let mut room = MOST;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = room.checked_sub(length) else { return false };
        room = rest;
    }
    true
}

struct Tracked {
    body: Option<BoxBody>,
    home: Option<oneshot::Sender<Rest>>,
    touched: bool,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.touched = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None) = polled {
            self.body = None;
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
            && !body.is_end_stream()
        {
            let _ = home.send((body, self.touched));
        }
    }
}
