//! `lingpai keys prune`

use serde_json::json;

use super::{Done, Place};
use crate::cli::{say, say_json};
use crate::files::shown;
use crate::keys;

impl Place<'_> {
    pub(super) fn prune(&self) -> Done {
        self.refuse_nowhere()?;
        self.refuse_doubtful_clock()?;
        let folder = &self.config.keys.path;
        let deleted = self.ring.prunable(folder, self.now)?;
        for path in &deleted {
            keys::delete(folder, path)?;
        }
        let kept = keys::load_with(folder, self.modes())?.len();
        if self.settings.json {
            let deleted: Vec<_> = deleted.iter().map(|path| path.to_string_lossy()).collect();
            return Ok(say_json(&json!({"deleted": deleted, "kept": kept}))?);
        }
        for path in &deleted {
            say(&format!("deleted {}", shown(path)))?;
        }
        if deleted.is_empty() {
            say("nothing to delete: no key has been retired for 24 hours")?;
        }
        Ok(())
    }
}
