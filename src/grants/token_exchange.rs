//! Token exchange (RFC 8693): a client trades a token that it received for one of its own, with no
//! more scope, about the same subject.

use super::Grant;
use crate::clients::{Client, DelegationError, GrantRequest, GrantType, delegate};
use crate::service::{Call, Decision, Denied, Inspected};

/// A client, the tokens that it presents, and its request.
pub struct TokenExchange<'s, 'r> {
    /// The client, authenticated.
    pub client: &'s Client,
    /// An access token of ours: its subject is the new token's.
    pub subject_token: &'r str,
    /// An access token of ours that was issued to the client: its subject acts. None for the client
    /// itself.
    pub actor_token: Option<&'r str>,
    /// What it requests.
    pub order: GrantRequest,
}

impl<'s> Grant<'s> for TokenExchange<'s, '_> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let client = self.client;
        if !client.grants.contains(GrantType::TokenExchange) {
            return Err(Denied::GrantType);
        }
        // A client that may introspect a token may exchange it: its own client, and those that
        // serve one of its audiences.
        let subject = call.introspect(client, self.subject_token).map_err(Denied::subject_token)?;
        // A token for an audience that the client serves was checked when the client received it.
        let of_client = subject.claims().confirmation.filter(|_| subject.claims().client == client.id);
        if of_client.is_some_and(|confirmation| !call.shows(confirmation)) {
            return Err(Denied::subject_token(Denied::OtherSender));
        }
        let actor =
            self.actor_token.map(|token| call.inspect_own(client, token).map_err(Denied::actor_token)).transpose()?;
        let actor = actor.as_ref().map(Inspected::claims);
        if actor.is_some_and(|claims| claims.actor.is_some()) {
            return Err(Denied::actor_token(Denied::DelegatedActor));
        }
        let session = delegate(client, subject.claims(), actor, self.order, call.now).map_err(|why| match why {
            DelegationError::Refused(refusal) => Denied::Policy(refusal),
            DelegationError::NoLifetime => Denied::NoLifetime,
            DelegationError::TooManyActors => Denied::TooManyActors,
            DelegationError::Ended(ended) => Denied::subject_token(call.ended(ended)),
        })?;
        // The new token keeps the subject token's session and adds names: an entry about the client or
        // the actor may end it, though both tokens are good.
        call.unrevoked_session(&session).map_err(Denied::subject_token)?;
        Ok(Decision::Begin(client, session, false))
    }
}
