//! Issuing: limit, mint, record. Every grant ends here.

use std::fmt;

use super::{Call, Denied};
use crate::clients::{Client, Renewal};
use crate::telemetry::{self, Event};
use crate::token::{self, Access, Actor, Confirmation, Grant, MintError, Pair, Scope, Sender, Session, SessionId};

/// What a grant decided to issue.
#[derive(Debug)]
pub enum Decision<'s> {
    /// A new session of a client with everything that was granted, with or without a refresh token.
    Begin(&'s Client, Session, bool),
    /// A renewed session and what it still gets.
    Renew(Renewal<'s>),
}

/// What was issued.
pub struct Issued<'s> {
    /// The access token.
    pub access: Access,
    /// The refresh token, if the grant issues one.
    pub refresh: Option<String>,
    /// When the access token expires, as `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub expire: String,
    /// How the access token is bound to its sender, if at all.
    pub sender: Option<Sender>,
    decision: Decision<'s>,
}

/// Without the tokens: they are credentials.
impl fmt::Debug for Issued<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access, expire, decision, .. } = self;
        let mut shown = f.debug_struct("Issued");
        shown.field("access", access).field("expire", expire).field("decision", decision).finish_non_exhaustive()
    }
}

impl Issued<'_> {
    /// Returns the access token's scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        match &self.decision {
            Decision::Begin(_, session, _) => &session.scope,
            Decision::Renew(renewal) => renewal.scope(),
        }
    }
}

impl Decision<'_> {
    fn client(&self) -> &Client {
        match self {
            Self::Begin(client, ..) => client,
            Self::Renew(renewal) => renewal.client,
        }
    }

    fn session(&self) -> &Session {
        match self {
            Self::Begin(_, session, _) => session,
            Self::Renew(renewal) => &renewal.session,
        }
    }

    /// Records in the session that its tokens are bound, and how.
    fn bind(&mut self, sender: Sender) {
        match self {
            Self::Begin(_, session, _) => session.sender = Some(sender),
            Self::Renew(renewal) => renewal.session.sender = Some(sender),
        }
    }

    fn grant(&self, confirmation: Option<Confirmation>) -> Grant<'_> {
        let grant = match self {
            Self::Begin(client, session, _) => {
                let access_lifetime = session.lifetime.unwrap_or(client.lifetimes.access);
                Grant::whole(session, client.algorithm, access_lifetime, client.lifetimes.refresh)
            }
            Self::Renew(renewal) => renewal.grant(),
        };
        Grant { confirmation, ..grant }
    }

    fn has_refresh(&self) -> bool {
        matches!(self, Self::Begin(_, _, true) | Self::Renew(_))
    }

    /// Returns the event for the log and the metrics.
    fn event(&self) -> Event {
        match self {
            Self::Begin(..) => Event::Issued,
            Self::Renew(_) => Event::Refreshed,
        }
    }
}

impl<'s> Call<'s> {
    /// Issues a decision, bound to its sender and within the client's rate, and records it.
    ///
    /// # Errors
    /// [`Denied::Unproven`], [`Denied::BoundClient`], [`Denied::Limited`], [`Denied::Mint`].
    pub fn issue(&self, mut decision: Decision<'s>) -> Result<Issued<'s>, Denied> {
        if let Decision::Begin(_, session, _) = &mut decision {
            self.assign_id(session)?;
        }
        let confirmation = self.confirmation(decision.client(), decision.session())?;
        let sender = confirmation.map(|confirmation| confirmation.sender);
        if let Some(sender) = sender {
            decision.bind(sender);
        }
        let (keys, issuer) = (&self.snapshot.keys, &self.snapshot.issuer);
        let (session, grant) = (decision.session(), decision.grant(confirmation));
        let mint = || {
            let minted = if decision.has_refresh() {
                let Pair { access, refresh, expires, id, kid } = token::mint(keys, issuer, session, &grant, self.now)?;
                (Access { token: access, expires, id, kid }, Some(refresh))
            } else {
                (token::mint_access(keys, issuer, session, &grant, self.now)?, None)
            };
            self.enter_proof(&session.client)?;
            Ok(minted)
        };
        let (access, refresh) = match &decision.client().limiter {
            Some(limiter) => limiter.run(Denied::Limited, mint),
            None => mint(),
        }?;
        let expire = access.expires.iso_millis();
        self.record(decision.event(), session, &grant, &access, &expire);
        Ok(Issued { access, refresh, expire, sender, decision })
    }

    /// Gives a new session its id, if ids are enabled and it did not inherit one.
    fn assign_id(&self, session: &mut Session) -> Result<(), MintError> {
        if self.snapshot.has_session_ids && session.id.is_none() {
            session.id = Some(SessionId::new(session.start)?);
        }
        Ok(())
    }

    /// Records what was issued and to whom: one metric, one audit line.
    fn record(&self, event: Event, session: &Session, grant: &Grant<'_>, access: &Access, expire: &str) {
        self.state.metrics.token(event, session.dialect.name());
        let actor = session.actor.as_ref().map(Actor::chain);
        let audience = grant.audience.joined();
        telemetry::issued(
            self.origin.request_id,
            self.origin.address,
            telemetry::Issued {
                is_refresh: event == Event::Refreshed,
                client: session.client.as_str(),
                issuer: self.notes.issuer(),
                subject: session.subject.as_str(),
                actor: actor.as_deref(),
                scope: grant.scope.as_str(),
                audience: &audience,
                id: &access.id,
                kid: access.kid.as_str(),
                expires: expire,
                sender: session.sender.map(Sender::name),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::fixture::Service;

    #[test]
    fn what_is_issued_prints_no_token() {
        let service = Service::new();
        service.cost(0, |call| {
            let client = call.snapshot.registry.named("orders").unwrap();
            let issued = call.issue(Decision::Begin(client, service.session(), true)).unwrap();
            let shown = format!("{issued:?} {issued:#?}");
            assert!(shown.contains(&issued.access.id) && shown.contains("orders"), "{shown}");
            let tokens = [issued.access.token.as_str(), issued.refresh.as_deref().unwrap()];
            assert!(!tokens.iter().any(|token| shows(&shown, token)), "{shown}");
        });
        let pair = service.pair();
        let shown = format!("{pair:?}");
        assert!(shown.contains(&pair.id) && ![&pair.access, &pair.refresh].iter().any(|token| shows(&shown, token)));
    }

    /// Whether a text shows a token, or twelve characters of it.
    fn shows(text: &str, token: &str) -> bool {
        assert!(token.len() > 100);
        (12..=token.len()).any(|end| text.contains(&token[end - 12..end]))
    }
}
