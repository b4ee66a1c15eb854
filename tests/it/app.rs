//! A service under test: it really listens, and its clock only moves by hand.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lingpai::app::{Listeners, Reloader};
use lingpai::clock::{Clock, Timestamp};
use lingpai::config::{Config, Overrides};
use lingpai::keys::Alg;
use lingpai::server::{Listener, Tls};
use lingpai::service::State;
use serde_json::Value;

/// The issuer of every service under test.
pub const ISSUER: &str = "https://tokens.example.com";
/// When every test begins: 2026-06-01T12:00:00Z.
pub const START: i64 = 1_780_315_200;
/// The secret of the client `orders`.
pub const SECRET: &str = "lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
/// The 401 of every cause.
pub const UNAUTHORIZED: &str = r#"{"name":"Unauthorized","message":"authentication failed","stack":[]}"#;

/// How POST asks for credentials.
pub const BASIC: [&str; 1] = [r#"Basic realm="lingpai", charset="UTF-8""#];
/// How GET and PUT ask for a token that was not presented.
pub const TOKEN: [&str; 3] = [r#"Bearer realm="lingpai""#, r#"Token realm="lingpai""#, DPOP];
/// How they ask for a token that is bound to a key.
pub const DPOP: &str = r#"DPoP algs="ES256 EdDSA Ed25519 PS256 RS256""#;

/// The configuration of most tests, with one passage of it replaced.
pub fn edited(from: &str, to: &str) -> String {
    let standard = standard();
    assert!(standard.contains(from), "{from:?} is not in the standard configuration");
    standard.replacen(from, to, 1)
}

/// The configuration of most tests.
pub fn standard() -> String {
    let digest = lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written();
    format!(
        r#"
issuer = "{ISSUER}"
[token]
audience = ["https://api.example.com"]
[anonymous]
scope = ["guest"]
[[clients]]
id = "orders"
secrets = ["{digest}"]
scope = ["orders:read", "orders:write"]
audience = ["https://orders.example.com", "https://stock.example.com"]
subjects = ["user:*", "robot"]
claims = ["tenant", "groups"]
[[clients]]
id = "billing"
secrets = ["{digest}"]
scope = ["bills"]
subjects = ["*"]
"#
    )
}

/// The standard configuration without what `lingpai check` warns of.
pub fn quiet() -> String {
    standard().replace(", \"https://stock.example.com\"", "").replace("[\"*\"]", "[\"bill:*\"]")
}

/// A service under test.
pub struct TestApp {
    pub address: SocketAddr,
    pub ops: SocketAddr,
    pub folder: tempfile::TempDir,
    pub state: Arc<State>,
    /// What the configuration's `[tls]` is loaded into. No listener serves it.
    pub tls: Option<Arc<Tls>>,
    pub clock: Clock,
    reloader: Mutex<Reloader>,
    runtime: Option<tokio::runtime::Runtime>,
    /// How many requests were refused for overload, as far as is known here.
    shed: AtomicI64,
}

impl TestApp {
    /// The standard configuration, and a key for ES256.
    pub fn start() -> Self {
        Self::with(&standard(), &["2026-01-01T00-00-00Z.es256.pem"])
    }

    /// This configuration, and these of the keys in `tests/vectors/keys`.
    pub fn with(config: &str, keys: &[&str]) -> Self {
        Self::with_files(config, keys, &[])
    }

    /// The same with these files beside the configuration.
    pub fn with_files(config: &str, keys: &[&str], files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        for key in keys {
            copy_key(key, &folder.path().join("keys").join(key));
        }
        let clock = Clock::manual(Timestamp::from_unix(START));
        for (file, name) in [("first.crt", "tls.crt"), ("first.key", "tls.key")] {
            std::fs::copy(vectors("tls").join(file), folder.path().join(name)).unwrap();
        }
        let config = load(folder.path(), config).unwrap();
        let loaded = lingpai::app::load(&config, clock.now()).unwrap();
        let tls = loaded.identity.map(|identity| Arc::new(Tls::new(identity)));
        let state = lingpai::app::state(loaded.snapshot, clock.clone());
        if let Some(list) = loaded.revocations {
            state.revoke(list);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let ops_listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let ops = ops_listener.local_addr().unwrap();
        let listeners = Listeners { public: vec![Listener::Tcp(listener)], ops: vec![Listener::Tcp(ops_listener)] };
        runtime.spawn(lingpai::app::serve(
            Arc::clone(&state),
            lingpai::http::RequestIds::new().unwrap(),
            listeners,
            lingpai::app::transport(&config),
            None,
            std::future::pending(),
        ));
        let reloader = Mutex::new(Reloader::new(config, Overrides::default(), Arc::clone(&state), tls.clone()));
        Self { address, ops, folder, tls, clock, state, reloader, runtime: Some(runtime), shed: AtomicI64::new(0) }
    }

    /// Moves the clock to `seconds` after the start of the test.
    pub fn at(&self, seconds: i64) -> &Self {
        self.clock.set(Timestamp::from_unix(START + seconds));
        self
    }

    /// Replaces the configuration, as a reload does.
    pub fn reconfigure(&self, config: &str) {
        let config = load(self.folder.path(), config).unwrap();
        self.state.swap(lingpai::app::snapshot(&config, self.clock.now()).unwrap());
    }

    /// Looks at the files, as a server does at every interval.
    pub fn look(&self) -> &Self {
        self.reloader.lock().unwrap().look(false);
        self
    }

    /// Looks at the files, as a server does on SIGHUP.
    pub fn ask(&self) -> &Self {
        self.reloader.lock().unwrap().look(true);
        self
    }

    /// What the operator reads at `path`.
    pub fn operator(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(self.ops).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        read_answer(&mut stream)
    }

    /// The number that a metric has; without labels, over all of them.
    #[track_caller]
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.operator("/metrics").body;
        let number = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
            Some(rest.strip_prefix(' ')?.parse::<i64>().unwrap())
        };
        let numbers: Vec<_> = text.lines().filter_map(number).collect();
        assert!(!numbers.is_empty(), "no {name} in {text}");
        numbers.into_iter().sum()
    }

    /// Adds a key that signs from `seconds` after the start of the test on, for
    /// the next [`TestApp::reconfigure`]. Its `kid`.
    pub fn add_key(&self, seconds: i64) -> String {
        let from = Timestamp::from_unix(START + seconds);
        let key = lingpai::keys::generate(&self.folder.path().join("keys"), Alg::default(), from).unwrap();
        key.kid().as_str().to_owned()
    }

    /// A connection, on which nothing is waited for longer than a test may take.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes on a new connection, and reads all until the server closes
    /// it. A server that does not is an error.
    pub fn until_closed(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let mut said = Vec::new();
        match stream.read_to_end(&mut said) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error} after {said:?}"),
            _ => String::from_utf8_lossy(&said).into_owned(),
        }
    }

    /// Sends bytes on a new connection, and reads until the server closes it or
    /// the answer is complete.
    ///
    /// What is refused because the machine is busy with something else is asked again.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        loop {
            let mut stream = self.connect();
            // A server that has answered already may have closed its side.
            let _ = stream.write_all(bytes);
            let answer = read_answer(&mut stream);
            if answer.status != 503 || !self.has_shed() {
                return answer;
            }
        }
    }

    /// Whether requests were refused for overload since this was asked last.
    fn has_shed(&self) -> bool {
        let all = self.metric("lingpai_requests_shed_total");
        self.shed.swap(all, Ordering::Relaxed) < all
    }

    /// Sends a request with these header lines and this body.
    pub fn send(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for header in headers {
            let _ = write!(text, "{header}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.raw(text.as_bytes())
    }

    /// `POST /token` as the client `orders`, with a JSON body or none.
    pub fn create(&self, body: &str) -> Answer {
        self.create_as("orders", SECRET, body)
    }

    /// `POST /token` with HTTP Basic.
    pub fn create_as(&self, id: &str, secret: &str, body: &str) -> Answer {
        self.with_json("POST", &basic(id, secret), body)
    }

    fn with_json(&self, method: &str, authorization: &str, body: &str) -> Answer {
        let headers = [authorization, "Content-Type: application/json"];
        let used = if body.is_empty() { &headers[..1] } else { &headers[..] };
        self.send(method, "/token", used, body)
    }

    /// `GET /token` with a query such as `?scope=a`, or none.
    pub fn inspect(&self, token: &str, query: &str) -> Answer {
        self.send("GET", &format!("/token{query}"), &[&format!("Authorization: Token {token}")], "")
    }

    /// `PUT /token` with a JSON body or none.
    pub fn refresh(&self, token: &str, body: &str) -> Answer {
        self.with_json("PUT", &format!("Authorization: Token {token}"), body)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Writes `config` into `folder` and reads it.
pub fn load(folder: &Path, config: &str) -> Result<Config, lingpai::config::ConfigError> {
    let path = folder.join("lingpai.toml");
    replace(&path, config);
    Config::load(Some(&path), Overrides::default())
}

/// Writes beside, then renames, so that a reload has no doubt that the file is whole.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let aside = path.with_file_name(".aside");
    std::fs::write(&aside, content).unwrap();
    if let Ok(old) = std::fs::metadata(path) {
        std::fs::set_permissions(&aside, old.permissions()).unwrap();
    }
    // As if the clock of the file system had ticked between the write and the rename.
    let file = std::fs::File::options().append(true).open(&aside).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_millis(10)).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// The path of a file beside the tests.
pub fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// Copies a key for tests, readable by its owner only.
pub fn copy_key(name: &str, to: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::copy(vectors("keys").join(name), to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An `Authorization` header line.
pub fn basic(id: &str, secret: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// Whether a text shows a token, or twelve characters of it.
pub fn shows(text: &str, token: &str) -> bool {
    assert!(token.len() > 100);
    (12..=token.len()).any(|end| text.contains(&token[end - 12..end]))
}

/// A segment of a compact token, decoded.
pub fn segment(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The values of every header line of this name, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the one header line of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times", all.len());
        all.first().copied()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// A string member of the body.
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}")).to_owned()
    }

    /// Asserts an error of this status, name and message, in the one shape.
    #[track_caller]
    pub fn assert_error(&self, status: u16, name: &str, message: &str) -> &Self {
        let expected = serde_json::json!({"name": name, "message": message, "stack": []});
        assert_eq!((self.status, self.json()), (status, expected), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        self
    }

    /// Asserts an error in the one shape, whose message has `part`.
    #[track_caller]
    pub fn assert_says(&self, status: u16, name: &str, part: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        let message = self.text("message");
        assert!(message.contains(part), "{message:?} does not have {part:?}");
        // Neither a type nor a library's words.
        for word in ["::", "serde", "poem", "invalid type", "i64", "u64", "/src"] {
            assert!(!message.contains(word), "{message:?}");
        }
        self.assert_error(status, name, &message)
    }

    /// Asserts the 401 of every cause, with these challenges.
    #[track_caller]
    pub fn assert_unauthorized(&self, challenges: &[&str]) -> &Self {
        assert_eq!((self.status, self.body.as_str()), (401, UNAUTHORIZED), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.all("www-authenticate"), challenges, "{self:?}");
        self
    }

    /// Asserts the 401 of a token that is not accepted, with this description.
    #[track_caller]
    pub fn assert_invalid_token(&self, description: Option<&str>) -> &Self {
        let described = description.map_or(String::new(), |text| format!(", error_description=\"{text}\""));
        let challenges = TOKEN.map(|scheme| format!("{scheme}, error=\"invalid_token\"{described}"));
        self.assert_unauthorized(&challenges.each_ref().map(String::as_str))
    }
}

/// `body` in chunks of up to 4 KiB (RFC 9112 §7.1).
pub fn chunked(body: &str) -> String {
    let mut framed = String::new();
    for chunk in body.as_bytes().chunks(4096) {
        let _ = write!(framed, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    }
    framed + "0\r\n\r\n"
}

/// Every answer in what a connection said, none of them to HEAD.
pub fn answers(mut said: &str) -> Vec<Answer> {
    let mut all = Vec::new();
    while !said.is_empty() {
        let mut answer = complete(said.as_bytes(), true).unwrap_or_else(|| panic!("no answer: {said:?}"));
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        said = &said[said.len() - answer.body.len() + length..];
        answer.body.truncate(length);
        all.push(answer);
    }
    all
}

/// Reads one answer; its body ends where `Content-Length` says, or the connection.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        if let Some(answer) = complete(&bytes, false) {
            return answer;
        }
        match stream.read(&mut chunk) {
            // A socket with a time-out says so even where the system calls of others are begun again (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            end @ (Ok(0) | Err(_)) => {
                return complete(&bytes, true).unwrap_or_else(|| panic!("no answer, but {end:?} after {bytes:?}"));
            }
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn complete(bytes: &[u8], ended: bool) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let answer = Answer { status, headers, body: body.to_owned() };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    (ended || length.is_some_and(|length| body.len() >= length)).then_some(answer)
}
