//! The domain: what tokens say, how they are made, read and renewed.
//!
//! This room owns the claims and their limits, the two kinds of token and the
//! order in which a token is checked. No poem, no files and no clock may enter;
//! `now` is a parameter. What a client may have is decided in `clients`.
//!
//! A string from a request is a [`Compact`] until [`verify`] has made it a
//! [`Verified`]; nothing else can, and only that type gives the claims away.

mod actor;
mod cache;
mod claims;
mod confirmation;
mod extra;
mod limits;
mod mint;
mod names;
mod scope;
mod session;
mod session_id;
mod verify;

pub use actor::Actor;
pub use cache::{Cache, Fingerprint, Hit};
pub use claims::{AccessClaims, RefreshClaims};
pub use confirmation::{Confirmation, Sender, Thumbprint};
pub use extra::{ClaimValue, ExtraClaims, RESERVED, Scalar};
pub use limits::{ACCESS_CAP, LEEWAY_CAP, MAX_TOKEN, REFRESH_CAP, SESSION_CAP};
pub use mint::{Access, MintError, Pair, mint, mint_access};
pub use names::{Audience, Audiences, ClientId, Subject};
pub use scope::{Scope, ScopeToken};
pub use session::{Dialect, Grant, Session};
pub use session_id::{SessionId, is_random_id};
pub use verify::{Compact, Kind, Rejection, Verified, Verifying, examine, verify};
