//! `lingpai keys`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::table::{Column, Table};
use super::{Answer, Settings, complain, edited, read, say, say_json};
use crate::app::{self, StartError};
use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Issuer, Seconds, edit};
use crate::keys::{self, Alg, Exported, Import, Key, KeyError, KeyRing, Kid, Modes, Pace, Scheduled, State, When};

/// Characters of a key id that are shown. Two keys in one folder never share them.
const SHORT_KID: usize = 11;
/// A key file holds one key.
const MAX_PEM: u64 = 16 << 10;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key. The first one signs at once; a later one signs once verifiers know it.
    #[command(after_help = "Example:\n  lingpai keys new --alg EdDSA")]
    New(NewArguments),
    /// List every key and its state.
    #[command(after_help = "Example:\n  lingpai keys list --wide")]
    List(ListArguments),
    /// Schedule the next key, unless one is upcoming.
    #[command(after_help = "Example:\n  lingpai keys rotate --in 2h")]
    Rotate(RotateArguments),
    /// Revoke a key: add its id to `[keys] revoked` in the configuration file. It stops signing and verifying at once.
    #[command(after_help = "Example:\n  lingpai keys revoke 2YrpH4lxfFn")]
    Revoke(RevokeArguments),
    /// Delete the keys that have been retired for 24 hours.
    #[command(after_help = "Example:\n  lingpai keys prune")]
    Prune,
    /// Import a private key that was made elsewhere, such as an RSA key from `openssl genpkey`.
    #[command(after_help = "Example:\n  lingpai keys import rsa.pem --at 2026-11-22T00:00:00Z")]
    Import(ImportArguments),
    /// Print the public keys that verify now or later, in PEM, for verifiers that cannot fetch the JWKS.
    #[command(after_help = "Example:\n  lingpai keys export --public --out /etc/api/keys")]
    Export(ExportArguments),
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

#[derive(Args)]
pub(super) struct RotateArguments {
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

#[derive(Args)]
pub(super) struct ListArguments {
    /// Show full ids and every instant, however wide the table becomes.
    #[arg(long)]
    wide: bool,
}

#[derive(Args)]
pub(super) struct RevokeArguments {
    /// The key's id, or the beginning of it that `lingpai keys list` shows.
    #[arg(allow_hyphen_values = true)]
    kid: String,
}

#[derive(Args)]
pub(super) struct ImportArguments {
    /// The file, in PEM: PKCS#8, SEC 1 (EC PRIVATE KEY) or PKCS#1 (RSA PRIVATE KEY); `-` is standard input.
    file: PathBuf,

    /// When it starts to sign, such as 2026-11-22T00:00:00Z.
    #[arg(long, value_parser = instant, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

#[derive(Args)]
pub(super) struct ExportArguments {
    /// Export the public keys; private keys are never printed.
    #[arg(long)]
    public: bool,

    /// Only the key with this id, as `lingpai keys list` shows it.
    #[arg(value_parser = kid, allow_hyphen_values = true)]
    kid: Option<Kid>,

