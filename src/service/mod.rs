//! What every dialect shares: one state, one snapshot per request, and the steps that no grant may
//! skip.
//!
//! A [`Call`] is one request on its way through this room: [`Call::authenticate`] finds the client,
//! [`Call::prove`] checks the sender's proof, [`Call::issue`] limits, mints and records,
//! [`Call::inspect`] looks a token up or verifies it. A refusal is [`Denied`]. No HTTP may enter:
//! the dialect reads requests and writes answers.

mod call;
mod carried;
#[cfg(test)]
mod costs;
mod denied;
mod documents;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod flood;
mod inspect;
mod issue;
mod publish;
mod renderings;
mod sender;
mod snapshot;
mod state;
mod vouched;

pub use call::{Call, Notes, Origin};
pub use carried::{Carried, ProofField, Target, Unproven};
pub use denied::{Denied, Unauthenticated};
pub use documents::Documents;
pub use inspect::{Inspected, Question};
pub use issue::{Decision, Issued};
pub use publish::{LIST_MAX_AGE, PublishError};
pub use renderings::{Rendered, Renderings};
pub use snapshot::{OwnUrls, Snapshot, TOKEN_ENDPOINT, Warning};
pub use state::{RevocationList, SignedList, State};
pub use vouched::{Caller, Statement, Vouched};
