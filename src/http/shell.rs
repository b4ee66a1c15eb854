//! The shell: what happens to every request before and after its handler.
//!
//! Read [`Shell::call`] from top to bottom: it is the order in which the contract lists the
//! refusals. Whatever happens inside, an answer leaves with a request id, and an error in its
//! dialect's shape.

use std::fmt::Write as _;
use std::future::ready;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use poem::endpoint::DynEndpoint;
use poem::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use poem::http::uri::Scheme;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use poem::web::RemoteAddr;
use poem::{Body, Endpoint, Request, Response};

use super::caller::Caller;
use super::context::RequestContext;
use super::cors::{self, Page};
use super::dialects;
use super::limits::{MAX_HEAD, MAX_TARGET};
use super::problem::{Cause, NO_STORE, Problem};
use super::query;
use super::routes::{Route, Routes};
use crate::crypto::{NoRandomness, hex, random};
use crate::service::{Snapshot, State};
use crate::telemetry;

/// Maximum time from a request's head to its answer.
const WHOLE: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// RFC 9449 §8.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Keeps browsers from interpreting an answer: no guesses at its type, no referrer, nothing loaded
/// or run.
const DEFENSIVE: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
];

/// All routes, and what happens around each request.
pub(super) struct Shell {
    routes: Routes,
    state: Arc<State>,
    ids: RequestIds,
}

impl Shell {
    /// Wraps `routes`.
    pub(super) fn new(routes: Routes, state: Arc<State>, ids: RequestIds) -> Self {
        Self { routes, state, ids }
    }

    /// Logs and counts an answered request.
    fn tell(&self, context: &RequestContext, to: (&Method, Option<&Route>), response: &Response, took: Duration) {
        let (method, route) = to;
        let counted = route.and_then(|route| route.method(method)).map_or("", Method::as_str);
        let route = route.map_or("", |route| &route.path);
        let (id, address, client) = (context.id(), context.address(), context.client());
        let (issuer, traceparent, certificate) = (context.issuer(), context.traceparent(), context.certificate());
        let status = response.status().as_u16();
        // The service's refusal is more precise than the answer's cause. With 200 it says why a token is not active.
        let (cause, refused) = match context.denied() {
            Some((cause, refused)) => (Some(cause), refused),
            None => (response.data().map(|Cause(cause)| *cause), None),
        };
        let micros = took.as_micros().try_into().unwrap_or(u64::MAX);
        let method = standard(method);
        telemetry::answered(
            telemetry::Request { id, method, route, address, client, issuer, refused, traceparent, certificate },
            status,
            micros,
            cause,
        );
        self.state.metrics.answered(route, counted, response.status().as_str(), took, cause.filter(|_| status >= 400));
    }
}

/// Returns `method` for the log if HTTP defines it (RFC 9110 §9.3, RFC 5789). Any other is the
/// caller's own text.
fn standard(method: &Method) -> &'static str {
    static DEFINED: [Method; 9] = [
        Method::CONNECT,
        Method::DELETE,
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
        Method::POST,
        Method::PUT,
        Method::TRACE,
    ];
    DEFINED.iter().find(|defined| *defined == method).map_or("", Method::as_str)
}

/// An answer that is being made.
type Answering<'r> = BoxFuture<'r, poem::Result<Response>>;

/// Refuses a request, or passes it to its handler. OPTIONS has none, and is answered here.
fn admit(mut request: Request, route: Option<&Route>) -> Result<Answering<'_>, Problem> {
    if head_length(&request) > MAX_HEAD {
        return Err(Problem::HeadersTooLarge);
    }
    if target_length(request.uri()) > MAX_TARGET {
        return Err(Problem::UriTooLong);
    }
    let route = route.ok_or(Problem::NotFound)?;
    if route.method(request.method()).is_none() {
        return Err(Problem::MethodNotAllowed(route.allow.clone()));
    }
    one_message(&request)?;
    // Handlers that take a body check the query themselves, after the body.
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        query::refuse_credentials(request.uri())?;
    }
    if request.method() == Method::OPTIONS {
        let mut response = Response::default();
        response.set_status(StatusCode::NO_CONTENT);
        response.headers_mut().insert(ALLOW, route.allow.clone());
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        if cors::is_public(request.uri().path()) {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, cors::ANY_ORIGIN);
        }
        return Ok(Box::pin(ready(Ok(response))));
    }
    if request.method() == Method::HEAD {
        request.set_method(Method::GET);
    }
    let handler = route.handler(request.method()).ok_or(Problem::NotFound)?;
    // Not `Endpoint::call`: it wraps this future in two more, and the request is moved into each.
    Ok(DynEndpoint::call(handler.as_ref(), request))
}

