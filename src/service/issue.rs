//! Issuing: limit, mint, record. Every grant ends here.

use super::{Call, Denied};
use crate::clients::{Client, Renewal};
use crate::telemetry::{self, Event};
use crate::token::{self, Audience, Grant, Pair, Session};

/// What a grant decided to issue.
#[derive(Debug)]
pub enum Decision<'s> {
    /// A new session of a client, and all that it has.
    Begin(&'s Client, Session),
    /// A session that goes on, and what is left of it.
    Renew(Renewal<'s>),
}

/// What was issued.
#[derive(Debug)]
pub struct Issued {
    /// The tokens.
    pub pair: Pair,
    /// When the access token expires, as `YYYY-MM-DDTHH:MM:SS.000Z`.
    pub expire: String,
}

impl Decision<'_> {
    fn client(&self) -> &Client {
        match self {
            Self::Begin(client, _) => client,
            Self::Renew(renewal) => renewal.client,
        }
    }

    fn session(&self) -> &Session {
        match self {
            Self::Begin(_, session) => session,
            Self::Renew(renewal) => &renewal.session,
        }
    }

    fn grant(&self) -> Grant<'_> {
        match self {
            Self::Begin(client, session) => {
                let access_lifetime = session.lifetime.unwrap_or(client.lifetimes.access);
                Grant::whole(session, client.algorithm, access_lifetime, client.lifetimes.refresh)
            }
            Self::Renew(renewal) => renewal.grant(),
        }
    }

    /// What the log and the metrics call it.
    fn event(&self) -> Event {
        match self {
            Self::Begin(..) => Event::Issued,
            Self::Renew(_) => Event::Refreshed,
        }
    }
}

impl Call<'_> {
    /// Issues what was decided, within the client's rate, and records it.
    ///
    /// # Errors
    /// [`Denied::Limited`], [`Denied::Mint`].
    pub fn issue(&self, decision: &Decision<'_>) -> Result<Issued, Denied> {
        self.within_rate(decision.client())?;
        let (session, grant) = (decision.session(), decision.grant());
        let pair = token::mint(&self.snapshot.keys, &self.snapshot.issuer, session, &grant, self.now)?;
        let issued = Issued { expire: pair.expires.iso_millis(), pair };
        self.record(decision.event(), session, &grant, &issued);
        Ok(issued)
    }

    /// Counts one more issue of `client`, if it may have one now.
    fn within_rate(&self, client: &Client) -> Result<(), Denied> {
        let Some(rate) = client.rate else { return Ok(()) };
        if let Some(wait) = self.state.issued.wait(client.id.as_str(), rate) {
            return Err(Denied::Limited(wait));
        }
        self.state.issued.count(client.id.as_str(), rate);
        Ok(())
    }

    /// Records what was given to whom: a metric, and a line for the audit.
    fn record(&self, event: Event, session: &Session, grant: &Grant<'_>, issued: &Issued) {
        self.state.metrics.token(event);
        let audience = grant.audience.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ");
        telemetry::issued(
            self.origin.request_id,
            self.origin.address,
            telemetry::Issued {
                is_refresh: event == Event::Refreshed,
                client: session.client.as_str(),
                subject: session.subject.as_str(),
                scope: grant.scope.as_str(),
                audience: &audience,
                id: &issued.pair.id,
                kid: issued.pair.kid.as_str(),
                expires: &issued.expire,
            },
        );
    }
}
