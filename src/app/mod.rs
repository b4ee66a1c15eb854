//! The composition root: turns a [`Config`](crate::config::Config) into a running service. The only place that knows
//! every room.

mod check;
mod development;
mod error;
mod lint;
mod listeners;
mod load;
mod part;
mod reload;
mod revocations;
mod revoke;
mod serve;
mod sight;
mod warnings;

pub use check::check;
pub use development::{Development, development, refuse_public_address};
pub use error::StartError;
pub use lint::problems;
pub use listeners::Listeners;
pub use load::{Loaded, load, plan, snapshot};
pub use reload::{Reloader, watch};
pub use revoke::{Pruned, RevocationFile};
pub use serve::{serve, state, transport};
