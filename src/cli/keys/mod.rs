//! `lingpai keys`

mod export;
mod import;
mod list;
mod prune;
mod revoke;
mod rotate;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Answer, Settings, complain, say, say_json};
use crate::app::{self, StartError};
use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::files::shown;
use crate::keys::{self, Alg, Key, KeyError, KeyRing, Modes, Pace, Scheduled, State, When};

/// Characters of a key id that are shown. Two keys in one folder never share them.
const SHORT_KID: usize = 11;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key. The first one signs at once; a later one signs once verifiers know it.
    #[command(after_help = "Example:\n  lingpai keys new --alg EdDSA")]
    New(NewArguments),
    /// List every key and its state.
    #[command(after_help = "Example:\n  lingpai keys list --wide")]
    List(list::ListArguments),
    /// Schedule the next key, unless one is upcoming.
    #[command(after_help = "Example:\n  lingpai keys rotate --in 2h")]
    Rotate(rotate::RotateArguments),
    /// Revoke a key: add its id to `[keys] revoked` in the configuration file. It stops signing and verifying.
    #[command(after_help = "Example:\n  lingpai keys revoke 2YrpH4lxfFn")]
    Revoke(revoke::RevokeArguments),
    /// Delete the keys that have been retired for 24 hours.
    #[command(after_help = "Example:\n  lingpai keys prune")]
    Prune,
    /// Import a private key that was made elsewhere, such as an RSA key from `openssl genpkey`.
    #[command(after_help = "Example:\n  lingpai keys import rsa.pem --at 2026-11-22T00:00:00Z")]
    Import(import::ImportArguments),
    /// Print the public keys that verify now or later, in PEM, for verifiers that cannot fetch the JWKS.
    #[command(
        override_usage = "lingpai keys export --public [OPTIONS] [KID]",
        after_help = "Example:\n  lingpai keys export --public --out /etc/api/keys"
    )]
    Export(export::ExportArguments),
}

#[derive(Args)]
pub(super) struct NewArguments {
    /// What it signs with: `ES256` or `EdDSA` [default: the configured algorithm].
    #[arg(long, value_parser = algorithm)]
    alg: Option<Alg>,

    /// When it starts to sign, such as 2026-11-22T00:00:00Z.
    #[arg(long, value_parser = instant, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

fn algorithm(name: &str) -> Result<Alg, String> {
    Alg::from_name(name).ok_or_else(|| format!("expected {} or {}", Alg::Es256.name(), Alg::EdDsa.name()))
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("expected an instant in UTC such as 2026-11-22T00:00:00Z")
}

pub(super) fn run(settings: &Settings, command: &Command) -> Answer {
    let _alone = match command {
        Command::List(_) | Command::Export(_) => None,
        _ => keys::lock(&settings.load()?.keys.path),
    };
    let place = Place::open(settings)?;
    let answer = match command {
        Command::New(arguments) => {
            let alg = arguments.alg.unwrap_or(place.algorithm);
            let make = |from| keys::generate(&place.config.keys.path, alg, from);
            place.add(alg, arguments.at.map_or(When::InTime, When::At), make)
        }
        Command::Rotate(arguments) => place.rotate(arguments),
        Command::Import(arguments) => place.import(arguments),
        Command::Prune => place.prune(),
        Command::Export(arguments) => place.export(arguments),
        Command::List(arguments) => place.list(arguments),
        Command::Revoke(arguments) => place.revoke(arguments),
    };
    match answer {
        Err(Refused::No(why)) => {
            complain(&why);
            Ok(false)
        }
        Err(Refused::Said) => Ok(false),
        Err(Refused::Failed(error)) => Err(error),
        Ok(()) => Ok(true),
    }
}

/// Why a command did not do what was asked.
enum Refused {
    /// The answer is no, and nothing was changed.
    No(String),
    /// The answer is no, and it has been printed.
    Said,
    Failed(StartError),
}

impl From<KeyError> for Refused {
    fn from(error: KeyError) -> Self {
        if error.is_taken() { Self::No(error.to_string()) } else { Self::Failed(error.into()) }
    }
}

impl From<StartError> for Refused {
    fn from(error: StartError) -> Self {
        Self::Failed(error)
    }
}

type Done = Result<(), Refused>;

/// The key folder as it is, whether or not a key signs.
struct Place<'a> {
    settings: &'a Settings,
    config: Config,
    ring: KeyRing,
    /// The service's.
    algorithm: Alg,
    now: Timestamp,
}

