//! `lingpai check`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Answer, NO_FILE, Settings, complain, say, say_json};
use crate::app::{self, StartError};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::crypto::hex;
use crate::keys::{self, Modes};

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration that runs now, with its key folder as it was before any copying: also reports what would break
    /// if this one replaced it.
    #[arg(long, value_name = "FILE")]
    running: Option<PathBuf>,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let first = match judge(settings, arguments) {
        Err(first) => first,
        answer => return answer,
    };
    // Not only the first problem, but every other one that can be found.
    let mut problems = settings.file().map_or(Ok(Vec::new()), |path| app::problems(path, &settings.overrides()))?;
    if !problems.iter().any(|problem| problem.to_string() == first.to_string()) {
        problems.insert(0, first);
    }
    let Some(last) = problems.pop() else { return Ok(false) };
    for problem in &problems {
        complain(&problem.to_string());
    }
    Err(last)
}

fn judge(settings: &Settings, arguments: &Arguments) -> Answer {
    let config = settings.load()?;
    if config.is_development() {
        if arguments.running.is_some() {
            return Err(StartError::new(NO_FILE));
        }
        app::refuse_public_address(&config)?;
        if keys::load_with(&config.keys.path, Modes::from(&config.keys))?.is_empty() {
            let warning = "there is no lingpai.toml and no key; `serve` will make a key and use development defaults";
            if settings.json {
                say_json(&json!({"keys": 0, "clients": 0, "warnings": [warning], "breaks": []}))?;
            } else {
                complain(&format!("warning: {warning}"));
            }
            return Ok(true);
        }
    }
    let read = |path: &Path| Config::load(Some(path), Overrides::default());
    let running = arguments.running.as_deref().map(read).transpose()?;
    let now = Clock::system().now();
    let (snapshot, breaks) = app::check(&config, running.as_ref(), now)?;
    let mut warnings: Vec<_> = snapshot.warnings(now).collect();
    if config.is_development() {
        warnings.push("there is no lingpai.toml here: these are development defaults");
    }
    let signer = snapshot.keys.signer(snapshot.registry.algorithm(), now).map(|key| key.name().to_string());
    let signer = signer.ok_or_else(|| StartError::new("no key signs"))?;
    let count = snapshot.keys.len();
    if settings.json {
        say_json(&json!({
            "issuer": config.issuer.as_str(), "clients": snapshot.registry.len(), "keys": count, "signing": signer,
            "keys_digest": hex(&snapshot.keys.digest()),
            "configuration_digest": hex(&snapshot.configuration_digest),
            "warnings": warnings, "breaks": breaks,
        }))?;
        return Ok(breaks.is_empty());
    }
    for warning in &warnings {
        complain(&format!("warning: {warning}"));
    }
    for problem in &breaks {
        complain(problem);
    }
    if breaks.is_empty() {
        say(&format!(
            "ok: issuer {}, {} and {}, signing with {signer}",
            config.issuer.as_str(),
            counted(snapshot.registry.len(), "client"),
            counted(count, "key"),
        ))?;
    }
    Ok(breaks.is_empty())
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
