//! What a refresh token carries and what an access token is given.

use std::borrow::Cow;

use super::{Actor, Audiences, ClientId, Confirmation, ExtraClaims, Scope, Sender, SessionId, Subject};
use crate::clock::Timestamp;
use crate::keys::Alg;

/// The API through which a session began. Its refresh tokens are good for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/token`.
    Native,
    /// `/oauth2/token`.
    OAuth2,
}

impl Dialect {
    /// Every dialect, in the order of their places in an array.
    pub const ALL: [Self; 2] = [Self::Native, Self::OAuth2];

    /// Its name, as a refresh token says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OAuth2 => "oauth2",
        }
    }

    /// The dialect of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

/// A session: all that is needed to issue again. A refresh token carries it,
/// and a refresh never widens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, by which it can be ended. None where sessions have none, and in one that began without.
    pub id: Option<SessionId>,
    /// Through which API it began.
    pub dialect: Dialect,
    /// Who asked.
    pub client: ClientId,
    /// Whom the tokens are about.
    pub subject: Subject,
    /// What was granted at the start.
    pub scope: Scope,
    /// Who was to accept the tokens at the start.
    pub audience: Audiences,
    /// The extra claims that were granted at the start.
    pub claims: ExtraClaims,
    /// The access lifetime that was asked for, in seconds, if one was.
    pub lifetime: Option<i64>,
    /// How its tokens are bound to their sender, if they are. By which key each access token says.
    pub sender: Option<Sender>,
    /// When the session began.
    pub start: Timestamp,
    /// When it ends, without leeway.
    pub end: Timestamp,
    /// Who acts for the subject. Only a session without a refresh token has one.
    pub actor: Option<Actor>,
}

/// What one access token of a session is given: the session's, or less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant<'s> {
    /// What the token allows.
    pub scope: Cow<'s, Scope>,
    /// Who may accept it.
    pub audience: Cow<'s, Audiences>,
    /// Its extra claims.
    pub claims: Cow<'s, ExtraClaims>,
    /// What it is bound to.
    pub confirmation: Option<Confirmation>,
    /// What it is signed with.
    pub algorithm: Alg,
    /// Seconds that it lives, at most.
    pub access_lifetime: i64,
    /// Seconds that the refresh token beside it lives, at most.
    pub refresh_lifetime: i64,
}

impl<'s> Grant<'s> {
    /// All of `session`.
    #[must_use]
    pub fn whole(session: &'s Session, algorithm: Alg, access_lifetime: i64, refresh_lifetime: i64) -> Self {
        Self {
            scope: Cow::Borrowed(&session.scope),
            audience: Cow::Borrowed(&session.audience),
            claims: Cow::Borrowed(&session.claims),
            confirmation: None,
            algorithm,
            access_lifetime,
            refresh_lifetime,
        }
    }
}
