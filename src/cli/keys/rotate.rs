//! `lingpai keys rotate`

use clap::Args;

use super::{Done, Place, Refused, algorithm, described, in_words};
use crate::cli::{complain, say, say_json};
use crate::config::Seconds;
use crate::files::shown;
use crate::keys::{self, Alg, Key, Scheduled, State, When};

#[derive(Args)]
pub(in crate::cli) struct RotateArguments {
    /// What it signs with: `ES256` or `EdDSA` [default: the configured algorithm].
    #[arg(long, value_parser = algorithm)]
    alg: Option<Alg>,

    /// How long until it starts to sign, such as 1h [default: twice what verifiers and replicas need to learn of it].
    /// The first key of a folder signs at once.
    #[arg(long = "in", value_name = "DURATION")]
    lead: Option<Seconds<1, 31_536_000>>,

    /// For an emergency: it signs at once, or after `--in`, although verifiers with a cached JWKS refuse its tokens for
    /// a while. Replicas accept it only if its file reaches them within a minute of that instant.
    #[arg(long)]
    now: bool,
}

impl Place<'_> {
    pub(super) fn rotate(&self, arguments: &RotateArguments) -> Done {
        let alg = arguments.alg.unwrap_or(self.algorithm);
        self.refuse_nowhere()?;
        self.refuse_doubtful_clock()?;
        let schedule = self.schedule();
        let upcoming = schedule.iter().find(|one| one.state == State::Upcoming && one.key.name().alg == alg);
        if let Some(upcoming) = upcoming.filter(|_| !arguments.now) {
            let path = self.path(upcoming.key);
            let from = upcoming.key.name().from;
            // The command ran before: the key is there.
            if arguments.lead.as_ref().is_some_and(|lead| from > self.now.plus(lead.0)) {
                return Err(Refused::No(format!(
                    "{} is upcoming and signs from {from} on; nothing was written: wait for it, or delete it if no server \
                     has it yet",
                    shown(&path)
                )));
            }
            if self.settings.json {
                say_json(&described(&path, upcoming.key, false))?;
            } else {
                say(&format!("nothing to do: {} is upcoming", shown(&path)))?;
            }
            return Ok(());
        }
        let when = match &arguments.lead {
            lead if arguments.now => When::Anyway(lead.as_ref().map_or(0, |lead| lead.0)),
            // The first key signs at once, so that the same job can fill an empty folder.
            Some(lead) if !schedule.is_empty() => When::In(lead.0),
            _ => When::InTime,
        };
        let from = self.instant(alg, when)?;
        let folder = &self.config.keys.path;
        let key = match when {
            // In addition to any upcoming key.
            When::Anyway(_) => keys::generate(folder, alg, from)?,
            _ => keys::schedule(folder, self.modes(), alg, from, self.now)?,
        };
        self.tell(&key)?;
        if arguments.now && !self.settings.json {
            self.warn_of_haste(&key, upcoming);
        }
        Ok(())
    }

    /// Prints what an emergency breaks, and what it leaves unchanged.
    fn warn_of_haste(&self, key: &Key, upcoming: Option<&Scheduled<'_>>) {
        let age = self.config.keys.jwks_max_age;
        if key.name().from.since(self.now) < age {
            complain(&format!(
                "warning: for up to {} verifiers that cached the JWKS refuse its tokens, and so does every replica until \
                 it has the file; replicas to which it comes more than a minute after its instant refuse the file",
                in_words(age)
            ));
        }
        if let Some(upcoming) = upcoming {
            complain(&format!(
                "warning: {} is still upcoming; if it was stolen too: lingpai keys revoke {}",
                upcoming.key.name(),
                upcoming.key.kid()
            ));
        }
    }
}
