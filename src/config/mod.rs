//! Configuration: a TOML file and four environment variables become [`Config`].
//!
//! This room owns how settings are written, where each one came from (for
//! messages with a line number) and which one wins: flag, environment, file,
//! default. After it nothing reads a file of settings or the environment. What
//! a scope or a client id *is* must not enter: those strings leave here with
//! their place in the file ([`Text`]) and are compiled by the room that knows.

mod file;
mod sections;
mod source;
mod values;

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::keys::Modes;

pub use source::{ConfigError, List, Source, Text};
pub use values::{Forwarding, Issuer, Listen, Origin, Peer, Seconds};

/// The configuration file that is read when none is named.
pub const DEFAULT_FILE: &str = "lingpai.toml";
/// Every setting, read and checked, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the settings came from, for messages about them.
    pub source: Source,
    /// What tokens say in `iss`.
    pub issuer: Issuer,
    /// Where to accept connections.
    pub listen: Vec<Listen>,
    /// `[keys]`.
    pub keys: Keys,
    /// How often files are compared, in seconds.
    pub reload_interval: i64,
    /// Where the ops listener accepts connections, if there is one.
    pub ops: Option<Vec<Listen>>,
    /// Whether every public TCP connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// `[cors]`: whose pages may read answers.
    pub origins: Vec<Origin>,
    /// `trusted_proxies` and `forwarded_header`.
    pub forwarding: Forwarding,
    /// `[tls]`: what the public listeners show, if they speak TLS.
    pub tls: Option<Tls>,
    /// `[revocations]`, if there is a list.
    pub revocations: Option<Revocations>,
    /// `[drain]`.
    pub drain: Drain,
    /// The most connections at once; absent: what the limit of open files leaves room for.
    pub connections: Option<u32>,
    /// How many client authentications of one address may fail at once, before it is one a second; 0: any number.
    pub failures: u32,
    /// `[token]`.
    pub token: Token,
    /// `[anonymous]`: the scope of tokens without credentials, if any are given.
    pub anonymous: Option<Vec<Text>>,
    clients: Clients,
}

/// Where the clients are written. They are parsed when they are asked for.
#[derive(Debug, Clone, Default)]
struct Clients {
    /// `[[clients]]` tables in the file.
    tables: Vec<Range<usize>>,
    /// Those that are written elsewhere: in an inline array, or in no file.
    others: Vec<Client>,
}

/// `[keys]`.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The folder of key files.
    pub path: PathBuf,
    /// How long verifiers may cache the JWKS, in seconds.
    pub jwks_max_age: i64,
    /// The thumbprints of keys that count as absent.
    pub revoked: Vec<Text>,
    /// Whether files that others can read or change are refused.
    pub check_modes: bool,
}

impl From<&Keys> for Modes {
    fn from(keys: &Keys) -> Self {
        if keys.check_modes { Self::Checked } else { Self::Unchecked }
    }
}

/// `[tls]`: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and the root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose client certificates are accepted; absent: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// `[revocations]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    /// The list: a file, or a folder of files.
    pub path: PathBuf,
    /// Whether everybody may read a signed form of it.
    pub publish: bool,
}

/// `[drain]`: how the service ends, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on to accept connections after it has said that it is not ready any more.
    pub lame_duck: i64,
    /// How long requests in flight then have to finish.
    pub limit: i64,
}

/// `[token]`.
#[derive(Debug, Clone)]
pub struct Token {
    /// The algorithm that signs, by its JOSE name.
    pub algorithm: Option<Text>,
    /// The audience of tokens whose client has none of its own.
    pub audience: Option<List>,
    /// Seconds that an access token lives.
    pub access_lifetime: i64,
    /// Seconds that a refresh token lives.
    pub refresh_lifetime: i64,
    /// Seconds that a session can be refreshed.
    pub session_lifetime: i64,
    /// Seconds by which clocks may differ.
    pub leeway: i64,
    /// Maximum number of verified tokens that are remembered; 0: none.
    pub cache: u32,
}

