//! What `lingpai check` reports beyond a start: every problem of a file, and what is probably a mistake.

use std::path::Path;

use super::StartError;
use crate::clients::{GrantType, Registry};
use crate::clock::Timestamp;
use crate::config::{self, Config, Overrides, Texts};
use crate::federation::Issuers;
use crate::keys::{self, KeyRing, Modes, State};
use crate::token::Sender;

/// Maximum number of clients that a warning names.
const NAMED: usize = 5;

/// Returns every problem of the file at `path` and of those that it includes, as far as they parse: a broken client or
/// issuer does not hide the others. Empty if all are valid.
///
/// # Errors
/// A file that cannot be read.
pub fn problems(path: &Path, overrides: &Overrides) -> Result<Vec<StartError>, StartError> {
    let unread = config::problems(Texts::read(path)?, overrides.clone());
    let Ok(config) = Config::load(Some(path), overrides.clone()) else {
        return Ok(unread.into_iter().map(StartError::from).collect());
    };
    let mut problems = Registry::problems(&config);
    // A rule that names a broken client would be reported as if there were no such client.
    if problems.is_empty() {
        problems = Issuers::problems(&config, &Registry::compile(&config)?);
    }
    let problems = problems.into_iter().map(StartError::from);
    let keys = keys::load_with(&config.keys.path, Modes::from(&config.keys)).err().map(StartError::from);
    Ok(problems.chain(keys).collect())
}

/// Returns what the policy and the keys allow, but is probably a mistake.
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
        // An API that introspects needs no scope of its own.
        named(&|client| client.scope.is_empty() && !client.is_api()),
        "no scope: tokens allow nothing, and a check without a scope accepts them anyway",
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
    warn(
        named(&|client| client.sender.is_some() && client.grants.iter().all(|grant| grant == GrantType::RefreshToken)),
        "sender: the client can get no token: it gets none at /token, and none of its grants begins a session; add \
         \"client_credentials\"",
    );
    warn(
        named(&|client| client.sender.is_none() && client.grants.iter().eq([GrantType::RefreshToken])),
        "grants: with refresh_token alone, no token can be got at /oauth2/token; add \"client_credentials\"",
    );
    let asks = config.mtls.as_ref().is_some_and(|mtls| mtls.listen.is_some());
    let passes_on = config.mtls.is_some() && !config.trusted_proxies.is_empty();
    let has_certificates = asks || passes_on;
    warn(
        named(&|client| client.sender == Some(Sender::Mtls) && !has_certificates),
        "sender = \"mtls\": no token can be got any more, for no request has a client's certificate; set mtls.listen, or \
         [mtls] and trusted_proxies that pass it on",
    );
    if registry.anonymous().is_some_and(|anonymous| anonymous.scope.is_empty()) {
        all.push(
            "[anonymous]: no scope: its tokens allow nothing, and a check without a scope accepts them anyway"
                .to_owned(),
        );
    }
    all.extend(registry.algorithms().iter().copied().filter_map(|alg| {
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

pub(super) fn listed(clients: &[String]) -> String {
    let (named, more) = (clients.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>(), clients.len());
    let word = if more == 1 { "client" } else { "clients" };
    match more.checked_sub(NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{word} {} and {more} more", named.join(", ")),
        None => format!("{word} {}", named.join(", ")),
    }
}
