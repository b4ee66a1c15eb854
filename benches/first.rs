//! What the programs share whose instructions are counted: their arguments, and tokens of the client `first`.

use std::path::Path;

use lingpai::clients::{Client, GrantRequest, decide};
use lingpai::clock::Timestamp;
use lingpai::config::{Config, Overrides};
use lingpai::service::Snapshot;
use lingpai::token::{Grant, Pair, Session, mint};

/// CONFIG, read, and COUNT.
pub(crate) fn arguments() -> (Config, usize) {
    let mut arguments = std::env::args().skip(1);
    let (path, count) = (arguments.next().unwrap(), arguments.next().unwrap().parse().unwrap());
    (Config::load(Some(Path::new(&path)), Overrides::default()).unwrap(), count)
}

/// A session of `first` that begins now.
pub(crate) fn session(snapshot: &Snapshot, now: Timestamp) -> (&Client, Session) {
    let client = snapshot.registry.named("first").unwrap();
    (client, decide(&snapshot.registry, client, GrantRequest::default(), now).unwrap())
}

/// All that the session may have.
pub(crate) fn pair(snapshot: &Snapshot, client: &Client, session: &Session, now: Timestamp) -> Pair {
    let grant = Grant::whole(session, client.algorithm, client.lifetimes.access, client.lifetimes.refresh);
    mint(&snapshot.keys, &snapshot.issuer, session, &grant, now).unwrap()
}
