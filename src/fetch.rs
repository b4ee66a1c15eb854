//! One HTTP exchange as a client, bounded in time and size. Certificates are verified.
//!
//! This room owns connecting, TLS and the exchange. What is asked, and of whom, must not enter. A redirect is an
//! answer like any other: nothing is sent on to where it points.

use std::io;
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
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::crypto;

/// Maximum length of an answer's body, in bytes.
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
    /// No connection, or none that TLS agrees with.
    #[error("cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The answer is not HTTP, or ends too early, or is too long.
    #[error("the answer is not HTTP, is cut off, or is longer than {} MiB", MAX_BODY >> 20)]
    Answer,
    /// Nothing came in time.
    #[error("does not answer within {} s", .0.as_secs())]
    Time(Duration),
}

/// Sends `request` and returns the answer with its whole body, within `limit`. The request's URI is absolute.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, FetchError> {
    tokio::time::timeout(limit, exchange(request)).await.unwrap_or(Err(FetchError::Time(limit)))
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
    let uri = request.uri();
    let host = uri.host().ok_or(FetchError::Url)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(FetchError::Url),
    };
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    // Before anything is sent.
    let config = is_tls.then(verifying).transpose()?;
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(FetchError::Connect)?;
    match config {
        None => send(stream, request).await,
        Some(config) => {
            let name = ServerName::try_from(host.clone()).map_err(|_| FetchError::Url)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            send(stream.map_err(FetchError::Connect)?, request).await
        }
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, FetchError> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    head.headers.insert(HOST, HeaderValue::try_from(authority).map_err(|_| FetchError::Url)?);
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
        // A server may close as soon as it has answered.
        _ = connection => answer.await,
    }
}

/// TLS that trusts what this machine trusts, or the certificates in the file that `SSL_CERT_FILE` names.
fn verifying() -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FetchError::NoRoots);
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(crypto::tls::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Connect(io::Error::other(error)))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// TLS that takes any certificate: for this machine to ask itself, where no secret is sent and the answer is one word.
///
/// # Errors
/// A build whose cryptography knows no version of TLS.
pub fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(crypto::tls::default_provider());
    let any = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.dangerous().with_custom_certificate_verifier(any).with_no_client_auth())
}

/// Checks that the server holds the key of its certificate, and nothing else.
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
