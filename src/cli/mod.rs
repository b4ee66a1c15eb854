//! The command line: one file per command, each thin: parse, call, print.
//!
//! What a command computes belongs in the room that owns it. Secrets and tokens
//! are never read from the command line, where a process list would show them.
//! Answers go to standard output, errors to standard error; the exit code is 0,
//! 1 (the answer is no) or 2 (usage or configuration).

mod check;
mod client;
mod explain;
mod healthcheck;
mod init;
mod keys;
mod man;
mod openapi;
mod revoke;
mod serve;
mod table;
mod token;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use serde_json::json;

use crate::app::StartError;
use crate::config::edit::EditError;
use crate::config::{Config, DEFAULT_FILE, Issuer, Listen, Overrides};
use crate::files::shown;

/// A stateless signed-token service: issues, checks and refreshes JWTs without storage.
#[derive(Parser)]
#[command(
    name = "lingpai",
    version,
    max_term_width = 100,
    after_help = "Example:\n  lingpai serve --listen localhost:8080"
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
struct Settings {
    /// The configuration file [env: `LINGPAI_CONFIG`] [default: ./lingpai.toml if it exists].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The `iss` of tokens; overrides the file, and `init` writes it [env: `LINGPAI_ISSUER`].
    #[arg(long, global = true, value_name = "URL")]
    issuer: Option<Issuer>,

    /// The key folder; overrides the file, and `init` writes it [env: `LINGPAI_KEYS`].
    #[arg(long, global = true, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// Where to accept connections, such as localhost:8080, or :8080 for every address; overrides the file, and `init`
    /// writes it. May be repeated [env: `LINGPAI_LISTEN`, separated by commas].
    #[arg(long, global = true, value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<Listen>,

    /// Print results and errors as JSON.
    #[arg(long, global = true)]
    json: bool,
}

impl Settings {
    /// Fills in from the environment what no flag sets. An empty variable counts as absent: that is how
    /// Compose and shell scripts write one that is not set.
    fn fill_in(&mut self) -> Result<(), StartError> {
        let path = |name| variable(name).map(PathBuf::from);
        if self.config.is_none() {
            self.config = path("LINGPAI_CONFIG");
        }
        if self.keys.is_none() {
            self.keys = path("LINGPAI_KEYS");
        }
        if self.issuer.is_none() {
            self.issuer = parsed("LINGPAI_ISSUER", str::parse)?;
        }
        if self.listen.is_empty() {
            let listen = parsed("LINGPAI_LISTEN", |text| text.split(',').map(str::parse).collect())?;
            self.listen = listen.unwrap_or_default();
        }
        Ok(())
    }

    fn load(&self) -> Result<Config, StartError> {
        Ok(Config::load(self.config.as_deref(), self.overrides())?)
    }

    /// The configuration file that is read, if there is one.
    fn file(&self) -> Option<&Path> {
        let default = || Path::new(DEFAULT_FILE);
        self.config.as_deref().or_else(|| default().symlink_metadata().is_ok().then(default))
    }

    fn overrides(&self) -> Overrides {
        Overrides { issuer: self.issuer.clone(), listen: self.listen.clone(), keys: self.keys.clone() }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (also without a command).
    #[command(after_help = "Example:\n  lingpai serve --config /etc/lingpai/lingpai.toml")]
    Serve,
    /// Write a configuration, a first key and a first client; print its secret once.
    #[command(after_help = "Example:\n  lingpai init --issuer https://tokens.example.com /etc/lingpai")]
    Init(init::Arguments),
    /// Make, list, rotate, revoke, prune, import and export keys.
    #[command(subcommand, after_help = "Example:\n  lingpai keys list")]
    Keys(keys::Command),
    /// Add, list and remove clients, and replace their secrets.
    #[command(subcommand, after_help = "Example:\n  lingpai client add shop --scope orders:read")]
    Client(client::Command),
    /// Request tokens and decode them.
    #[command(subcommand, after_help = "Example:\n  lingpai token inspect token.txt")]
    Token(token::Command),
    /// End a token, a session, a client or a subject before its time: append a line to the list of revocations.
    #[command(after_help = "Example:\n  lingpai revoke --token - < stolen.txt")]
    Revoke(revoke::Arguments),
    /// Check the configuration and keys, and report what would break.
    #[command(after_help = "Example:\n  lingpai check --config new.toml --running /etc/lingpai/lingpai.toml")]
    Check(check::Arguments),
    /// Show what a client would be granted or refused, and which line of the file decides it. Works offline.
    #[command(
        override_usage = "lingpai explain [OPTIONS] <CLIENT>\n       lingpai explain [OPTIONS] --token <FILE>",
        after_help = "Example:\n  lingpai explain shop --scope orders:read --subject user:7"
    )]
    Explain(explain::Arguments),
    /// Ask the server that runs with these settings whether it is ready, for a container's health check.
    #[command(after_help = "Example:\n  lingpai healthcheck --at localhost:8080")]
    Healthcheck(healthcheck::Arguments),
    /// Print the `OpenAPI` document.
    #[command(after_help = "Example:\n  lingpai openapi --yaml")]
    Openapi(openapi::Arguments),
    /// Print a script that completes commands in a shell.
    #[command(after_help = "Example:\n  lingpai completions bash > /etc/bash_completion.d/lingpai")]
    Completions(man::Completions),
    /// Print a manual page in roff, for man(1).
    #[command(after_help = "Example:\n  lingpai man keys rotate | man -l -")]
    Man(man::Page),
}

