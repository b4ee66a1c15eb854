//! Explains which rule decides about an identity, and why the others do not.

use serde_json::{Map, Value};

use super::matcher::Difference;
use super::{Issuer, Rule, Untrusted};

/// A rule's verdict on an identity.
#[derive(Debug)]
pub enum Verdict<'s> {
    /// It is the first that matches, so it decides; it yields this subject, or fails to.
    Speaks(&'s Rule, Result<Option<String>, Untrusted>),
    /// It matches too, but an earlier rule decides.
    Later(&'s Rule),
    /// This claim differs.
    Differs(&'s Rule, Difference),
}

impl Issuer {
    /// Returns each rule's verdict on an identity with these claims, in the file's order.
    #[must_use]
    pub fn explain(&self, claims: &Map<String, Value>) -> Vec<Verdict<'_>> {
        let mut has_spoken = false;
        let verdict = |rule| match self.difference(rule, claims) {
            Some(difference) => Verdict::Differs(rule, difference),
            None if std::mem::replace(&mut has_spoken, true) => Verdict::Later(rule),
            None => Verdict::Speaks(rule, rule.subject(claims).map(|subject| subject.map(Into::into))),
        };
        self.rules().map(verdict).collect()
    }
}
