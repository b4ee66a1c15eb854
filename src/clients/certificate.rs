//! Clients' certificates: which of them authenticates which client (RFC 8705 §2).

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock::Timestamp;
use crate::crypto::tls;
use crate::keys::pem;
use crate::peer::ClientCertificate;

/// The CAs of `[mtls] ca`, which issue clients' certificates.
#[derive(Debug, Clone)]
pub struct ClientRoots(Arc<dyn ClientCertVerifier>);

impl ClientRoots {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let mut roots = RootCertStore::empty();
        for block in pem::blocks(text)?.iter().filter(|block| block.label() == "CERTIFICATE") {
            let root = CertificateDer::from(block.der().to_vec());
            roots.add(root).map_err(|_| "has a certificate that cannot be used")?;
        }
        let provider = Arc::new(tls::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(Self).map_err(|_| "holds no certificate; expected -----BEGIN CERTIFICATE-----")
    }

    /// Whether the certificate is valid at `now`, may authenticate a client, and chains up to one
    /// of these CAs (RFC 5280 §6.1).
    fn vouch_for(&self, certificate: &ClientCertificate, now: Timestamp) -> bool {
        let mut chain = certificate.chain().map(CertificateDer::from);
        let Some(leaf) = chain.next() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unix().unsigned_abs()));
        self.0.verify_client_cert(&leaf, &chain.collect::<Vec<_>>(), now).is_ok()
    }
}

/// The subject alternative name that identifies a client by its certificate (RFC 8705 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubjectName {
    /// `tls_san_dns`: a `dNSName`, compared without case.
    Dns(Box<str>),
    /// `tls_san_uri`: a `uniformResourceIdentifier`, such as a SPIFFE id.
    Uri(Box<str>),
}

impl SubjectName {
    fn names(&self, certificate: &ClientCertificate) -> bool {
        let leaf = certificate.chain().next().and_then(|der| Certificate::from_der(der).ok());
        let names = leaf.and_then(|leaf| leaf.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten());
        names.is_some_and(|(_, SubjectAltName(names))| names.iter().any(|name| self.is(name)))
    }

    fn is(&self, name: &GeneralName) -> bool {
        match (self, name) {
            (Self::Dns(own), GeneralName::DnsName(name)) => own.eq_ignore_ascii_case(name.as_str()),
            (Self::Uri(own), GeneralName::UniformResourceIdentifier(name)) => **own == *name.as_str(),
            _ => false,
        }
    }

    /// Whether `certificate` has this name and chains up to one of `roots`.
    pub(super) fn accepts(&self, certificate: &ClientCertificate, roots: &ClientRoots, now: Timestamp) -> bool {
        self.names(certificate) && roots.vouch_for(certificate, now)
    }
}