/// Awaits a handler's answer, for at most [`WHOLE`]. A panic of the handler is a problem too.
async fn handled(answering: Answering<'_>) -> Result<Response, Problem> {
    match tokio::time::timeout(WHOLE, AssertUnwindSafe(answering).catch_unwind()).await {
        Ok(Ok(Ok(response))) => Ok(response),
        // It already has its dialect's shape.
        Ok(Ok(Err(error))) if error.is_from_response() => Ok(error.into_response()),
        Ok(Ok(Err(error))) => Err(error.into()),
        Ok(Err(_)) => Err(Problem::Internal("panic")),
        Err(_) => Err(Problem::RequestTimeout),
    }
}

impl Endpoint for Shell {
    type Output = Response;

    /// Answers a request, and logs it. The handler gets the request before the future is made: so the future does not
    /// store it, and is small to move.
    fn call(&self, mut request: Request) -> impl Future<Output = poem::Result<Response>> + Send {
        let frame = Frame::of(&self.ids, request.method(), request.headers(), *request.scheme() == Scheme::HTTPS);
        let begun = Instant::now();
        let context = RequestContext::begin(&mut request, frame.id.clone(), &self.state);
        let method = request.method().clone();
        let uri = request.uri().clone();
        let route = self.routes.at(uri.path());
        let admitted = admit(request, route);
        async move {
            let answer = match admitted {
                Ok(answering) => handled(answering).await,
                Err(problem) => Err(problem),
            };
            let mut response = answer.unwrap_or_else(|problem| dialects::respond(problem, uri.path()));
            if let Some(nonce) = context.nonce() {
                response.headers_mut().insert(DPOP_NONCE, nonce);
            }
            self.tell(&context, (&method, route), &response, begun.elapsed());
            Ok(frame.around(response, context.snapshot()))
        }
    }
}

/// Paths that are exempt from load shedding, as preflights are: health, and the keys. A refused
/// preflight would be invisible to its page.
const EXEMPT: [&str; 3] = ["/healthz", "/readyz", "/.well-known/jwks.json"];
/// Exempt requests per second: enough for probes and verifiers, too few for a flood.
const EXEMPT_PER_SECOND: u64 = 100;

/// Answers requests that load shedding refuses, as cheaply as possible: none has a line of its own in the log. The log
/// says when an overload begins and ends, and at most once a minute that no place was left.
pub struct LoadShedding {
    state: Arc<State>,
    ids: RequestIds,
    begun: Instant,
    /// The second, and how many requests were exempt in it: in one number, so that both change
    /// together.
    exempt: AtomicU64,
}

impl LoadShedding {
    /// Creates load shedding that `state` counts.
    #[must_use]
    pub fn new(state: &Arc<State>, ids: RequestIds) -> Self {
        Self { state: Arc::clone(state), ids, begun: Instant::now(), exempt: AtomicU64::new(0) }
    }

    /// Returns the refusal of this request; None if it is exempt.
    pub fn of<B>(&self, request: &poem::http::Request<B>, is_secure: bool) -> Option<Response> {
        let may_be_exempt = request.method() == Method::OPTIONS || EXEMPT.contains(&request.uri().path());
        (!may_be_exempt || !self.exempts_one()).then(|| self.refusal(request, is_secure))
    }

    /// Returns the refusal of this request, which found no place among those in flight. None is exempt from that.
    pub fn exhausted<B>(&self, request: &poem::http::Request<B>, is_secure: bool) -> Response {
        telemetry::requests_exhausted(self.state.clock());
        self.refusal(request, is_secure)
    }

    /// Counts and logs that a request over HTTP/2 found no place among those in flight: its stream is refused.
    pub fn stream_refused(&self) {
        telemetry::requests_exhausted(self.state.clock());
        self.state.metrics.shed();
    }

    fn refusal<B>(&self, request: &poem::http::Request<B>, is_secure: bool) -> Response {
        self.state.metrics.shed();
        let frame = Frame::of(&self.ids, request.method(), request.headers(), is_secure);
        let refusal = dialects::respond(Problem::Unavailable("overload"), request.uri().path());
        frame.around(refusal, &self.state.snapshot())
    }

    /// Counts and logs that a TLS handshake with `peer` failed for this reason.
    pub fn handshake_failed(&self, peer: &RemoteAddr, reason: &'static str) {
        self.state.metrics.handshake_failed(reason);
        // Port probes hang up at once, every few seconds: do not log them.
        if reason != "closed" {
            let caller = Caller::of(&peer.0, &HeaderMap::new(), &self.state.snapshot().forwarding);
            telemetry::handshake_failed(&caller.text(), reason);
        }
    }

