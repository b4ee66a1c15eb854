//! `POST /token`: a client starts a session.

use super::Grant;
use crate::clients::{Client, GrantRequest, decide};
use crate::service::{Call, Decision, Denied};

/// A client and its request.
pub struct NativeCreate<'s> {
    /// The client, authenticated.
    pub client: &'s Client,
    /// What it requests.
    pub order: GrantRequest,
}

impl<'s> Grant<'s> for NativeCreate<'s> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let session = decide(&call.snapshot.registry, self.client, self.order, call.now)?;
        Ok(Decision::Begin(self.client, session, true))
    }
}
