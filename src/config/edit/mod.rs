//! Edits of the configuration's files: clients come and go, secrets are replaced, keys are revoked.
//!
//! An edit changes only the bytes that it must. Comments, order, blank lines and line endings stay. The new content is
//! parsed and compiled before it replaces the file atomically. If the file has changed in the meantime, the edit reads
//! it and starts over, so that of two concurrent edits neither is lost. Whichever file is edited, the folder of the
//! configuration's own file is locked meanwhile, because together they are one configuration.

mod clients;
mod keys;
#[cfg(test)]
mod tests;
mod text;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::texts::{Texts, content};
use super::{Config, ConfigError, Overrides};
use crate::files;

pub use clients::{NewClient, with_client, with_secret, without_client, without_oldest_secret};
pub use keys::with_revoked;

/// Maximum attempts on a file that others keep changing.
const ATTEMPTS: usize = 100;

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Nothing has that name, or the change makes no sense.
    #[error("{0}; nothing was written")]
    Refused(String),
    /// The new content would not be a valid configuration.
    #[error("nothing was written: {0}")]
    Invalid(String),
    /// Something else keeps changing the file.
    #[error("{}: something else keeps changing it; nothing was written; try again", .0.display())]
    Busy(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: cannot be changed: {error}; nothing was written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl EditError {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// Why one attempt failed.
enum Failed {
    System(io::Error),
    Invalid(String),
    Changed,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Replaces the content of `file`, or of the file that it is a link to, by what `change` makes of it, if `check`
/// accepts the configuration of `main` that follows. `file` is `main`, or one that it includes, as
/// [`Config::file_at`] names it.
///
/// # Errors
/// See [`EditError`]; the file is unchanged then.
pub fn edit(
    file: &Path,
    main: &Path,
    overrides: &Overrides,
    change: impl Fn(&str) -> Result<String, EditError>,
    check: impl Fn(&Config) -> Result<(), String>,
) -> Result<(), EditError> {
    let unwritable = |error: io::Error| EditError::Unwritable { path: file.to_owned(), error };
    let (target, main_target) = targets(file, main).map_err(unwritable)?;
    let invalid = |error: &ConfigError| error.message().to_owned();
    for _ in 0..ATTEMPTS {
        let before = content(&target).map_err(|error| EditError::Invalid(error.to_string()))?;
        let after = change(&before)?;
        if after == before {
            return Ok(());
        }
        let _locked = files::lock(&main_target, Some(&target)).map_err(unwritable)?;
        let replaced = files::replace(&target, after.as_bytes(), |written| {
            if content(&target).map_err(|error| Failed::Invalid(invalid(&error)))? != before {
                return Err(Failed::Changed);
            }
            // Under its own name: the paths in it are relative to its folder, and to that of the link to it.
            let config = content(written).and_then(|text| whole(file, text, main, overrides));
            check(&config.map_err(|error| Failed::Invalid(invalid(&error)))?).map_err(Failed::Invalid)
        });
        match replaced {
            Ok(()) => return Ok(()),
            Err(Failed::Changed) => {}
            Err(Failed::Invalid(problem)) => return Err(EditError::Invalid(problem)),
            Err(Failed::System(error)) => return Err(unwritable(error)),
        }
    }
    Err(EditError::Busy(file.to_owned()))
}

/// Writes the new file `file` with this `text`, if `check` accepts the configuration of `main` with it. Its mode is that
/// of `main`.
///
/// # Errors
/// See [`EditError`]; there is then no such file.
pub fn create(
    file: &Path,
    text: &str,
    main: &Path,
    overrides: &Overrides,
    check: impl Fn(&Config) -> Result<(), String>,
) -> Result<(), EditError> {
    let unwritable = |error: io::Error| EditError::Unwritable { path: file.to_owned(), error };
    let target = fs::canonicalize(main).map_err(unwritable)?;
    let _locked = files::lock(&target, None).map_err(unwritable)?;
    let config = whole(file, text.to_owned(), main, overrides);
    let config = config.map_err(|error| EditError::Invalid(error.message().to_owned()))?;
    check(&config).map_err(EditError::Invalid)?;
    let mode = fs::metadata(&target).map_err(unwritable)?.permissions().mode() & 0o666;
    files::create(file, text.as_bytes(), mode).map_err(unwritable)
}

/// The configuration of `main` with `text` as that of `file`.
fn whole(file: &Path, text: String, main: &Path, overrides: &Overrides) -> Result<Config, ConfigError> {
    let texts = if file == main { Texts::with(main, text) } else { Texts::read(main)?.replaced(file, text) };
    Config::of(texts, overrides.clone())
}

/// Where `file`, which may be written, and `main` lead.
fn targets(file: &Path, main: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let target = fs::canonicalize(file)?;
    refuse_read_only(&target)?;
    Ok((target, fs::canonicalize(main)?))
}

/// Refuses a read-only file, even if its folder would allow it to be replaced.
fn refuse_read_only(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
    }
    Ok(())
}
