//! `lingpai client`

use std::fs;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;
use toml_edit::{Array, DocumentMut, Table, value};

use super::{Answer, Settings, complain, say_once};
use crate::app::StartError;
use crate::clients::{NewSecret, Registry};
use crate::config::{Config, Issuer, Overrides};
use crate::files;
use crate::token::ClientId;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Append a client to the configuration file and print its secret once.
    Add(AddArguments),
}

#[derive(Args)]
pub(super) struct AddArguments {
    /// Its id.
    id: String,
    /// A scope token that it may have. May be repeated.
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// An audience that it may name. May be repeated [default: the service's].
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// A subject that it may name, or a pattern such as `user:*`. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    subject: Vec<String>,
    /// An extra claim that it may set. May be repeated.
    #[arg(long, value_name = "CLAIM")]
    claim: Vec<String>,
}

pub(super) fn run(settings: &Settings, command: &Command) -> Answer {
    let Command::Add(arguments) = command;
    let loaded = settings.load()?;
    let Some(path) = loaded.source.path() else {
        return Err(StartError::new(
            "there is no configuration file to add a client to; write one with `lingpai init`",
        ));
    };
    // What is wrong already is said with its own place.
    let registry = Registry::compile(&loaded)?;
    if arguments.id != ClientId::ANONYMOUS && registry.is_client(&arguments.id) {
        complain(&format!("{}: there is a client {:?} already; nothing was written", path.display(), arguments.id));
        return Ok(false);
    }
    let secret = NewSecret::generate().map_err(|_| StartError::new("the system has no random bytes to give"))?;
    // The file itself, where the path is a link to it.
    let path = fs::canonicalize(path).map_err(|error| unwritable(path, &error))?;
    let before = fs::read_to_string(&path).map_err(|error| unwritable(&path, &error))?;
    let after = with_client(&before, arguments, &secret.digest().written())?;
    files::replace(&path, after.as_bytes(), |written| check(written, &path, &before))?;
    if settings.json {
        say_once(&format!("{:#}", json!({"client_id": arguments.id, "client_secret": secret.reveal()})))?;
    } else {
        say_once(&format!(
            "added `{}` to {}; it has this secret, which is shown only now:\n\n  {}\n\na running server knows it within `reload.interval`",
            arguments.id,
            path.display(),
            secret.reveal()
        ))?;
    }
    Ok(true)
}

fn unwritable(path: &Path, error: &std::io::Error) -> StartError {
    StartError::new(format!("{}: cannot be changed: {error}; nothing was written", path.display()))
}

/// The text of the file and the client after it; what was there stays as it is.
fn with_client(before: &str, arguments: &AddArguments, digest: &str) -> Result<String, StartError> {
    let document: DocumentMut =
        before.parse().map_err(|_| StartError::new("the configuration file changed while it was read; try again"))?;
    if document.get("clients").is_some_and(|clients| !clients.is_array_of_tables()) {
        return Err(StartError::new("`clients` is an inline array; write each client as [[clients]] first"));
    }
    let list = |items: &[String]| value(items.iter().map(String::as_str).collect::<Array>());
    let mut client = Table::new();
    client.insert("id", value(arguments.id.as_str()));
    client.insert("secrets", list(&[digest.to_owned()]));
    for (name, items) in [
        ("scope", &arguments.scope),
        ("audience", &arguments.audience),
        ("subjects", &arguments.subject),
        ("claims", &arguments.claim),
    ] {
        if !items.is_empty() {
            client.insert(name, list(items));
        }
    }
    let end_of_line = if before.contains("\r\n") { "\r\n" } else { "\n" };
    let gap = if before.is_empty() || before.ends_with('\n') { "\n" } else { "\n\n" };
    let added = format!("{gap}[[clients]]\n{client}").replace('\n', end_of_line);
    Ok(format!("{before}{added}"))
}

/// Checks what was written, and that the file is still the one that was read.
fn check(written: &Path, path: &Path, before: &str) -> Result<(), StartError> {
    let anywhere = Overrides { issuer: Some(Issuer::local("127.0.0.1")), ..Overrides::default() };
    Config::load(Some(written), anywhere)
        .and_then(|config| Registry::compile(&config).map(drop))
        .map_err(|error| StartError::new(format!("the client was not added: {}", error.message())))?;
    if fs::read_to_string(path)? != before {
        return Err(StartError::new(format!("{} was changed by somebody else just now; try again", path.display())));
    }
    Ok(())
}
