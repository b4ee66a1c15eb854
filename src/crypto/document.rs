//! Cacheable bytes with their entity tag.

use bytes::Bytes;

use super::{hex, sha256};

/// Bytes to publish and their entity tag, a digest: equal on every replica that publishes the same.
#[derive(Debug, Clone)]
pub struct Document {
    body: Bytes,
    etag: String,
}

impl Document {
    /// Wraps `body` and computes its tag.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let etag = format!("\"{}\"", hex(sha256(&body).split_at(16).0));
        Self { body, etag }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the strong entity tag, quoted (RFC 9110 §8.8.3): visible ASCII.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_half_of_the_digest() {
        let document = Document::new("abc");
        assert_eq!(document.body(), "abc");
        assert_eq!(document.etag(), "\"ba7816bf8f01cfea414140de5dae2223\"");
    }
}
