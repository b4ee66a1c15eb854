//! Access tokens that others present: looked up among those found good before, or verified.

use super::Call;
use super::call::compact;
use super::denied::Denied;
use super::renderings::{Rendered, Renderings};
use crate::clients::{Client, admit};
use crate::telemetry::Event;
use crate::token::{AccessClaims, Audience, Dialect, Fingerprint, Hit, ScopeToken};

/// An access token that is good now.
pub struct Inspected<'s> {
    hit: Hit<AccessClaims, Renderings>,
    issuer: &'s str,
    /// Whether no signature was checked for it.
    was_known: bool,
}

/// What claims and answers take in memory, in units of the claims' JSON: many small pieces of it.
const BYTES_PER_BYTE: usize = 6;

impl<'s> Call<'s> {
    /// The access token `text`, if it is good: known, or verified now.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn inspect(&self, text: &str) -> Result<Inspected<'s>, Denied> {
        let compact = compact(text)?;
        let fingerprint = Fingerprint::of::<AccessClaims>(text);
        let known = self.snapshot.inspected.get(&fingerprint, self.now);
        let was_known = known.is_some();
        self.state.metrics.looked_up(was_known);
        let hit = if let Some(known) = known {
            known
        } else {
            let verified = self.verify::<AccessClaims>(compact)?;
            // Known tokens need not be asked again: the cache falls with the snapshot.
            admit(&self.snapshot.registry, verified.claims())?;
            let bytes = BYTES_PER_BYTE * compact.claims_len();
            self.snapshot.inspected.keep(fingerprint, verified, Renderings::default(), bytes)
        };
        self.note_client(&hit.claims().client);
        Ok(Inspected { hit, issuer: &self.snapshot.issuer, was_known })
    }

    /// The access token `text`, if it is good, for `audience` and has every scope token of `scope`.
    ///
    /// # Errors
    /// Why the token is not accepted; the audience speaks before the scope.
    pub fn check(
        &self,
        text: &str,
        audience: Option<&Audience>,
        scope: &[ScopeToken],
    ) -> Result<Inspected<'s>, Denied> {
        self.checked(text, audience, scope).map_err(|denied| self.note(denied))
    }

    fn checked(&self, text: &str, audience: Option<&Audience>, scope: &[ScopeToken]) -> Result<Inspected<'s>, Denied> {
        let inspected = self.inspect(text)?;
        let claims = inspected.claims();
        if audience.is_some_and(|audience| !claims.audience.contains(audience.as_str())) {
            return Err(Denied::OtherAudience);
        }
        if let Some(missing) = scope.iter().find(|token| !claims.scope.contains(token.as_str())) {
            return Err(Denied::MissingScope(missing.clone()));
        }
        self.state.metrics.token(Event::Verified, Dialect::Native.name());
        Ok(inspected)
    }

    /// The access token `text`, if it is good, and was issued to `client` or is for an audience that `client` serves.
    ///
    /// # Errors
    /// Why the client may not learn about the token.
    pub fn introspect(&self, client: &Client, text: &str) -> Result<Inspected<'s>, Denied> {
        let inspected = self.inspect(text)?;
        let claims = inspected.claims();
        if claims.client != client.id && !client.accepts_any(&claims.audience) {
            // A known token costs as much as one that must be verified, so that time does not tell a good token of
            // others from a forged one.
            if inspected.was_known {
                self.verify::<AccessClaims>(compact(text)?)?;
            }
            return Err(Denied::OtherAudience);
        }
        self.state.metrics.token(Event::Verified, Dialect::OAuth2.name());
        Ok(inspected)
    }

    /// The access token `text`, if it is good and was issued to `client`.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn own(&self, client: &Client, text: &str) -> Result<Inspected<'s>, Denied> {
        let inspected = self.inspect(text)?;
        if inspected.claims().client == client.id { Ok(inspected) } else { Err(Denied::OtherClient) }
    }
}

impl Inspected<'_> {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &AccessClaims {
        self.hit.claims()
    }

    /// The dialect's answer, made once.
    ///
    /// # Panics
    /// If two types claim one dialect.
    #[must_use]
    pub fn rendered<T: Rendered>(&self) -> &T {
        self.hit.made().get_or_make(self.claims(), self.issuer)
    }
}
