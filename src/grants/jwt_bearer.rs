//! A session by a signed statement: an assertion (RFC 7523 §2.1), or an identity that a trusted
//! issuer signed.

use super::Grant;
use crate::clients::{GrantRequest, GrantType, decide};
use crate::service::{Call, Decision, Denied, Vouched};
use crate::token::{Dialect, Session};

/// A verified statement, the request, and the grant that carried it. It gets no refresh token.
pub struct JwtBearer<'s> {
    /// The client, and the new token's subject.
    pub vouched: Vouched<'s>,
    /// What it requests.
    pub order: GrantRequest,
    /// The grant that the client's `grants` must list.
    pub grant: GrantType,
}

impl<'s> Grant<'s> for JwtBearer<'s> {
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied> {
        let Vouched { client, subject, limit } = self.vouched;
        if !client.grants.contains(self.grant) {
            return Err(Denied::GrantType);
        }
        let order = GrantRequest { subject, limit, ..self.order };
        let session = decide(&call.snapshot.registry, client, order, call.now)?;
        Ok(Decision::Begin(client, Session { dialect: Dialect::OAuth2, ..session }, false))
    }
}
