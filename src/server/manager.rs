//! Notifies the service manager, if there is one (`sd_notify(3)`).

use sd_notify::NotifyState;

/// Connections are accepted, and no reload is under way.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A requested reload has started.
pub fn reloading() {
    if let Ok(since_boot) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since_boot]);
    }
}

/// The line that `systemctl status` shows; empty if all is well.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(&one_line(line))]);
}

/// A requested reload is done, with this status: the protocol has no failed
/// reload.
pub fn reloaded(status: &str) {
    tell(&[NotifyState::Status(&one_line(status)), NotifyState::Ready]);
}

/// The process is stopping.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Replaces line breaks, which would begin another assignment of the protocol.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nREADY=1\rb"), "a READY=1 b");
    }
}
