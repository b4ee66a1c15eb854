//! A session on somebody's word: an assertion (RFC 7523 §2.1), or an identity that a trusted issuer signed.

use super::Grant;
use crate::clients::{GrantType, Order, decide};
use crate::service::{Call, Decision, Denied, Vouched};
use crate::token::{Dialect, Session};

/// Who is vouched for, its order, and through which grant it comes. It gets no refresh token.
pub struct JwtBearer<'s> {
    /// The client, and whom it is to be about.
    pub vouched: Vouched<'s>,
    /// What it asks for.
    pub order: Order,
    /// The grant that the client's `grants` must have.
    pub grant: GrantType,
}

impl<'s> Grant<'s> for JwtBearer<'s> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let Vouched { client, subject, limit } = self.vouched;
        if !client.grants.contains(self.grant) {
            return Err(Denied::GrantType);
        }
        let order = Order { subject, limit, ..self.order };
        let session = decide(&call.snapshot.registry, client, order, call.now)?;
        Ok(Decision::Begin(client, Session { dialect: Dialect::OAuth2, ..session }, false))
    }
}
