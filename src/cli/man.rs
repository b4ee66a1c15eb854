//! `lingpai completions` and `lingpai man`

use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Answer, command, complain, say};

#[derive(Args)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Page {
    /// The command to describe, such as `keys rotate` [default: all of lingpai].
    command: Vec<String>,
}

pub(super) fn completions(arguments: &Completions) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "lingpai", &mut script);
    say(String::from_utf8_lossy(&script).trim_end()).map(|()| true)
}

/// Whether there is such a page.
pub(super) fn page(arguments: &Page) -> Answer {
    let mut command = command();
    // Gives every command its full name and the global options.
    command.build();
    for name in &arguments.command {
        let Some(found) = command.find_subcommand(name) else {
            complain(&format!("there is no command {name:?}; `lingpai help` lists them"));
            return Ok(false);
        };
        command = found.clone();
    }
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = Man::new(command).render(&mut page);
    say(String::from_utf8_lossy(&page).trim_end()).map(|()| true)
}
