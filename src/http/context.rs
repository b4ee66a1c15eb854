//! The context of a request: the snapshot that decides it, and notes for the log.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use poem::Request;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::caller::Caller;
use super::forwarded_certificate::forwarded;
use super::problem::Problem;
use super::query::{Question, question};
use crate::clock::Timestamp;
use crate::crypto::hex;
use crate::peer::ClientCertificate;
use crate::service::{Call, Carried, Notes as Said, Origin, ProofField, Snapshot, State};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The context of a request. It is an extension of the request, and the shell keeps a clone.
#[derive(Debug, Clone)]
pub(super) struct RequestContext(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    /// In force when the head arrived: for documents.
    snapshot: Arc<Snapshot>,
    now: Timestamp,
    /// In force when a handler made the call.
    deciding: OnceLock<Arc<Snapshot>>,
    id: HeaderValue,
    prefix: Option<IpAddr>,
    address: String,
    certificate: Option<ClientCertificate>,
    /// Its digest in hexadecimal, for the log.
    certificate_digits: Option<String>,
    method: Method,
    /// The `DPoP` fields; at most two are kept, because two are already too many.
    proofs: Vec<HeaderValue>,
    traceparent: Option<String>,
    /// The parsed query, once a handler has read it.
    question: OnceLock<Result<Question, Problem>>,
    said: Said,
}

impl RequestContext {
    /// Creates the context of `request`, which arrived now and has this `id`.
    pub(super) fn begin(request: &mut Request, id: HeaderValue, state: &State) -> Self {
        let snapshot = state.snapshot();
        let caller = Caller::of(&request.remote_addr().0, request.headers(), &snapshot.forwarding);
        let certificate = certificate(request, &snapshot);
        let context = Self(Arc::new(Notes {
            now: state.clock(),
            snapshot,
            deciding: OnceLock::new(),
            id,
            prefix: caller.limit_prefix(),
            address: caller.text(),
            certificate_digits: certificate.as_ref().map(|certificate| hex(&certificate.digest())),
            certificate,
            method: request.method().clone(),
            proofs: request.headers().get_all(DPOP).iter().take(2).cloned().collect(),
            traceparent: traceparent(request.headers()),
            question: OnceLock::new(),
            said: Said::default(),
        }));
        request.extensions_mut().insert(context.clone());
        context
    }

    /// Returns the context of `request`.
    ///
    /// # Errors
    /// The request has none.
    pub(super) fn of(request: &Request) -> poem::Result<&Self> {
        Ok(request.data().ok_or(Problem::Internal("no_context"))?)
    }

    /// Returns the call, for the rooms that know no HTTP. Its time and its policy are those of now: the body may have come
    /// seconds after the head, and meanwhile a key may have been revoked.
    pub(super) fn call<'r>(&'r self, state: &'r State) -> Call<'r> {
        let origin = Origin { request_id: self.id(), address: self.address(), prefix: self.0.prefix };
        let carried = Carried { proof: self.proof(), certificate: self.0.certificate.as_ref() };
        let snapshot = self.0.deciding.get_or_init(|| state.snapshot());
        Call { state, snapshot, now: state.clock(), origin, carried, notes: &self.0.said }
    }

    fn proof(&self) -> ProofField<'_> {
        match self.0.proofs.as_slice() {
            [] => ProofField::Absent,
            [one] => one.to_str().map_or(ProofField::Malformed, ProofField::One),
            _ => ProofField::Malformed,
        }
    }

    /// Refuses a proof where it has no meaning.
    pub(super) fn refuse_proof(&self) -> Result<(), Problem> {
        if self.0.proofs.is_empty() {
            return Ok(());
        }
        Err(Problem::bad("DPoP is not accepted here; tokens bound to a key are issued at /oauth2/token"))
    }

    /// Returns the parsed query of `uri`, the request's target. It is parsed only once, although
    /// each parameter reads it.
    pub(super) fn question(&self, uri: &Uri) -> Result<&Question, Problem> {
        self.0.question.get_or_init(|| question(uri)).as_ref().map_err(Problem::clone)
    }

    /// Returns the method as received: HEAD is still HEAD.
    pub(super) fn method(&self) -> &str {
        self.0.method.as_str()
    }

    /// Returns the nonce for the caller's next proof, if the answer should carry one.
    pub(super) fn nonce(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.0.said.next_nonce()?.as_str()).ok()
    }

    /// Returns the snapshot that was in force when the head arrived.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.0.snapshot
    }

    /// Returns when the head arrived.
    pub(super) fn now(&self) -> Timestamp {
        self.0.now
    }

    pub(super) fn id(&self) -> &str {
        #[expect(clippy::expect_used, reason = "a request id is visible ASCII, the caller's too")]
        self.0.id.to_str().expect("visible ASCII")
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// Returns why the service refused the request, and the refused value.
    pub(super) fn denied(&self) -> Option<(&'static str, Option<&str>)> {
        self.0.said.denied()
    }

    /// Returns the digest of the client's certificate, if any.
    pub(super) fn certificate(&self) -> Option<&str> {
        self.0.certificate_digits.as_deref()
    }

    /// Returns the caller's span, if it sent a well-formed one.
    pub(super) fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    pub(super) fn client(&self) -> Option<&str> {
        self.0.said.client()
    }

    /// The trusted issuer that vouches for the caller, or is said to if the request was refused.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.0.said.issuer()
    }
}

/// Returns the sender's certificate. A trusted proxy's own certificate is never the sender's: only
/// one that it passes on counts, and that only where `[mtls]` says that proxies do so. Others are
/// trusted for addresses, and may let a caller's own field pass.
fn certificate(request: &Request, snapshot: &Snapshot) -> Option<ClientCertificate> {
    let peer = Caller::of(&request.remote_addr().0, &HeaderMap::new(), &snapshot.forwarding);
    if peer.is_trusted(&snapshot.forwarding) {
        return if snapshot.takes_certificates { forwarded(request.headers()) } else { None };
    }
    request.extensions().get().cloned()
}

/// Returns `traceparent`, if all of it has a known form (W3C Trace Context §3.2).
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
    // Later versions may have more fields.
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
