//! One HTTP exchange as a client, bounded in time and size. Certificates are verified.
//!
//! This room owns connecting, TLS and the exchange. What is requested, and from which server, must
//! not enter. A redirect is an answer like any other: it is not followed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::crypto;

/// Maximum length of the answer's body, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL has no host, or is neither http nor https.
    #[error("expected a URL such as https://tokens.example.com")]
    Url,
    /// The certificates to trust cannot be found on this machine.
    #[error("this machine has no certificates to trust; install ca-certificates, or name a file in SSL_CERT_FILE")]
    NoRoots,
    /// Connecting or the TLS handshake failed.
    #[error("cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The server's certificate leads to none of the trusted ones.
    #[error("its certificate is from no authority that is trusted here")]
    Untrusted,
    /// What answers an https URL is not TLS.
    #[error("does not speak TLS; is it http?")]
    NoTls,
    /// The answer is not HTTP, is cut off, or is too long.
    #[error("the answer is not HTTP, is cut off, or is longer than {} MiB", MAX_BODY >> 20)]
    Answer,
    /// No complete answer arrived in time.
    #[error("does not answer within {} s", .0.as_secs())]
    Time(Duration),
}

/// Sends `request`, whose URI is absolute, and returns the answer with its whole body, within
/// `limit`.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, FetchError> {
    tokio::time::timeout(limit, exchange(request)).await.unwrap_or(Err(FetchError::Time(limit)))
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
    let server = Server::of(request.uri())?;
    // Fail before anything is sent.
    let config = server.is_tls.then(verifying).transpose()?;
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(FetchError::Connect)?;
    send_over(stream, server, config.map(Arc::new), request).await
}

/// Sends `request` to the first of `addresses` that accepts a connection, and returns the answer
/// with its whole body. Over https `trust` verifies the server's certificate. Nothing is resolved,
/// and there is no time limit.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch_at(
    request: Request<Bytes>,
    addresses: &[SocketAddr],
    trust: Arc<ClientConfig>,
) -> Result<Response<Bytes>, FetchError> {
    let server = Server::of(request.uri())?;
    let stream = TcpStream::connect(addresses).await.map_err(FetchError::Connect)?;
    let trust = server.is_tls.then_some(trust);
    send_over(stream, server, trust, request).await
}

/// The server in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

impl Server {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// [`FetchError::Url`].
    pub fn of(uri: &Uri) -> Result<Self, FetchError> {
        // User information in a URL is never sent, so refuse it.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(FetchError::Url);
        }
        let host = uri.host().ok_or(FetchError::Url)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Url),
        };
        Ok(Self { host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }), is_tls })
    }
}

async fn send_over(
    stream: TcpStream,
    server: Server,
    trust: Option<Arc<ClientConfig>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, FetchError> {
    let Some(trust) = trust else { return send(stream, request).await };
    let name = ServerName::try_from(server.host).map_err(|_| FetchError::Url)?;
    let stream = TlsConnector::from(trust).connect(name, stream).await;
    send(stream.map_err(handshake_failed)?, request).await
}

fn handshake_failed(error: io::Error) -> FetchError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => FetchError::NoTls,
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => FetchError::Untrusted,
        _ => FetchError::Connect(error),
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, FetchError> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().ok_or(FetchError::Url)?;
    head.headers.insert(HOST, HeaderValue::try_from(authority.as_str()).map_err(|_| FetchError::Url)?);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    head.uri = target.parse::<Uri>().map_err(|_| FetchError::Url)?;
    let request = Request::from_parts(head, Full::new(body));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| FetchError::Answer)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(|_| FetchError::Answer)?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| FetchError::Answer)?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The server may close the connection as soon as it has answered.
        _ = connection => answer.await,
    }
}

/// Returns TLS that trusts the machine's certificates, or those in the file that `SSL_CERT_FILE`
/// names.
fn verifying() -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FetchError::NoRoots);
    }
    trusting(roots)
}

/// Returns TLS that trusts the certificates in `pem`, and no others.
///
/// # Errors
/// [`FetchError::NoRoots`] if there is none, or one cannot be used.
pub fn trusting_pem(pem: &[u8]) -> Result<ClientConfig, FetchError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    for certificate in certificates.map_err(|_| FetchError::NoRoots)? {
        roots.add(certificate).map_err(|_| FetchError::NoRoots)?;
    }
    if roots.is_empty() { Err(FetchError::NoRoots) } else { trusting(roots) }
}

/// Returns TLS that trusts the machine's certificates or, if it has none, Mozilla's.
///
/// # Errors
/// The build's cryptography supports no version of TLS.
pub fn trusting_public() -> Result<ClientConfig, FetchError> {
    verifying().or_else(|_| trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, FetchError> {
    let versions = ClientConfig::builder_with_provider(Arc::new(crypto::tls::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Returns TLS that accepts any certificate: for this machine to ask itself, without sending a
/// secret, for one word.
///
/// # Errors
/// The build's cryptography supports no version of TLS.
pub fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(crypto::tls::default_provider());
    let any = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.dangerous().with_custom_certificate_verifier(any).with_no_client_auth())
}

/// Verifies that the server holds the key of its certificate, and nothing else.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
