//! What each dialect says of a token, made once and kept beside its claims.

use std::any::Any;
use std::sync::OnceLock;

use crate::revocation::Marks;
use crate::token::{AccessClaims, Dialect};

/// What each dialect made of a token's claims, kept beside them.
#[derive(Debug)]
pub struct Renderings {
    /// By what the list of revocations may name it.
    pub(super) marks: Marks,
    answers: [OnceLock<Box<dyn Any + Send + Sync>>; Dialect::ALL.len()],
}

/// A dialect's answer about a token, which is the same each time.
pub trait Rendered: Sized + Send + Sync + 'static {
    /// Whose answer it is. Each dialect has one type.
    const DIALECT: Dialect;
    /// The answer about these claims of a token of `issuer`.
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
