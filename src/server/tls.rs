//! TLS: the certificate and its key, from files, checked before they are used.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::config;
use crate::crypto::{self, sha256};
use crate::http::ClientCertificate;

/// A chain of certificates takes some KiB.
const MAX_FILE: u64 = 256 << 10;

/// What is wrong with a file: `path: what, and what instead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

impl TlsError {
    fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

/// The content of the files as it was at one time.
pub struct TlsFiles {
    paths: config::Tls,
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn read(paths: &config::Tls) -> Result<Self, TlsError> {
        let client_ca = paths.client_ca.as_deref().map(read).transpose()?;
        Ok(Self { paths: paths.clone(), cert: read(&paths.cert)?, key: read(&paths.key)?, client_ca })
    }

    /// The path and the bytes of each file.
    pub fn parts(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let client_ca = self.paths.client_ca.as_deref().zip(self.client_ca.as_ref());
        let pair = [(self.paths.cert.as_path(), &self.cert), (self.paths.key.as_path(), &self.key)];
        pair.into_iter().chain(client_ca).map(|(path, bytes)| (path, bytes.as_slice()))
    }

    /// What checks the certificates of clients, if they are asked for one. They need not have one.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Some(path), Some(pem)) = (&self.paths.client_ca, &self.client_ca) else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            let added = root.ok().and_then(|root| roots.add(root).ok());
            added.ok_or_else(|| TlsError::new(path, "holds something that is no certificate in PEM"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier.allow_unauthenticated().build();
        verifier
            .map(Some)
            .map_err(|_| TlsError::new(path, "holds no certificate; expected -----BEGIN CERTIFICATE-----"))
    }

    /// What is served with them, if they are good at `now`. `files` is a digest of them, to tell
    /// whether they have changed since.
    ///
    /// # Errors
    /// A file that is no PEM, a certificate that is not valid now, or a key that is another's.
    pub fn identity(&self, files: [u8; 32], now: Timestamp) -> Result<Identity, TlsError> {
        let (cert, key) = (&self.paths.cert, &self.paths.key);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|_| TlsError::new(cert, "is not PEM; expected -----BEGIN CERTIFICATE-----"))?;
        let Some(leaf) = chain.first() else {
            return Err(TlsError::new(cert, "holds no certificate; expected -----BEGIN CERTIFICATE-----"));
        };
        let expires = check_dates(leaf, now).map_err(|problem| TlsError::new(cert, problem))?;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::new(key, "holds no private key in PEM; expected -----BEGIN PRIVATE KEY-----"))?;
        let provider = Arc::new(crypto::tls::default_provider());
        let signer = provider.key_provider.load_private_key(private);
        let signer =
            signer.map_err(|_| TlsError::new(key, "is of a kind that is not supported; expected EC or RSA"))?;
        let certified = CertifiedKey::new(chain, signer);
        if certified.keys_match().is_err() {
            return Err(TlsError::new(key, format!("is not the key of the certificate in {}", cert.display())));
        }
        let clients = self.verifier(&provider)?;
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|_| TlsError::new(cert, "cannot be used"))?;
        let verified = match clients {
            Some(verifier) => versions.with_client_cert_verifier(verifier),
            None => versions.with_no_client_auth(),
        };
        let mut served = verified.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        served.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Identity { served: Arc::new(served), files, expires })
    }
}

/// The certificate that the client of `connection` has proved to hold.
pub(super) fn client_certificate(connection: &ServerConnection) -> Option<ClientCertificate> {
    connection.peer_certificates()?.first().map(|leaf| ClientCertificate(sha256(leaf)))
}

/// A certificate with its key, ready to be served.
#[derive(Debug)]
pub struct Identity {
    served: Arc<ServerConfig>,
    files: [u8; 32],
    expires: Timestamp,
}

/// The identity that new connections get.
#[derive(Debug)]
pub struct Tls(ArcSwap<Identity>);

impl Tls {
    /// Begins with `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self(ArcSwap::from_pointee(identity))
    }

    /// Serves connections to come with `identity`.
    pub fn swap(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    /// The digest of the files that it was loaded from.
    #[must_use]
    pub fn files(&self) -> [u8; 32] {
        self.0.load().files
    }

    /// Whether the certificate has expired at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now > self.0.load().expires
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.load().served))
    }
}

/// When `leaf` expires, if it is valid at `now`.
fn check_dates(leaf: &CertificateDer<'_>, now: Timestamp) -> Result<Timestamp, String> {
    let parsed = Certificate::from_der(leaf).map_err(|_| "holds something that is no X.509 certificate".to_owned())?;
    let validity = parsed.tbs_certificate().validity();
    let at = |time: x509_cert::time::Time| {
        Timestamp::from_unix(time.to_unix_duration().as_secs().try_into().unwrap_or(i64::MAX))
    };
    let (from, until) = (at(validity.not_before), at(validity.not_after));
    if now < from {
        return Err(format!("is valid from {from} on, and this machine's clock says {now}"));
    }
    if now > until {
        return Err(format!("expired at {until}"));
    }
    Ok(until)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |error: std::io::Error| TlsError::new(path, format!("cannot be read: {error}"));
    let status = fs::metadata(path).map_err(unreadable)?;
    if !status.is_file() || status.len() > MAX_FILE {
        return Err(TlsError::new(path, "expected a regular file of at most 256 KiB"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(status.len()).unwrap_or_default() + 1));
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}
