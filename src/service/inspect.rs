//! Access tokens that others present: looked up among those found good before, or verified.

use std::any::Any;
use std::sync::OnceLock;

use super::Call;
use super::call::compact;
use super::denied::Denied;
use crate::telemetry::Event;
use crate::token::{AccessClaims, Audience, Dialect, Fingerprint, Hit, ScopeToken};

/// What each dialect made of a token's claims, kept beside them.
#[derive(Debug, Default)]
pub struct Renderings([OnceLock<Box<dyn Any + Send + Sync>>; Dialect::ALL.len()]);

/// A dialect's answer about a token, which is the same each time.
pub trait Rendered: Sized + Send + Sync + 'static {
    /// Whose answer it is. Each dialect has one type.
    const DIALECT: Dialect;
    /// The answer about these claims.
    fn of(claims: &AccessClaims) -> Self;
}

/// An access token that is good now.
pub struct Inspected(Hit<AccessClaims, Renderings>);

/// What claims and answers take in memory, in units of the claims' JSON: many small pieces of it.
const BYTES_PER_BYTE: usize = 6;

impl Call<'_> {
    /// The access token `text`, if it is good: known, or verified now.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn inspect(&self, text: &str) -> Result<Inspected, Denied> {
        let compact = compact(text)?;
        let fingerprint = Fingerprint::of::<AccessClaims>(text);
        let known = self.snapshot.inspected.get(&fingerprint, self.now);
        self.state.metrics.looked_up(known.is_some());
        let hit = if let Some(known) = known {
            known
        } else {
            let verified = self.verify(compact)?;
            let bytes = BYTES_PER_BYTE * compact.claims_len();
            self.snapshot.inspected.keep(fingerprint, verified, Renderings::default(), bytes)
        };
        self.note_client(&hit.claims().client);
        Ok(Inspected(hit))
    }

    /// The access token `text`, if it is good, for `audience` and has every scope token of `scope`.
    ///
    /// # Errors
    /// Why the token is not accepted; the audience speaks before the scope.
    pub fn check(&self, text: &str, audience: Option<&Audience>, scope: &[ScopeToken]) -> Result<Inspected, Denied> {
        let inspected = self.inspect(text)?;
        let claims = inspected.claims();
        if audience.is_some_and(|audience| !claims.audience.contains(audience.as_str())) {
            return Err(Denied::OtherAudience);
        }
        if let Some(missing) = scope.iter().find(|token| !claims.scope.contains(token.as_str())) {
            return Err(Denied::MissingScope(missing.clone()));
        }
        self.state.metrics.token(Event::Verified);
        Ok(inspected)
    }
}

impl Inspected {
    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &AccessClaims {
        self.0.claims()
    }

    /// The dialect's answer, made once.
    ///
    /// # Panics
    /// If two types claim one dialect.
    #[must_use]
    pub fn rendered<T: Rendered>(&self) -> &T {
        let kept =
            self.0.made().0.get(T::DIALECT as usize).map(|slot| slot.get_or_init(|| Box::new(T::of(self.claims()))));
        #[expect(clippy::expect_used, reason = "there is a slot for each dialect, and each dialect has one type")]
        kept.and_then(|any| any.downcast_ref()).expect("the dialect's own answer")
    }
}
