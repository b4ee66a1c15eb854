//! Federation: trusted issuers, whose workloads get tokens without a secret of ours.
//!
//! This room owns the compiled `[[issuers]]`: rules that turn an identity into a client, a subject
//! and a limit on scope, and where each issuer's keys come from. An invalid rule stops the start.
//! How a request presents a token must not enter, nor what a client may request: a rule names a
//! client, whose policy limits everything.

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
