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
use x509_cert::time::Time;

use crate::clock::Timestamp;
#[cfg(test)]
use crate::crypto::effort;
use crate::crypto::{sha256, tls};
use crate::keys::pem;
use crate::peer::{ClientCertificate, SubjectName};

/// The CAs of `[mtls] ca`, which issue clients' certificates.
#[derive(Debug, Clone)]
pub struct ClientRoots {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of the file.
    digest: [u8; 32],
}

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
        let verifier = verifier.map_err(|_| "holds no certificate; expected -----BEGIN CERTIFICATE-----")?;
        Ok(Self { verifier, digest: sha256(text) })
    }

    /// Returns the names in `certificate`, if it is valid at `now`, may authenticate a client, and chains up to one of
    /// these CAs (RFC 5280 §6.1). That is verified once for a connection, until a certificate of the chain becomes valid
    /// or expires.
    #[must_use]
    pub fn names(&self, certificate: &ClientCertificate, now: Timestamp) -> Arc<[SubjectName]> {
        certificate.vouched(self.digest, now, || {
            let chain: Result<Vec<_>, _> = certificate.chain().map(Certificate::from_der).collect();
            // What cannot be read has no names.
            let chain = chain.unwrap_or_default();
            let own = chain.first().filter(|_| have_own_subjects(&chain) && self.vouch_for(certificate, now));
            (own.map(names).unwrap_or_default(), next_change(&chain, now))
        })
    }

    fn vouch_for(&self, certificate: &ClientCertificate, now: Timestamp) -> bool {
        let mut chain = certificate.chain().map(CertificateDer::from);
        let Some(own) = chain.next() else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unix().unsigned_abs()));
        self.verifier.verify_client_cert(&own, &chain.collect::<Vec<_>>(), now).is_ok()
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

/// Whether no two issuers in `chain` have the same subject. Then at most one of them can have issued each certificate.
/// Otherwise webpki tries every path, and anyone can make seven certificates with the CA's name: 100 signature checks.
fn have_own_subjects(chain: &[Certificate]) -> bool {
    let subjects = || chain.iter().skip(1).map(|issuer| issuer.tbs_certificate().subject());
    subjects().enumerate().all(|(place, subject)| !subjects().take(place).any(|other| other == subject))
}

/// Returns when next a certificate in `chain` becomes valid or expires.
fn next_change(chain: &[Certificate], now: Timestamp) -> Timestamp {
    let at = |time: Time| Timestamp::from_unix(time.to_unix_duration().as_secs().try_into().unwrap_or(i64::MAX));
    let validities = chain.iter().map(|one| one.tbs_certificate().validity());
    let changes = validities.flat_map(|validity| [at(validity.not_before), at(validity.not_after).plus(1)]);
    changes.filter(|change| *change > now).min().unwrap_or(Timestamp::from_unix(i64::MAX))
}

fn names(certificate: &Certificate) -> Arc<[SubjectName]> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
    let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    let known = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(SubjectName::dns(name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => Some(SubjectName::Uri(name.as_str().into())),
        _ => None,
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// 2026-06-01T12:00:00Z.
    const NOW: i64 = 1_780_315_200;

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
            let (names, cost) = effort::of(|| roots.names(&certificate, Timestamp::from_unix(NOW)));
            (!names.is_empty(), cost)
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
        let unreadable = chain(&["namesakes"]).into_iter().take(7).chain([[0].into()]).collect();
        assert_eq!(cost(&["ca"], unreadable), (false, 0));
        // Of CAs with the same name each is tried.
        assert_eq!(cost(&["namesakes", "ca"], chain(&["client"])), (true, 8));
        assert_eq!(cost(&["namesakes", "ca"], namesakes(8)), (false, 0));
    }

    #[test]
    fn a_connection_is_verified_once_until_something_changes() {
        let roots = |name: &str| ClientRoots::parse(&pem(&[name])).unwrap();
        let (own, other) = (roots("ca"), roots("other-ca"));
        let at = |time: &str| Timestamp::parse_rfc3339(time).unwrap();
        let (begin, end) = (at("2026-05-01T00:00:01Z"), at("2124-11-23T00:00:00Z"));
        let deep = ClientCertificate::new(chain(&["deep", "intermediate"]), sha256).unwrap();
        let expected = [SubjectName::dns("orders.example.com"), SubjectName::Uri("spiffe://example.com/orders".into())];
        for (roots, now, is_vouched, checks, what) in [
            (&own, begin.plus(-1), false, 0, "not valid yet"),
            (&own, begin, true, 2, "valid"),
            (&own, end, true, 0, "the intermediate's last second"),
            (&own, end.plus(1), false, 0, "expired"),
            (&own, end.plus(9), false, 0, "still expired"),
            (&own, Timestamp::from_unix(NOW), true, 2, "the clock was set back"),
            (&own, Timestamp::from_unix(NOW), true, 0, "again"),
            (&roots("ca"), Timestamp::from_unix(NOW), true, 0, "the same CAs, reloaded"),
            (&other, Timestamp::from_unix(NOW), false, 0, "other CAs"),
            (&own, Timestamp::from_unix(NOW), true, 2, "the CAs are back"),
        ] {
            let (names, cost) = effort::of(|| roots.names(&deep.clone(), now));
            assert_eq!((&*names, cost), (if is_vouched { &expected[..] } else { &[] }, checks), "{what}");
        }
    }
}
