//! `lingpai client`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::{Column, Table, terminal_width};
use super::{Answer, NO_FILE, Settings, complain, edited, say, say_json, say_once};
use crate::app::StartError;
use crate::clients::{Client, NewSecret, Registry};
use crate::config::edit::{self, EditError, NewClient};
use crate::config::{Config, Issuer, Overrides};
use crate::files::shown;
use crate::foreign::KeySet;
use crate::token::ClientId;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Append a client to the configuration file, or to one that it includes, and print its secret once.
    #[command(after_help = "Example:\n  lingpai client add shop --scope orders:read --subject 'user:*'")]
    Add(AddArguments),
    /// List the clients: how many secrets each has, and what it may request. Never shows a secret.
    #[command(after_help = "Example:\n  lingpai client list --wide")]
    List(ListArguments),
    /// Remove a client from the file that holds it. Its tokens are refused, except where they are verified offline.
    #[command(after_help = "Example:\n  lingpai client remove shop")]
    Remove(Named),
    /// Give a client a second secret and print it once. The first one works until it is retired.
    #[command(after_help = "Example:\n  lingpai client rotate shop")]
    Rotate(Named),
    /// Drop the oldest of a client's two secrets.
    #[command(after_help = "Example:\n  lingpai client retire shop")]
    Retire(Named),
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// Its id.
    id: String,
    /// A scope token that it may request. May be repeated.
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// An audience that it may request. May be repeated [default: the service's].
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// A subject that it may name, or a pattern such as `user:*`. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<String>,
    /// An extra claim that it may set. May be repeated.
    #[arg(long, value_name = "CLAIM")]
    claim: Vec<String>,
    /// A grant that it may use at /oauth2/token. May be repeated [default: `client_credentials`].
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// An audience that it serves: it may introspect tokens for it. May be repeated.
    #[arg(long, value_name = "AUDIENCE")]
    accepts: Vec<String>,
    /// A JWKS file with its public keys: it signs assertions, and gets a secret only with `--secret`.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Make a secret in addition to `--jwks`.
    #[arg(long, requires = "jwks")]
    secret: bool,
    /// The file to add it to: one that `include` matches, which is made if it is not there [default: the configuration
    /// file].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ListArguments {
    /// Show full values, even if they do not fit the terminal.
    #[arg(long)]
    wide: bool,
}

#[derive(Args)]
pub(super) struct Named {
    /// The client's id.
    id: String,
}

pub(super) fn run(settings: &Settings, command: &Command) -> Answer {
    let place = Place::open(settings)?;
    match command {
        Command::Add(arguments) => place.add(arguments),
        Command::List(arguments) => place.list(arguments),
        Command::Remove(arguments) => place.remove(&arguments.id),
        Command::Rotate(arguments) => place.rotate(&arguments.id),
        Command::Retire(arguments) => place.retire(&arguments.id),
    }
}

/// The file, and what it says now.
struct Place<'a> {
    settings: &'a Settings,
    config: Config,
    registry: Registry,
}

impl<'a> Place<'a> {
    fn open(settings: &'a Settings) -> Result<Self, StartError> {
        let config = settings.load()?;
        // An existing problem is reported with its own place.
        let registry = Registry::compile(&config)?;
        Ok(Self { settings, config, registry })
    }

    fn path(&self) -> Result<&Path, StartError> {
        self.config.source.path().ok_or_else(|| StartError::new(NO_FILE))
    }

    /// The file that holds the client `id`; the configuration's own if no file does.
    fn file_of(&self, id: &str) -> Result<PathBuf, StartError> {
        let found = self.config.clients().filter_map(Result::ok).find(|client| client.id.get_ref() == id);
        let file = found.as_ref().and_then(|client| client.source.path());
        Ok(file.map_or_else(|| self.path(), Ok)?.to_owned())
    }

