//! Sessions, which refresh tokens carry, and grants, which access tokens are minted from.

use std::borrow::Cow;

use super::{Actor, Audiences, ClientId, Confirmation, ExtraClaims, Scope, Sender, SessionId, Subject};
use crate::clock::Timestamp;
use crate::keys::Alg;

/// The API through which a session began. Its refresh tokens work in no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/token`.
    Native,
    /// `/oauth2/token`.
    OAuth2,
}

impl Dialect {
    /// Every dialect, in the order of array indices.
    pub const ALL: [Self; 2] = [Self::Native, Self::OAuth2];

    /// Returns its name, as in refresh tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OAuth2 => "oauth2",
        }
    }

    /// Returns the dialect with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

/// A session: everything needed to issue again. A refresh token carries it, and a refresh never
/// widens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The id by which it can be ended; None for sessions that began without ids.
    pub id: Option<SessionId>,
    /// The API through which it began.
    pub dialect: Dialect,
    /// The client that requested it.
    pub client: ClientId,
    /// The tokens' subject.
    pub subject: Subject,
    /// The scope granted at the start.
    pub scope: Scope,
    /// The audiences granted at the start.
    pub audience: Audiences,
    /// The extra claims granted at the start.
    pub claims: ExtraClaims,
    /// The requested lifetime of access tokens, in seconds, if any.
    pub lifetime: Option<i64>,
    /// How its tokens are bound to their sender, if at all. The key is named in each access token.
    pub sender: Option<Sender>,
    /// When it began.
    pub start: Timestamp,
    /// When it ends, without leeway.
    pub end: Timestamp,
    /// The actors, if any. Only sessions without a refresh token have them.
    pub actor: Option<Actor>,
}

impl Session {
    /// Returns when its access tokens say that it began: with an inherited id, before `start`.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.id.as_ref().map_or(self.start, SessionId::start)
    }
}

/// What one access token of a session gets: all that the session has, or less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant<'s> {
    /// The scope.
    pub scope: Cow<'s, Scope>,
    /// The audiences.
    pub audience: Cow<'s, Audiences>,
    /// The extra claims.
    pub claims: Cow<'s, ExtraClaims>,
    /// The sender's key that the token is bound to, if any.
    pub confirmation: Option<Confirmation>,
    /// The algorithm that signs it.
    pub algorithm: Alg,
    /// Maximum lifetime of the access token, in seconds.
    pub access_lifetime: i64,
    /// Maximum lifetime of the refresh token, in seconds.
    pub refresh_lifetime: i64,
}

impl<'s> Grant<'s> {
    /// Grants all that `session` has.
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
