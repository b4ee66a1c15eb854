//! The registry: what the configuration says about clients, compiled.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::compile::{NEEDS_CA, Service, client, named_by};
use super::credentials::Credentials;
use super::keysets::KeySets;
use super::offered::Offered;
use super::{AuthMethods, Client, GrantTypes, Lifetimes, SecretDigest};
use crate::config::{self, Config, ConfigError};
use crate::crypto::Digester;
use crate::files::{self, ReadError};
use crate::foreign::{KeySet, MAX_KEY_SET};
use crate::keys::Alg;
use crate::token::{ClientId, Sender};

/// All clients, including the anonymous one if configured.
#[derive(Debug, Default)]
pub struct Registry {
    /// Sorted by id and without a separate index: there may be ten thousand.
    clients: Box<[Client]>,
    anonymous: Option<Client>,
    longest: Lifetimes,
    algorithm: Alg,
    offered: Offered,
    digest: [u8; 32],
}

impl Registry {
    /// Compiles `config`.
    ///
    /// # Errors
    /// The first invalid value, with its place.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        Self::compile_with(config, |path| Ok(files::read(path, MAX_KEY_SET as u64)?.bytes.to_vec()))
    }

    /// Compiles `config`, and reads the files that it names with `read`.
    ///
    /// # Errors
    /// The first invalid value, with its place.
    pub fn compile_with(
        config: &Config,
        read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<Self, ConfigError> {
        Self::build(config, read, Err)
    }

    /// Returns every problem that prevents `config` from being compiled: the first one of each
    /// client.
    #[must_use]
    pub fn problems(config: &Config) -> Vec<ConfigError> {
        let mut all = Vec::new();
        let read = |path: &Path| Ok(files::read(path, MAX_KEY_SET as u64)?.bytes.to_vec());
        let built = Self::build(config, read, |problem| {
            all.push(problem);
            Ok(())
        });
        all.extend(built.err());
        all
    }

    /// Compiles, and skips each client whose problem `report` swallows.
    fn build(
        config: &Config,
        read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
        mut report: impl FnMut(ConfigError) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        let service = Service::compile(config)?;
        let mut key_sets = KeySets::new(read);
        let has_ca = config.mtls.as_ref().is_some_and(|mtls| mtls.ca.is_some());
        let vouched = config.issuers.iter().flat_map(|issuer| &issuer.rules).map(|rule| rule.client.get_ref().as_str());
        let vouched: HashSet<_> = vouched.collect();
        let mut clients = Vec::with_capacity(config.clients_len());
        let mut digests = Vec::with_capacity(config.clients_len());
        for written in config.clients() {
            let compiled = written.and_then(|written| {
                if let Some(name) = named_by(&written).filter(|_| !has_ca) {
                    return Err(written.source.error(name, NEEDS_CA));
                }
                let is_vouched = vouched.contains(written.id.get_ref().as_str());
                let client = client(&written, is_vouched, &service, &mut key_sets)?;
                digests.push(digest(&written, &client));
                clients.push(client);
                Ok(())
            });
            compiled.or_else(&mut report)?;
        }
        clients.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        report_repeated(config, &clients, &mut report)?;
        let written = config.anonymous.as_ref();
        let anonymous = written.map(|anonymous| service.anonymous(&config.source, &anonymous.scope)).transpose()?;
        let longest = clients.iter().fold(service.lifetimes, |longest, client| longest.max(client.lifetimes));
        let mut offered = Offered::new(service.algorithm);
        for client in &clients {
            offered.add(client.credentials.methods(), client.grants, client.algorithm);
        }
        let (clients, algorithm, digest) = (clients.into(), service.algorithm, of_all(digests));
        Ok(Self { clients, anonymous, longest, algorithm, offered, digest })
    }

    /// Returns the client with this id and secret. An unknown id takes as long as a wrong secret,
    /// and an empty secret is a wrong one.
    #[must_use]
    pub fn authenticate(&self, id: &str, secret: &[u8]) -> Option<&Client> {
        let given = SecretDigest::of(secret);
        let client = self.named(id);
        let matches = client.map_or(&Credentials::none(), |client| &client.credentials).match_secret(&given);
        client.filter(|_| matches && !secret.is_empty())
    }

    /// Takes over the rate limiters of `before`. A client whose rate has changed starts anew.
    pub fn keep_limiters(&mut self, before: &Self) {
        for client in &mut self.clients {
            let Some(limiter) = &mut client.limiter else { continue };
            let used = before.named(client.id.as_str()).and_then(|client| client.limiter.as_ref());
            if let Some(used) = used.filter(|used| used.rate() == limiter.rate()) {
                *limiter = Arc::clone(used);
            }
        }
    }

    /// Returns the client of tokens without credentials, if `[anonymous]` is configured.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Client> {
        self.anonymous.as_ref()
    }

    /// Returns the client with this id, including the anonymous one.
    #[must_use]
    pub(super) fn client(&self, id: &ClientId) -> Option<&Client> {
        if id.is_anonymous() { self.anonymous() } else { self.named(id.as_str()) }
    }

    /// Returns the client with this id, which need not have authenticated.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&Client> {
        let found = self.clients.binary_search_by(|client| client.id.as_str().cmp(id)).ok()?;
        self.clients.get(found)
    }

    /// Iterates over the clients in the order of their ids, without the anonymous one.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter()
    }

    /// Whether `name` is a client's id, which no other subject may have.
    #[must_use]
    pub fn is_client(&self, name: &str) -> bool {
        name == ClientId::ANONYMOUS || self.named(name).is_some()
    }

    /// Returns the longest lifetimes over the service and all clients.
    #[must_use]
    pub fn longest(&self) -> Lifetimes {
        self.longest
    }

    /// Returns the algorithm for clients without their own.
    #[must_use]
    pub fn algorithm(&self) -> Alg {
        self.algorithm
    }

    /// Returns the methods by which clients authenticate.
    #[must_use]
    pub fn methods(&self) -> AuthMethods {
        self.offered.methods
    }

    /// Whether some client authenticates by a CA-issued certificate, and whether one does by a
    /// registered certificate.
    #[must_use]
    pub fn certificate_methods(&self) -> (bool, bool) {
        let any = |has: fn(&Credentials) -> bool| self.clients.iter().any(|client| has(&client.credentials));
        let is_registered =
            |credentials: &Credentials| credentials.keys.as_deref().is_some_and(KeySet::has_certificates);
        (any(|credentials| credentials.name.is_some()), any(is_registered))
    }

    /// Whether `sender` binds the tokens of some client.
    #[must_use]
    pub fn binds(&self, sender: Sender) -> bool {
        self.clients.iter().any(|client| client.sender == Some(sender))
    }

    /// Returns the grants that some client may use at the OAuth token endpoint.
    #[must_use]
    pub fn grants(&self) -> GrantTypes {
        self.offered.grants
    }

    /// Returns the algorithms that sign access tokens.
    #[must_use]
    pub fn algorithms(&self) -> &BTreeSet<Alg> {
        &self.offered.algorithms
    }

    /// Returns a digest of everything about clients that replicas must agree on.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are no clients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// Reports each client whose id is that of one before it. They are in the order of their ids.
