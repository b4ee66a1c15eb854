//! TLS: reads the certificate and its key from files, and checks them before use.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;
use x509_cert::{Certificate, Version};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::config;
use crate::crypto::{self, sha256};
use crate::files::{self, Contents, ReadError};
use crate::keys::{self, pem};
use crate::peer::ClientCertificate;

/// Maximum size of a file in bytes. A certificate chain takes a few KiB.
const MAX_FILE: u64 = 256 << 10;

/// What is wrong with a file: `path: what is wrong; what would be right`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not as it should be.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: Cow<'static, str>,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TlsError {
    fn new(path: &Path, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::Wrong { path: path.to_owned(), problem: problem.into() }
    }
}

/// The content of the files at one time.
pub struct TlsFiles {
    paths: config::Tls,
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    key_mode: u32,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn read(paths: &config::Tls) -> Result<Self, TlsError> {
        let client_ca = paths.client_ca.as_deref().map(read).transpose()?.map(|(bytes, _)| bytes);
        let ((cert, _), (key, key_mode)) = (read(&paths.cert)?, read(&paths.key)?);
        Ok(Self { paths: paths.clone(), cert, key, key_mode, client_ca })
    }

    /// Returns the path and the bytes of each file, and whether it is a key that others can read.
    pub fn parts(&self) -> impl Iterator<Item = (&Path, &[u8], bool)> {
        let client_ca =
            self.paths.client_ca.as_deref().zip(self.client_ca.as_ref()).map(|(path, pem)| (path, pem, false));
        let cert = (self.paths.cert.as_path(), &self.cert, false);
        let key = (self.paths.key.as_path(), &self.key, self.is_exposed());
        [cert, key].into_iter().chain(client_ca).map(|(path, bytes, exposed)| (path, bytes.as_slice(), exposed))
    }

    fn is_exposed(&self) -> bool {
        keys::is_exposed(self.key_mode)
    }

    /// Returns a warning if others can read or change the key.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let key = &self.paths.key;
        self.is_exposed().then(|| format!("{}: {}", key.display(), keys::exposed(key, self.key_mode)))
    }

    /// Returns the verifier of client certificates, if they are requested. They are optional.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Some(path), Some(pem)) = (&self.paths.client_ca, &self.client_ca) else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for root in certificates(pem).map_err(|problem| TlsError::new(path, problem))? {
            roots.add(root).map_err(|_| TlsError::new(path, "holds a certificate that cannot be used"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier.allow_unauthenticated().build();
        verifier
            .map(Some)
            .map_err(|_| TlsError::new(path, "holds no certificate; expected -----BEGIN CERTIFICATE-----"))
    }

    /// Returns the identity to serve, if it is valid at `now`. `files` is a digest of the files, to detect
    /// changes.
    ///
    /// # Errors
    /// A file that is not PEM, a certificate that is not valid now, or a key that does not match.
    pub fn identity(&self, files: [u8; 32], now: Timestamp) -> Result<Identity, TlsError> {
        let (cert, key) = (&self.paths.cert, &self.paths.key);
        let chain = certificates(&self.cert).map_err(|problem| TlsError::new(cert, problem))?;
        let Some(leaf) = chain.first() else {
            return Err(TlsError::new(cert, "holds no certificate; expected -----BEGIN CERTIFICATE-----"));
        };
        let expires = check_leaf(leaf, now).map_err(|problem| TlsError::new(cert, problem))?;
        let private = private_key(&self.key).map_err(|problem| TlsError::new(key, problem))?;
        let provider = Arc::new(crypto::tls::default_provider());
        let signer = provider.key_provider.load_private_key(private);
        let signer =
            signer.map_err(|_| TlsError::new(key, "is of a kind that is not supported; expected EC or RSA"))?;
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::new(key, format!("is not the key of the certificate in {}", cert.display())));
            }
            Err(_) => return Err(TlsError::new(cert, "holds a certificate that TLS clients cannot read")),
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

/// Returns the certificate that the client of `connection` has proved to hold.
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

    /// Serves new connections with `identity`.
    pub fn swap(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    /// Returns the digest of the files that it was loaded from.
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

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let blocks = pem::blocks(text)?;
    let certificates = blocks.iter().filter(|block| block.label() == "CERTIFICATE");
    Ok(certificates.map(|block| CertificateDer::from(block.der().to_vec())).collect())
}

/// Returns the first private key of a PEM text.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    const NONE: &str = "holds no private key in PEM; expected -----BEGIN PRIVATE KEY-----";
    let blocks = pem::blocks(text)?;
    let block = blocks.iter().find(|block| block.is_private_key()).ok_or(NONE)?;
    if block.is_encrypted() {
        return Err(
            "is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and protect the file instead: no password \
             can be given here",
        );
    }
    let der = block.der().to_vec();
    match block.label() {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        _ => Err(NONE),
    }
}

/// Returns when `leaf` expires, if it is valid at `now`.
fn check_leaf(leaf: &CertificateDer<'_>, now: Timestamp) -> Result<Timestamp, Cow<'static, str>> {
    let parsed = Certificate::from_der(leaf).map_err(|_| "holds something that is not an X.509 certificate")?;
    if parsed.tbs_certificate().version() != Version::V3 {
        let expected = "is not an X.509 certificate of version 3, and TLS clients refuse others; expected one with \
                        extensions, such as subjectAltName";
        return Err(expected.into());
    }
    let validity = parsed.tbs_certificate().validity();
    let at = |time: x509_cert::time::Time| {
        Timestamp::from_unix(time.to_unix_duration().as_secs().try_into().unwrap_or(i64::MAX))
    };
    let (from, until) = (at(validity.not_before), at(validity.not_after));
    if now < from {
        return Err(format!("is valid from {from} on, and this machine's clock says {now}").into());
    }
    if now > until {
        return Err(format!("expired at {until}").into());
    }
    Ok(until)
}

/// Returns the bytes of the file at `path`, and its mode.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), TlsError> {
    let Contents { bytes, metadata } = files::read(path, MAX_FILE).map_err(|error| match error {
        ReadError::NotRegular | ReadError::TooLarge(_) => {
            TlsError::new(path, format!("expected a regular file of at most {} KiB", MAX_FILE >> 10))
        }
        ReadError::Io(source) => TlsError::Unreadable { path: path.to_owned(), source },
    })?;
    Ok((bytes, metadata.mode()))
}
