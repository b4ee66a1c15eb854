//! Token exchange as policy: what a client gets for a token that was issued to it or to another
//! client (RFC 8693).

use super::policy::{chosen_audience, may_continue, subset};
use super::{Client, Ended, GrantRequest, Refusal};
use crate::clock::Timestamp;
use crate::token::{AccessClaims, Actor, Dialect, Scope, Session, Subject};

/// Why a token is not exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DelegationError {
    /// The policy does not allow this part of the request.
    Refused(Refusal),
    /// One of the tokens has no lifetime left.
    NoLifetime,
    /// The new token would name too many actors.
    TooManyActors,
    /// The client may not continue the subject token's session, as the new token would.
    Ended(Ended),
}

impl From<Ended> for DelegationError {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Refusal> for DelegationError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Decides what `client` gets for `subject_token`, which is valid and which it may exchange.
/// `actor_token` is an access token issued to it; without one the client itself acts.
///
/// The new token keeps the subject token's subject. Its scope is within the subject token's and the
/// client's, its audience is the client's, and it expires no later than either token.
///
/// # Errors
/// See [`DelegationError`].
pub fn delegate(
    client: &Client,
    subject_token: &AccessClaims,
    actor_token: Option<&AccessClaims>,
    order: GrantRequest,
    now: Timestamp,
) -> Result<Session, DelegationError> {
    let actor = actor(client, subject_token, actor_token)?;
    let scope = scope(client, &subject_token.scope, &order)?;
    let audience = chosen_audience(client, order.audience)?;
    let ends = actor_token.map_or(subject_token.expires, |token| token.expires.min(subject_token.expires));
    // Within the leeway the token is still valid, but has no lifetime left.
    if ends <= now {
        return Err(DelegationError::NoLifetime);
    }
    let session = Session {
        id: subject_token.session.clone(),
        dialect: Dialect::OAuth2,
        client: client.id.clone(),
        subject: subject_token.subject.clone(),
        scope,
        audience,
        claims: subject_token.extra.filtered(|name| client.may_claim(name)),
        lifetime: None,
        sender: None,
        start: now,
        end: ends,
        actor,
    };
    may_continue(client, session.began(), now)?;
    Ok(session)
}

/// Returns the actor: the actor token's subject, otherwise the client. A client that narrows its
/// own token adds no actor.
fn actor(
    client: &Client,
    subject_token: &AccessClaims,
    actor_token: Option<&AccessClaims>,
) -> Result<Option<Actor>, DelegationError> {
    let current = match actor_token {
        Some(token) => token.subject.clone(),
        None if subject_token.client == client.id => return Ok(subject_token.actor.clone()),
        None => Subject::from(&client.id),
    };
    Actor::new(current, subject_token.actor.as_ref()).map(Some).ok_or(DelegationError::TooManyActors)
}

/// Returns the scope that the subject token and the client share, or the requested part of it.
fn scope(client: &Client, of_subject: &Scope, order: &GrantRequest) -> Result<Scope, Refusal> {
    let mut shared = of_subject.intersect(&client.scope);
    if let Some(limit) = &order.limit {
        shared = shared.intersect(limit);
    }
    match &order.scope {
        None => Ok(shared),
        Some(asked) => match asked.iter().find(|token| !shared.contains(token.as_str())) {
            Some(refused) => Err(Refusal::Scope(refused.clone())),
            None => Ok(subset(asked.clone())),
        },
    }
}
