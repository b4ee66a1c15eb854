//! Documents that describe the service.

use std::sync::OnceLock;

use crate::crypto::Document;

/// Documents that depend on the snapshot alone. Each is built on first use and lives as long as the
/// snapshot.
#[derive(Debug, Default)]
pub struct Documents {
    /// Authorization server metadata (RFC 8414).
    pub metadata: OnceLock<Document>,
    /// The same for clients of `OpenID` Connect Discovery.
    pub openid_metadata: OnceLock<Document>,
}
