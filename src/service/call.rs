//! One request: the snapshot that decides it, and the client behind it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::carried::Carried;
use super::{Denied, Snapshot, State, Unauthenticated};
use crate::clients::{self, Client, ClientAuth, Ended, Renewal};
use crate::clock::Timestamp;
use crate::federation::Issuer;
use crate::foreign::Proof;
use crate::keys::Nonce;
use crate::revocation::Marks;
use crate::telemetry;
use crate::token::{self, ClientId, Compact, Dialect, Kind, RefreshClaims, Session, Verified};

/// Maximum seconds from now to the `exp` of a client's assertion: the default of Authlib and
/// oauthlib.
pub(super) const MAX_ASSERTION: i64 = 3_600;

/// Where a call comes from, for the log and the limits.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'r> {
    /// The request's id.
    pub request_id: &'r str,
    /// The caller's address.
    pub address: &'r str,
    /// The address prefix that limits count as one caller; None for a local socket.
    pub prefix: Option<IpAddr>,
}

/// One call: the snapshot that decides all of it, and the second at which it does.
#[derive(Debug, Clone, Copy)]
pub struct Call<'r> {
    /// What outlives the snapshot: limits and metrics.
    pub state: &'r State,
    /// The snapshot that decides.
    pub snapshot: &'r Snapshot,
    /// When it is decided.
    pub now: Timestamp,
    /// Where it comes from.
    pub origin: Origin<'r>,
    /// The sender's proof and certificate.
    pub carried: Carried<'r>,
    /// Notes for the log.
    pub notes: &'r Notes,
}

/// What the steps of a call found out: notes for the log, and the proof once it is verified.
#[derive(Debug, Default)]
pub struct Notes {
    client: OnceLock<ClientId>,
    issuer: OnceLock<Option<Box<str>>>,
    denied: OnceLock<(&'static str, Option<String>)>,
    proof: OnceLock<Proof>,
    next_nonce: OnceLock<Arc<Nonce>>,
}

impl Notes {
    /// The client: authenticated, or claimed by a call that was refused.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.get().map(ClientId::as_str)
    }

    /// The trusted issuer that vouches for the client: verified, or claimed if that was refused. The
    /// name is the configuration's.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.get()?.as_deref()
    }

    /// Why the call was refused, and the refused value.
    #[must_use]
    pub fn denied(&self) -> Option<(&'static str, Option<&str>)> {
        self.denied.get().map(|(word, value)| (*word, value.as_deref()))
    }

    /// The nonce for the caller's next proof, if the answer should carry one.
    #[must_use]
    pub fn next_nonce(&self) -> Option<&Nonce> {
        self.next_nonce.get().map(Arc::as_ref)
    }

    pub(super) fn offer_nonce(&self, nonce: Arc<Nonce>) -> &Nonce {
        self.next_nonce.get_or_init(|| nonce)
    }

    pub(super) fn proof(&self) -> Option<&Proof> {
        self.proof.get()
    }

    pub(super) fn keep_proof(&self, proof: Proof) -> &Proof {
        self.proof.get_or_init(|| proof)
    }
}

