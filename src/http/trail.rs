//! What is noted of a request on its way, for the lines that the log has about it.

use std::sync::{Arc, OnceLock};

use poem::Request;
use poem::http::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;
use crate::config::Forwarding;
use crate::crypto::hex;
use crate::token::ClientId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

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
    traceparent: Option<String>,
    client: OnceLock<ClientId>,
}

impl Trail {
    /// The trail of `request`, which is known as `id`.
    pub(super) fn begin(request: &mut Request, id: HeaderValue, forwarding: &Forwarding) -> Self {
        let caller = Caller::of(&request.remote_addr().0, request.headers(), forwarding);
        let certificate = request.extensions().get::<ClientCertificate>().map(|certificate| hex(&certificate.0));
        let trail = Self(Arc::new(Notes {
            id,
            caller,
            address: caller.to_string(),
            certificate,
            traceparent: traceparent(request.headers()),
            client: OnceLock::new(),
        }));
        request.extensions_mut().insert(trail.clone());
        trail
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

    /// The caller's span, if it has said so in the right form.
    pub(super) fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    pub(super) fn client(&self) -> Option<&str> {
        self.0.client.get().map(ClientId::as_str)
    }

    /// Notes who the client is, once that has been proved.
    pub(super) fn note_client(&self, client: &ClientId) {
        let _ = self.0.client.set(client.clone());
    }
}

/// What `traceparent` says in the form that is known (W3C Trace Context §3.2), if the whole field has it.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let mut parts = field.to_str().ok()?.split('-');
    let mut part = |length: usize| {
        let digits = |part: &&str| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(digits)
    };
    let (version, trace, parent, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    // Later versions may have more.
    let whole = version != "ff" && (version != "00" || parts.next().is_none());
    (whole && !is_zero(trace) && !is_zero(parent)).then(|| format!("00-{trace}-{parent}-{flags}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces() {
        let of = |field: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_str(field).unwrap());
            traceparent(&headers)
        };
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let known = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(of(&known).as_ref(), Some(&known));
        assert_eq!(of(&format!("01-{id}-00f067aa0ba902b7-01-more")), Some(known));
        for wrong in [
            String::new(),
            id.to_owned(),
            format!("00-{id}-00f067aa0ba902b7"),
            format!("00-{id}-00f067aa0ba902b7-01-more"),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{id}x-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
    }
}
