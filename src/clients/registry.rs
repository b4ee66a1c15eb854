//! The registry: what the configuration says about clients, compiled.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::certificate::{ClientRoots, SubjectName};
use super::credentials::{Credentials, MAX_SECRETS};
use super::offered::Offered;
use super::{AuthMethods, GrantType, GrantTypes, Rate, RateLimiter, SecretDigest};
use crate::clock::Timestamp;
use crate::config::{self, Config, ConfigError, List, Source, Text};
use crate::crypto::Digester;
use crate::files::{self, ReadError};
use crate::foreign::{KeySet, MAX_KEY_SET, Owner};
use crate::keys::Alg;
use crate::peer::ClientCertificate;
use crate::token::{Audience, Audiences, ClientId, RESERVED, Scope, ScopeToken, Sender, Subject};

const MAX_PATTERNS: usize = 64;
const MAX_CLAIMS: usize = 64;
/// Maximum length of a subject in bytes, and of a claim's name in characters.
const MAX_NAME: usize = 255;
const NUL: char = '\0';

/// Lifetimes of tokens and sessions, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token.
    pub access: i64,
    /// A refresh token.
    pub refresh: i64,
    /// A session.
    pub session: i64,
}

/// A client and what it may request.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    credentials: Credentials,
    /// The scope that it may request.
    pub scope: Scope,
    /// The audiences that it may request.
    pub audience: Audiences,
    /// Subjects and patterns such as `user:7` and `user:*`, separated by spaces, which no subject
    /// contains.
    subjects: Box<str>,
    /// Names of claims, separated by NUL, which no name contains.
    claims: Box<str>,
    /// The algorithm that signs its access tokens.
    pub algorithm: Alg,
    /// The grants that it may use at the OAuth token endpoint.
    pub grants: GrantTypes,
    /// Audiences that it serves.
    accepts: Option<Audiences>,
    /// How its tokens must be bound, if at all.
    pub sender: Option<Sender>,
    /// Limits the token pairs that it gets, if configured.
    pub limiter: Option<Arc<RateLimiter>>,
    /// The lifetimes of its tokens and sessions.
    pub lifetimes: Lifetimes,
    /// Sessions that began earlier are refused.
    pub not_before: Option<Timestamp>,
}

impl Client {
    /// Whether a pattern allows `subject`.
    #[must_use]
    pub(super) fn may_name(&self, subject: &Subject) -> bool {
        let subject = subject.as_str();
        self.subjects.split(' ').any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => subject.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => subject == pattern,
        })
    }

    /// Returns the public keys that verify its assertions, if any.
    #[must_use]
    pub fn keys(&self) -> Option<&KeySet> {
        self.credentials.keys.as_ref()
    }

    /// Whether `certificate` authenticates it at `now`: its key set registers the certificate (RFC
    /// 8705 §2.2), or the certificate has the client's name and chains up to one of `roots` (§2.1).
    #[must_use]
    pub fn accepts_certificate(
        &self,
        certificate: &ClientCertificate,
        roots: Option<&ClientRoots>,
        now: Timestamp,
    ) -> bool {
        let Credentials { keys, name, .. } = &self.credentials;
        let is_registered = keys.as_ref().is_some_and(|keys| keys.has_certificate(&certificate.digest()));
        is_registered || name.as_ref().zip(roots).is_some_and(|(name, roots)| name.accepts(certificate, roots, now))
    }

    /// Returns the number of its secrets.
    #[must_use]
    pub fn secrets_len(&self) -> usize {
        self.credentials.secrets_len()
    }

    /// Whether it serves one of `audience`, and so may introspect tokens for it.
    #[must_use]
    pub fn accepts_any(&self, audience: &Audiences) -> bool {
        self.accepts.as_ref().is_some_and(|accepts| audience.iter().any(|one| accepts.contains(one.as_str())))
    }

    /// Whether it may set the extra claim `name`.
    #[must_use]
    pub(super) fn may_claim(&self, name: &str) -> bool {
        !name.is_empty() && self.claims.split(NUL).any(|claim| claim == name)
    }
}

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
        mut read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
        mut report: impl FnMut(ConfigError) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        let source = &config.source;
        let service_audience =
            match &config.token.audience {
                Some(written) => audiences(source, written)?,
                None => Audience::parse(config.issuer.as_str()).and_then(|one| Audiences::collect([one])).ok_or_else(
                    || source.error_in_file("the issuer is too long to be the default audience; set [token] audience"),
                )?,
            };
        let service = Lifetimes {
            access: config.token.access_lifetime,
            refresh: config.token.refresh_lifetime,
            session: config.token.session_lifetime,
        };
        let algorithm = algorithm(source, &config.token.algorithm)?;
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
                let client = client(&written, is_vouched, &service_audience, algorithm, service, &mut read)?;
                digests.push(digest(&written, &client));
                clients.push(client);
                Ok(())
            });
            compiled.or_else(&mut report)?;
        }
        clients.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        let mut same = 0;
        for pair in clients.windows(2) {
            let [one, other] = pair else { continue };
            same = if one.id == other.id { same + 1 } else { 0 };
            if same > 0 {
                report(repeated(config, one.id.as_str(), same))?;
            }
        }
        let anonymous = match &config.anonymous {
            Some(anonymous) => Some(Client {
                id: ClientId::anonymous(),
                credentials: Credentials::none(),
                scope: scope(source, &anonymous.scope)?,
                audience: service_audience,
                subjects: Box::default(),
                claims: Box::default(),
                algorithm,
                grants: GrantTypes::default(),
                accepts: None,
                sender: None,
                limiter: None,
                lifetimes: service,
                not_before: None,
            }),
            None => None,
        };
        let longest = clients.iter().map(|client: &Client| client.lifetimes).fold(service, |a, b| Lifetimes {
            access: a.access.max(b.access),
            refresh: a.refresh.max(b.refresh),
            session: a.session.max(b.session),
        });
        let mut offered = Offered::new(algorithm);
        for client in &clients {
            offered.add(client.credentials.methods(), client.grants, client.algorithm);
        }
        Ok(Self { clients: clients.into(), anonymous, longest, algorithm, offered, digest: of_all(digests) })
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
        let is_registered = |credentials: &Credentials| credentials.keys.as_ref().is_some_and(KeySet::has_certificates);
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

