//! What decides requests: made of the configuration and the keys, and never changed.

use std::path::PathBuf;

use crate::clients::{ClientRoots, Rate, Registry};
use crate::clock::Timestamp;
use crate::config::{Forwarding, Nonces};
use crate::federation::Issuers;
use crate::keys::{KeyRing, Plan};
use crate::token::{AccessClaims, Cache, Verifying};

use super::{Documents, Renderings};

/// All that a request is decided by. It never changes; a reload swaps it.
#[derive(Debug)]
pub struct Snapshot {
    /// `iss`.
    pub issuer: String,
    /// Seconds by which clocks may differ.
    pub leeway: i64,
    /// Seconds that verifiers may cache the JWKS.
    pub jwks_max_age: i64,
    /// Who may ask for what.
    pub registry: Registry,
    /// Who vouches for clients' certificates, if somebody does.
    pub client_roots: Option<ClientRoots>,
    /// The URL at which clients are asked for a certificate, if they are.
    pub mtls_url: Option<String>,
    /// Whether proofs need a nonce.
    pub nonces: Nonces,
    /// Who else is believed, and about whom.
    pub issuers: Issuers,
    /// The keys and their schedule.
    pub keys: KeyRing,
    /// Whether new sessions get an id, by which they can be ended.
    pub has_session_ids: bool,
    /// Whether everybody may read the list of revocations, signed.
    pub publishes_revocations: bool,
    /// Access tokens that were found good.
    pub inspected: Cache<AccessClaims, Renderings>,
    /// What the service says of itself.
    pub documents: Documents,
    /// How many client authentications of one address may fail, if that is limited.
    pub failures: Option<Rate>,
    /// Whose pages may read answers.
    pub origins: Vec<Box<str>>,
    /// Whom to believe about whom they speak for.
    pub forwarding: Forwarding,
    /// A digest of all that the configuration says about tokens and clients, but
    /// no secret, the same on replicas that agree.
    pub configuration_digest: [u8; 32],
    /// What is allowed, but probably not meant.
    pub warnings: Vec<Warning>,
    /// The JWKS files of clients and issuers.
    pub key_sets: Vec<PathBuf>,
    /// A digest of the files that all this was read from.
    pub files: [u8; 32],
    /// When that was.
    pub compiled: Timestamp,
}

/// What is allowed, but probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is, what would happen, and what to do.
    pub message: String,
    /// When the harm is over; None if it stays until somebody acts.
    pub until: Option<Timestamp>,
}

impl Warning {
    /// One that stays.
    #[must_use]
    pub fn standing(message: String) -> Self {
        Self { message, until: None }
    }
}

impl Snapshot {
    /// What is to be warned of at `now`.
    pub fn warnings(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let current = self.warnings.iter().filter(move |warning| warning.until.is_none_or(|until| now < until));
        current.map(|warning| warning.message.as_str())
    }

    /// One that serves nobody, to describe the interface with.
    pub(super) fn empty() -> Self {
        Self {
            issuer: String::new(),
            leeway: 0,
            jwks_max_age: 0,
            registry: Registry::default(),
            client_roots: None,
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

    /// Seconds for which a session that begins now may go on, on any replica's clock.
    #[must_use]
    pub fn longest_session(&self) -> i64 {
        self.registry.longest().session + self.leeway
    }

    /// What a token must agree with at `now`.
    #[must_use]
    pub fn verifying(&self, now: Timestamp) -> Verifying<'_> {
        Verifying { issuer: &self.issuer, leeway: self.leeway, now }
    }
}
