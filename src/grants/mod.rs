//! Grants, one file each: take a decoded request and an authenticated client, decide what to issue.
//!
//! A grant only decides. [`issue`] takes it through the steps that all grants share: the sender's
//! proof, the client's rate, minting, the record. No HTTP and no storage may enter.

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

use crate::service::{Call, Decision, Denied, Issued, Target};

/// A grant, with the content of its request.
pub trait Grant<'s> {
    /// Decides what to issue.
    ///
    /// # Errors
    /// Why nothing is issued.
    fn decide(self, call: &Call<'s>) -> Result<Decision<'s>, Denied>;
}

/// Issues what `grant` decides.
///
/// # Errors
/// Why nothing is issued.
pub fn issue<'s>(call: &Call<'s>, grant: impl Grant<'s>) -> Result<Issued<'s>, Denied> {
    let issued = prove(call).and_then(|()| grant.decide(call)).and_then(|decision| call.issue(decision));
    issued.map_err(|denied| call.note(denied))
}

/// Verifies the proof of a token request, if any. The native dialect has none.
fn prove(call: &Call<'_>) -> Result<(), Denied> {
    call.prove(Target { method: "POST", url: call.snapshot.urls.token_endpoint.as_ref() }, None).map(drop)
}