/// One of `[[clients]]`, as written.
#[derive(Debug, Clone)]
pub struct Client {
    /// What it was read from, for messages about it.
    pub source: Source,
    /// The client's id.
    pub id: Text,
    /// `sha256:<64 hex digits>`, at most two.
    pub secrets: List,
    /// A JWKS file with the client's public keys, relative to the configuration's folder.
    pub jwks: Option<toml::Spanned<PathBuf>>,
    /// Scope tokens that it may have.
    pub scope: Vec<Text>,
    /// Audiences that it may name; absent: the service's.
    pub audience: Option<List>,
    /// Patterns of the subjects that it may name.
    pub subjects: Vec<Text>,
    /// Names of the extra claims that it may set.
    pub claims: Vec<Text>,
    /// What its tokens are signed with, by its JOSE name; absent: the service's.
    pub algorithm: Option<Text>,
    /// Grants that it may use at `/oauth2/token`; absent: client credentials.
    pub grants: Option<Vec<Text>>,
    /// Audiences that it serves: it may introspect tokens for them.
    pub accepts: Vec<Text>,
    /// The most pairs of tokens that it gets in a second.
    pub rate: Option<u32>,
    /// Seconds; absent: the service's.
    pub access_lifetime: Option<i64>,
    /// Seconds; absent: the service's.
    pub refresh_lifetime: Option<i64>,
    /// Seconds; absent: the service's.
    pub session_lifetime: Option<i64>,
    /// Sessions that began earlier than this have ended.
    pub not_before: Option<Timestamp>,
}

/// Settings from the command line or the environment, which win over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `LINGPAI_ISSUER` or `--issuer`.
    pub issuer: Option<Issuer>,
    /// `LINGPAI_LISTEN` or `--listen`; empty if neither was given.
    pub listen: Vec<Listen>,
    /// `LINGPAI_KEYS` or `--keys`.
    pub keys: Option<PathBuf>,
}

impl Config {
    /// Reads `file`; without one `./lingpai.toml` if it is there; without that,
    /// the development defaults.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let path = match file {
            Some(path) => path,
            None => match std::fs::symlink_metadata(DEFAULT_FILE) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::development(overrides)),
                // A link to nothing, and what may not be looked at, are there, and are errors.
                _ => Path::new(DEFAULT_FILE),
            },
        };
        Self::parse(path, Self::content(path)?, overrides)
    }

    /// Reads the text of the file at `path`, to be parsed.
    ///
    /// # Errors
    /// A file that is not there, is not readable, or is no text.
    pub fn content(path: &Path) -> Result<String, ConfigError> {
        file::content(path)
    }

    /// Parses the text of the file at `path`; `overrides` win over what it says.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn parse(path: &Path, content: String, overrides: Overrides) -> Result<Self, ConfigError> {
        file::parse(path, content, overrides)
    }

    /// The settings of a server without a file: a loopback address, anonymous
    /// tokens with scope `guest`, and no client yet.
    #[must_use]
    pub fn development(overrides: Overrides) -> Self {
        let listen = if overrides.listen.is_empty() { vec![Listen::default()] } else { overrides.listen };
        let at = listen.first().map_or_else(|| Listen::default().to_string(), Listen::to_string);
        Self {
            source: Source::development(),
            issuer: overrides.issuer.unwrap_or_else(|| Issuer::local(&at)),
            listen,
            keys: Keys { path: overrides.keys.unwrap_or_else(|| PathBuf::from(file::DEFAULT_KEYS)), ..Keys::default() },
            reload_interval: file::DEFAULT_RELOAD,
            ops: None,
            proxy_protocol: false,
            origins: Vec::new(),
            forwarding: Forwarding::default(),
            tls: None,
            revocations: None,
            drain: Drain::default(),
            connections: None,
            failures: file::DEFAULT_FAILURES,
            token: Token::default(),
            anonymous: Some(vec![source::text("guest")]),
            clients: Clients::default(),
        }
    }

    /// Adds a client that is written in no file: the development client.
    #[must_use]
    pub fn with_client(mut self, id: &str, secret_digest: &str, scope: &[&str], subject: &str, claim: &str) -> Self {
        self.clients.others.push(Client {
            source: Source::development(),
            id: source::text(id),
            secrets: List::new(0..0, vec![source::text(secret_digest)]),
            jwks: None,
            scope: scope.iter().map(|s| source::text(s)).collect(),
            audience: None,
            subjects: vec![source::text(subject)],
            claims: vec![source::text(claim)],
            algorithm: None,
            grants: None,
            accepts: Vec::new(),
            rate: None,
            access_lifetime: None,
            refresh_lifetime: None,
            session_lifetime: None,
            not_before: None,
        });
        self
    }

    /// Each of `[[clients]]`, as written.
    pub fn clients(&self) -> impl Iterator<Item = Result<Client, ConfigError>> {
        let others = self.clients.others.iter().cloned().map(Ok);
        self.clients.tables.iter().map(|table| file::client(&self.source, table.clone())).chain(others)
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients_len(&self) -> usize {
        self.clients.tables.len() + self.clients.others.len()
    }

    /// Whether these are the development defaults, without a file.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.source.path().is_none()
    }
}
