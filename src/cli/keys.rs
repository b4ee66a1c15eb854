//! `lingpai keys`

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Answer, Settings, complain, say, say_json};
use crate::app::{self, StartError};
use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::keys::{self, Alg, FIRST_KEY_BACKDATE, KeyRing, State};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key. The first one signs at once; a later one signs when verifiers know it.
    New(NewArguments),
    /// Show every key and what it does now.
    List,
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

fn algorithm(name: &str) -> Result<Alg, &'static str> {
    Alg::from_name(name).ok_or("expected ES256 or EdDSA")
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("expected an instant in UTC such as 2026-11-22T00:00:00Z")
}

pub(super) fn run(settings: &Settings, command: &Command) -> Answer {
    let config = settings.load()?;
    let (ring, signs_with) = ring(&config)?;
    let now = Clock::system().now();
    match command {
        Command::New(arguments) => {
            new(settings, &config, &ring, arguments.alg.unwrap_or(signs_with), arguments.at, now)
        }
        Command::List => {
            list(settings, &config, &ring, now);
            Ok(true)
        }
    }
}

/// The folder as it is, whether or not a key signs, and the service's algorithm.
fn ring(config: &Config) -> Result<(KeyRing, Alg), StartError> {
    let registry = Registry::compile(config)?;
    let plan = app::plan(config, &registry)?;
    Ok((KeyRing::lenient(keys::load(&config.keys.path)?, plan), registry.algorithm()))
}

fn new(
    settings: &Settings,
    config: &Config,
    ring: &KeyRing,
    alg: Alg,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Answer {
    let signs = |(key, state): (&keys::Key, State)| key.name().alg == alg && state == State::Signing;
    // Long enough for every verifier to have fetched the JWKS again.
    let lead = 2 * (config.keys.jwks_max_age + config.reload_interval + config.token.leeway);
    let from = match at {
        Some(at) => at,
        None if ring.states(now).into_iter().any(signs) => now.plus(lead),
        None => now.plus(-FIRST_KEY_BACKDATE),
    };
    let path = config.keys.path.join(keys::KeyName { from, alg }.to_string());
    if path.exists() {
        complain(&format!("{} is already there; nothing was written", path.display()));
        return Ok(false);
    }
    let key = keys::generate(&config.keys.path, alg, from)?;
    if settings.json {
        say_json(&json!({"file": path, "alg": alg.name(), "kid": key.kid().as_str(), "from": from.rfc3339()}));
    } else {
        let (ring, _) = self::ring(config)?;
        let now_it = match ring.states(now).into_iter().find(|(other, _)| other.kid() == key.kid()) {
            Some((_, State::Upcoming)) => "it will sign from then on; copy it to every replica and restart them before",
            Some((_, State::Signing)) if ring.uses(alg) => "it signs now",
            Some((_, State::Signing)) => "it verifies and is published; `algorithm` says that others sign",
            _ => "it does not sign, because a later key does",
        };
        say(&format!("wrote {}: {now_it}", path.display()));
    }
    Ok(true)
}

fn list(settings: &Settings, config: &Config, ring: &KeyRing, now: Timestamp) {
    let states = ring.states(now);
    if settings.json {
        let row = |(key, state): &(&keys::Key, State)| {
            json!({
                "from": key.name().from.rfc3339(), "state": state.word(), "alg": key.name().alg.name(),
                "kid": key.kid().as_str(), "file": config.keys.path.join(key.name().to_string()),
            })
        };
        say_json(&states.iter().map(row).collect());
        return;
    }
    if states.is_empty() {
        complain(&format!("{}: there is no key; make one with `lingpai keys new`", config.keys.path.display()));
        return;
    }
    say(&format!("{:<22}{:<10}{:<7}KID", "SIGNS FROM", "STATE", "ALG"));
    for (key, state) in states {
        let (from, alg) = (key.name().from.rfc3339(), key.name().alg.name());
        say(&format!("{from:<22}{:<10}{alg:<7}{}", state.word(), key.kid()));
    }
}
