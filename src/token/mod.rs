//! The domain: what tokens contain, how they are minted, verified and renewed.
//!
//! This room owns the claims and their limits, the two kinds of token, and the order of checks. No
//! poem, no files and no clock may enter; `now` is a parameter. What a client may request is
//! decided in `clients`.
//!
//! A string from a request is a [`Compact`] until [`verify`] has made it a [`Verified`]. Nothing
//! else can make one, and only that type gives access to the claims.

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
mod text;
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
