//! Each dialect's answer about a token, rendered once and kept with its claims.

use std::any::Any;
use std::sync::OnceLock;

use crate::revocation::Marks;
use crate::token::{AccessClaims, Dialect};

/// The dialects' rendered answers about a token, kept with its claims.
#[derive(Debug)]
pub struct Renderings {
    /// The names by which the revocation list may end the token.
    pub(super) marks: Marks,
    answers: [OnceLock<Box<dyn Any + Send + Sync>>; Dialect::ALL.len()],
}

/// A dialect's answer about a token, which never changes.
pub trait Rendered: Sized + Send + Sync + 'static {
    /// The dialect. Each has exactly one type.
    const DIALECT: Dialect;
    /// Renders the answer for these claims of a token that `issuer` issued.
    fn of(claims: &AccessClaims, issuer: &str) -> Self;
}

impl Renderings {
    pub(super) fn of(claims: &AccessClaims) -> Self {
        Self { marks: Marks::of_access(claims), answers: Default::default() }
    }

    pub(super) fn get_or_make<T: Rendered>(&self, claims: &AccessClaims, issuer: &str) -> &T {
        let slot = self.answers.get(T::DIALECT as usize);
        let kept = slot.map(|slot| slot.get_or_init(|| Box::new(T::of(claims, issuer))));
        #[expect(clippy::expect_used, reason = "there is a slot for each dialect, and each dialect has one type")]
        kept.and_then(|any| any.downcast_ref()).expect("the dialect's own answer")
    }
}
