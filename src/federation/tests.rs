//! Fetching keys, including from servers that misbehave.

mod foreign_text;
mod renewal;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::keys::Kept;
use super::source::{At, Resolve, Source, System};
use crate::clock::Timestamp;
use crate::fetch::Server as Place;

/// A server's answer to a request for a path.
type Answer = Arc<dyn Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync>;

/// A server that answers as told, and records its requests.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
    /// Answers that it may give.
    permits: Arc<Semaphore>,
}

impl Server {
    async fn start(answer: impl Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            answer: Arc::new(Mutex::new(Arc::new(answer))),
            permits: Arc::new(Semaphore::new(1_000)),
        };
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().serve(stream));
            }
        });
        server
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        self.heads.lock().unwrap().push(head);
        self.permits.acquire().await.unwrap().forget();
        let answer = self.answer.lock().unwrap().clone();
        let _ = stream.write_all(&answer(&path, self.address)).await;
        let _ = stream.shutdown().await;
    }

    fn says(&self, answer: impl Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The source at this server's `/keys`.
    fn source(&self) -> Source {
        Source { allow_private: true, ..public(At::Uri(format!("{}/keys", self.url()).into())) }
    }
}

fn public(at: At) -> Source {
    Source { at, ca_file: None, token_file: None, allow_private: false }
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    with("200 OK", "", body)
}

fn with(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A usable key with this `kid`.
fn key(kid: &str) -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid})
}

fn keys(kids: &[&str]) -> String {
    json!({"keys": kids.iter().map(|kid| key(kid)).collect::<Vec<_>>()}).to_string()
}

/// An issuer's metadata, and keys at `/keys`.
fn issuer(path: &str, address: SocketAddr) -> Vec<u8> {
    match path {
        "/.well-known/openid-configuration" => {
            ok(json!({"issuer": format!("http://{address}"), "jwks_uri": format!("http://{address}/keys")}).to_string())
        }
        "/keys" => ok(keys(&["a"])),
        _ => with("404 Not Found", "", ""),
    }
}

/// Returns why `source` yields no keys.
async fn failure(source: &Source) -> String {
    source.fetch(&System).await.unwrap_err().to_string()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_780_315_200 + seconds)
}

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tls").join(name)
}

