//! Federation: who else is believed, and about what. Workloads that an issuer vouches for get tokens without a secret.
//!
//! This room owns `[[issuers]]`, compiled: each issuer's rules, which turn an identity into a client, a subject and a
//! limit on scope, and where the issuer's keys come from. A rule that is written wrong stops the start. How a request
//! presents a token must not enter, and neither what a client may have: a rule names a client, whose policy limits all.

mod address;
mod compile;
mod explain;
mod glob;
mod issuer;
mod keys;
mod lint;
mod matcher;
mod source;
mod template;
#[cfg(test)]
mod tests;

pub use explain::Verdict;
pub use issuer::{Identity, Issuer, Issuers, Named, Rule, Untrusted};
pub use lint::warnings;
pub use matcher::Difference;
