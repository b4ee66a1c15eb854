//! Why a TLS handshake failed, in a word of a closed set.

use std::io;

use rustls::Error;
use tokio::time::error::Elapsed;

/// The word for a handshake that took too long, or ended so.
pub(super) fn reason(failed: &Result<io::Error, Elapsed>) -> &'static str {
    let Ok(error) = failed else { return "timeout" };
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        None => "closed",
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => "not_tls",
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
        // The client trusts another certificate, for example.
        Some(Error::AlertReceived(_)) => "refused_by_client",
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => "client_certificate",
        Some(_) => "failed",
    }
}
