//! Clients: who may request what.
//!
//! This room owns the compiled registry, the check of credentials, the policy, the rate limits and
//! the proofs already used. How a request was written must not enter (a [`GrantRequest`] is its content),
//! nor how a token is.

mod certificate;
mod client;
mod compile;
mod credentials;
mod delegation;
mod explain;
mod grant_type;
mod keysets;
mod limiter;
mod offered;
mod policy;
mod registry;
mod replay;
mod secret;

pub use certificate::ClientRoots;
pub use client::{Client, Lifetimes};
pub use credentials::ClientAuth;
pub use delegation::{DelegationError, delegate};
pub use explain::{Finding, Question, explain};
pub use grant_type::{GrantType, GrantTypes};
pub use limiter::{FailureLimiter, Rate, RateLimiter};
pub use offered::AuthMethods;
pub use policy::{Ended, GrantRequest, Refusal, Renewal, admit, decide, renew};
pub use registry::Registry;
pub use replay::{Entry, ReplayTable, Unentered};
pub use secret::{NewSecret, SecretDigest};
