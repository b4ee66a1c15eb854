//! Telemetry: how the server speaks to its operator, in a log and in [`Metrics`].
//!
//! One JSON object a line on standard error, or a readable line on a terminal.
//! Lines are written by a thread of their own: while their reader stands still,
//! lines are dropped and counted, and no request waits. There is a line for
//! every request, and one for every pair of tokens. With the feature `otlp` there
//! is also a trace. A secret, a token or the
//! words of a panic must never enter.

mod line;
mod lines;
mod metrics;
#[cfg(feature = "otlp")]
mod traces;

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicI64, Ordering};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use metrics::{Event, Metrics, RELOAD_PARTS};

use crate::clock::Timestamp;

/// Keeps telemetry going; what still waits is written and sent when it is dropped.
#[derive(Debug)]
pub struct Guard {
    // Dropped in this order: the end of the traces may have a line in the log.
    #[cfg(feature = "otlp")]
    _traces: traces::Traces,
    _log: lines::Guard,
}

/// Starts telemetry for this process.
#[must_use]
pub fn start() -> Guard {
    let terminal = io::stderr().is_terminal();
    let (writer, guard) = lines::start();
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    // A second start in one process keeps the first's subscriber.
    let _ = if terminal {
        registry.with(lines).try_init()
    } else {
        registry.with(lines.with_ansi(false).event_format(line::Json)).try_init()
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

/// Seconds between two warnings about clocks.
const CLOCK_PAUSE: i64 = 60;

/// A session was presented that begins `seconds` after `now`: a clock is off, here or where it began. Warns of it,
/// once a minute at most.
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

/// Whether a warning is due that was last given at `last`, which is `now` from then on.
fn is_due(last: &AtomicI64, now: i64) -> bool {
    let due = |last: i64| (now < last || now.saturating_sub(last) >= CLOCK_PAUSE).then_some(now);
    last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
}

/// What is known of a request, for every line that is about it. Nothing here is
/// what a caller sent, unless it has a form that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its method; empty for one that its path does not take.
    pub method: &'a str,
    /// Its path; empty for one that nothing is at.
    pub route: &'a str,
    /// Who sent it: an address.
    pub address: &'a str,
    /// The client that has shown its secret, or for whom the token was that was presented.
    pub client: Option<&'a str>,
    /// The scope token, subject or audience that was refused, where the policy knows it. A caller sent it, in a form
    /// that was checked.
    pub refused: Option<&'a str>,
    /// The caller's span, in its form (W3C Trace Context §3.2).
    pub traceparent: Option<&'a str>,
    /// The SHA-256 of the certificate that it has shown, in hexadecimal digits.
    pub certificate: Option<&'a str>,
}

/// A request has been answered after so many microseconds; `cause` says why it was
/// refused, from a closed set.
pub fn answered(request: Request<'_>, status: u16, micros: u64, cause: Option<&str>) {
    #[cfg(feature = "otlp")]
    traces::record(&request, status, micros, cause);
    let Request { id: request_id, method, route, address, client, refused, traceparent, certificate } = request;
    let trace_id = traceparent.and_then(|parts| parts.split('-').nth(1));
    match cause {
        None => tracing::info!(
            request_id,
            trace_id,
            method,
            route,
            status,
            micros,
            client,
            certificate,
            address,
            "answered"
        ),
        Some(cause) if status < 500 => {
            tracing::info!(
                request_id,
                trace_id,
                method,
                route,
                status,
                micros,
                client,
                certificate,
                address,
                cause,
                refused,
                "refused"
            );
        }
        Some(cause) => {
            tracing::error!(
                request_id,
                trace_id,
                method,
                route,
                status,
                micros,
                client,
                certificate,
                address,
                cause,
                "failed"
            );
        }
    }
}

/// A token that was given, for the audit: what it says, but not the token.
#[derive(Debug, Clone, Copy)]
pub struct Issued<'a> {
    /// `POST` began a session, `PUT` continued one.
    pub is_refresh: bool,
    /// `client_id`.
    pub client: &'a str,
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
}

/// An access token and a refresh token have been issued.
pub fn issued(request_id: &str, address: &str, token: Issued<'_>) {
    let Issued { is_refresh, client, subject, actor, scope, audience, id: jti, kid, expires } = token;
    let event = if is_refresh { "refreshed" } else { "issued" };
    tracing::info!(request_id, event, client, subject, actor, scope, audience, jti, kid, expires, address, "token");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_clocks_comes_once_a_minute() {
        let last = AtomicI64::new(i64::MIN);
        let due: Vec<_> = [0, 0, 1, 59, 60, 61, 119, 120].into_iter().filter(|now| is_due(&last, *now)).collect();
        assert_eq!(due, [0, 60, 120]);
        // A clock that is set back is one to warn of.
        assert!(is_due(&last, 50) && !is_due(&last, 51));
    }
}
