//! What a configuration would do, without serving it.

use super::error::StartError;
use super::lint;
use super::listeners::{addresses, cannot_listen, distinct, leaves_ipv4};
use super::load::{Loaded, load_with, snapshot};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::federation;
use crate::keys::{Folder, Gravity};
use crate::server;
use crate::service::{Snapshot, Warning};

/// Returns what serving `config` would break, apart from what keeps it from starting; `running`
/// is the configuration that it would replace, if known.
///
/// # Errors
/// What keeps either from starting.
pub fn check(config: &Config, running: Option<&Config>, now: Timestamp) -> Result<(Snapshot, Vec<String>), StartError> {
    distinct(config)?;
    let folder = Folder::read(&config.keys.path)?;
    let Loaded { snapshot: mut new, revocations, .. } = load_with(config, &folder, now)?;
    new.warnings.extend(revocations.and_then(|list| list.waiting).map(Warning::standing));
    for address in addresses(config) {
        server::can_open(address, leaves_ipv4(address, config)).map_err(|error| cannot_listen(address, error))?;
    }
    let mut findings = new.keys.doubts(now);
    match running {
        // Without it, only the files' modification times tell what verifiers may have seen.
        None => findings.extend(new.keys.published_late(folder.written(), new.jwks_max_age, now)),
        Some(running) => {
            let old = snapshot(running, now)?;
            findings.extend(new.keys.replacing(&old.keys, old.jwks_max_age, now));
            let gone = old.registry.clients().filter(|client| !new.registry.is_client(client.id.as_str()));
            let gone: Vec<_> = gone.map(|client| client.id.to_string()).collect();
            if !gone.is_empty() {
                let why = format!("no longer configured, so their tokens are refused at once: {}", lint::listed(&gone));
                new.warnings.push(Warning::standing(why));
            }
        }
    }
    let (odd, breaks): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.gravity == Gravity::Odd);
    new.warnings.extend(odd.into_iter().map(|finding| Warning::standing(finding.message)));
    let mut breaks: Vec<_> = breaks.into_iter().map(|finding| finding.message).collect();
    if let Some(old) = running.map(|running| running.issuer.as_str()).filter(|old| *old != new.issuer) {
        breaks.push(format!("the issuer changes from {old}: every token issued so far is refused at once"));
    }
    let lint = lint::warnings(config, &new.registry, &new.keys, now)
        .into_iter()
        .chain(federation::warnings(&new.issuers, &new.registry));
    new.warnings.extend(lint.map(Warning::standing));
    new.warnings.retain(|warning| !breaks.contains(&warning.message));
    Ok((new, breaks))
}
