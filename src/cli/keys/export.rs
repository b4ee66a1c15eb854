//! `lingpai keys export`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Done, Place, Refused};
use crate::app::StartError;
use crate::cli::{say, say_json};
use crate::files::shown;
use crate::keys::{self, Exported, Key, Kid};

#[derive(Args)]
pub(in crate::cli) struct ExportArguments {
    /// Export the public keys; private keys are never printed.
    #[arg(long)]
    public: bool,

    /// Only the key with this id, as `lingpai keys list --wide` shows it.
    #[arg(value_parser = kid, allow_hyphen_values = true)]
    kid: Option<Kid>,

    /// Write one file per key, `<kid>.pem`, into this folder, and delete the files of keys that no longer verify.
    #[arg(long, value_name = "DIR", conflicts_with = "kid")]
    out: Option<PathBuf>,
}

fn kid(text: &str) -> Result<Kid, String> {
    Kid::parse(text).ok_or_else(|| format!("expected {}", Kid::EXPECTED))
}

impl Place<'_> {
    pub(super) fn export(&self, arguments: &ExportArguments) -> Done {
        if !arguments.public {
            return Err(StartError::new("private keys are never printed; `--public` exports the public ones").into());
        }
        self.refuse_nowhere()?;
        let wanted = |key: &&Key| arguments.kid.as_ref().is_none_or(|kid| key.kid() == kid);
        let keys: Vec<_> = self.ring.published(self.now).filter(wanted).collect();
        if keys.is_empty() {
            let folder = shown(&self.config.keys.path);
            let what = arguments.kid.as_ref().map_or_else(String::new, |kid| format!(" with the id {kid}"));
            return Err(Refused::No(format!("{folder}: there is no key{what} that verifies now or later")));
        }
        match &arguments.out {
            Some(folder) => self.export_files(folder, &keys),
            None => self.export_text(&keys, arguments.kid.is_none()),
        }
    }

    fn export_text(&self, keys: &[&Key], is_list: bool) -> Done {
        let mut rows = Vec::new();
        for key in keys {
            let (name, kid) = (key.name(), key.kid().as_str());
            let pem = key.public_pem().map_err(|why| StartError::new(why.to_string()))?;
            rows.push(json!({"kid": kid, "alg": name.alg.name(), "from": name.from.rfc3339(), "pem": pem}));
            if self.settings.json {
                continue;
            }
            if is_list {
                // Text before a block is allowed (RFC 7468 §2), but not every reader knows that.
                say(&format!("# {kid} {} signs from {}", name.alg.name(), name.from))?;
            }
            say(pem.trim_end())?;
        }
        if self.settings.json {
            say_json(&rows.into())?;
        }
        Ok(())
    }

    fn export_files(&self, folder: &Path, keys: &[&Key]) -> Done {
        let Exported { written, deleted } = keys::export(folder, keys.iter().copied())?;
        if self.settings.json {
            return Ok(say_json(&json!({"written": written, "deleted": deleted, "keys": keys.len()}))?);
        }
        for path in &written {
            say(&format!("wrote {}", shown(path)))?;
        }
        for path in &deleted {
            say(&format!("deleted {}", shown(path)))?;
        }
        if written.is_empty() && deleted.is_empty() {
            say(&format!("nothing to do: {} holds the keys that verify", shown(folder)))?;
        }
        Ok(())
    }
}
