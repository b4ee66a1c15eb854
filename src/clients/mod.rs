//! Clients: who may ask for what.
//!
//! This room owns the registry that the configuration is compiled into, the
//! check of secrets, the policy, how often each may ask, and which proofs it
//! has used. How a request was written must not enter (an [`Order`] is what it
//! asked for), nor how a token is.

mod certificate;
mod client;
mod compile;
mod credentials;
mod delegation;
mod explain;
mod grant_type;
mod limiter;
mod offered;
mod policy;
mod registry;
mod replay;
mod secret;

pub use certificate::ClientRoots;
pub use client::{Client, Lifetimes};
pub use credentials::ClientAuth;
pub use delegation::{Undelegated, delegate};
pub use explain::{Finding, Question, explain};
pub use grant_type::{GrantType, GrantTypes};
pub use limiter::{FailureLimiter, Rate, RateLimiter};
pub use offered::AuthMethods;
pub use policy::{Ended, Order, Refusal, Renewal, admit, decide, renew};
pub use registry::Registry;
pub use replay::{Entry, ReplayTable, Unentered};
pub use secret::{NewSecret, SecretDigest};
