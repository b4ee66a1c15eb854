//! `lingpai check`

use serde_json::json;

use super::{Answer, Settings, complain, say, say_json};
use crate::app;
use crate::clock::Clock;
use crate::keys;

pub(super) fn run(settings: &Settings) -> Answer {
    let config = settings.load()?;
    if config.is_development() {
        super::serve::refuse_public_address(&config)?;
        if keys::load(&config.keys.path)?.is_empty() {
            complain(
                "warning: there is no lingpai.toml and no key; `serve` will make a key and use development defaults",
            );
            return Ok(true);
        }
    }
    app::sockets(&config.listen)?;
    let now = Clock::system().now();
    let snapshot = app::snapshot(&config, now)?;
    let warnings = app::warnings(&config, &snapshot, now);
    let signer =
        snapshot.keys.signer(snapshot.registry.algorithm(), now).map(|key| key.name().to_string()).unwrap_or_default();
    let count = snapshot.keys.states(now).len();
    if settings.json {
        say_json(&json!({
            "issuer": config.issuer.as_str(), "clients": snapshot.registry.len(), "keys": count,
            "signing": signer, "warnings": warnings,
        }));
        return Ok(true);
    }
    for warning in &warnings {
        complain(&format!("warning: {warning}"));
    }
    say(&format!(
        "good: issuer {}, {} and {}, signing with {signer}",
        config.issuer.as_str(),
        counted(snapshot.registry.len(), "client"),
        counted(count, "key"),
    ));
    Ok(true)
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
