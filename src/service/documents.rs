//! What the service says of itself.

use std::sync::OnceLock;

use crate::crypto::Document;

/// Documents that a snapshot decides alone, each made when it is first asked for. They end with the snapshot.
#[derive(Debug, Default)]
pub struct Documents {
    /// Authorization server metadata (RFC 8414).
    pub metadata: OnceLock<Document>,
    /// The same for readers of `OpenID` Connect Discovery.
    pub openid_metadata: OnceLock<Document>,
}
