//! Issuing: limit, mint, record. Every grant ends here.

use super::{Call, Denied};
use crate::clients::{Client, Renewal};
use crate::telemetry::{self, Event};
use crate::token::{self, Access, Actor, Audience, Grant, Pair, Scope, Session};

/// What a grant decided to issue.
#[derive(Debug)]
pub enum Decision<'s> {
    /// A new session of a client, and all that it has; with a refresh token or without.
    Begin(&'s Client, Session, bool),
    /// A session that goes on, and what is left of it.
    Renew(Renewal<'s>),
}

/// What was issued.
#[derive(Debug)]
pub struct Issued<'s> {
    /// The access token.
    pub access: Access,
    /// The refresh token, where the grant gives one.
    pub refresh: Option<String>,
    /// When the access token expires, as `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub expire: String,
    decision: Decision<'s>,
}

impl Issued<'_> {
    /// What the access token allows.
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

    fn grant(&self) -> Grant<'_> {
        match self {
            Self::Begin(client, session, _) => {
                let access_lifetime = session.lifetime.unwrap_or(client.lifetimes.access);
                Grant::whole(session, client.algorithm, access_lifetime, client.lifetimes.refresh)
            }
            Self::Renew(renewal) => renewal.grant(),
        }
    }

    fn has_refresh(&self) -> bool {
        matches!(self, Self::Begin(_, _, true) | Self::Renew(_))
    }

    /// What the log and the metrics call it.
    fn event(&self) -> Event {
        match self {
            Self::Begin(..) => Event::Issued,
            Self::Renew(_) => Event::Refreshed,
        }
    }
}

impl<'s> Call<'s> {
    /// Issues what was decided, within the client's rate, and records it.
    ///
    /// # Errors
    /// [`Denied::Limited`], [`Denied::Mint`].
    pub fn issue(&self, decision: Decision<'s>) -> Result<Issued<'s>, Denied> {
        let (keys, issuer) = (&self.snapshot.keys, &self.snapshot.issuer);
        let (session, grant) = (decision.session(), decision.grant());
        let mint = || {
            Ok(if decision.has_refresh() {
                let Pair { access, refresh, expires, id, kid } = token::mint(keys, issuer, session, &grant, self.now)?;
                (Access { token: access, expires, id, kid }, Some(refresh))
            } else {
                (token::mint_access(keys, issuer, session, &grant, self.now)?, None)
            })
        };
        let (access, refresh) = match &decision.client().limiter {
            Some(limiter) => limiter.run(Denied::Limited, mint),
            None => mint(),
        }?;
        let expire = access.expires.iso_millis();
        self.record(decision.event(), session, &grant, &access, &expire);
        Ok(Issued { access, refresh, expire, decision })
    }

    /// Records what was given to whom: a metric, and a line for the audit.
    fn record(&self, event: Event, session: &Session, grant: &Grant<'_>, access: &Access, expire: &str) {
        self.state.metrics.token(event, session.dialect.name());
        let actor = session.actor.as_ref().map(Actor::chain);
        let audience = grant.audience.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ");
        telemetry::issued(
            self.origin.request_id,
            self.origin.address,
            telemetry::Issued {
                is_refresh: event == Event::Refreshed,
                client: session.client.as_str(),
                subject: session.subject.as_str(),
                actor: actor.as_deref(),
                scope: grant.scope.as_str(),
                audience: &audience,
                id: &access.id,
                kid: access.kid.as_str(),
                expires: expire,
            },
        );
    }
}
