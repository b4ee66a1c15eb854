//! The published key set (RFC 7517 §5) as bytes, equal on every replica.

use crate::clock::Timestamp;
use crate::crypto::Document;

/// The serialised JWKS, and the time for which it is current.
#[derive(Debug)]
pub struct Jwks {
    document: Document,
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
        Self { document: Document::new(body), from, until }
    }

    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }
}
