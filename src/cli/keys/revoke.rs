//! `lingpai keys revoke`

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{Done, Place, Refused, SHORT_KID, in_words};
use crate::app::{self, StartError};
use crate::cli::{NO_FILE, edited, say, say_json};
use crate::clients::Registry;
use crate::clock::Timestamp;
use crate::config::{Config, Issuer, edit};
use crate::files::shown;
use crate::keys::{self, Alg, KeyRing, Scheduled, State};

#[derive(Args)]
pub(in crate::cli) struct RevokeArguments {
    /// The key's id, or the beginning of it that `lingpai keys list` shows.
    #[arg(allow_hyphen_values = true)]
    kid: String,
}

impl Place<'_> {
    pub(super) fn revoke(&self, arguments: &RevokeArguments) -> Done {
        let Some(path) = self.config.source.path() else {
            return Err(Refused::No(NO_FILE.to_owned()));
        };
        let schedule = self.schedule();
        // As `keys list` shortens it.
        let named = arguments.kid.trim_end_matches('…');
        let found: Vec<_> = schedule.iter().filter(|one| one.key.kid().as_str().starts_with(named)).collect();
        let key = match found.as_slice() {
            [one] if named.len() >= SHORT_KID => *one,
            [] => return Err(Refused::No(format!("there is no key {named:?} here; see `lingpai keys list`"))),
            _ => {
                let why = format!(
                    "{named:?} is too short: expected {SHORT_KID} characters of an id; see `lingpai keys list`"
                );
                return Err(Refused::No(why));
            }
        };
        let kid = key.key.kid();
        if key.state == State::Revoked {
            return Err(Refused::No(format!("{kid} is already revoked; nothing was written")));
        }
        let mut overrides = self.settings.overrides();
        overrides.issuer = overrides.issuer.or(Some(Issuer::local("127.0.0.1")));
        let result = edit::edit(
            path,
            path,
            &overrides,
            |text| edit::with_revoked(text, kid.as_str()),
            |config| self.still_signs(config, key.key.name().alg).map_err(|error| error.to_string()),
        );
        if !edited(result)? {
            return Err(Refused::Said);
        }
        self.tell_revoked(path, key)
    }

    /// Checks that a key of `alg` signs under `config`, which revokes one.
    fn still_signs(&self, config: &Config, alg: Alg) -> Result<(), StartError> {
        let plan = app::plan(config, &Registry::compile(config)?)?;
        let keys = keys::load_with(&config.keys.path, self.modes())?;
        let ring = KeyRing::lenient(keys, plan);
        if !ring.uses(alg) || ring.signer(alg, self.now).is_some() {
            return Ok(());
        }
        let (name, replace) = (alg.name(), if alg == Alg::Rs256 { "import FILE" } else { "rotate --now" });
        Err(StartError::new(format!("no other {name} key signs now: replace it first, with `lingpai keys {replace}`")))
    }

    /// Prints what the revocation of `key` means.
    fn tell_revoked(&self, path: &Path, key: &Scheduled<'_>) -> Done {
        let after = Self::open(self.settings)?;
        let (name, kid) = (key.key.name(), key.key.kid());
        let signer = after.ring.signer(name.alg, self.now).filter(|_| self.ring.uses(name.alg));
        // A key that signs until now may have signed something this second.
        let registry = Registry::compile(&self.config).map_err(StartError::from)?;
        let plan = app::plan(&self.config, &registry).map_err(StartError::from)?;
        let (access, refresh) = match key.state {
            State::Upcoming | State::Retired => (None, None),
            State::Signing | State::Revoked => {
                (Some(self.now.plus(plan.access_window)), Some(self.now.plus(plan.refresh_window)))
            }
            State::Retiring => (key.published_until, key.verifies_until),
        };
        if self.settings.json {
            return Ok(say_json(&json!({
                "kid": kid.as_str(), "was": key.state.word(), "config": path.to_string_lossy(),
                "signing": signer.map(|key| key.name().to_string()),
                "access_tokens_until": access.map(Timestamp::rfc3339),
                "refresh_tokens_until": refresh.map(Timestamp::rfc3339),
            }))?);
        }
        let interval = self.config.reload.interval;
        say(&format!("revoked {kid} ({name}) in {}; a running server obeys within {interval} s", shown(path)))?;
        match signer {
            Some(signer) if key.state == State::Signing => say(&format!("{} signs now", signer.name()))?,
            Some(signer) => say(&format!("{} still signs", signer.name()))?,
            None => {}
        }
        match access.zip(refresh) {
            Some((access, refresh)) => say(&format!(
                "a running server then refuses its tokens; access tokens would have been good until {access}, refresh tokens \
                 until {refresh}. Verifiers that cached the JWKS accept its access tokens for up to {}",
                in_words(self.config.keys.jwks_max_age)
            ))?,
            None => say("it has signed nothing that is still valid")?,
        }
        Ok(())
    }
}