#[tokio::test]
async fn keys_are_discovered() {
    let server = Server::start(issuer).await;
    for slash in ["", "/"] {
        let url = server.url();
        let name = format!("{url}{slash}");
        server.says(move |path, address| match path {
            "/keys" => issuer(path, address),
            _ => ok(json!({"issuer": name, "jwks_uri": format!("http://{address}/keys"), "more": 1}).to_string()),
        });
        let source = Source { at: At::Discovered(format!("{url}{slash}").into()), ..server.source() };
        assert_eq!(source.fetch(&System).await.unwrap().keys.len(), 1);
    }
    let heads = server.heads.lock().unwrap().clone();
    assert!(heads[0].starts_with("GET /.well-known/openid-configuration HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads.iter().all(|head| !head.to_ascii_lowercase().contains("authorization")), "{heads:?}");
}

/// "no redirects, at most 1 MiB, 100 keys"; "a private or symmetric one refuses the set".
#[tokio::test]
async fn answers_that_are_not_a_key_set() {
    let server = Server::start(issuer).await;
    let source = server.source();
    let many = |count: usize| json!({"keys": (0..count).map(|i| key(&i.to_string())).collect::<Vec<_>>()}).to_string();
    let private = |member: &str| json!({"keys": [{"kty": "OKP", "crv": "Ed25519", member: "AA"}]}).to_string();
    let target = server.url();
    for (answer, expected) in [
        (with("302 Found", &format!("Location: {target}/other\r\n"), ""), "status 302 Found; expected 200"),
        (with("404 Not Found", "", keys(&["a"])), "status 404"),
        (with("500 Oh", "", ""), "status 500"),
        (ok(" ".repeat(1 << 20) + &keys(&["a"])), "longer than 1 MiB"),
        (with("200 OK", "Content-Encoding: gzip\r\n", keys(&["a"])), "the answer is encoded"),
        (ok("<html><body>Sign in</body></html>"), "/keys: "),
        (ok("[]"), "/keys: "),
        (ok(many(101)), "/keys: "),
        (ok(private("d")), "\"d\""),
        (ok(private("k")), "\"k\""),
        (ok(json!({"keys": []}).to_string()), "no key that can be used"),
        (ok(json!({"keys": [{"kty": "EC", "crv": "P-521"}]}).to_string()), "no key that can be used"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}".to_vec(), "cut off"),
        (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), "not HTTP"),
        (Vec::new(), "not HTTP"),
    ] {
        server.says(move |_, _| answer.clone());
        let said = failure(&source).await;
        assert!(said.contains(expected), "{said}\n want: {expected}");
    }
    assert!(server.heads.lock().unwrap().iter().all(|head| head.starts_with("GET /keys ")));
    server.says(move |_, _| ok(many(100)));
    assert_eq!(source.fetch(&System).await.unwrap().keys.len(), 100);
}

#[tokio::test]
async fn metadata_of_another_kind() {
    let server = Server::start(issuer).await;
    let (url, source) = (server.url(), Source { at: At::Discovered(server.url().into()), ..server.source() });
    let says = |issuer: &str, uri: &str| ok(json!({"issuer": issuer, "jwks_uri": uri}).to_string());
    for (answer, expected) in [
        (says("https://evil.example", &format!("{url}/keys")), "the metadata are another issuer's"),
        (says(&format!("{url}/"), &format!("{url}/keys")), "the metadata are another issuer's"),
        (ok("{}"), "expected a JSON object with issuer and jwks_uri"),
        (ok(format!(r#"{{"issuer":"{url}","issuer":"{url}","jwks_uri":"{url}/keys"}}"#)), "expected a JSON object"),
        (ok("<html>"), "expected a JSON object"),
        (says(&url, "ftp://127.0.0.1/keys"), "expected a URL"),
        (says(&url, "file:///etc/passwd"), "expected a URL"),
        (says(&url, "/keys"), "expected a URL"),
        (says(&url, &format!("http://user@{}/keys", server.address)), "expected a URL"),
        (says(&url, "http://192.0.2.1/keys"), "expected https"),
    ] {
        server.says(move |path, _| if path == "/keys" { panic!("asked") } else { answer.clone() });
        let said = failure(&source).await;
        assert!(said.contains(expected), "{said}\n want: {expected}");
    }
}

/// "5 s", however slowly it drips.
#[tokio::test(start_paused = true)]
async fn slow_servers() {
    let server = Server::start(issuer).await;
    let fetching = async {
        server.permits.forget_permits(1_000);
        failure(&Source { ca_file: Some(vector("leaf.crt")), ..server.source() }).await
    };
    assert_eq!(fetching.await, "no answer within 5 s");
}

/// Names resolve as the test says, differently each time.
#[derive(Debug)]
struct Names(Vec<Vec<&'static str>>, AtomicUsize);

impl Resolve for Names {
    fn resolve<'a>(&'a self, server: &'a Place) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let time = self.1.fetch_add(1, Ordering::Relaxed);
        let addresses = self.0.get(time).or(self.0.last()).unwrap();
        let all = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), server.port)).collect();
        async { Ok(all) }.boxed()
    }
}

/// "the checked address is the one connected to".
#[tokio::test]
async fn names_that_lead_inside() {
    let server = Server::start(issuer).await;
    let port = server.address.port();
    let source = public(At::Uri(format!("https://keys.example:{port}/keys").into()));
    for inside in ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fd00::1"] {
        let names = Names(vec![vec![inside]], AtomicUsize::new(0));
        let said = source.fetch(&names).await.unwrap_err().to_string();
        assert!(said.contains("every address of it is private, loopback or reserved"), "{inside}: {said}");
    }
    // The name is resolved once; later answers change nothing, and private addresses are left out.
    let names = Names(vec![vec!["127.0.0.1", "1.1.1.1"], vec!["127.0.0.1"]], AtomicUsize::new(0));
    let place = Place { host: "keys.example".to_owned(), port, is_tls: true };
    let allowed = source.allowed("https://keys.example", &place, &names).await.unwrap();
    assert_eq!(allowed, [SocketAddr::new("1.1.1.1".parse().unwrap(), port)]);
    assert_eq!(names.1.load(Ordering::Relaxed), 1);
    // A literal address is checked too.
    let literal = public(At::Uri(format!("{}/keys", server.url()).into()));
    assert!(failure(&literal).await.contains("every address of it is private"));
    assert_eq!(server.asked(), 0);
    // http is for loopback only, whatever else is allowed.
    let names = Names(vec![vec!["192.0.2.7"]], AtomicUsize::new(0));
    let plain = Source { allow_private: true, ..public(At::Uri("http://localhost/keys".into())) };
    assert!(plain.fetch(&names).await.unwrap_err().to_string().contains("expected https"));
}

