//! Configuration: a TOML file and four environment variables become [`Config`].
//!
//! This room owns how settings are written, where each one came from (for
//! messages with a line number) and which one wins: flag, environment, file,
//! default. After it nothing reads a file of settings or the environment. What
//! a scope or a client id *is* must not enter: those strings leave here with
//! their place in the file ([`Text`]) and are compiled by the room that knows.

pub mod edit;
mod file;
mod matches;
mod problems;
mod sections;
mod setting;
mod settings;
mod source;
mod suggest;
mod values;

use std::path::Path;

use crate::crypto::Digester;
use crate::keys::Modes;

pub use matches::{MatchValue, Matches};
pub use problems::problems;
pub use setting::Setting;
pub use settings::{
    Anonymous, Client, Config, Cors, Drain, IssuerRule, Keys, Limits, Ops, Reload, Tls, Token, TrustedIssuer, settings,
};
pub use source::{ConfigError, List, PathText, Source, Text};
pub use values::{ForwardedHeader, Forwarding, Issuer, Listen, Origin, Overrides, Peer, Seconds};

/// The configuration file that is read when none is named.
pub const DEFAULT_FILE: &str = "lingpai.toml";

impl From<&Keys> for Modes {
    fn from(keys: &Keys) -> Self {
        if keys.check_modes { Self::Checked } else { Self::Unchecked }
    }
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
    pub fn development(mut overrides: Overrides) -> Self {
        let first = overrides.listen.first().map_or_else(|| Listen::default().to_string(), Listen::to_string);
        overrides.issuer = overrides.issuer.or_else(|| Some(Issuer::local(&first)));
        let mut config = file::development(overrides);
        config.anonymous = Some(Anonymous { scope: vec![source::text("guest")] });
        config
    }

    /// Adds a client that is written in no file: the development client.
    #[must_use]
    pub fn with_client(mut self, id: &str, secret_digest: &str, scope: &[&str], subject: &str, claim: &str) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|one| source::text(one)).collect();
        self.client_tables.others.push(Client {
            source: Source::development(),
            id: source::text(id),
            secrets: Some(List::new(0..0, texts(&[secret_digest]))),
            jwks: None,
            scope: texts(scope),
            audience: None,
            subjects: texts(&[subject]),
            claims: texts(&[claim]),
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
        let others = self.client_tables.others.iter().cloned().map(Ok);
        self.client_tables.tables.iter().map(|table| file::client(&self.source, table.clone())).chain(others)
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients_len(&self) -> usize {
        self.client_tables.tables.len() + self.client_tables.others.len()
    }

    /// A digest of what replicas must agree in, but for their clients and issuers, of which `clients` and `issuers` are
    /// digests. Where a replica
    /// listens and keeps its files is its own affair, and secrets are nobody's.
    #[must_use]
    pub fn digest_with(&self, clients: [u8; 32], issuers: [u8; 32]) -> [u8; 32] {
        let mut all = Digester::default();
        self.digest(&mut all, &|path, all| all.add(path.as_os_str().as_encoded_bytes()));
        all.add(&clients);
        all.add(&issuers);
        all.finish()
    }

    /// These settings without their file and their clients, to be compared with later ones.
    #[must_use]
    pub fn without_clients(&self) -> Self {
        let (source, client_tables) = (Source::development(), settings::ClientTables::default());
        // What is cloned is cheap: the file's text is shared.
        Self { source, client_tables, ..self.clone() }
    }

    /// Keeps what only a restart changes as it is in `running`, and returns the names of what differs.
    pub fn hold_back(&mut self, running: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        self.hold(running, &mut changed);
        settings::in_short(&changed)
    }

    /// Whether these are the development defaults, without a file.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.source.path().is_none()
    }
}
