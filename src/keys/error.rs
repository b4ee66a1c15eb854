//! What is wrong with key files and their folder.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

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

/// What is wrong with a private key, and what would be right. The file's path stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidKey(pub(super) &'static str);

impl From<&'static str> for InvalidKey {
    fn from(problem: &'static str) -> Self {
        Self(problem)
    }
}

pub(super) const ENCRYPTED: &str =
    "is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` and protect the file instead";
pub(super) const NO_KEY: &str = "holds no private key; expected -----BEGIN PRIVATE KEY-----";
pub(super) const NO_PEM: &str = "is not PEM; expected one block that begins with -----BEGIN PRIVATE KEY-----";
pub(super) const NO_PKCS8: &str = "is not a PKCS#8 private key";
pub(super) const NOT_P256: &str = "is not an EC key on P-256, the one curve of ES256; expected what \
                        `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes";
pub(super) const UNUSABLE_RSA: &str =
    "is not a usable RSA key; expected 2048 to 4096 bits, two primes and an exponent of at least 65537";
