//! Telemetry: how the server speaks to its operator, in a log and in [`Metrics`].
//!
//! One JSON object a line on standard error, or a readable line on a terminal.
//! Lines are written by a thread of their own: when whoever reads them stands
//! still, lines are dropped, and no request waits. A secret, a token or the
//! words of a panic must never enter.

mod metrics;

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use metrics::Metrics;

/// Lines that may wait to be written before new ones are dropped.
const BUFFERED_LINES: usize = 8_192;

/// Starts logging for this process; lines still waiting are written when the
/// guard is dropped.
pub fn start() -> WorkerGuard {
    let terminal = std::io::stderr().is_terminal();
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    // A second start in one process keeps the first's subscriber.
    let _ = if terminal {
        registry.with(lines).try_init()
    } else {
        registry.with(lines.json().flatten_event(true).with_ansi(false)).try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    guard
}

/// A request that was answered with an error. `cause` is from a closed set.
pub fn refused(request_id: &str, method: &str, path: &str, status: u16, cause: &str) {
    if status >= 500 {
        tracing::error!(request_id, method, path, status, cause, "failed");
    } else {
        tracing::info!(request_id, method, path, status, cause, "refused");
    }
}
