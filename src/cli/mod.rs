//! The command line: one file per command, each thin: parse, call, print.
//!
//! What a command computes belongs in the room that owns it. Secrets and tokens
//! never come from the command line, where a process list would show them.
//! Answers go to standard output, errors to standard error; the exit code is 0,
//! 1 (the answer is no) or 2 (usage or configuration).

mod check;
mod client;
mod healthcheck;
mod init;
mod inspect;
mod keys;
mod man;
mod openapi;
mod revoke;
mod serve;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};

use crate::app::StartError;
use crate::config::{Config, Issuer, Listen, Overrides};

/// A stateless signed-token service: issues, checks and refreshes JWTs without storage.
#[derive(Parser)]
#[command(name = "lingpai", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args)]
struct Settings {
    /// The configuration file [env: `LINGPAI_CONFIG`] [default: ./lingpai.toml if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What tokens say in `iss`; wins over the file [env: `LINGPAI_ISSUER`].
    #[arg(long, global = true, value_name = "URL")]
    issuer: Option<Issuer>,

    /// The folder of keys; wins over the file [env: `LINGPAI_KEYS`].
    #[arg(long, global = true, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// Where to accept connections, for example localhost:8080, or :8080 for every address; wins over the file. May be
    /// repeated [env: `LINGPAI_LISTEN`, with commas between].
    #[arg(long, global = true, value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<Listen>,

    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

impl Settings {
    /// Takes from the environment what no flag says. An empty variable counts as absent: that is how
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

    fn overrides(&self) -> Overrides {
        Overrides { issuer: self.issuer.clone(), listen: self.listen.clone(), keys: self.keys.clone() }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (also without a command).
    Serve,
    /// Write a configuration, a first key and a first client; print its secret once.
    Init(init::Arguments),
    /// Make, show, rotate and delete keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Add clients.
    #[command(subcommand)]
    Client(client::Command),
    /// Look at tokens.
    #[command(subcommand)]
    Token(inspect::Command),
    /// End a token, a session, a client or a subject before its time: append a line to the list of revocations.
    Revoke(revoke::Arguments),
    /// Say everything that `serve` would refuse or warn about, and what would break, without serving.
    Check(check::Arguments),
    /// Ask the server that runs with these settings whether it is ready: for a container's health check.
    Healthcheck(healthcheck::Arguments),
    /// Print the `OpenAPI` document.
    Openapi(openapi::Arguments),
    /// Print a script that completes commands in a shell.
    Completions(man::Completions),
    /// Print a manual page, in the language of man(1).
    Man(man::Page),
}

/// The environment variable `name`, if it is there and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of the environment variable `name`. An error names it, and does not repeat what it holds.
fn parsed<T>(name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, StartError> {
    let Some(value) = variable(name) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| "is not UTF-8 text".to_owned());
    text.and_then(parse).map(Some).map_err(|problem| StartError::new(format!("{name}: {problem}")))
}

/// Whether the answer is yes.
type Answer = Result<bool, StartError>;

/// Runs the command that this process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let mut cli = Cli::parse();
    keep_private();
    let filled_in = cli.settings.fill_in();
    let settings = &cli.settings;
    let answer = filled_in.and_then(|()| match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(settings),
        Command::Init(arguments) => init::run(settings, &arguments),
        Command::Keys(command) => keys::run(settings, &command),
        Command::Client(command) => client::run(settings, &command),
        Command::Token(command) => inspect::run(settings, &command),
        Command::Revoke(arguments) => revoke::run(settings, &arguments),
        Command::Check(arguments) => check::run(settings, &arguments),
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

/// Private keys are in this process's memory, and it writes some: no core dumps, no
/// looking in by others of the same user, and nothing that is written is for others.
fn keep_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let no_cores = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = no_cores {
        complain(&format!("warning: core dumps could not be switched off: {error}"));
    }
    let before = umask(Mode::RWXO);
    umask(before | Mode::RWXO);
}

/// Prints to standard output. A reader that has closed its end has seen enough, which is no error.
fn say(text: &str) -> Result<(), StartError> {
    match print(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(StartError::new(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a secret that is shown only now, so that not to print it is an error.
fn say_once(text: &str) -> Result<(), StartError> {
    print(text).map_err(|error| StartError::new(format!("the new secret could not be printed ({error}): replace it")))
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints `value` as JSON to standard output.
fn say_json(value: &serde_json::Value) -> Result<(), StartError> {
    say(&format!("{value:#}"))
}

/// Prints an error to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "lingpai: {}", visible(text).replace('\n', "\\n"));
}

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
        Err(error) => Err(StartError::new(format!("{}: cannot be read: {error}", path.display()))),
    }
}

/// A text in which nothing can move the cursor or turn the direction of the text.
fn visible(json: &str) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        _ if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            format!("\\u{:04x}", u32::from(c))
        }
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}
