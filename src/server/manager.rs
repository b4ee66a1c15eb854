//! What the service manager is told (`sd_notify(3)`): nothing, where there is none.

use sd_notify::NotifyState;

/// Connections are accepted, and what was reloaded is in force.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The files are being loaded again because somebody asked for it.
pub fn reloading() {
    if let Ok(since_boot) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since_boot]);
    }
}

/// The process is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
