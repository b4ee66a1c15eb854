//! `PUT /token`: a refresh token continues its session.

use super::Grant;
use crate::service::{Call, Decision, Denied};
use crate::token::{Dialect, ScopeToken};

/// A refresh token, and what to narrow the new access token to.
pub struct NativeRefresh<'r> {
    /// The refresh token, as presented.
    pub token: &'r str,
    /// The scope of the new access token; None for all that the session still has.
    pub scope: Option<Vec<ScopeToken>>,
}

impl<'s> Grant<'s> for NativeRefresh<'_> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let session = call.session(self.token, Dialect::Native)?;
        let mut renewal = call.renew(session)?;
        if let Some(scope) = self.scope {
            renewal.narrow(scope)?;
        }
        Ok(Decision::Renew(renewal))
    }
}
