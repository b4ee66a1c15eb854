//! `lingpai token`

mod get;
mod inspect;

use clap::Subcommand;

use super::{Answer, Settings};

pub(in crate::cli) use inspect::{MAX_INPUT, explain, presented, segment};

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Ask a server for a token and print the token alone.
    #[command(after_help = "Example:\n  lingpai token get --client shop --url http://localhost:8080 < secret.txt")]
    Get(get::Arguments),
    /// Decode a token and verify it offline, with the keys or with a JWKS.
    #[command(after_help = "Example:\n  lingpai token inspect --jwks jwks.json < token.txt")]
    Inspect(inspect::Arguments),
}

pub(in crate::cli) fn run(settings: &Settings, command: &Command) -> Answer {
    match command {
        Command::Get(arguments) => get::run(settings, arguments),
        Command::Inspect(arguments) => inspect::run(settings, arguments),
    }
}