/// "`token_file` goes only to the issuer's own origin or a configured `jwks_uri`", and is read anew at each fetch.
#[tokio::test]
async fn the_token_goes_to_the_issuer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = Some(folder.path().join("token"));
    let write = |text: &str| std::fs::write(folder.path().join("token"), text).unwrap();
    let (server, elsewhere) = (Server::start(issuer).await, Server::start(issuer).await);
    let last = |server: &Server| {
        let head = server.heads.lock().unwrap().last().unwrap().clone();
        head.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned)
    };
    let own = Source { at: At::Discovered(server.url().into()), token_file: token_file.clone(), ..server.source() };
    let said = failure(&own).await;
    assert!(said.contains("token: "), "{said}");
    for text in ["one\n", "two"] {
        write(text);
        own.fetch(&System).await.unwrap();
        assert_eq!(last(&server), Some(format!("Bearer {}", text.trim())));
    }
    let configured = Source { token_file, ..elsewhere.source() };
    configured.fetch(&System).await.unwrap();
    assert_eq!(last(&elsewhere), Some("Bearer two".to_owned()));
    let keys = format!("{}/keys", elsewhere.url());
    server.says(move |_, address| ok(json!({"issuer": format!("http://{address}"), "jwks_uri": keys}).to_string()));
    own.fetch(&System).await.unwrap();
    assert_eq!((last(&server), last(&elsewhere)), (Some("Bearer two".to_owned()), None));
    for wrong in ["", "a b", "a\nb", "é"] {
        write(wrong);
        assert!(failure(&own).await.contains("is not a token"), "{wrong}");
    }
}

/// Certificates are verified, for the host in the URL.
#[tokio::test]
async fn certificates_are_verified() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let server = Server::start(issuer).await;
    let chain = vec![CertificateDer::from_pem_file(vector("leaf.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(vector("key.pem")).unwrap();
    let provider = Arc::new(crate::crypto::tls::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                server.clone().serve(stream).await;
            }
        }
    });
    let source = |host: &str, ca: Option<&str>| Source {
        ca_file: ca.map(vector),
        allow_private: true,
        ..public(At::Uri(format!("https://{host}:{port}/keys").into()))
    };
    let names = Names(vec![vec!["127.0.0.1"]], AtomicUsize::new(0));
    assert_eq!(source("localhost", Some("leaf.crt")).fetch(&names).await.unwrap().keys.len(), 1);
    for (host, ca, expected) in [
        ("other.example", Some("leaf.crt"), "invalid peer certificate: certificate not valid for name"),
        ("localhost", Some("first.crt"), "its certificate is from no authority that is trusted here"),
    ] {
        let said = source(host, ca).fetch(&names).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{host} {ca:?}: {said}");
    }
    // One of the machine's own authorities may have the name of this certificate's issuer.
    let said = source("localhost", None).fetch(&names).await.unwrap_err().to_string();
    assert!(
        ["invalid peer certificate", "no authority that is trusted"].iter().any(|one| said.contains(one)),
        "{said}"
    );
    let said = source("localhost", Some("first.key")).fetch(&names).await.unwrap_err().to_string();
    assert!(said.contains("first.key: "), "{said}");
}
