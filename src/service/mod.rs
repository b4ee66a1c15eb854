//! What every dialect does: one state, one snapshot a request, and the steps that no grant may
//! forget.
//!
//! A [`Call`] is one request on its way through this room: [`Call::authenticate`] says which client
//! asks, [`Call::issue`] limits, mints and records, [`Call::inspect`] looks a token up or verifies
//! it. A refusal is [`Denied`]. No HTTP may enter: how a request was written, and what an answer
//! looks like, is the dialect's.

mod call;
mod denied;
mod inspect;
mod issue;
mod renderings;
mod snapshot;
mod state;
mod vouched;

pub use call::{Call, Notes, Origin, TOKEN_ENDPOINT};
pub use denied::{Denied, Unauthenticated};
pub use inspect::Inspected;
pub use issue::{Decision, Issued};
pub use renderings::{Rendered, Renderings};
pub use snapshot::{Snapshot, Warning};
pub use state::State;
pub use vouched::{Caller, Vouched};