/// Returns the command line, with help in plain text.
fn command() -> clap::Command {
    plain(Cli::command())
}

/// Removes Markdown from a command's help, which comes from doc comments.
fn plain(mut command: clap::Command) -> clap::Command {
    let text = |styled: Option<&clap::builder::StyledStr>| styled.map(|styled| styled.to_string().replace('`', ""));
    if let Some(about) = text(command.get_about()) {
        command = command.about(about);
    }
    if let Some(about) = text(command.get_long_about()) {
        command = command.long_about(about);
    }
    command = command.mut_args(|arg| {
        let (short, long) = (text(arg.get_help()), text(arg.get_long_help()));
        let arg = short.into_iter().fold(arg, clap::Arg::help);
        long.into_iter().fold(arg, clap::Arg::long_help)
    });
    command.mut_subcommands(plain)
}

/// Returns the environment variable `name`, if it is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Parses the environment variable `name`. An error names it, and does not repeat its value.
fn parsed<T>(name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, StartError> {
    let Some(value) = variable(name) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| "is not UTF-8 text".to_owned());
    text.and_then(parse).map(Some).map_err(|problem| StartError::new(format!("{name}: {problem}")))
}

/// Whether the answer is yes.
type Answer = Result<bool, StartError>;

/// Whether `--json` was given: then errors are JSON too.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// Runs the command that this process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let mut cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    IN_JSON.store(cli.settings.json, Ordering::Relaxed);
    keep_private();
    let filled_in = cli.settings.fill_in();
    let settings = &cli.settings;
    let answer = filled_in.and_then(|()| match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(settings),
        Command::Init(arguments) => init::run(settings, &arguments),
        Command::Keys(command) => keys::run(settings, &command),
        Command::Client(command) => client::run(settings, &command),
        Command::Token(command) => token::run(settings, &command),
        Command::Revoke(arguments) => revoke::run(settings, &arguments),
        Command::Check(arguments) => check::run(settings, &arguments),
        Command::Explain(arguments) => explain::run(settings, &arguments),
        Command::Healthcheck(arguments) => healthcheck::run(settings, &arguments),
        Command::Openapi(arguments) => openapi::run(&arguments),
        Command::Completions(arguments) => man::completions(&arguments),
        Command::Man(arguments) => man::page(&arguments),
    });
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// Prints what is wrong with the command line, or the help that it asks for.
fn usage(error: &clap::Error) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !is_help && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let problem = text.split_once("\n\nUsage:").map_or(text.as_str(), |(problem, _)| problem);
        let lines = problem.lines().map(str::trim).filter(|line| !line.is_empty());
        IN_JSON.store(true, Ordering::Relaxed);
        complain(lines.collect::<Vec<_>>().join("; ").trim_start_matches("error: "));
        return ExitCode::from(2);
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Turns the result of an edit into an answer; a refusal is printed.
fn edited(result: Result<(), EditError>) -> Answer {
    match result {
        Ok(()) => Ok(true),
        Err(EditError::Refused(why)) => {
            complain(&format!("{why}; nothing was written"));
            Ok(false)
        }
        Err(error) => Err(StartError::with_source(error.to_string(), error)),
    }
}

/// Protects the private keys in this process's memory and in the files that it writes: no core dumps, no
/// tracing by other processes of the same user, and no access to new files for other users.
fn keep_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let no_cores = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = no_cores {
        complain(&format!("warning: core dumps could not be disabled: {error}"));
    }
    let before = umask(Mode::RWXO);
    umask(before | Mode::RWXO);
}

/// Prints to standard output. A reader that has closed the pipe has seen enough; that is no error.
fn say(text: &str) -> Result<(), StartError> {
    match print(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(StartError::with_source(format!("standard output cannot be written: {error}"), error))
        }
        _ => Ok(()),
    }
}

/// Prints a secret that is shown only once, so a failure to print it is an error.
fn say_once(text: &str) -> Result<(), StartError> {
    print(text).map_err(|error| {
        StartError::with_source(format!("the new secret could not be printed ({error}): replace it"), error)
    })
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", visible(text))?;
    out.flush()
}

/// Prints `value` as JSON to standard output.
fn say_json(value: &serde_json::Value) -> Result<(), StartError> {
    say(&format!("{value:#}"))
}

/// Prints an error, or a text that begins with "warning: ", to standard error; as JSON if `--json` was given.
fn complain(text: &str) {
    let text = visible(text).replace('\n', "\\n");
    let line = if IN_JSON.load(Ordering::Relaxed) {
        match text.strip_prefix("warning: ") {
            Some(warning) => json!({"warning": warning}).to_string(),
            None => json!({"error": text}).to_string(),
        }
    } else {
        format!("lingpai: {text}")
    };
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// What a command says that needs a configuration file, where there is none.
const NO_FILE: &str = "there is no lingpai.toml here; say where it is with --config, or write one with `lingpai init`";

/// Reads a file, or standard input for `-`, up to `most` bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, StartError> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(_) if path.to_string_lossy().matches('.').count() == 2 && path.to_string_lossy().starts_with("eyJ") => {
            Err(StartError::new("that looks like a token: pass it on standard input, where no process list shows it"))
        }
        Err(error) => Err(StartError::with_source(format!("{}: cannot be read: {error}", shown(path)), error)),
    }
}

/// Escapes everything in a text, except tabs and line breaks, that could move the cursor or change the direction of the
/// text.
fn visible(json: &str) -> String {
    let escaped = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        _ if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            format!("\\u{:04x}", u32::from(c))
        }
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}
