//! `refresh_token` (RFC 6749 §6): the client of a session continues it.

use super::Grant;
use crate::clients::{Client, GrantType};
use crate::service::{Call, Decision, Denied};
use crate::token::{Audiences, Dialect, ScopeToken};

/// A client, its refresh token, and what to narrow the new access token to.
pub struct RefreshToken<'s, 'r> {
    /// The client, authenticated.
    pub client: &'s Client,
    /// The refresh token, as presented.
    pub token: &'r str,
    /// The scope of the new access token; None for all that the session still has.
    pub scope: Option<Vec<ScopeToken>>,
    /// The audience of the new access token (RFC 8707 §2.2); None for all that the session still
    /// has.
    pub audience: Option<Audiences>,
}

impl<'s> Grant<'s> for RefreshToken<'s, '_> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        if !self.client.grants.contains(GrantType::RefreshToken) {
            return Err(Denied::GrantType);
        }
        let session = call.session(self.token, Dialect::OAuth2)?;
        if session.client != self.client.id {
            return Err(Denied::OtherClient);
        }
        let mut renewal = call.renew(session)?;
        if let Some(scope) = self.scope {
            renewal.narrow(scope)?;
        }
        if let Some(audience) = self.audience {
            renewal.narrow_audience(audience)?;
        }
        Ok(Decision::Renew(renewal))
    }
}
