//! The one refusal: why a call is not answered with what it asked for.

use std::time::Duration;

use super::carried::Unproven;
use crate::clients::{Ended, Refusal};
use crate::foreign::Rejected;
use crate::revocation;
use crate::token::{MintError, Rejection, ScopeToken};

/// Why no client authenticated. Callers never learn it; the log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthenticated {
    /// Nothing was presented.
    NoCredentials,
    /// There is no such client.
    UnknownClient,
    /// The secret is none of the client's.
    WrongSecret,
    /// The assertion is not accepted.
    Assertion(Rejected),
    /// The assertion is about somebody else than who signed it.
    AssertionSubject,
    /// The certificate is none of the client's, or nobody whose word counts vouches for it.
    WrongCertificate,
    /// The client has no keys to verify an assertion with.
    NoKeys,
    /// No trusted issuer is named.
    UnknownIssuer,
    /// No rule of the issuer matches.
    NoRule,
    /// The claims do not make a subject.
    SubjectTemplate,
    /// The issuer's keys cannot be had now.
    IssuerUnavailable,
}

impl Unauthenticated {
    /// One word for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::UnknownClient => "unknown_client",
            Self::WrongSecret => "wrong_secret",
            Self::Assertion(rejected) => rejected.word(),
            Self::AssertionSubject => "wrong_subject",
            Self::NoKeys => "no_keys",
            Self::WrongCertificate => "wrong_certificate",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NoRule => "no_rule",
            Self::SubjectTemplate => "no_subject",
            Self::IssuerUnavailable => "issuer_unavailable",
        }
    }
}

/// Why a call is refused. Each dialect has one table that turns it into an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// No client authenticated, for this reason.
    Client(Unauthenticated),
    /// A limit is reached. One more fits after this time.
    Limited(Duration),
    /// The policy does not allow a part of the request.
    Policy(Refusal),
    /// The session does not go on.
    Session(Ended),
    /// What was presented is no token.
    Malformed,
    /// The token is not accepted.
    Token(Rejection),
    /// The list of revocations ends the token or its session, by an entry of this kind.
    Revoked(revocation::Kind),
    /// The client may not use this grant.
    GrantType,
    /// The refresh token is another dialect's.
    OtherDialect,
    /// The refresh token is another client's.
    OtherClient,
    /// The token is for another audience than the one that was asked about.
    OtherAudience,
    /// The token lacks a scope that was asked about.
    MissingScope(ScopeToken),
    /// The sender is not proved, for this reason.
    Unproven(Unproven),
    /// The client's tokens must be bound to their sender, which they cannot be in this dialect.
    BoundClient,
    /// The token is bound to a proof and comes without, or comes with one and is not bound.
    WrongScheme,
    /// The token is bound to another key or certificate than the sender's.
    OtherSender,
    /// The assertion that is the grant is not accepted, for this reason.
    Assertion(Unauthenticated),
    /// The token to exchange is not accepted, for this reason.
    SubjectToken(Box<Denied>),
    /// The token of the actor is not accepted, for this reason.
    ActorToken(Box<Denied>),
    /// A token to exchange ends now.
    NothingLeft,
    /// The new token would name too many actors.
    TooManyActors,
    /// No token could be issued.
    Mint(MintError),
}

impl Denied {
    /// The same of an assertion that is the grant.
    #[must_use]
    pub(super) fn into_assertion(self) -> Self {
        match self {
            Self::Client(why) if why != Unauthenticated::IssuerUnavailable => Self::Assertion(why),
            other => other,
        }
    }

    /// The same of a token to exchange.
    #[must_use]
    pub(super) fn into_subject_token(self) -> Self {
        match self {
            Self::Client(why) if why != Unauthenticated::IssuerUnavailable => Self::subject_token(Self::Client(why)),
            other => other,
        }
    }

    /// The refusal of a token to exchange.
    #[must_use]
    pub fn subject_token(why: Self) -> Self {
        Self::SubjectToken(Box::new(why))
    }

    /// The refusal of an actor's token.
    #[must_use]
    pub fn actor_token(why: Self) -> Self {
        Self::ActorToken(Box::new(why))
    }

    /// Why, in a word for the log: from a closed set, for metrics count it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Client(why) | Self::Assertion(why) => why.word(),
            Self::Limited(_) => "limited",
            Self::Policy(refusal) => refusal.word(),
            Self::Session(ended) => ended.word(),
            Self::Malformed => "malformed_token",
            Self::Token(rejection) => rejection.word(),
            Self::Revoked(kind) => kind.cause(),
            Self::GrantType => "grant_not_allowed",
            Self::OtherDialect => "other_dialect",
            Self::OtherClient => "other_client",
            Self::OtherAudience => "other_audience",
            Self::MissingScope(_) => "missing_scope",
            Self::Unproven(why) => why.word(),
            Self::BoundClient => "sender_constrained",
            Self::WrongScheme => "wrong_scheme",
            Self::OtherSender => "other_sender",
            Self::SubjectToken(why) | Self::ActorToken(why) => why.word(),
            Self::NothingLeft => "nothing_left",
            Self::TooManyActors => "too_many_actors",
            Self::Mint(MintError::TooLarge) => "token_too_large",
            Self::Mint(MintError::NoKey) => "no_key_signs",
            Self::Mint(MintError::NoRandomness) => "no_randomness",
        }
    }

    /// What was refused, where the policy knows it: at most `MAX_VALUE` characters, for the log. None for what looks
    /// like a secret or a token in the wrong place.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        let value = match self {
            Self::Policy(refusal) => refusal.value()?,
            Self::MissingScope(scope) => scope.as_str(),
            _ => return None,
        };
        let is_misplaced = value.contains("lps_") || value.starts_with("eyJ");
        (!is_misplaced).then(|| value.chars().take(MAX_VALUE).collect())
    }
}

/// Maximum length of a refused value in the log, in characters.
const MAX_VALUE: usize = 128;

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Policy(refusal)
    }
}

impl From<Ended> for Denied {
    fn from(ended: Ended) -> Self {
        Self::Session(ended)
    }
}

impl From<Rejection> for Denied {
    fn from(rejection: Rejection) -> Self {
        Self::Token(rejection)
    }
}

impl From<MintError> for Denied {
    fn from(error: MintError) -> Self {
        Self::Mint(error)
    }
}
