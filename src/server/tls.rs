//! TLS: reads the certificate and its key from files, and checks them before use.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, InconsistentKeys, ServerConfig, ServerConnection,
    SignatureScheme,
};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;
use x509_cert::spki::SubjectPublicKeyInfoRef;
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
/// Bytes of an answer that rustls encrypts ahead of what the kernel takes: one record. Its default is 64 KiB.
const AHEAD: usize = 16 << 10;

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
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn read(paths: &config::Tls) -> Result<Self, TlsError> {
        let ((cert, _), (key, key_mode)) = (read(&paths.cert)?, read(&paths.key)?);
        Ok(Self { paths: paths.clone(), cert, key, key_mode })
    }

    /// Returns the path and the bytes of each file, and whether it is a key that others can read.
    pub fn parts(&self) -> impl Iterator<Item = (&Path, &[u8], bool)> {
        let cert = (self.paths.cert.as_path(), &self.cert, false);
        let key = (self.paths.key.as_path(), &self.key, self.is_exposed());
        [cert, key].into_iter().map(|(path, bytes, exposed)| (path, bytes.as_slice(), exposed))
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
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let config = |asks| config(&provider, asks, Arc::clone(&resolver));
        let configs = config(false).and_then(|served| Ok((served, config(true)?)));
        let (served, asking) = configs.map_err(|_| TlsError::new(cert, "cannot be used"))?;
        Ok(Identity { served, asking, files, expires })
    }
}

/// How connections are secured that show the certificate of `resolver`.
fn config(
    provider: &Arc<CryptoProvider>,
    asks: bool,
    resolver: Arc<SingleCertAndKey>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let verified = if asks {
        versions.with_client_cert_verifier(Arc::new(AnyCertificate(provider.signature_verification_algorithms)))
    } else {
        versions.with_no_client_auth()
    };
    let mut config = verified.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Takes any certificate of moderate size whose key the client has proved to hold, and none too: who vouches for it is
/// asked where a client authenticates by it (RFC 8705 §2), and nowhere of one that a token is bound to.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = issuers.iter().fold(own.len(), |sum, one| sum + one.len());
        let is_small = issuers.len() < ClientCertificate::MAX_CHAIN && bytes <= ClientCertificate::MAX_BYTES;
        if !is_small || !is_moderate(&ParsedCertificate::try_from(own)?.subject_public_key_info()) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Whether a signature by this key takes little time to check: an RSA key has at most 4,096 bits and the usual exponent.
fn is_moderate(key: &[u8]) -> bool {
    let Ok(key) = SubjectPublicKeyInfoRef::from_der(key) else { return false };
    let rsa = || pkcs1::RsaPublicKeyRef::from_der(key.subject_public_key.raw_bytes());
    key.algorithm.oid != pkcs1::ALGORITHM_OID
        || rsa().is_ok_and(|rsa| rsa.modulus.as_bytes().len() <= 512 && rsa.public_exponent.as_bytes() == [1, 0, 1])
}

/// Returns the certificate that the client of `connection` has proved to hold.
pub(super) fn client_certificate(connection: &ServerConnection) -> Option<ClientCertificate> {
    let chain = connection.peer_certificates()?.iter().map(|one| one.as_ref().into());
    ClientCertificate::new(chain, sha256)
}

/// A certificate with its key, ready to be served.
#[derive(Debug)]
pub struct Identity {
    served: Arc<ServerConfig>,
    /// Where clients are asked for a certificate.
    asking: Arc<ServerConfig>,
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

    pub(super) fn acceptor(&self, asks: bool) -> TlsAcceptor {
        let identity = self.0.load();
        TlsAcceptor::from(Arc::clone(if asks { &identity.asking } else { &identity.served }))
    }
}

/// Bounds what a connection holds of answers that its peer does not read.
pub(super) fn bound_buffers(connection: &mut ServerConnection) {
    connection.set_buffer_limit(Some(AHEAD));
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    /// Shown by the buffer before the handshake: its limit is set together with that of answers.
    #[test]
    fn rustls_takes_one_record_ahead() {
        let provider = Arc::new(crypto::tls::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let nobody = Arc::new(ResolvesServerCertUsingSni::new());
        let config = versions.with_no_client_auth().with_cert_resolver(nobody);
        let mut connection = ServerConnection::new(config.into()).unwrap();
        bound_buffers(&mut connection);
        let taken: Vec<_> = (0..2).map(|_| connection.writer().write(&vec![0; 3 * AHEAD]).unwrap()).collect();
        assert_eq!(taken, [AHEAD, 0]);
    }

    #[test]
    fn clients_certificates_are_of_moderate_size() {
        let verifier = AnyCertificate(crypto::tls::default_provider().signature_verification_algorithms);
        let accepts = |name: &str, issuers: &[usize]| {
            let path = format!("{}/tests/vectors/mtls/{name}.crt", env!("CARGO_MANIFEST_DIR"));
            let own = certificates(&std::fs::read(path).unwrap()).unwrap().swap_remove(0);
            // An issuer of length 0 gets what the client's own certificate leaves of the maximum.
            let left = ClientCertificate::MAX_BYTES - own.len();
            let issuer = |length: &usize| vec![0; if *length == 0 { left } else { *length }].into();
            let issuers: Vec<_> = issuers.iter().map(issuer).collect();
            match verifier.verify_client_cert(&own, &issuers, UnixTime::since_unix_epoch(Duration::ZERO)) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error, CertificateError::ApplicationVerificationFailure.into(), "{name}");
                    false
                }
            }
        };
        for (name, issuers, expected) in [
            ("client", &[][..], true),
            ("client", &[1; 7], true),
            ("client", &[1; 8], false),
            ("client", &[0], true),
            ("client", &[0, 1], false),
            ("self-rsa", &[], true),
            ("rsa-4096", &[], true),
            ("rsa-4104", &[], false),
            ("rsa-exponent", &[], false),
        ] {
            assert_eq!(accepts(name, issuers), expected, "{name} {issuers:?}");
        }
    }
}
