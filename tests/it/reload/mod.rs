//! Reloads: what the files say takes the place of what they said, whole or not at all; and what the operator sees of it.

mod applied;
mod debounce;
mod operator;
mod process;
mod refused;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::app::{TestApp, replace, segment, vectors};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const DAY: i64 = 86_400;

impl TestApp {
    fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(name)
    }

    fn write(&self, content: &str) -> &Self {
        replace(&self.folder.path().join("lingpai.toml"), content);
        self
    }

    /// Puts the certificate and the key of this name among the vectors in place.
    fn certify(&self, name: &str) -> &Self {
        for (kind, file) in [("crt", "tls.crt"), ("key", "tls.key")] {
            let pem = fs::read(vectors("tls").join(format!("{name}.{kind}"))).unwrap();
            replace(&self.folder.path().join(file), pem);
        }
        self
    }

    fn warns(&self, part: &str) -> bool {
        self.ready()["warnings"].to_string().contains(part)
    }

    fn ready(&self) -> Value {
        self.operator("/readyz").json()
    }

    fn kid(&self) -> String {
        segment(&self.create("").text("value"), 0)["kid"].as_str().unwrap().to_owned()
    }

    /// Asserts that the files are refused for a reason that says `expected`, that what was in force stays so, and
    /// that all is well when `mend` has been done.
    #[track_caller]
    fn assert_refused(&self, expected: &[&str], mend: impl FnOnce()) {
        let (kid, failures) = (self.kid(), self.metric("lingpai_reload_failures_total"));
        let before = self.ready();
        // It is said and counted once.
        self.look().look();
        let said = self.ready();
        for part in expected {
            assert!(said["reload_error"].as_str().unwrap_or_default().contains(part), "{said}\nwant: {part}");
        }
        assert_eq!(said["keys_digest"], before["keys_digest"]);
        assert_eq!(self.metric("lingpai_reload_failures_total"), failures + 1, "{expected:?}");
        assert_eq!(self.metric("lingpai_last_reload_successful"), 0);
        assert_eq!((self.kid(), self.operator("/readyz").status), (kid, 200));
        assert_eq!(self.send("GET", "/readyz", &[], "").body, r#"{"status":"ok"}"#);
        mend();
        self.look();
        assert_eq!(self.ready()["reload_error"], Value::Null);
        assert_eq!(self.metric("lingpai_last_reload_successful"), 1);
        assert_eq!(self.metric("lingpai_reload_failures_total"), failures + 1, "{expected:?}");
    }
}
