//! The published key set (RFC 7517 §5) as bytes, equal on every replica.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::crypto::{hex, sha256};

/// The serialised JWKS, its entity tag, and while it holds.
#[derive(Debug)]
pub struct Jwks {
    body: Bytes,
    etag: String,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Jwks {
    pub(super) fn new<'a>(
        keys: impl Iterator<Item = &'a str>,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Self {
        let body = format!("{{\"keys\":[{}]}}", keys.collect::<Vec<_>>().join(","));
        let etag = format!("\"{}\"", hex(sha256(body.as_bytes()).split_at(16).0));
        Self { body: body.into(), etag, from, until }
    }

    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// The JSON text.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// A strong entity tag, quoted (RFC 9110 §8.8.3).
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }
}