    /// Write one file per key, `<kid>.pem`, into this folder, and delete the files of keys that no longer verify.
    #[arg(long, value_name = "DIR", conflicts_with = "kid")]
    out: Option<PathBuf>,
}

fn kid(text: &str) -> Result<Kid, &'static str> {
    Kid::parse(text).ok_or("expected a key's id of 43 characters, as `lingpai keys list` shows it")
}

fn algorithm(name: &str) -> Result<Alg, &'static str> {
    Alg::from_name(name).ok_or("expected ES256, EdDSA or RS256")
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
            Some(State::Upcoming) => format!(
                "it signs from {} on, in {}; copy it to every replica at once",
                name.from,
                in_words(name.from.since(self.now))
            ),
            Some(State::Signing) if self.ring.uses(name.alg) => {
                "it signs now; a running server accepts it only if the file reaches it within a minute".to_owned()
            }
            Some(State::Signing) => {
                "it verifies and is published, but `algorithm` names another algorithm to sign with".to_owned()
            }
            _ => "it does not sign, because a later key does already".to_owned(),
        };
        Ok(say(&format!("wrote {}: {what}", path.display()))?)
    }

    fn rotate(&self, arguments: &RotateArguments) -> Done {
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
                    path.display()
                )));
            }
            if self.settings.json {
                say_json(&described(&path, upcoming.key, false))?;
            } else {
                say(&format!("nothing to do: {} is upcoming", path.display()))?;
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
                "warning: {} is still upcoming; if it was stolen too, put its kid {} in [keys] revoked",
                upcoming.key.name(),
                upcoming.key.kid()
            ));
        }
    }

    fn import(&self, arguments: &ImportArguments) -> Done {
        let text = Zeroizing::new(read(&arguments.file, MAX_PEM + 1)?);
        let source = if arguments.file == Path::new("-") { Path::new("standard input") } else { &arguments.file };
        if text.len() as u64 > MAX_PEM {
            return Err(StartError::new(format!("{}: is larger than 16 KiB, which no key is", source.display())).into());
        }
        let import = Import::read(source, &text)?;
        let when = arguments.at.map_or(When::InTime, When::At);
        self.add(import.alg(), when, |from| import.write(&self.config.keys.path, self.modes(), from))
    }

    fn prune(&self) -> Done {
        self.refuse_nowhere()?;
        self.refuse_doubtful_clock()?;
        let folder = &self.config.keys.path;
        let deleted = self.ring.prunable(folder, self.now)?;
        for path in &deleted {
            keys::delete(folder, path)?;
        }
        let kept = keys::load_with(folder, self.modes())?.len();
        if self.settings.json {
            let deleted: Vec<_> = deleted.iter().map(|path| path.to_string_lossy()).collect();
            return Ok(say_json(&json!({"deleted": deleted, "kept": kept}))?);
        }
        for path in &deleted {
            say(&format!("deleted {}", path.display()))?;
        }
        if deleted.is_empty() {
            say("nothing to delete: no key has been retired for 24 hours")?;
        }
        Ok(())
    }

    fn export(&self, arguments: &ExportArguments) -> Done {
        if !arguments.public {
            return Err(StartError::new("private keys are never printed; `--public` exports the public ones").into());
        }
        self.refuse_nowhere()?;
        let wanted = |key: &&Key| arguments.kid.as_ref().is_none_or(|kid| key.kid() == kid);
        let keys: Vec<_> = self.ring.published(self.now).filter(wanted).collect();
        if keys.is_empty() {
            let folder = self.config.keys.path.display();
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
            say(&format!("wrote {}", path.display()))?;
        }
        for path in &deleted {
            say(&format!("deleted {}", path.display()))?;
        }
        if written.is_empty() && deleted.is_empty() {
            say(&format!("nothing to do: {} holds the keys that verify", folder.display()))?;
        }
        Ok(())
    }

    /// A job that runs in the wrong folder must not appear to work.
    fn refuse_nowhere(&self) -> Done {
        if self.config.is_development() && self.schedule().is_empty() {
            return Err(Refused::No(format!(
                "there is no lingpai.toml here, and no key in {}; say where with --config or --keys",
                self.config.keys.path.display()
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

    fn revoke(&self, arguments: &RevokeArguments) -> Done {
        let Some(path) = self.config.source.path() else {
            return Err(Refused::No(
                "there is no configuration file to revoke a key in; write one with `lingpai init`".into(),
            ));
        };
        let schedule = self.schedule();
        let found: Vec<_> =
            schedule.iter().filter(|one| one.key.kid().as_str().starts_with(arguments.kid.as_str())).collect();
        let key = match found.as_slice() {
            [one] if arguments.kid.len() >= SHORT_KID => *one,
            [] => {
                return Err(Refused::No(format!("there is no key {:?} here; see `lingpai keys list`", arguments.kid)));
            }
            _ => {
                let why = format!("{:?} is too short for a key's id; see `lingpai keys list`", arguments.kid);
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
            |config| self.still_signs(config).map_err(|error| error.to_string()),
        );
        if !edited(result)? {
            return Err(Refused::Said);
        }
        self.tell_revoked(path, key)
    }

    /// Whether a key would sign under `config`.
    fn still_signs(&self, config: &Config) -> Result<(), StartError> {
        let plan = app::plan(config, &Registry::compile(config)?)?;
        let keys = keys::load_with(&config.keys.path, self.modes())?;
        Ok(KeyRing::new(keys, plan, &config.keys.path, self.now).map(drop)?)
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
        say(&format!("revoked {kid} ({name}) in {}; a running server obeys within reload.interval", path.display()))?;
        match signer {
            Some(signer) if key.state == State::Signing => say(&format!("{} signs now", signer.name()))?,
            Some(signer) => say(&format!("{} still signs", signer.name()))?,
            None => {}
        }
        match access.zip(refresh) {
            Some((access, refresh)) => say(&format!(
                "this server refuses its tokens at once; access tokens would have been good until {access}, refresh tokens \
                 until {refresh}. Verifiers that cached the JWKS accept its access tokens for up to {}",
                in_words(self.config.keys.jwks_max_age)
            ))?,
            None => say("it has signed nothing that is still valid")?,
        }
        Ok(())
    }

    fn list(&self, arguments: &ListArguments) -> Done {
        let schedule = self.schedule();
        if self.settings.json {
            let row = |one: &Scheduled<'_>| {
                json!({
                    "from": one.key.name().from.rfc3339(), "state": one.state.word(), "alg": one.key.name().alg.name(),
                    "kid": one.key.kid().as_str(), "file": self.path(one.key).to_string_lossy(),
                    "signs_until": one.signs_until.map(Timestamp::rfc3339),
                    "published_until": one.published_until.map(Timestamp::rfc3339),
                    "verifies_until": one.verifies_until.map(Timestamp::rfc3339),
                })
            };
            return Ok(say_json(&schedule.iter().map(row).collect())?);
        }
        if schedule.is_empty() {
            let folder = self.config.keys.path.display();
            complain(&format!("{folder}: there is no key; make one with `lingpai keys new`"));
            return Ok(());
        }
        let written = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), Timestamp::rfc3339);
        let fixed = Column::fixed;
        let row = |one: &Scheduled<'_>| {
            let (name, kid) = (one.key.name(), one.key.kid().as_str());
            (name.from.rfc3339(), one.state.word().to_owned(), name.alg.name().to_owned(), kid.to_owned())
        };
        if arguments.wide {
            let titles = ["SIGNS FROM", "STATE", "ALG", "KID", "SIGNS UNTIL", "VERIFIES UNTIL"];
            let mut table = Table::new(titles.map(fixed));
            for one in &schedule {
                let (from, state, alg, kid) = row(one);
                table.row([from, state, alg, kid, written(one.signs_until), written(one.verifies_until)]);
            }
            return Ok(say(&table.text(true))?);
        }
        // When a key stops signing is when the next one starts.
        let mut table = Table::new(["SIGNS FROM", "STATE", "ALG", "KID", "VERIFIES UNTIL"].map(fixed));
        for one in &schedule {
            let (from, state, alg, kid) = row(one);
            let kid = kid.chars().take(SHORT_KID).chain(['…']).collect();
            table.row([from, state, alg, kid, written(one.verifies_until)]);
        }
        Ok(say(&table.text(false))?)
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
