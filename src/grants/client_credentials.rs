//! `client_credentials` (RFC 6749 §4.4): a client starts a session of its own.

use super::Grant;
use crate::clients::{Client, GrantRequest, GrantType, decide};
use crate::service::{Call, Decision, Denied};
use crate::token::{Dialect, Session};

/// A client and its request.
pub struct ClientCredentials<'s> {
    /// The client, authenticated.
    pub client: &'s Client,
    /// What it requests.
    pub order: GrantRequest,
}

impl<'s> Grant<'s> for ClientCredentials<'s> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let client = self.client;
        if !client.grants.contains(GrantType::ClientCredentials) {
            return Err(Denied::GrantType);
        }
        let session = decide(&call.snapshot.registry, client, self.order, call.now)?;
        let session = Session { dialect: Dialect::OAuth2, ..session };
        Ok(Decision::Begin(client, session, client.grants.contains(GrantType::RefreshToken)))
    }
}
