//! What a connection proves of its other end, whatever protocol it speaks.

/// The SHA-256 of the certificate that a client has proved to hold (RFC 8705 §3.1).
/// The transport puts it on each request of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate(pub [u8; 32]);
