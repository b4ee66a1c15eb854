//! What a key is called.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A key's id: its RFC 7638 thumbprint with SHA-256, in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kid(pub(super) Arc<str>);

impl Kid {
    /// The form of a valid one, to complete a sentence.
    pub const EXPECTED: &'static str = "a key's id: 43 characters, as `lingpai keys list --wide` shows it";

    /// Reads a thumbprint of 43 base64url characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.into()))
    }

    /// The thumbprint.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
