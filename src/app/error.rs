//! Why the service does not start.

use std::error::Error;
use std::io;

use crate::config::{ConfigError, without_secrets};
use crate::crypto::NoRandomness;
use crate::keys::KeyError;
use crate::server::TlsError;

/// Why the service does not start, in one message that says what would be right. It quotes no secret that was written
/// where something else belongs, such as a path.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    message: String,
    /// Whether it may go away without a change to the files.
    pub(super) passing: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StartError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: without_secrets(&message.into()), passing: false, source: None }
    }

    /// An error that says `message`, because of `source`.
    pub fn with_source(message: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new(message) }
    }

    pub(super) fn passing(self) -> Self {
        Self { passing: true, ..self }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::with_source(format!("the file cannot be changed: {error}"), error)
    }
}

macro_rules! from {
    ($($of:ty),*) => {$(
        impl From<$of> for StartError {
            fn from(error: $of) -> Self {
                Self::with_source(error.to_string(), error)
            }
        }
    )*};
}

from!(ConfigError, TlsError, KeyError, NoRandomness);