fn client(
    written: &config::Client,
    is_vouched: bool,
    service_audience: &Audiences,
    service_algorithm: Alg,
    service: Lifetimes,
    read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
) -> Result<Client, ConfigError> {
    let source = &written.source;
    let id = ClientId::parse(written.id.get_ref())
        .ok_or_else(|| source.error(&written.id, format!("expected a client id: {}", ClientId::EXPECTED)))?;
    if id.is_anonymous() {
        return Err(source.error(&written.id, "the id `anonymous` is reserved for tokens without credentials"));
    }
    Ok(Client {
        credentials: credentials(source, written, is_vouched, read)?,
        scope: scope(source, &written.scope)?,
        audience: match &written.audience {
            Some(own) => audiences(source, own)?,
            None => service_audience.clone(),
        },
        subjects: at_most(source, &written.subjects, MAX_PATTERNS, "patterns", pattern)?.join(" ").into(),
        claims: at_most(source, &written.claims, MAX_CLAIMS, "claims", claim_name)?.join("\0").into(),
        algorithm: match &written.algorithm {
            Some(own) => algorithm(source, own)?,
            None => service_algorithm,
        },
        grants: grants(source, written.grants.as_deref())?,
        accepts: accepts(source, &written.accepts)?,
        sender: written.sender,
        limiter: written.rate.map(|rate| Arc::new(RateLimiter::new(Rate::per_second(rate)))),
        lifetimes: Lifetimes {
            access: written.access_lifetime.unwrap_or(service.access),
            refresh: written.refresh_lifetime.unwrap_or(service.refresh),
            session: written.session_lifetime.unwrap_or(service.session),
        },
        not_before: written.not_before,
        id,
    })
}

fn credentials(
    source: &Source,
    written: &config::Client,
    is_vouched: bool,
    read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
) -> Result<Credentials, ConfigError> {
    let secrets = written.secrets();
    if let Some(too_many) = written.secrets.as_ref().filter(|_| secrets.len() > MAX_SECRETS) {
        return Err(source.error(too_many, "expected one secret, or two while one is being replaced"));
    }
    if secrets.is_empty() && written.jwks.is_none() && named_by(written).is_none() && !is_vouched {
        let expected = "nobody can authenticate as this client; expected `secrets` with one secret, a `jwks` file, or \
                        `tls_san_dns`, `tls_san_uri`, or a rule of [[issuers]]";
        return Err(source.error(&written.id, expected));
    }
    let parse = |text: &Text| {
        SecretDigest::parse(text.get_ref())
            .filter(|digest| !digest.equals(&SecretDigest::UNMATCHED))
            .ok_or_else(|| source.error(text, format!("expected {}", SecretDigest::EXPECTED)))
    };
    let secrets = secrets.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let keys = written.jwks.as_ref().map(|written| {
        let path = source.resolve(written.get_ref());
        let problem = |problem: String| source.error(written, format!("{}: {problem}", path.display()));
        let bytes = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        KeySet::parse(&bytes, Owner::Client).map_err(|error| problem(error.to_string()))
    });
    Ok(Credentials::of(secrets, keys.transpose()?, subject_name(source, written)?))
}

