//! A client and what it may request.

use std::sync::Arc;

use super::credentials::Credentials;
use super::{GrantTypes, RateLimiter};
use crate::clock::Timestamp;
use crate::foreign::KeySet;
use crate::keys::Alg;
use crate::peer::{ClientCertificate, SubjectName};
use crate::token::{Audience, Audiences, ClientId, Scope, Sender, Subject};

pub(super) const NUL: char = '\0';

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

impl Lifetimes {
    /// Returns the longer of each.
    #[must_use]
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            access: self.access.max(other.access),
            refresh: self.refresh.max(other.refresh),
            session: self.session.max(other.session),
        }
    }
}

/// A client and what it may request.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    pub(super) credentials: Credentials,
    /// The scope that it may request.
    pub scope: Scope,
    /// The audiences that it may request.
    pub audience: Audiences,
    /// Subjects and patterns such as `user:7` and `user:*`, separated by spaces, which no subject
    /// contains.
    pub(super) subjects: Box<str>,
    /// Names of claims, separated by NUL, which no name contains.
    pub(super) claims: Box<str>,
    /// The algorithm that signs its access tokens.
    pub algorithm: Alg,
    /// The grants that it may use at the OAuth token endpoint.
    pub grants: GrantTypes,
    /// Audiences that it serves.
    pub(super) accepts: Option<Audiences>,
    /// How its tokens must be bound, if at all.
    pub sender: Option<Sender>,
    /// Limits the token pairs that it gets, if configured.
    pub limiter: Option<Arc<RateLimiter>>,
    /// The lifetimes of its tokens and sessions.
    pub lifetimes: Lifetimes,
    /// Sessions that began earlier are refused.
    pub not_before: Option<Timestamp>,
    /// Whether it is in an included file.
    pub is_included: bool,
}

/// Whether `pattern` allows `subject`: a `*` at the end matches one or more characters.
pub(super) fn allows(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => subject.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
        None => subject == pattern,
    }
}

impl Client {
    /// Whether a pattern allows `subject`.
    #[must_use]
    pub(super) fn may_name(&self, subject: &Subject) -> bool {
        self.subjects().any(|pattern| allows(pattern, subject.as_str()))
    }

    /// Iterates over the subjects and patterns that it may name.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.split_terminator(' ')
    }

    /// Iterates over the extra claims that it may set.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.split_terminator(NUL)
    }

    /// Iterates over the audiences that it serves.
    pub fn accepts(&self) -> impl Iterator<Item = &Audience> {
        self.accepts.iter().flat_map(Audiences::iter)
    }

    /// Returns the public keys that verify its assertions, if any.
    #[must_use]
    pub fn keys(&self) -> Option<&KeySet> {
        self.credentials.keys.as_deref()
    }

    /// Whether `certificate`, for whose `names` a CA vouches, authenticates it: its key set registers
    /// the certificate (RFC 8705 §2.2), or one of the names is the client's (§2.1).
    #[must_use]
    pub fn accepts_certificate(&self, certificate: &ClientCertificate, names: &[SubjectName]) -> bool {
        let Credentials { keys, name, .. } = &self.credentials;
        let is_registered = keys.as_ref().is_some_and(|keys| keys.has_certificate(&certificate.digest()));
        is_registered || name.as_ref().is_some_and(|name| names.contains(name))
    }

    /// Returns the number of its secrets.
    #[must_use]
    pub fn secrets_len(&self) -> usize {
        self.credentials.secrets_len()
    }

    /// Whether it serves any audience.
    #[must_use]
    pub fn is_api(&self) -> bool {
        self.accepts.is_some()
    }

    /// Whether it serves one of `audience`, and so may introspect tokens for it.
    #[must_use]
    pub fn accepts_any(&self, audience: &Audiences) -> bool {
        self.accepts.as_ref().is_some_and(|accepts| audience.iter().any(|one| accepts.contains(one.as_str())))
    }

    /// Whether it may set the extra claim `name`.
    #[must_use]
    pub(super) fn may_claim(&self, name: &str) -> bool {
        self.claims().any(|claim| claim == name)
    }
}
