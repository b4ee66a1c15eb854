//! `Denied`: why a call is refused.

use std::time::Duration;

use super::carried::Unproven;
use crate::clients::{Ended, Refusal};
use crate::foreign::Rejected;
use crate::revocation;
use crate::token::{MintError, Rejection, ScopeToken};

/// Why no client authenticated. Only the log has the reason; callers never see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unauthenticated {
    /// Nothing was presented.
    NoCredentials,
    /// There is no such client.
    UnknownClient,
    /// The secret does not match.
    WrongSecret,
    /// The assertion is not accepted.
    Assertion(Rejected),
    /// The assertion's subject is not its signer.
    AssertionSubject,
    /// The certificate is not the client's, or no trusted CA issued it.
    WrongCertificate,
    /// The client has no keys to verify an assertion with.
    NoKeys,
    /// No rule of the issuer matches.
    NoRule,
    /// The claims do not fill the rule's subject template.
    SubjectTemplate,
    /// The issuer's keys are unavailable at the moment.
    IssuerUnavailable,
}

impl Unauthenticated {
    /// Returns the log's word for it.
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
            Self::NoRule => "no_rule",
            Self::SubjectTemplate => "no_subject",
            Self::IssuerUnavailable => "issuer_unavailable",
        }
    }
}

/// Why a call is refused. Each dialect has one table that turns it into an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// No client authenticated.
    Client(Unauthenticated),
    /// A rate limit is reached; one more request fits after this time.
    Limited(Duration),
    /// The policy does not allow part of the request.
    Policy(Refusal),
    /// The session has ended.
    Session(Ended),
    /// The text is not shaped like a token.
    Malformed,
    /// The token is not accepted.
    Token(Rejection),
    /// An entry of this kind in the revocation list ends the token or its session.
    Revoked(revocation::Kind),
    /// The client may not use this grant.
    GrantType,
    /// The refresh token was issued by another dialect.
    OtherDialect,
    /// The refresh token was issued to another client.
    OtherClient,
    /// The token is not for the audience in the question.
    OtherAudience,
    /// The token lacks a scope token of the question.
    MissingScope(ScopeToken),
    /// The sender's proof or certificate is not accepted.
    Unproven(Unproven),
    /// The client's tokens must be bound to their sender, which this dialect cannot do.
    BoundClient,
    /// The token is bound to a key but came without a proof, or the reverse.
    WrongScheme,
    /// The token is bound to a key or certificate other than the sender's.
    OtherSender,
    /// The assertion used as a grant is not accepted.
    Assertion(Unauthenticated),
    /// The token to exchange is not accepted.
    SubjectToken(Box<Denied>),
    /// The actor's token is not accepted.
    ActorToken(Box<Denied>),
    /// One of the tokens to exchange has no lifetime left.
    NoLifetime,
    /// The new token would name too many actors.
    TooManyActors,
    /// The actor token was itself issued for somebody to act: its holder would hide behind its subject.
    DelegatedActor,
    /// Minting failed.
    Mint(MintError),
}

impl Denied {
    /// Turns a failed authentication into the refusal of an assertion used as a grant.
    #[must_use]
    pub(super) fn into_assertion(self) -> Self {
        match self {
            Self::Client(why) if why != Unauthenticated::IssuerUnavailable => Self::Assertion(why),
            other => other,
        }
    }

    /// Turns a failed authentication into the refusal of a token to exchange.
    #[must_use]
    pub(super) fn into_subject_token(self) -> Self {
        match self {
            Self::Client(why) if why != Unauthenticated::IssuerUnavailable => Self::subject_token(Self::Client(why)),
            other => other,
        }
    }

    /// Wraps the refusal of a token to exchange.
    #[must_use]
    pub fn subject_token(why: Self) -> Self {
        Self::SubjectToken(Box::new(why))
    }

    /// Wraps the refusal of an actor's token.
    #[must_use]
    pub fn actor_token(why: Self) -> Self {
        Self::ActorToken(Box::new(why))
    }

    /// Returns the log's word for it: from a closed set, because metrics count it.
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
            Self::NoLifetime => "nothing_left",
            Self::TooManyActors => "too_many_actors",
            Self::DelegatedActor => "delegated_actor",
            Self::Mint(MintError::TooLarge) => "token_too_large",
            Self::Mint(MintError::NoKey) => "no_key_signs",
            Self::Mint(MintError::NoRandomness) => "no_randomness",
        }
    }

    /// Returns the value that the policy refused, at most `MAX_VALUE` characters, for the log. None
    /// for anything that looks like a secret or token in the wrong place, or is not visible ASCII.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        let value = match self {
            Self::Policy(refusal) => refusal.value()?,
            Self::MissingScope(scope) => scope.as_str(),
            _ => return None,
        };
        let is_misplaced = value.contains("lps_") || value.contains("eyJ");
        let is_plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (is_plain && !is_misplaced).then(|| value.chars().take(MAX_VALUE).collect())
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
