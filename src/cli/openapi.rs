//! `lingpai openapi`

use clap::Args;

use super::{Answer, say};
use crate::http::{SpecFormat, specification};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print YAML instead of JSON.
    #[arg(long)]
    yaml: bool,
}

pub(super) fn run(arguments: &Arguments) -> Answer {
    let format = if arguments.yaml { SpecFormat::Yaml } else { SpecFormat::Json };
    say(specification(format).trim_end()).map(|()| true)
}