impl<'a> Place<'a> {
    fn open(settings: &'a Settings) -> Result<Self, StartError> {
        let config = settings.load()?;
        let registry = Registry::compile(&config)?;
        let plan = app::plan(&config, &registry)?;
        let keys = keys::load_with(&config.keys.path, Modes::from(&config.keys))?;
        let ring = KeyRing::lenient(keys, plan);
        Ok(Self { settings, config, ring, algorithm: registry.algorithm(), now: Clock::system().now() })
    }

    fn modes(&self) -> Modes {
        Modes::from(&self.config.keys)
    }

    fn schedule(&self) -> Vec<Scheduled<'_>> {
        self.ring.schedule(self.now)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.config.keys.path.join(key.name().to_string())
    }

    fn instant(&self, alg: Alg, when: When) -> Result<Timestamp, Refused> {
        let Config { keys, token, reload, .. } = &self.config;
        let pace = Pace { jwks_max_age: keys.jwks_max_age, replicas: reload.interval + token.leeway };
        self.ring.instant(alg, when, pace, self.now).map_err(|why| Refused::No(why.to_string()))
    }

    fn add(&self, alg: Alg, when: When, make: impl FnOnce(Timestamp) -> Result<Key, KeyError>) -> Done {
        if when == When::InTime {
            self.refuse_doubtful_clock()?;
        }
        let key = make(self.instant(alg, when)?)?;
        self.tell(&key)
    }

    fn tell(&self, key: &Key) -> Done {
        let (name, path) = (key.name(), self.path(key));
        if self.settings.json {
            return Ok(say_json(&described(&path, key, true))?);
        }
        let after = Self::open(self.settings)?;
        let state = after.schedule().iter().find(|one| one.key.kid() == key.kid()).map(|one| one.state);
        let what = match state {
            Some(State::Upcoming | State::Signing) if !self.ring.uses(name.alg) => format!(
                "it is published; it signs from {} on, once `token.algorithm`, or a client's, is {}",
                name.from,
                name.alg.name()
            ),
            Some(State::Upcoming) => format!(
                "it signs from {} on, in {}; copy it to every replica at once",
                name.from,
                in_words(name.from.since(self.now))
            ),
            Some(State::Signing) => {
                "it signs now; a running server accepts it only if the file reaches it within a minute".to_owned()
            }
            _ => "it does not sign, because a later key does already".to_owned(),
        };
        Ok(say(&format!("wrote {}: {what}", shown(&path)))?)
    }

    /// A job that runs in the wrong folder must not appear to work.
    fn refuse_nowhere(&self) -> Done {
        if self.config.is_development() && self.schedule().is_empty() {
            return Err(Refused::No(format!(
                "there is no lingpai.toml here, and no key in {}; say where with --config or --keys",
                shown(&self.config.keys.path)
            )));
        }
        Ok(())
    }

    fn refuse_doubtful_clock(&self) -> Done {
        match self.ring.doubts(self.now).into_iter().next() {
            Some(doubt) => Err(Refused::No(format!("{doubt}; nothing was changed"))),
            None => Ok(()),
        }
    }
}

/// Formats a duration, such as `1 h 10 min`.
fn in_words(seconds: i64) -> String {
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let parts: Vec<_> = parts.iter().filter(|(number, _)| *number > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

fn described(path: &Path, key: &Key, made: bool) -> Value {
    let (name, kid) = (key.name(), key.kid().as_str());
    json!({"file": path.to_string_lossy(), "alg": name.alg.name(), "kid": kid, "from": name.from.rfc3339(), "made": made})
}
