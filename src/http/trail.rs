//! What is noted of a request on its way, for the lines that the log has about it.

use std::sync::{Arc, OnceLock};

use poem::Request;
use poem::http::HeaderValue;

use super::caller::Caller;
use crate::config::Forwarding;
use crate::keys::hex;
use crate::token::ClientId;

/// The SHA-256 of the certificate that a client has proved to hold (RFC 8705 §3.1).
/// The transport puts it on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate(pub [u8; 32]);

/// The notes of one request. It rides on the request, and the shell keeps a copy.
#[derive(Debug, Clone)]
pub(super) struct Trail(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    id: HeaderValue,
    caller: Caller,
    address: String,
    certificate: Option<String>,
    client: OnceLock<ClientId>,
}

impl Trail {
    /// The trail of `request`, which is known as `id`.
    pub(super) fn begin(request: &mut Request, id: HeaderValue, forwarding: &Forwarding) -> Self {
        let caller = Caller::of(&request.remote_addr().0, request.headers(), forwarding);
        let certificate = request.extensions().get::<ClientCertificate>().map(|certificate| hex(&certificate.0));
        let trail =
            Self(Arc::new(Notes { id, caller, address: caller.to_string(), certificate, client: OnceLock::new() }));
        request.extensions_mut().insert(trail.clone());
        trail
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.0.id
    }

    pub(super) fn id(&self) -> &str {
        self.0.id.to_str().unwrap_or_default()
    }

    pub(super) fn caller(&self) -> Caller {
        self.0.caller
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// The digest of the client's certificate, if it has shown one.
    pub(super) fn certificate(&self) -> Option<&str> {
        self.0.certificate.as_deref()
    }

    pub(super) fn client(&self) -> Option<&str> {
        self.0.client.get().map(ClientId::as_str)
    }

    /// Notes who the client is, once that has been proved.
    pub(super) fn note_client(&self, client: &ClientId) {
        let _ = self.0.client.set(client.clone());
    }
}
