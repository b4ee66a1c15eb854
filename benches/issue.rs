//! Issues tokens as `POST /token` does, without HTTP, for `benches/reload` to count instructions: issue CONFIG COUNT.
#![expect(clippy::unwrap_used, reason = "a measurement may fail so")]

use std::hint::black_box;
use std::path::Path;

use lingpai::app;
use lingpai::clients::{GrantRequest, decide};
use lingpai::clock::Clock;
use lingpai::config::{Config, Overrides};
use lingpai::token::{Grant, mint};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (path, count) = (arguments.next().unwrap(), arguments.next().unwrap().parse().unwrap());
    let config = Config::load(Some(Path::new(&path)), Overrides::default()).unwrap();
    let now = Clock::system().now();
    let snapshot = app::snapshot(&config, now).unwrap();
    drop(config);
    for _ in 0..count {
        // A wrong secret costs what a right one does.
        black_box(snapshot.registry.authenticate("first", black_box(b"wrong")));
        let client = snapshot.registry.named("first").unwrap();
        let session = decide(&snapshot.registry, client, GrantRequest::default(), now).unwrap();
        let grant = Grant::whole(&session, client.algorithm, client.lifetimes.access, client.lifetimes.refresh);
        black_box(mint(&snapshot.keys, &snapshot.issuer, &session, &grant, now).unwrap());
    }
}
