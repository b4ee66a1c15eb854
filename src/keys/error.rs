//! What is wrong with key files and their folder.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use super::key::InvalidKey;

/// What is wrong with a key file or the folder: `path: what is wrong; what would be right`.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct KeyError {
    path: PathBuf,
    #[source]
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    /// The file or folder is not as it should be.
    #[error("{0}")]
    Wrong(Cow<'static, str>),
    /// The file's content is not a usable key.
    #[error(transparent)]
    Invalid(InvalidKey),
    /// A file with the name to write already exists.
    #[error("{0}")]
    Taken(&'static str),
    /// The system refused to do something.
    #[error("cannot be {0}: {1}")]
    System(&'static str, #[source] io::Error),
}

impl KeyError {
    pub(super) fn new(path: impl Into<PathBuf>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), kind: Kind::Wrong(problem.into()) }
    }

    pub(super) fn invalid(path: impl Into<PathBuf>, why: InvalidKey) -> Self {
        Self { path: path.into(), kind: Kind::Invalid(why) }
    }

    pub(super) fn taken(path: impl Into<PathBuf>, problem: &'static str) -> Self {
        Self { path: path.into(), kind: Kind::Taken(problem) }
    }

    /// Returns an error of the system. `done` is what could not be done, as a participle: `read`.
    pub(super) fn system(path: impl Into<PathBuf>, done: &'static str, error: io::Error) -> Self {
        Self { path: path.into(), kind: Kind::System(done, error) }
    }

    /// Whether a file could not be written because its name is taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self.kind, Kind::Taken(_))
    }

    /// Whether the file no longer exists.
    pub(super) fn is_gone(&self) -> bool {
        matches!(&self.kind, Kind::System(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}