impl<'r> Call<'r> {
    /// Returns the client that `auth` authenticates. Without credentials that is the anonymous
    /// client, if `[anonymous]` is configured.
    ///
    /// The secret is checked before the limit: failures of others at the same address never refuse
    /// a right secret. Only a failure counts, and is limited once its address prefix is over the
    /// limit; that reveals nothing about the client. An address over the limit may still guess:
    /// there are 2^256 secrets.
    /// # Errors
    /// [`Denied::Client`] for any fault of the credentials, [`Denied::Limited`].
    pub fn authenticate(&self, auth: &ClientAuth) -> Result<&'r Client, Denied> {
        self.client_of(auth).map_err(|denied| self.note(denied))
    }

    fn client_of(&self, auth: &ClientAuth) -> Result<&'r Client, Denied> {
        let registry = &self.snapshot.registry;
        let client = match auth {
            ClientAuth::None => registry.anonymous().ok_or(Denied::Client(Unauthenticated::NoCredentials))?,
            ClientAuth::Secret(id, secret) => {
                registry.authenticate(id, secret).ok_or_else(|| self.failed(self.why_not(id)))?
            }
            ClientAuth::Certificate(id) => self.by_certificate(id).map_err(|why| self.failed(why))?,
        };
        self.note_client(&client.id);
        Ok(client)
    }

    fn why_not(&self, id: &str) -> Unauthenticated {
        match self.snapshot.registry.named(id) {
            None => Unauthenticated::UnknownClient,
            Some(client) => {
                self.note_client(&client.id);
                Unauthenticated::WrongSecret
            }
        }
    }

    /// Counts a failed authentication against the address's limit.
    pub(super) fn failed(&self, why: Unauthenticated) -> Denied {
        // An unavailable issuer is not the caller's guess.
        let rate = self.snapshot.failures.filter(|_| why != Unauthenticated::IssuerUnavailable);
        let limited = rate.map(|rate| self.state.failures.record(self.origin.prefix, rate));
        match limited {
            Some(Err(wait)) => Denied::Limited(wait),
            _ => Denied::Client(why),
        }
    }

    /// Returns the client `id` if the request's certificate authenticates it (RFC 8705 §2).
    fn by_certificate(&self, id: &str) -> Result<&'r Client, Unauthenticated> {
        let Snapshot { registry, client_roots, .. } = self.snapshot;
        let certificate = self.carried.certificate.ok_or(Unauthenticated::NoCredentials)?;
        // Before the client is looked up: the time must not tell whether it exists.
        let names = client_roots.as_ref().map(|roots| roots.names(certificate, self.now)).unwrap_or_default();
        let client = registry.named(id).ok_or(Unauthenticated::UnknownClient)?;
        self.note_client(&client.id);
        if client.accepts_certificate(certificate, &names) {
            Ok(client)
        } else {
            Err(Unauthenticated::WrongCertificate)
        }
    }

    /// Returns the session of the refresh token `text`, if `dialect` issued it.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn session(&self, text: &str, dialect: Dialect) -> Result<Session, Denied> {
        let claims = self.verify::<RefreshClaims>(compact(text)?)?.into_claims();
        if claims.session.dialect != dialect {
            return Err(Denied::OtherDialect);
        }
        self.note_client(&claims.session.client);
        self.unrevoked(&Marks::of_refresh(&claims), claims.session.start)?;
        Ok(claims.session)
    }

    /// Refuses what the revocation list has ended: a token with these `marks` whose session began
    /// at `began`.
    pub(super) fn unrevoked(&self, marks: &Marks, began: Timestamp) -> Result<(), Denied> {
        self.state.revoked(marks, began).map_or(Ok(()), |kind| Err(Denied::Revoked(kind)))
    }

    /// Looks up the client of `session` again and decides what the session still gets.
    ///
    /// # Errors
    /// Why the session has ended.
    pub fn renew(&self, session: Session) -> Result<Renewal<'r>, Denied> {
        clients::renew(&self.snapshot.registry, session, self.now).map_err(|ended| self.ended(ended))
    }

    /// Refuses a session that has ended.
    #[must_use]
    pub fn ended(&self, ended: Ended) -> Denied {
        if let Ended::NotBegun(seconds) = ended {
            telemetry::clocks_differ(seconds, self.now);
        }
        Denied::Session(ended)
    }

    /// Refuses a session whose access tokens the revocation list ends already.
    ///
    /// # Errors
    /// [`Denied::Revoked`].
    pub fn unrevoked_session(&self, session: &Session) -> Result<(), Denied> {
        self.unrevoked(&Marks::of_session(session), session.began())
    }

    /// Returns the call to be decided now, after it has waited.
    #[must_use]
    pub fn resumed(self) -> Self {
        Self { now: self.state.clock(), ..self }
    }

    pub(super) fn verify<K: Kind>(&self, compact: Compact<'_>) -> Result<Verified<K>, Denied> {
        Ok(token::verify(compact, &self.snapshot.keys, self.snapshot.verifying(self.now))?)
    }

    /// Notes the client for the log.
    pub(super) fn note_client(&self, client: &ClientId) {
        let _ = self.notes.client.set(client.clone());
    }

    /// Notes for the log which trusted issuer vouches for the caller.
    pub(super) fn note_issuer(&self, issuer: &Issuer) {
        let _ = self.notes.issuer.set(Some(issuer.name().into()));
    }

    /// Notes for the log that what is issued rests on no trusted issuer's statement.
    pub(super) fn note_no_issuer(&self) {
        let _ = self.notes.issuer.set(None);
    }

    /// Notes for the log why the call is refused.
    #[must_use]
    pub fn note(&self, denied: Denied) -> Denied {
        // An anonymous caller's values are untrusted text: keep them out of the log.
        let is_client = self.notes.client.get().is_some_and(|client| !client.is_anonymous());
        let _ = self.notes.denied.set((denied.word(), denied.value().filter(|_| is_client)));
        denied
    }
}

pub(super) fn compact(text: &str) -> Result<Compact<'_>, Denied> {
    Compact::parse(text).ok_or(Denied::Malformed)
}
