//! The snapshot: everything that decides requests, built from the configuration and the keys,
//! immutable.

use std::path::PathBuf;

use crate::clients::{ClientRoots, Rate, Registry};
use crate::clock::Timestamp;
use crate::config::{Forwarding, Nonces};
use crate::federation::Issuers;
use crate::foreign::TargetUrl;
use crate::keys::{KeyRing, Plan};
use crate::token::{AccessClaims, Cache, Verifying};

use super::{Documents, Renderings};

/// The token endpoint's path under the issuer, which a client's assertion may name as its audience
/// (RFC 7523 §3).
pub const TOKEN_ENDPOINT: &str = "/oauth2/token";

/// Everything that decides a request. It is immutable; a reload replaces it.
#[derive(Debug)]
pub struct Snapshot {
    /// The value of `iss`.
    pub issuer: String,
    /// Where requests with proofs come in.
    pub urls: OwnUrls,
    /// Maximum difference between clocks that is tolerated, in seconds.
    pub leeway: i64,
    /// Seconds for which verifiers may cache the JWKS.
    pub jwks_max_age: i64,
    /// The clients.
    pub registry: Registry,
    /// The CAs that issue clients' certificates, if configured.
    pub client_roots: Option<ClientRoots>,
    /// Whether `[mtls]` is configured, so that certificates that a trusted proxy passes on count.
    pub takes_certificates: bool,
    /// The URL at which clients are asked for a certificate, if any.
    pub mtls_url: Option<String>,
    /// Whether proofs need a nonce.
    pub nonces: Nonces,
    /// The trusted issuers.
    pub issuers: Issuers,
    /// The keys and their schedule.
    pub keys: KeyRing,
    /// Whether new sessions get an id by which they can be ended.
    pub has_session_ids: bool,
    /// Whether the signed revocation list is public.
    pub publishes_revocations: bool,
    /// Access tokens that were already verified.
    pub inspected: Cache<AccessClaims, Renderings>,
    /// Documents that describe the service.
    pub documents: Documents,
    /// The limit on failed client authentications per address, if any.
    pub failures: Option<Rate>,
    /// Origins whose pages may read answers.
    pub origins: Vec<Box<str>>,
    /// Which proxies are trusted for the caller's address.
    pub forwarding: Forwarding,
    /// A digest of everything that the configuration says about tokens and clients, except secrets;
    /// equal on replicas that agree.
    pub configuration_digest: [u8; 32],
    /// Settings that are allowed, but probably a mistake.
    pub warnings: Vec<Warning>,
    /// The JWKS files of clients and issuers.
    pub key_sets: Vec<PathBuf>,
    /// A digest of the files that the snapshot was read from.
    pub files: [u8; 32],
    /// When it was compiled.
    pub compiled: Timestamp,
}

/// The URLs of the service's own endpoints that take proofs. None where the issuer is no URL that a
/// request can have.
#[derive(Debug, Default)]
pub struct OwnUrls {
    /// `/oauth2/token`.
    pub token_endpoint: Option<TargetUrl>,
    /// `/token`.
    pub token: Option<TargetUrl>,
}

impl OwnUrls {
    /// Returns the endpoints' URLs under that of the issuer.
    #[must_use]
    pub fn under(issuer: &str) -> Self {
        let url = |path| TargetUrl::parse(&format!("{issuer}{path}"));
        Self { token_endpoint: url(TOKEN_ENDPOINT), token: url("/token") }
    }
}

/// A setting that is allowed, but probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong, what would happen, and what to do.
    pub message: String,
    /// When the problem resolves itself; None if it stays until someone acts.
    pub until: Option<Timestamp>,
}

impl Warning {
    /// Returns a warning without an end.
    #[must_use]
    pub fn standing(message: String) -> Self {
        Self { message, until: None }
    }
}

impl Snapshot {
    /// Returns the warnings at `now`.
    pub fn warnings(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let current = self.warnings.iter().filter(move |warning| warning.until.is_none_or(|until| now < until));
        current.map(|warning| warning.message.as_str())
    }

    /// A snapshot without clients or keys, for describing the API.
    pub(super) fn empty() -> Self {
        Self {
            issuer: String::new(),
            urls: OwnUrls::default(),
            leeway: 0,
            jwks_max_age: 0,
            registry: Registry::default(),
            client_roots: None,
            takes_certificates: false,
            mtls_url: None,
            nonces: Nonces::default(),
            issuers: Issuers::default(),
            keys: KeyRing::lenient(Vec::new(), Plan::default()),
            has_session_ids: false,
            publishes_revocations: false,
            inspected: Cache::new(0),
            documents: Documents::default(),
            failures: None,
            origins: Vec::new(),
            forwarding: Forwarding::default(),
            configuration_digest: [0; 32],
            warnings: Vec::new(),
            key_sets: Vec::new(),
            files: [0; 32],
            compiled: Timestamp::default(),
        }
    }

    /// Returns the maximum seconds that a session which begins now can last, on any replica's
    /// clock.
    #[must_use]
    pub fn longest_session(&self) -> i64 {
        self.registry.longest().session + self.leeway
    }

    /// Returns what a token must agree with at `now`.
    #[must_use]
    pub fn verifying(&self, now: Timestamp) -> Verifying<'_> {
        Verifying { issuer: &self.issuer, leeway: self.leeway, now }
    }
}
