//! Inspecting access tokens: looked up among those already verified, otherwise verified.

use super::Call;
use super::call::compact;
use super::carried::{Target, Unproven};
use super::denied::Denied;
use super::renderings::{Rendered, Renderings};
use crate::clients::{Client, admit};
use crate::telemetry::Event;
use crate::token::{AccessClaims, Audience, Dialect, Fingerprint, Hit, MAX_TOKEN, Rejection, ScopeToken, Sender};

/// An access token that is valid now.
pub struct Inspected<'s> {
    hit: Hit<AccessClaims, Renderings>,
    fingerprint: Fingerprint,
    issuer: &'s str,
    /// Whether it came from the cache, without a signature check.
    was_cached: bool,
}

/// A question about an access token.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The request that the token came with under `DPoP`; None for a bearer token.
    pub target: Option<Target<'q>>,
    /// The audience that it must be for.
    pub audience: Option<&'q Audience>,
    /// The scope tokens that it must have.
    pub scope: &'q [ScopeToken],
}

/// Estimated memory of claims and answers per byte of the claims' JSON; most of it is overhead of
/// small allocations.
const BYTES_PER_BYTE: usize = 6;

impl<'s> Call<'s> {
    /// Returns the access token `text` if it is valid, from the cache or verified now.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn inspect(&self, text: &str) -> Result<Inspected<'s>, Denied> {
        let inspected = self.look_up(text)?;
        inspected.obey(self)?;
        Ok(inspected)
    }

    /// As [`Call::inspect`], except that the revocation list is not consulted.
    fn look_up(&self, text: &str) -> Result<Inspected<'s>, Denied> {
        let compact = compact(text)?;
        let fingerprint = Fingerprint::of(text);
        let known = self.snapshot.inspected.get(&fingerprint, self.now);
        let was_cached = known.is_some();
        self.state.metrics.looked_up(was_cached);
        let hit = if let Some(known) = known {
            known
        } else {
            let verified = self.verify::<AccessClaims>(compact)?;
            // Cached tokens skip this: the cache is dropped with the snapshot.
            admit(&self.snapshot.registry, verified.claims())?;
            let bytes = BYTES_PER_BYTE * compact.claims_len();
            let renderings = Renderings::of(verified.claims());
            self.snapshot.inspected.insert(fingerprint, verified, renderings, bytes)
        };
        self.note_client(&hit.claims().client);
        Ok(Inspected { hit, fingerprint, issuer: &self.snapshot.issuer, was_cached })
    }

    /// Returns the access token `text` if it is valid, comes from its sender, is for the audience
    /// and has every scope token.
    ///
    /// # Errors
    /// Why the token is not accepted. The order of checks: the token, its sender, its audience, its
    /// scope, then a replayed proof.
    pub fn check(&self, text: &str, question: Question<'_>) -> Result<Inspected<'s>, Denied> {
        self.checked(text, question).map_err(|denied| self.note(denied))
    }

    fn checked(&self, text: &str, question: Question<'_>) -> Result<Inspected<'s>, Denied> {
        let Question { target, audience, scope } = question;
        let inspected = self.inspect(text)?;
        let claims = inspected.claims();
        self.check_sender(&inspected, target)?;
        if audience.is_some_and(|audience| !claims.audience.contains(audience.as_str())) {
            return Err(Denied::OtherAudience);
        }
        if let Some(missing) = scope.iter().find(|token| !claims.scope.contains(token.as_str())) {
            return Err(Denied::MissingScope(missing.clone()));
        }
        self.enter_proof(&claims.client)?;
        self.state.metrics.token(Event::Verified, Dialect::Native.name());
        Ok(inspected)
    }

    /// Refuses the token unless it comes from the sender that it is bound to.
    fn check_sender(&self, token: &Inspected<'_>, target: Option<Target<'_>>) -> Result<(), Denied> {
        let (how, thumbprint) = token.claims().confirmation.map(|one| (one.sender, one.thumbprint)).unzip();
        let shown = match (how, target) {
            (None, None) => return Ok(()),
            (Some(Sender::Mtls), None) => self.carried.certificate_thumbprint(),
            (Some(Sender::Dpop), Some(target)) => match self.prove(target, Some(&token.fingerprint))? {
                Some(proof) => Some(proof.thumbprint),
                None => return Err(self.unproven(Unproven::NoProof)),
            },
            (None | Some(Sender::Mtls), Some(_)) | (Some(Sender::Dpop), None) => return Err(Denied::WrongScheme),
        };
        if shown == thumbprint { Ok(()) } else { Err(Denied::OtherSender) }
    }

    /// Returns the access token `text` if it is valid, and was issued to `client` or is for an
    /// audience that `client` serves. Anything else costs as much as a forged token: one signature
    /// check.
    ///
    /// # Errors
    /// Why the client may not learn about the token.
    pub fn introspect(&self, client: &Client, text: &str) -> Result<Inspected<'s>, Denied> {
        self.introspected(client, text).map_err(|denied| self.note(denied))
    }

    fn introspected(&self, client: &Client, text: &str) -> Result<Inspected<'s>, Denied> {
        let inspected = self.look_up(text).inspect_err(|denied| self.equalize_cost(denied, text))?;
        let claims = inspected.claims();
        let may_know = claims.client == client.id || client.accepts_any(&claims.audience);
        let answer = if may_know { inspected.obey(self) } else { Err(Denied::OtherAudience) };
        if answer.is_err() && inspected.was_cached {
            // A cached token must cost as much as an uncached one: otherwise timing tells a token
            // that was valid from a forged one.
            let _ = self.verify::<AccessClaims>(compact(text)?);
        }
        answer?;
        self.state.metrics.token(Event::Verified, Dialect::OAuth2.name());
        Ok(inspected)
    }

    /// Checks one signature over `text` if it was refused before any check, so that every refusal
    /// costs one.
    fn equalize_cost(&self, denied: &Denied, text: &str) {
        let unchecked = matches!(
            denied,
            Denied::Malformed
                | Denied::Token(
                    Rejection::UnknownHeader | Rejection::WrongKind | Rejection::RetiredKey | Rejection::RevokedKey
                )
        );
        let signer = self.snapshot.keys.signer(self.snapshot.registry.algorithm(), self.now);
        if let (true, Some(key)) = (unchecked, signer) {
            key.check_decoy(text.as_bytes().split_at(text.len().min(MAX_TOKEN)).0);
        }
    }

    /// Returns the access token `text` if it is valid, was issued to `client` and is not bound to a
    /// sender.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn inspect_own(&self, client: &Client, text: &str) -> Result<Inspected<'s>, Denied> {
        let inspected = self.inspect(text)?;
        let claims = inspected.claims();
        if claims.client != client.id {
            return Err(Denied::OtherClient);
        }
        if claims.confirmation.is_some() { Err(Denied::OtherSender) } else { Ok(inspected) }
    }
}

impl Inspected<'_> {
    /// Returns the token's claims.
    #[must_use]
    pub fn claims(&self) -> &AccessClaims {
        self.hit.claims()
    }

    /// Consults the revocation list: on each request, because the list changes independently of the
    /// cache.
    fn obey(&self, call: &Call<'_>) -> Result<(), Denied> {
        call.unrevoked(&self.hit.value().marks, self.claims().began())
    }

    /// Returns the dialect's answer, rendered once.
    ///
    /// # Panics
    /// If two types claim the same dialect.
    #[must_use]
    pub fn rendered<T: Rendered>(&self) -> &T {
        self.hit.value().get_or_make(self.claims(), self.issuer)
    }
}