const NEEDS_CA: &str = "the client's certificate needs a CA; set [mtls] ca";

/// Returns the setting that identifies the client's certificate, if any.
fn named_by(written: &config::Client) -> Option<&Text> {
    written.tls_san_uri.as_ref().or(written.tls_san_dns.as_ref())
}

fn subject_name(source: &Source, written: &config::Client) -> Result<Option<SubjectName>, ConfigError> {
    match (&written.tls_san_dns, &written.tls_san_uri) {
        (None, None) => Ok(None),
        (Some(_), Some(uri)) => Err(source.error(uri, "expected tls_san_dns or tls_san_uri, not both")),
        (Some(name), None) => {
            let text = name.get_ref();
            let right = (1..=MAX_NAME).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let expected = || source.error(name, "expected a host name such as \"orders.example.com\"");
            right.then(|| Some(SubjectName::Dns(text.as_str().into()))).ok_or_else(expected)
        }
        (None, Some(uri)) => {
            let text = uri.get_ref();
            let right = (3..=MAX_NAME).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
                && text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
            let expected = || source.error(uri, "expected a URI such as \"spiffe://example.com/orders\"");
            right.then(|| Some(SubjectName::Uri(text.as_str().into()))).ok_or_else(expected)
        }
    }
}

fn algorithm(source: &Source, name: &Text) -> Result<Alg, ConfigError> {
    let expected = "expected an algorithm: \"ES256\", \"EdDSA\" or \"RS256\"";
    Alg::from_name(name.get_ref()).ok_or_else(|| source.error(name, expected))
}

fn grants(source: &Source, written: Option<&[Text]>) -> Result<GrantTypes, ConfigError> {
    let read = |name: &Text| {
        let expected =
            || format!("expected a grant: {}", GrantType::ALL.map(|one| format!("{:?}", one.name())).join(" or "));
        GrantType::from_name(name.get_ref()).ok_or_else(|| source.error(name, expected()))
    };
    match written {
        None => Ok([GrantType::ClientCredentials].into_iter().collect()),
        Some(names) => names.iter().map(read).collect(),
    }
}

fn accepts(source: &Source, written: &[Text]) -> Result<Option<Audiences>, ConfigError> {
    if written.is_empty() {
        return Ok(None);
    }
    let all = at_most(source, written, Audiences::MAX, "audiences", audience)?;
    Ok(Audiences::collect(all))
}

fn audience(text: &str) -> Result<Audience, String> {
    Audience::parse(text).ok_or(format!("expected an audience: {}", Audience::EXPECTED))
}

fn scope(source: &Source, written: &[Text]) -> Result<Scope, ConfigError> {
    let tokens = at_most(source, written, Scope::MAX, "scope tokens", |text| {
        ScopeToken::parse(text).ok_or(format!("expected a scope token: {}", ScopeToken::EXPECTED))
    })?;
    Scope::collect(tokens).ok_or_else(|| source.error_in_file("too many scope tokens"))
}

fn audiences(source: &Source, written: &List) -> Result<Audiences, ConfigError> {
    let all = at_most(source, written.get_ref(), Audiences::MAX, "audiences", audience)?;
    Audiences::collect(all).ok_or_else(|| {
        source.error(written, format!("expected 1 to {} audiences; leave the line out for the default", Audiences::MAX))
    })
}

fn pattern(text: &str) -> Result<String, String> {
    let fixed = text.strip_suffix('*').unwrap_or(text);
    let right = fixed.len() <= MAX_NAME && fixed.bytes().all(|b| b.is_ascii_graphic() && b != b'*') && !text.is_empty();
    let expected = "expected a subject such as \"user:7\" or a pattern such as \"user:*\": visible ASCII, with `*` only \
                    at the end";
    if right { Ok(text.to_owned()) } else { Err(expected.into()) }
}

fn claim_name(text: &str) -> Result<String, String> {
    if RESERVED.contains(&text) {
        return Err(format!("`{text}` is a reserved claim, which no client may set; choose another name"));
    }
    if text.is_empty() || text.chars().count() > MAX_NAME || text.contains(NUL) {
        return Err(format!("expected a claim's name: 1 to {MAX_NAME} characters, without NUL"));
    }
    Ok(text.into())
}

fn at_most<T>(
    source: &Source,
    written: &[Text],
    limit: usize,
    what: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConfigError> {
    if let Some(first_too_many) = written.get(limit) {
        return Err(source.error(first_too_many, format!("expected at most {limit} {what}")));
    }
    written.iter().map(|text| read(text.get_ref()).map_err(|problem| source.error(text, problem))).collect()
}