fn report_repeated(
    config: &Config,
    clients: &[Client],
    report: &mut impl FnMut(ConfigError) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let mut same = 0;
    for (one, other) in clients.iter().zip(clients.iter().skip(1)) {
        same = if one.id == other.id { same + 1 } else { 0 };
        if same > 0 {
            report(repeated(config, one.id.as_str(), same))?;
        }
    }
    Ok(())
}

/// Builds the error for a repeated id; `before` clients precede this one.
fn repeated(config: &Config, id: &str, before: usize) -> ConfigError {
    let mut same = config.clients().filter_map(Result::ok).filter(|client| client.id.get_ref() == id);
    let first = same.next().and_then(|client| client.source.place(client.id.span()));
    let first = first.map_or_else(String::new, |place| format!("; the other one is at {place}"));
    let message = format!("another client has this id; ids must be unique{first}");
    match same.nth(before.saturating_sub(1)) {
        Some(client) => client.source.error(&client.id, message),
        None => config.source.error_in_file(message),
    }
}

/// Returns a digest of everything about one client that replicas must agree on.
fn digest(written: &config::Client, client: &Client) -> [u8; 32] {
    let mut all = Digester::default();
    written.digest(&mut all, &|_, all| {
        if let Some(keys) = client.keys() {
            keys.digest(all);
        }
    });
    all.finish()
}

/// Returns a digest of all digests, independent of their order.
fn of_all(mut clients: Vec<[u8; 32]>) -> [u8; 32] {
    clients.sort_unstable();
    let mut all = Digester::default();
    for client in &clients {
        all.add(client);
    }
    all.finish()
}