    /// The file that a new client is added to.
    fn file_for(&self, named: Option<&Path>) -> Result<PathBuf, StartError> {
        let main = self.path()?;
        let Some(file) = named else { return Ok(main.to_owned()) };
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(StartError::new(format!("{}: there is no such folder; make it first", shown(folder))));
        }
        self.config.file_at(file).ok_or_else(|| {
            StartError::new(format!(
                "{}: {} does not include this file; add a path that does, such as include = [\"clients.d/*.toml\"]",
                shown(file),
                shown(main)
            ))
        })
    }

    fn overrides(&self) -> Overrides {
        let mut overrides = self.settings.overrides();
        // The file may leave out what a flag or the environment sets.
        overrides.issuer = overrides.issuer.or(Some(Issuer::local("127.0.0.1")));
        overrides
    }

    fn edit(&self, file: &Path, change: impl Fn(&str) -> Result<String, EditError>) -> Answer {
        edited(edit::edit(file, self.path()?, &self.overrides(), change, compiles))
    }

    /// Writes a client into `file`, which need not be there.
    fn append(&self, file: &Path, client: &NewClient<'_>) -> Answer {
        if file.symlink_metadata().is_ok() {
            return self.edit(file, |text| edit::with_client(text, client));
        }
        let (main, text) = (self.path()?, edit::with_client("", client));
        let create = |text: String| edit::create(file, text.trim_start(), main, &self.overrides(), compiles);
        match text.and_then(create) {
            // Another one wrote it in the meantime.
            Err(EditError::Unwritable { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {
                self.edit(file, |text| edit::with_client(text, client))
            }
            created => edited(created),
        }
    }

    fn add(&self, arguments: &AddArguments) -> Answer {
        let id = arguments.id.as_str();
        if id != ClientId::ANONYMOUS && self.registry.is_client(id) {
            let file = self.file_of(id)?;
            complain(&format!("{}: there is already a client {id:?}; nothing was written", shown(&file)));
            return Ok(false);
        }
        let file = self.file_for(arguments.file.as_deref())?;
        if let Some(word) = arguments.scope.iter().find(|word| word.contains(',')) {
            complain(&format!("note: {word:?} is one scope token; for several, repeat --scope"));
        }
        let is_secret = arguments.secret || arguments.jwks.is_none();
        let secret = is_secret.then(NewSecret::generate).transpose()?;
        let digest = secret.as_ref().map(|secret| secret.digest().written());
        let jwks = arguments.jwks.as_deref().map(|jwks| beside(&file, jwks)).transpose()?;
        let client = NewClient {
            id,
            secret: digest.as_deref(),
            jwks: jwks.as_deref(),
            lists: &[
                ("scope", &arguments.scope),
                ("audience", &arguments.audience),
                ("subjects", &arguments.subject),
                ("claims", &arguments.claim),
                ("grants", &arguments.grant),
                ("accepts", &arguments.accepts),
            ],
        };
        if !self.append(&file, &client)? {
            return Ok(false);
        }
        let added = format!("added {id} to {}", shown(&file));
        match (secret, jwks) {
            (Some(secret), _) => return self.tell(&added, id, &secret),
            (None, jwks) if self.settings.json => say_json(&json!({"client_id": id, "jwks": jwks}))?,
            (None, Some(jwks)) => say(&format!(
                "{added}; it authenticates by assertions that a key of {jwks} signed\na running server knows it within \
                 {} s",
                self.config.reload.interval
            ))?,
            (None, None) => say(&added)?,
        }
        Ok(true)
    }

    /// Prints a new secret.
    fn tell(&self, done: &str, id: &str, secret: &NewSecret) -> Answer {
        if self.settings.json {
            say_once(&format!("{:#}", json!({"client_id": id, "client_secret": secret.reveal()})))?;
        } else {
            say_once(&format!(
                "{done}; this secret is shown only now:\n\n  {}\n\na running server accepts it within {} s",
                secret.reveal(),
                self.config.reload.interval
            ))?;
        }
        Ok(true)
    }

    fn list(&self, arguments: &ListArguments) -> Answer {
        let words = |client: &Client| client.scope.iter().map(str::to_owned).collect::<Vec<_>>();
        let audience = |client: &Client| client.audience.iter().map(ToString::to_string).collect::<Vec<_>>();
        let grants = |client: &Client| client.grants.iter().map(|grant| grant.name().to_owned()).collect::<Vec<_>>();
        if self.settings.json {
            let row = |client: &Client| {
                json!({
                    "client_id": client.id.as_str(), "secrets": client.secrets_len(),
                    "keys": client.keys().map_or(0, KeySet::len), "scope": words(client),
                    "audience": audience(client), "subjects": client.subjects().collect::<Vec<_>>(),
                    "claims": client.claims().collect::<Vec<_>>(), "grants": grants(client),
                    "accepts": client.accepts().map(ToString::to_string).collect::<Vec<_>>(),
                })
            };
            return say_json(&self.registry.clients().map(row).collect()).map(|()| true);
        }
        if self.registry.is_empty() {
            complain(if self.config.is_development() {
                NO_FILE
            } else {
                "there is no client; add one with `lingpai client add ID`"
            });
            return Ok(true);
        }
        let [secrets, keys] = [Column::fixed("SECRETS"), Column::fixed("KEYS")];
        let mut table = Table::new([
            Column::cut("ID"),
            secrets,
            keys,
            Column::cut("SCOPE"),
            Column::cut("AUDIENCE"),
            Column::cut("SUBJECTS"),
            Column::cut("GRANTS"),
        ]);
        for client in self.registry.clients() {
            table.row([
                client.id.as_str().to_owned(),
                client.secrets_len().to_string(),
                client.keys().map_or(0, KeySet::len).to_string(),
                words(client).join(" "),
                audience(client).join(" "),
                client.subjects().collect::<Vec<_>>().join(" "),
                // `token-exchange` and `jwt-bearer` without what is before them in a URN.
                client.grants.iter().filter_map(|grant| grant.name().rsplit(':').next()).collect::<Vec<_>>().join(" "),
            ]);
        }
        let width = if arguments.wide { None } else { terminal_width() };
        say(&table.text(width)).map(|()| true)
    }

    /// Where a rule of a trusted issuer names the client `id`, if one does.
    fn rule_for(&self, id: &str) -> Option<String> {
        self.config.issuers.iter().find_map(|issuer| {
            let rule = issuer.rules.iter().find(|rule| rule.client.get_ref() == id)?;
            issuer.source.place(rule.client.span())
        })
    }

    fn remove(&self, id: &str) -> Answer {
        if let Some(rule) = self.rule_for(id) {
            complain(&format!("{rule}: this rule names the client {id:?}; remove the rule first; nothing was written"));
            return Ok(false);
        }
        let file = self.file_of(id)?;
        if !self.edit(&file, |text| edit::without_client(text, id))? {
            return Ok(false);
        }
        let is_last = self.registry.len() == 1;
        if self.settings.json {
            return say_json(&json!({"client_id": id, "removed": true, "clients": self.registry.len() - 1}))
                .map(|()| true);
        }
        let follows = if is_last {
            "no client is left. A running server applies that after a minute; until then it treats the file as half written"
        } else {
            &format!(
                "a running server refuses its secret and its tokens within {} s; verifiers that do not ask the server accept \
                 its access tokens until they expire",
                self.config.reload.interval
            )
        };
        say(&format!("removed {id} from {}; {follows}", shown(&file))).map(|()| true)
    }

    fn rotate(&self, id: &str) -> Answer {
        let file = self.file_of(id)?;
        let secret = NewSecret::generate()?;
        let digest = secret.digest().written();
        if !self.edit(&file, |text| edit::with_secret(text, id, &digest))? {
            return Ok(false);
        }
        let done = format!(
            "added a second secret for {id} to {}; the first still works; when nothing uses it, run `lingpai client retire {id}`",
            shown(&file)
        );
        self.tell(&done, id, &secret)
    }

    fn retire(&self, id: &str) -> Answer {
        let file = self.file_of(id)?;
        if !self.edit(&file, |text| edit::without_oldest_secret(text, id))? {
            return Ok(false);
        }
        if self.settings.json {
            return say_json(&json!({"client_id": id, "secrets": 1})).map(|()| true);
        }
        say(&format!(
            "dropped the older secret of {id} from {}; a running server refuses it within {} s. Tokens that it \
             got stay good: if the secret leaked, end them with `lingpai revoke --client {id}` or with `not_before`",
            shown(&file),
            self.config.reload.interval
        ))
        .map(|()| true)
    }
}

fn compiles(config: &Config) -> Result<(), String> {
    Registry::compile(config).map(drop).map_err(|error| error.message().to_owned())
}

/// Returns `file`, a path relative to the current folder, as the configuration at `path` must name it.
pub(super) fn beside(path: &Path, file: &Path) -> Result<String, StartError> {
    let failed = |error: std::io::Error| StartError::with_source(format!("{}: {error}", shown(file)), error);
    let absolute = std::path::absolute(file).map_err(failed)?;
    let folder = std::path::absolute(path).map_err(failed)?;
    let relative = folder.parent().and_then(|folder| absolute.strip_prefix(folder).ok());
    let named = relative.unwrap_or(&absolute);
    named.to_str().map(str::to_owned).ok_or_else(|| StartError::new(format!("{}: is not UTF-8", shown(file))))
}
