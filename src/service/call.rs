//! One request on its way: what decides it, and who asks.

use std::net::IpAddr;
use std::sync::OnceLock;

use super::{Denied, Snapshot, State};
use crate::clients::{self, Client, ClientAuth, Ended, Renewal};
use crate::clock::Timestamp;
use crate::telemetry;
use crate::token::{self, ClientId, Compact, Dialect, Kind, RefreshClaims, Session, Verified};

/// Where a call comes from, for the log and for the limits.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'r> {
    /// The request's id.
    pub request_id: &'r str,
    /// The caller's address.
    pub address: &'r str,
    /// The prefix of that address that a limit counts as one caller; None for a local socket.
    pub prefix: Option<IpAddr>,
}

/// One call: the snapshot that decides it, from its first byte to its last, and the second it came.
#[derive(Debug, Clone, Copy)]
pub struct Call<'r> {
    /// What outlives the snapshot: limits, metrics.
    pub state: &'r State,
    /// What decides.
    pub snapshot: &'r Snapshot,
    /// When the call came.
    pub now: Timestamp,
    /// Where it comes from.
    pub origin: Origin<'r>,
    /// Which client asks, once that is proved. The log reads it afterwards.
    pub client: &'r OnceLock<ClientId>,
}

impl<'r> Call<'r> {
    /// The client that `auth` proves, or the anonymous one where nothing was presented and such
    /// tokens are given.
    ///
    /// The secret is checked first, so that a right one is never refused for the failures of others
    /// at the same address. Only a wrong one counts, and is limited where its address prefix is over
    /// the limit, which says nothing about the client. An address over the limit may go on guessing:
    /// there are 2^256 secrets.
    ///
    /// # Errors
    /// [`Denied::Client`] whatever is wrong with the credentials, [`Denied::Limited`].
    pub fn authenticate(&self, auth: &ClientAuth) -> Result<&'r Client, Denied> {
        let registry = &self.snapshot.registry;
        let client = match auth {
            ClientAuth::None => registry.anonymous().ok_or(Denied::Client)?,
            ClientAuth::Secret(id, secret) => self.with_secret(id, secret)?,
        };
        self.note_client(&client.id);
        Ok(client)
    }

    fn with_secret(&self, id: &str, secret: &[u8]) -> Result<&'r Client, Denied> {
        if let Some(client) = self.snapshot.registry.authenticate(id, secret) {
            return Ok(client);
        }
        if let Some(rate) = self.snapshot.failures {
            self.state.failures.record(self.origin.prefix, rate).map_err(Denied::Limited)?;
        }
        Err(Denied::Client)
    }

    /// The session of the refresh token `text`, which `dialect` issued.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn session(&self, text: &str, dialect: Dialect) -> Result<Session, Denied> {
        let session = self.verify::<RefreshClaims>(compact(text)?)?.into_claims().session;
        if session.dialect != dialect {
            return Err(Denied::OtherDialect);
        }
        self.note_client(&session.client);
        Ok(session)
    }

    /// Looks at `session` and its client again.
    ///
    /// # Errors
    /// Why the session does not go on.
    pub fn renew(&self, session: Session) -> Result<Renewal<'r>, Denied> {
        clients::renew(&self.snapshot.registry, session, self.now).map_err(|ended| {
            if let Ended::NotBegun(seconds) = ended {
                telemetry::clocks_differ(seconds, self.now);
            }
            Denied::Session(ended)
        })
    }

    pub(super) fn verify<K: Kind>(&self, compact: Compact<'_>) -> Result<Verified<K>, Denied> {
        Ok(token::verify(compact, &self.snapshot.keys, self.snapshot.verifying(self.now))?)
    }

    /// Notes which client asks, once that is proved.
    pub(super) fn note_client(&self, client: &ClientId) {
        let _ = self.client.set(client.clone());
    }
}

pub(super) fn compact(text: &str) -> Result<Compact<'_>, Denied> {
    Compact::parse(text).ok_or(Denied::Malformed)
}
