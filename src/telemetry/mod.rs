//! Telemetry: how the server reports to its operator, in a log and in [`Metrics`].
//!
//! The log is one JSON object per line on standard error, or a readable line on a
//! terminal. A dedicated thread writes it: if the reader is stuck, lines are dropped
//! and counted, and no request waits. Every request and every pair of tokens gets a
//! line. With the feature `otlp` there is also a trace. A secret, a token or a panic
//! message must never enter.

mod line;
mod lines;
mod metrics;
mod terminal;
#[cfg(feature = "otlp")]
mod traces;

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use metrics::{Event, Metrics, RELOAD_PARTS};

use crate::clock::{self, Timestamp};

/// Keeps telemetry going. When dropped, it writes and sends what is queued.
#[derive(Debug)]
pub struct Guard {
    // Dropped in this order: shutting down the traces may log a line.
    #[cfg(feature = "otlp")]
    _traces: traces::Traces,
    _log: lines::Guard,
}

/// The target of a request's line.
const ACCESS: &str = "access";
/// The target of a token's line.
const AUDIT: &str = "audit";

/// Starts telemetry for this process. Without `access`, requests that were answered or refused have no line; those that
/// failed have one all the same.
#[must_use]
pub fn start(access: bool) -> Guard {
    let (writer, guard) = lines::start();
    let is_wanted = move |event: &tracing::Metadata<'_>| {
        access || event.target() != ACCESS || *event.level() == tracing::Level::ERROR
    };
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO).with(FilterFn::new(is_wanted));
    // A second start in one process keeps the first's subscriber.
    let _ = if io::stderr().is_terminal() {
        // https://no-color.org
        let in_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(in_colour);
        registry.with(lines.event_format(terminal::Terminal)).try_init()
    } else {
        registry.with(line::Json(writer)).try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    Guard {
        #[cfg(feature = "otlp")]
        _traces: traces::Traces::start(),
        _log: guard,
    }
}

/// Lines about failed handshakes in a second.
const HANDSHAKES: u64 = 5;

/// A TLS handshake with `address` failed for this reason, a word of a closed set. Of many in a second, a few have a line.
pub fn handshake_failed(address: &str, reason: &'static str) {
    static SECOND: AtomicU64 = AtomicU64::new(0);
    let second = clock::instant().unix_timestamp().unsigned_abs() << 16;
    let next = |last: u64| {
        let last = last.max(second);
        (last - second < HANDSHAKES).then_some(last + 1)
    };
    if SECOND.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
        tracing::warn!(address, reason, "a TLS handshake failed");
    }
}

/// Seconds between two warnings of a kind.
const WARNING_PAUSE: i64 = 60;

/// Warns that a session was presented that begins `seconds` after `now`: a clock is off, here or where the session
/// began. At most once a minute.
pub fn clocks_differ(seconds: i64, now: Timestamp) {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    if is_due(&LAST, now.unix()) {
        let clock = now.rfc3339();
        tracing::warn!(
            clock,
            seconds,
            "a session begins later than this machine's clock says: set the clock of this machine, or of the one that is ahead"
        );
    }
}

/// Warns that a request found no place among those in flight. At most once a minute.
pub fn requests_exhausted(now: Timestamp) {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    if is_due(&LAST, now.unix()) {
        tracing::warn!("no place of `limits.requests` is left: some requests are refused, with 503 or REFUSED_STREAM");
    }
}

/// Whether a warning that was last given at `last` is due. If so, sets `last` to `now`.
fn is_due(last: &AtomicI64, now: i64) -> bool {
    let due = |last: i64| (now < last || now.saturating_sub(last) >= WARNING_PAUSE).then_some(now);
    last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
}

/// What is known about a request, for every line about it. Anything that a caller
/// sent is here only if its form was checked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its method; empty for one that HTTP does not define.
    pub method: &'a str,
    /// Its path; empty if there is no such route.
    pub route: &'a str,
    /// The caller's address.
    pub address: &'a str,
    /// The client that authenticated, or that of the presented token.
    pub client: Option<&'a str>,
    /// The trusted issuer that vouches for the caller, or is said to if the request was refused, as the
    /// configuration names it.
    pub issuer: Option<&'a str>,
    /// The scope token, subject or audience that the policy refused. The caller sent it, and its form was checked.
    pub refused: Option<&'a str>,
    /// The caller's span, in its form (W3C Trace Context §3.2).
    pub traceparent: Option<&'a str>,
    /// The SHA-256 of the client certificate, in hexadecimal digits.
    pub certificate: Option<&'a str>,
}

/// The cause of a 503 while the process drains. It is no failure.
pub const DRAINING: &str = "draining";

/// Logs an answered request and its duration in microseconds; `cause` says why it was refused, or why the token in
/// question is not active, from a closed set.
pub fn answered(request: Request<'_>, status: u16, micros: u64, cause: Option<&str>) {
    #[cfg(feature = "otlp")]
    traces::record(&request, status, micros, cause.filter(|_| status >= 400));
    let Request { id: request_id, method, route, address, client, issuer, refused, traceparent, certificate } = request;
    let trace_id = traceparent.and_then(|parts| parts.split('-').nth(1));
    /// What every line has, and its own.
    macro_rules! line {
        ($level:ident, $($own:tt)+) => {
            tracing::$level!(
                target: ACCESS, request_id, trace_id, method, route, status, micros, client, issuer, certificate, address,
                $($own)+
            )
        };
    }
    match cause {
        None => line!(info, "answered"),
        Some(cause) if status < 400 => line!(info, cause, "answered"),
        Some(cause) if status < 500 || cause == DRAINING => line!(info, cause, refused, "refused"),
        Some(cause) => line!(error, cause, "failed"),
    }
}

/// A token that was issued, for the audit: its claims, but not the token.
#[derive(Debug, Clone, Copy)]
pub struct Issued<'a> {
    /// `POST` began a session, `PUT` continued one.
    pub is_refresh: bool,
    /// `client_id`.
    pub client: &'a str,
    /// The trusted issuer that vouched for the subject or the client, as the configuration names it. None
    /// where only the client's own credentials count.
    pub issuer: Option<&'a str>,
    /// `sub`.
    pub subject: &'a str,
    /// Who acts for the subject, with spaces between; first the one that acts now.
    pub actor: Option<&'a str>,
    /// `scope`.
    pub scope: &'a str,
    /// `aud`, with spaces between.
    pub audience: &'a str,
    /// `jti`.
    pub id: &'a str,
    /// `kid`.
    pub kid: &'a str,
    /// `exp`, in RFC 3339.
    pub expires: &'a str,
    /// How it is bound to its sender, if it is: `dpop` or `mtls`.
    pub sender: Option<&'a str>,
}

/// Logs issued tokens.
pub fn issued(request_id: &str, address: &str, token: Issued<'_>) {
    let Issued { is_refresh, client, issuer, subject, actor, scope, audience, id: jti, kid, expires, sender } = token;
    let event = if is_refresh { "refreshed" } else { "issued" };
    tracing::info!(
        target: AUDIT, request_id, event, client, issuer, subject, actor, scope, audience, jti, kid, expires, sender,
        address, "token"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_once_a_minute() {
        let last = AtomicI64::new(i64::MIN);
        let due: Vec<_> = [0, 0, 1, 59, 60, 61, 119, 120].into_iter().filter(|now| is_due(&last, *now)).collect();
        assert_eq!(due, [0, 60, 120]);
        // A clock that is set back is one to warn of.
        assert!(is_due(&last, 50) && !is_due(&last, 51));
    }
}
