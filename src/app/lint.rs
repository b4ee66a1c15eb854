//! What `lingpai check` says beside what a start says: every problem of a file, and what is probably not meant.

use std::path::Path;

use super::StartError;
use crate::clients::Registry;
use crate::clock::Timestamp;
use crate::config::{self, Config, Overrides, Texts};
use crate::keys::{self, KeyRing, Modes, State};

/// How many clients a warning names.
const NAMED: usize = 5;

/// Every problem of the file at `path` and of those that it includes, as far as they can be parsed: where a client cannot
/// be read, the others are. Empty if all are good.
///
/// # Errors
/// A file that cannot be read.
pub fn problems(path: &Path, overrides: &Overrides) -> Result<Vec<StartError>, StartError> {
    let unread = config::problems(Texts::read(path)?, overrides.clone());
    let Ok(config) = Config::load(Some(path), overrides.clone()) else {
        return Ok(unread.into_iter().map(StartError::from).collect());
    };
    let problems = Registry::problems(&config).into_iter().map(StartError::from);
    let keys = keys::load_with(&config.keys.path, Modes::from(&config.keys)).err().map(StartError::from);
    Ok(problems.chain(keys).collect())
}

/// What the policy and the keys allow, but is probably not meant.
pub(super) fn warnings(config: &Config, registry: &Registry, keys: &KeyRing, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    let mut warn = |clients: Vec<String>, what: &str| {
        if !clients.is_empty() {
            all.push(format!("{}: {what}", listed(&clients)));
        }
    };
    let written = config.clients().filter_map(Result::ok);
    let any_subject = written.filter(|client| client.subjects.iter().any(|pattern| pattern.get_ref() == "*"));
    warn(
        any_subject.map(|client| client.id.into_inner()).collect(),
        "subjects = [\"*\"] allows a token about any user; expected a pattern such as \"user:*\"",
    );
    let named = |is_odd: &dyn Fn(&crate::clients::Client) -> bool| {
        registry.clients().filter(|client| is_odd(client)).map(|client| client.id.to_string()).collect::<Vec<_>>()
    };
    warn(
        named(&|client| client.scope.is_empty()),
        "no scope: tokens allow nothing, and a check that asks for no scope accepts them all the same",
    );
    warn(
        named(&|client| client.audience.iter().nth(1).is_some()),
        "several audiences: a token is for all of them unless the request names one, and each can present it to the \
         others; let requests name their audience",
    );
    warn(
        named(&|client| client.not_before.is_some_and(|not_before| not_before > now)),
        "not_before is in the future: until then every token is refused as soon as it is issued",
    );
    all.extend(registry.algorithms().into_iter().filter_map(|alg| {
        let signer = keys.signer(alg, now)?.name();
        let newer = |one: &keys::Scheduled<'_>| {
            let name = one.key.name();
            one.state == State::Revoked && name.alg == alg && name.from > signer.from && name.from <= now
        };
        let revoked = keys.schedule(now).into_iter().rfind(newer)?.key.name();
        Some(format!(
            "{signer} signs again because the newer {revoked} is revoked; if it was stolen too, `lingpai keys rotate --now` \
             makes another"
        ))
    }));
    all
}

fn listed(clients: &[String]) -> String {
    let (named, more) = (clients.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>(), clients.len());
    let word = if more == 1 { "client" } else { "clients" };
    match more.checked_sub(NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{word} {} and {more} more", named.join(", ")),
        None => format!("{word} {}", named.join(", ")),
    }
}
