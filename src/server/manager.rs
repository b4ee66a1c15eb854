//! What the service manager is told (`sd_notify(3)`): nothing, where there is none.

use sd_notify::NotifyState;

/// Connections are accepted, and no reload is under way.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The files are being loaded again because somebody asked for it.
pub fn reloading() {
    if let Ok(since_boot) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since_boot]);
    }
}

/// The line that `systemctl status` shows; empty, if all is well.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(&one_line(line))]);
}

/// The reload that somebody asked for is done, with this as its status: the
/// protocol knows no reload that failed.
pub fn reloaded(status: &str) {
    tell(&[NotifyState::Status(&one_line(status)), NotifyState::Ready]);
}

/// The process is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A line break would begin another assignment of the protocol.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not told");
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
