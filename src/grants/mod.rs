//! Grants: one file each. A decoded request and an authenticated client in, what to issue out.
//!
//! A grant only decides. [`issue`] takes it through the steps that all share: the sender's proof, the
//! client's rate, minting, the record. No HTTP and no storage may enter.

mod client_credentials;
mod jwt_bearer;
mod native_create;
mod native_refresh;
mod refresh_token;
mod token_exchange;

pub use client_credentials::ClientCredentials;
pub use jwt_bearer::JwtBearer;
pub use native_create::NativeCreate;
pub use native_refresh::NativeRefresh;
pub use refresh_token::RefreshToken;
pub use token_exchange::TokenExchange;

use crate::service::{At, Call, Decision, Denied, Issued, TOKEN_ENDPOINT, Target};

/// A grant, with what a request asked of it.
pub trait Grant<'s> {
    /// What to issue.
    ///
    /// # Errors
    /// Why nothing is issued.
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied>;
}

/// Issues what `grant` decides.
///
/// # Errors
/// Why nothing was issued.
pub fn issue<'s>(call: &Call<'s>, grant: impl Grant<'s>) -> Result<Issued<'s>, Denied> {
    let issued = prove(call).and_then(|()| grant.decide(call)).and_then(|decision| call.issue(decision));
    issued.map_err(|denied| call.note(denied))
}

/// Checks the proof that comes with a request for a token, if one does. Natively none does.
fn prove(call: &Call<'_>) -> Result<(), Denied> {
    call.prove(Target { method: "POST", at: At::Path(TOKEN_ENDPOINT) }, None).map(drop)
}