    fn exempts_one(&self) -> bool {
        const COUNT: u32 = 16;
        let second = self.begun.elapsed().as_secs() << COUNT;
        let next = |last: u64| {
            let last = last.max(second);
            (last - second < EXEMPT_PER_SECOND).then_some(last + 1)
        };
        self.exempt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Returns the caller's address prefix for limits, of a request from `peer` with these
    /// `headers`.
    #[must_use]
    pub fn limit_prefix(&self, peer: &RemoteAddr, headers: &HeaderMap) -> Option<IpAddr> {
        Caller::of(&peer.0, headers, &self.state.snapshot().forwarding).limit_prefix()
    }

    /// Whether `peer` is a trusted proxy.
    #[must_use]
    pub fn speaks_for_others(&self, peer: &RemoteAddr) -> bool {
        let snapshot = self.state.snapshot();
        Caller::of(&peer.0, &HeaderMap::new(), &snapshot.forwarding).is_trusted(&snapshot.forwarding)
    }
}

/// What every answer gets, whatever its content.
struct Frame {
    id: HeaderValue,
    is_secure: bool,
    ends_clearly: bool,
    page: Page,
    is_head: bool,
}

impl Frame {
    fn of(ids: &RequestIds, method: &Method, headers: &HeaderMap, is_secure: bool) -> Self {
        Self {
            id: ids.of(headers),
            is_secure,
            ends_clearly: ends_clearly(headers),
            page: Page::of(method, headers),
            is_head: method == Method::HEAD,
        }
    }

    fn around(self, mut response: Response, snapshot: &Snapshot) -> Response {
        if self.is_head {
            response = without_body(response);
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.id);
        if !self.ends_clearly {
            // It is unclear whether what follows is a request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.page.allow(&snapshot.origins, headers);
        if self.is_secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        for (name, value) in DEFENSIVE {
            // The page at /docs has its own policy.
            headers.entry(name).or_insert(value);
        }
        response
    }
}

/// Turns an answer to GET into one to HEAD: no body, but its length. All bodies here are in memory.
fn without_body(mut response: Response) -> Response {
    let silent = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(Ok(body)) = response.take_body().into_bytes().now_or_never()
        && !silent
    {
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    }
    response.set_body(Body::empty());
    response
}

/// Refuses messages that two readers could understand differently (RFC 9112 §3.2, §6.1).
fn one_message(request: &Request) -> Result<(), Problem> {
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
        return Err(Problem::bad("Host must occur exactly once"));
    }
    if !ends_clearly(request.headers()) {
        return Err(Problem::bad("Transfer-Encoding must be chunked alone"));
    }
    Ok(())
}

/// Whether every reader agrees on where the message ends.
fn ends_clearly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(one), None) => one.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Returns the length of the target in bytes, in any of its forms (RFC 9112 §3.2).
fn target_length(uri: &Uri) -> usize {
    let origin = uri.authority().map_or(0, |authority| authority.as_str().len() + "https://".len());
    origin + uri.path_and_query().map_or(1, |target| target.as_str().len())
}

/// Returns the length of the request line and the fields in bytes, as HTTP/1.1 writes them.
fn head_length(request: &Request) -> usize {
    let line = request.method().as_str().len() + target_length(request.uri()) + " HTTP/1.1\r\n ".len();
    request.headers().iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + ": \r\n".len())
}

/// Request ids: the caller's if well-formed, otherwise one that no other process generates. Clones
/// share a counter.
#[derive(Debug, Clone)]
pub struct RequestIds {
    /// A random prefix of sixteen hexadecimal digits.
    process: Arc<str>,
    count: Arc<AtomicU64>,
}

impl RequestIds {
    /// Creates this process's ids.
    ///
    /// # Errors
    /// The system's random number generator fails: two such processes could not be told apart.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { process: hex(&random::<8>()?).into(), count: Arc::default() })
    }

    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let mut inbound = headers.get_all(REQUEST_ID).iter();
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        match (inbound.next(), inbound.next()) {
            (Some(id), None) if (1..=64).contains(&id.len()) && id.as_bytes().iter().all(allowed) => id.clone(),
            _ => {
                let count = self.count.fetch_add(1, Ordering::Relaxed);
                let digits = (u64::BITS - count.leading_zeros()).div_ceil(4).max(1);
                // Exactly full, or `Bytes` allocates once more.
                let mut id = String::with_capacity(self.process.len() + 1 + digits as usize);
                let _ = write!(id, "{}-{count:x}", self.process);
                #[expect(clippy::expect_used, reason = "hexadecimal digits and a hyphen")]
                HeaderValue::try_from(id).expect("a header's value")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_that_does_not_tell_why() {
        let routes = Routes::default().page("/panics", make_sync(|_| -> Response { panic!("a secret") }));
        let shell = Shell::new(routes, Arc::new(State::empty()), RequestIds::new().unwrap());
        let request = Request::builder().uri_str("/panics").header(HOST, "localhost").finish();
        let response = shell.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
        assert_eq!(response.data().map(|Cause(cause)| *cause), Some("panic"));
        assert!(!response.into_body().into_string().await.unwrap().contains("secret"));
    }

    #[test]
    fn ids_are_unique_across_processes_and_listeners() {
        let (ids, other) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let of = |ids: &RequestIds| ids.of(&HeaderMap::new()).to_str().unwrap().to_owned();
        let (first, second, elsewhere) = (of(&ids), of(&ids.clone()), of(&other));
        assert_eq!(first.split_once('-').unwrap().0, second.split_once('-').unwrap().0);
        assert_eq!((&first[16..], &second[16..], &elsewhere[16..]), ("-0", "-1", "-0"));
        assert_ne!(first, elsewhere);
    }
}
