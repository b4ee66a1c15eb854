//! Keys from the command line: made, taken in, rotated, pruned; and what `check` says of a plan.

mod check;
mod export;
mod import;
mod new;
mod rotate;

use lingpai::clock::{Clock, Timestamp};
use lingpai::keys::{self, Alg};
use serde_json::Value;

use crate::app::quiet;
use crate::home::{Home, Ran};

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    Clock::system().now()
}

impl Home {
    /// The configuration of most tests, and ES256 keys that start to sign so many seconds after now.
    fn with_keys(after: &[i64]) -> (Self, Vec<String>) {
        let home = Self::new();
        home.write("lingpai.toml", &quiet());
        let names = after.iter().map(|after| home.key(*after)).collect();
        (home, names)
    }

    /// Writes a key that starts to sign so many seconds after now, whatever the linter would say. Its name.
    fn key(&self, after: i64) -> String {
        keys::generate(&self.path("keys"), Alg::Es256, now().plus(after)).unwrap().name().to_string()
    }

    fn listed(&self) -> Vec<Value> {
        self.run(&["keys", "list", "--json"]).assert(0).json().as_array().unwrap().clone()
    }

    fn states(&self) -> Vec<String> {
        self.listed().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    }
}

/// The instant that a command says it gave a key, in seconds from now.
fn lead(ran: &Ran) -> i64 {
    Timestamp::parse_rfc3339(ran.assert(0).json()["from"].as_str().unwrap()).unwrap().since(now())
}
