//! Clients' certificates: which of them authenticates which client (RFC 8705 §2).

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock::Timestamp;
#[cfg(test)]
use crate::crypto::effort;
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
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build();
        verifier.map(Self).map_err(|_| "holds no certificate; expected -----BEGIN CERTIFICATE-----")
    }

    /// Whether the certificate is valid at `now`, may authenticate a client, and chains up to one
    /// of these CAs (RFC 5280 §6.1).
    fn vouch_for(&self, certificate: &ClientCertificate, now: Timestamp) -> bool {
        let mut chain = certificate.chain().map(CertificateDer::from);
        let Some(leaf) = chain.next() else { return false };
        let issuers: Vec<_> = chain.collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unix().unsigned_abs()));
        have_own_subjects(&issuers) && self.0.verify_client_cert(&leaf, &issuers, now).is_ok()
    }
}

fn provider() -> CryptoProvider {
    let provider = tls::default_provider();
    #[cfg(test)]
    let provider = CryptoProvider {
        signature_verification_algorithms: effort::counted(provider.signature_verification_algorithms),
        ..provider
    };
    provider
}

/// Whether no two of `issuers` have the same subject. Then at most one of them can have issued each certificate.
/// Otherwise webpki tries every path, and anyone can make seven certificates with the CA's name: 100 signature checks.
fn have_own_subjects(issuers: &[CertificateDer<'_>]) -> bool {
    let subject = |der| Certificate::from_der(der).map(|certificate| certificate.tbs_certificate().subject().clone());
    let subjects: Result<Vec<_>, _> = issuers.iter().map(|der| subject(der)).collect();
    subjects.is_ok_and(|subjects| {
        subjects.iter().enumerate().all(|(place, subject)| !subjects.iter().take(place).any(|other| other == subject))
    })
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::crypto::sha256;

    /// The certificates of files in `tests/vectors/mtls`, in PEM.
    fn pem(names: &[&str]) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/mtls");
        names.iter().flat_map(|name| fs::read(format!("{folder}/{name}.crt")).unwrap()).collect()
    }

    fn chain(names: &[&str]) -> Vec<Box<[u8]>> {
        pem::blocks(&pem(names)).unwrap().iter().map(|block| block.der().into()).collect()
    }

    /// `namesakes` are a leaf and seven certificates by a key that is not the CA's, but all have its name.
    #[test]
    fn a_chain_costs_few_signature_checks() {
        let cost = |roots: &[&str], chain: Vec<Box<[u8]>>| {
            let roots = ClientRoots::parse(&pem(roots)).unwrap();
            let certificate = ClientCertificate::new(chain, sha256).unwrap();
            effort::of(|| roots.vouch_for(&certificate, Timestamp::from_unix(1_780_315_200)))
        };
        let namesakes = |count: usize| chain(&["namesakes"]).into_iter().take(count).collect();
        assert_eq!(cost(&["ca"], chain(&["client"])), (true, 1));
        assert_eq!(cost(&["ca"], chain(&["deep", "intermediate"])), (true, 2));
        assert_eq!(cost(&["ca"], chain(&["deep", "intermediate", "ca"])), (true, 2));
        assert_eq!(cost(&["ca"], namesakes(8)), (false, 0));
        assert_eq!(cost(&["ca"], chain(&["deep", "intermediate", "intermediate"])), (false, 0));
        assert_eq!(cost(&["ca"], namesakes(1)), (false, 1));
        assert_eq!(cost(&["ca"], namesakes(2)), (false, 2));
        assert_eq!(cost(&["ca"], namesakes(3)), (false, 0));
        // Of CAs with the same name each is tried.
        assert_eq!(cost(&["namesakes", "ca"], chain(&["client"])), (true, 8));
        assert_eq!(cost(&["namesakes", "ca"], namesakes(8)), (false, 0));
    }
}
