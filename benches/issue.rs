//! Issues tokens as `POST /token` does, without HTTP, for `benches/reload` to count instructions: issue CONFIG COUNT.
#![expect(clippy::unwrap_used, reason = "a measurement may fail so")]

mod first;

use std::hint::black_box;

use lingpai::app;
use lingpai::clock::Clock;

fn main() {
    let (config, count) = first::arguments();
    let now = Clock::system().now();
    let snapshot = app::snapshot(&config, now).unwrap();
    drop(config);
    for _ in 0..count {
        // A wrong secret costs what a right one does.
        black_box(snapshot.registry.authenticate("first", black_box(b"wrong")));
        let (client, session) = first::session(&snapshot, now);
        black_box(first::pair(&snapshot, client, &session, now));
    }
}
