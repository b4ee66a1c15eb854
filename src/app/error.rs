//! Why the service does not start.

use std::fmt;

use crate::config::ConfigError;
use crate::keys::KeyError;
use crate::server::TlsError;

/// Why the service does not start: one message that says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    message: String,
    /// Whether it may pass without a change of the files.
    pub(super) passing: bool,
}

impl StartError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), passing: false }
    }

    pub(super) fn passing(self) -> Self {
        Self { passing: true, ..self }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the file cannot be changed: {error}"))
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::new(error.to_string())
    }
}
