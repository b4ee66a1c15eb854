//! Configuration: a TOML file and four environment variables become [`Config`].
//!
//! This room owns how settings are written, where each one came from (for
//! messages with a line number) and which one wins: flag, environment, file,
//! default. Nothing else reads a settings file or the environment. What a scope
//! or a client id *is* must not enter: those strings leave here with their place
//! in the file ([`Text`]), and the room that knows them compiles them.

pub mod edit;
mod file;
mod matches;
mod problems;
mod sections;
mod setting;
mod settings;
mod source;
mod suggest;
mod texts;
mod values;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::crypto::Digester;
use crate::keys::Modes;

pub use file::MAX_ISSUERS;
pub use matches::{MatchValue, Matches};
pub use problems::problems;
pub use setting::Setting;
pub use settings::{
    Anonymous, Client, Config, Cors, Dpop, Drain, IssuerRule, Keys, Limits, Log, Mtls, Ops, Reload, Revocations, Tls,
    Token, TrustedIssuer, settings,
};
pub use source::{ConfigError, List, PathText, Source, Text, without_secrets};
pub use texts::Texts;
pub use values::{ForwardedHeader, Forwarding, Issuer, Listen, Nonces, Origin, Overrides, Peer, Seconds};

/// The configuration file that is read when none is named.
pub const DEFAULT_FILE: &str = "lingpai.toml";

impl From<&Keys> for Modes {
    fn from(keys: &Keys) -> Self {
        if keys.check_modes { Self::Checked } else { Self::Unchecked }
    }
}

impl Config {
    /// Reads `file`, or `./lingpai.toml` if it exists, or else the development
    /// defaults.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let path = match file {
            Some(path) => path,
            None => match fs::symlink_metadata(DEFAULT_FILE) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::development(overrides)),
                // A dangling link and a file without permission do exist, so they are errors.
                _ => Path::new(DEFAULT_FILE),
            },
        };
        Self::of(Texts::read(path)?, overrides)
    }

    /// Parses what was read; `overrides` win over what it says.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn of(texts: Texts, overrides: Overrides) -> Result<Self, ConfigError> {
        file::parse(texts, overrides)
    }

    /// Parses the text of the file at `path` by itself: the files that it includes are not read. `overrides` win over
    /// what it says.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn parse(path: &Path, content: String, overrides: Overrides) -> Result<Self, ConfigError> {
        file::parse(Texts::alone(path, content), overrides)
    }

    /// Returns the settings of a server without a file: a loopback address, anonymous
    /// tokens with scope `guest`, and no client yet.
    #[must_use]
    pub fn development(mut overrides: Overrides) -> Self {
        let first = overrides.listen.first().map_or_else(|| Listen::default().to_string(), Listen::to_string);
        overrides.issuer = overrides.issuer.or_else(|| Some(Issuer::local(&first)));
        let mut config = file::development(overrides);
        config.anonymous = Some(Anonymous { scope: vec![source::text("guest")] });
        config
    }

    /// Adds a client that no file defines: the development client.
    #[must_use]
    pub fn with_client(mut self, id: &str, secret_digest: &str, scope: &[&str], subject: &str, claim: &str) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|one| source::text(one)).collect();
        self.client_tables.others.push(Client {
            source: Source::development(),
            id: source::text(id),
            secrets: Some(List::new(0..0, texts(&[secret_digest]))),
            jwks: None,
            tls_san_dns: None,
            tls_san_uri: None,
            scope: texts(scope),
            audience: None,
            subjects: texts(&[subject]),
            claims: texts(&[claim]),
            algorithm: None,
            grants: None,
            accepts: Vec::new(),
            sender: None,
            rate: None,
            access_lifetime: None,
            refresh_lifetime: None,
            session_lifetime: None,
            not_before: None,
        });
        self
    }

    /// Returns each of `[[clients]]`, as written.
    pub fn clients(&self) -> impl Iterator<Item = Result<Client, ConfigError>> {
        self.client_tables.read()
    }

    /// Returns the ids of the clients that the file at `path` holds, as far as they parse.
    #[must_use]
    pub fn ids_in(&self, path: &Path) -> HashSet<String> {
        self.client_tables.of_file(path).read().filter_map(Result::ok).map(|client| client.id.into_inner()).collect()
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn clients_len(&self) -> usize {
        self.client_tables.len()
    }

    /// Each file that the settings were read from, and its text; first that which includes the others.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.client_tables.files.iter().filter_map(|(source, _)| source.whole())
    }

    /// The file at `path` as the settings name it: one that they were read from, or one that `include` would match if
    /// it were there.
    #[must_use]
    pub fn file_at(&self, path: &Path) -> Option<PathBuf> {
        let target = fs::canonicalize(path).ok();
        let is_same = |file: &Path| target.is_some() && fs::canonicalize(file).ok() == target;
        let known = self.files().map(|(file, _)| file).find(|file| is_same(file)).map(Path::to_owned);
        // It may be there since the others were read.
        known.or_else(|| texts::would_include(&self.source, &self.include, path))
    }

    /// Returns a digest of the settings in which replicas must agree. `clients` and `issuers` are the digests of
    /// their clients and of the issuers that they trust. Where a
    /// replica listens and keeps its files is its own choice, and secrets are left out.
    #[must_use]
    pub fn digest_with(&self, clients: [u8; 32], issuers: [u8; 32]) -> [u8; 32] {
        let mut all = Digester::default();
        self.digest(&mut all, &|path, all| all.add(path.as_os_str().as_encoded_bytes()));
        all.add(&clients);
        all.add(&issuers);
        all.finish()
    }

    /// Returns these settings without their files, clients and issuers, for comparison with later ones.
    #[must_use]
    pub fn without_clients(&self) -> Self {
        let (source, client_tables) = (Source::development(), settings::ClientTables::default());
        // The clone is cheap: the files' texts are shared.
        Self { source, client_tables, issuers: Vec::new(), ..self.clone() }
    }

    /// Keeps the settings that only a restart changes as they are in `running`, and returns the names of those that
    /// differ.
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
