//! `lingpai keys import`

use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::{Done, Place, instant};
use crate::app::StartError;
use crate::cli::read;
use crate::clock::Timestamp;
use crate::files::shown;
use crate::keys::{Import, When};

/// A key file holds one key.
const MAX_PEM: u64 = 16 << 10;

#[derive(Args)]
pub(in crate::cli) struct ImportArguments {
    /// The file, in PEM: PKCS#8, SEC 1 (EC PRIVATE KEY) or PKCS#1 (RSA PRIVATE KEY); `-` is standard input.
    file: PathBuf,

    /// When it starts to sign, such as 2026-11-22T00:00:00Z.
    #[arg(long, value_parser = instant, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

impl Place<'_> {
    pub(super) fn import(&self, arguments: &ImportArguments) -> Done {
        let text = Zeroizing::new(read(&arguments.file, MAX_PEM + 1)?);
        let source = if arguments.file == Path::new("-") { Path::new("standard input") } else { &arguments.file };
        if text.len() as u64 > MAX_PEM {
            let most = MAX_PEM >> 10;
            let why = format!("{}: is larger than {most} KiB, which no key is", shown(source));
            return Err(StartError::new(why).into());
        }
        let import = Import::read(source, &text)?;
        let when = arguments.at.map_or(When::InTime, When::At);
        self.add(import.alg(), when, |from| import.write(&self.config.keys.path, self.modes(), from))
    }
}
