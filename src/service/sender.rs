//! The sender of a request: the proof or certificate that it carries, and how tokens are bound to
//! it.
//!
//! Every token request passes [`Call::prove`] before its grant decides, and [`Call::confirmation`]
//! binds what it issues. A proof is recorded as used only once nothing else can refuse the request.

use super::carried::{ProofField, Target, Unproven};
use super::{Call, Denied};
use crate::clients::{Client, Entry, Unentered};
use crate::config::Nonces;
use crate::foreign::{Proof, ProofRules, Rejected, verify_proof};
use crate::token::{ClientId, Confirmation, Dialect, Fingerprint, Sender, Session};

impl<'r> Call<'r> {
    /// Verifies the request's proof, if any: it must be for `target` and, if given, for
    /// `access_token`. Later steps find it in [`Call::proof`].
    ///
    /// # Errors
    /// [`Denied::Unproven`].
    pub fn prove(&self, target: Target<'_>, access_token: Option<&Fingerprint>) -> Result<Option<&'r Proof>, Denied> {
        let text = match self.carried.proof {
            ProofField::Absent => return Ok(None),
            ProofField::Malformed => return Err(self.unproven(Unproven::Malformed)),
            ProofField::One(text) => text,
        };
        let Target { method, url } = target;
        let proof = url.ok_or(Rejected::WrongUrl).and_then(|url| {
            let rules = ProofRules { method, url, access_token, now: self.now };
            verify_proof(text, rules)
        });
        let proof = proof.map_err(|rejected| self.unproven(Unproven::Rejected(rejected)))?;
        self.check_nonce(proof.nonce.as_deref())?;
        Ok(Some(self.notes.keep_proof(proof)))
    }

    /// Returns the proof that [`Call::prove`] verified. It may still be a replay.
    #[must_use]
    pub fn proof(&self) -> Option<&'r Proof> {
        self.notes.proof()
    }

    fn check_nonce(&self, nonce: Option<&str>) -> Result<(), Denied> {
        let (nonces, keys) = (self.snapshot.nonces, &self.snapshot.keys);
        if nonces == Nonces::Off {
            return Ok(());
        }
        let next = keys.nonce(self.now).map(|next| self.notes.offer_nonce(next));
        match nonce {
            None if nonces == Nonces::Offered => Ok(()),
            // Mostly it is the one to offer next, too.
            Some(nonce) if next.is_some_and(|next| next.is(nonce)) || keys.accepts_nonce(nonce, self.now) => Ok(()),
            _ => Err(self.unproven(Unproven::Nonce)),
        }
    }

    /// Returns what a new access token of `session` is bound to. The client's `sender` as it is now
    /// wins, otherwise the session's binding; a proof may bind a session that has none.
    ///
    /// # Errors
    /// [`Denied::Unproven`]; [`Denied::BoundClient`] in the native dialect, which binds no tokens.
    pub fn confirmation(&self, client: &Client, session: &Session) -> Result<Option<Confirmation>, Denied> {
        if session.dialect == Dialect::Native {
            return if client.sender.is_some() { Err(Denied::BoundClient) } else { Ok(None) };
        }
        let unproven = |why| Err(self.unproven(why));
        match (client.sender.or(session.sender), self.proof()) {
            (None, None) => Ok(None),
            (Some(Sender::Dpop) | None, Some(proof)) => {
                Ok(Some(Confirmation { sender: Sender::Dpop, thumbprint: proof.thumbprint }))
            }
            (Some(Sender::Dpop), None) => unproven(Unproven::NoProof),
            (Some(Sender::Mtls), Some(_)) => unproven(Unproven::NotByProof),
            (Some(Sender::Mtls), None) => match self.carried.certificate_thumbprint() {
                Some(thumbprint) => Ok(Some(Confirmation { sender: Sender::Mtls, thumbprint })),
                None => unproven(Unproven::NoCertificate),
            },
        }
    }

    /// Whether the request's proof or certificate has the key that `confirmation` names.
    #[must_use]
    pub fn shows(&self, confirmation: Confirmation) -> bool {
        let shown = match confirmation.sender {
            Sender::Dpop => self.proof().map(|proof| proof.thumbprint),
            Sender::Mtls => self.carried.certificate_thumbprint(),
        };
        shown == Some(confirmation.thumbprint)
    }

    /// Records the request's proof, if any, as used: the last step before an answer.
    ///
    /// # Errors
    /// [`Denied::Unproven`] for a replay; [`Denied::Limited`] if `client` has no room for another
    /// proof.
    pub(super) fn enter_proof(&self, client: &ClientId) -> Result<(), Denied> {
        let Some(Proof { thumbprint, id, ends, .. }) = self.proof() else { return Ok(()) };
        // The anonymous client is not in the registry.
        let clients = self.snapshot.registry.len().saturating_add(1);
        let entry = Entry { thumbprint, id, ends: *ends };
        match self.state.proofs.enter(client, clients, entry, || self.state.clock()) {
            Ok(()) => {
                self.state.metrics.proof("accepted");
                Ok(())
            }
            Err(Unentered::Expired) => Err(self.unproven(Unproven::Rejected(Rejected::Expired))),
            Err(Unentered::Replayed) => Err(self.unproven(Unproven::Replayed)),
            Err(Unentered::Full(wait)) => {
                self.state.metrics.proof("limited");
                Err(Denied::Limited(wait))
            }
        }
    }

    /// Counts a proof that is missing or not accepted.
    pub(super) fn unproven(&self, why: Unproven) -> Denied {
        match why {
            Unproven::Nonce => self.state.metrics.proof("nonce_needed"),
            Unproven::Replayed => self.state.metrics.proof("replayed"),
            Unproven::Malformed | Unproven::Rejected(_) => self.state.metrics.proof("refused"),
            Unproven::NoProof | Unproven::NotByProof | Unproven::NoCertificate => {}
        }
        Denied::Unproven(why)
    }
}
