//! Where a setting is written, and messages that say so.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::files::shown;

/// A string and its place in the file.
pub type Text = toml::Spanned<String>;

/// An array of strings and its place in the file.
pub type List = toml::Spanned<Vec<Text>>;

/// A path and its place in the file.
pub type PathText = toml::Spanned<PathBuf>;

/// Returns a [`Text`] that is in no file.
pub(super) fn text(value: &str) -> Text {
    Text::new(0..0, value.to_owned())
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    content: String,
    /// Where its lines begin, once a place was asked for: a file may have many of them.
    lines: OnceLock<Vec<usize>>,
}

impl File {
    /// Returns the number of the line with the byte `at`, from 1, and where it begins.
    fn line(&self, at: usize) -> (usize, usize) {
        let after_each = || self.content.match_indices('\n').map(|(end, _)| end + 1);
        let lines = self.lines.get_or_init(|| std::iter::once(0).chain(after_each()).collect());
        let number = lines.partition_point(|start| *start <= at);
        (number, lines.get(number.saturating_sub(1)).copied().unwrap_or_default())
    }
}

/// What the settings were read from: a file, or a part of one.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<Arc<File>>,
    /// Where pieces of the file are in the text that was parsed, and in the file.
    pieces: Vec<(usize, usize)>,
}

impl Source {
    pub(super) fn file(path: &Path, content: String) -> Self {
        let file = File { path: path.to_owned(), content, lines: OnceLock::new() };
        Self { file: Some(Arc::new(file)), pieces: Vec::new() }
    }

    pub(super) fn development() -> Self {
        Self { file: None, pieces: Vec::new() }
    }

    /// Returns the source of these ranges of the file, one after the other.
    pub(super) fn pieces(&self, ranges: impl IntoIterator<Item = Range<usize>>) -> (Self, String) {
        let (mut text, mut pieces) = (String::new(), Vec::new());
        for range in ranges {
            pieces.push((text.len(), range.start));
            #[expect(clippy::expect_used, reason = "the lexer cuts between characters")]
            text.push_str(self.content().get(range).expect("a part of the file"));
        }
        (Self { file: self.file.clone(), pieces }, text)
    }

    /// Returns the file's path, if the settings were read from one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref().map(|file| file.path.as_path())
    }

    /// Resolves `path` relative to the file's folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path().and_then(Path::parent).unwrap_or(Path::new("")).join(path)
    }

    /// Returns the text of the file, or an empty text.
    #[must_use]
    pub fn content(&self) -> &str {
        self.file.as_deref().map_or("", |file| &file.content)
    }

    /// The file and its text, if the settings were read from one.
    pub(super) fn whole(&self) -> Option<(&Path, &str)> {
        self.file.as_deref().map(|file| (file.path.as_path(), file.content.as_str()))
    }

    /// An error about the bytes at `span` of this source.
    #[must_use]
    pub fn error_at(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError { place: self.place(span), ..ConfigError::new(message) }
    }

    /// Returns `file:line:column` of the bytes at `span` of this source, if it is a file.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Option<String> {
        let after = self.pieces.partition_point(|(parsed, _)| *parsed <= span.start);
        let piece = after.checked_sub(1).and_then(|index| self.pieces.get(index));
        let at = piece.map_or(span.start, |(parsed, start)| span.start - parsed + start);
        self.file.as_deref().map(|file| {
            let (line, start) = file.line(at);
            let before = file.content.get(start..at).or(file.content.get(start..)).unwrap_or_default();
            format!("{}:{line}:{}", shown(&file.path), before.chars().count() + 1)
        })
    }

    /// Returns an error about the value `at`.
    #[must_use]
    pub fn error<T>(&self, at: &toml::Spanned<T>, message: impl Into<String>) -> ConfigError {
        self.error_at(at.span(), message)
    }

    /// Returns an error about the file as a whole.
    #[must_use]
    pub fn error_in_file(&self, message: impl Into<String>) -> ConfigError {
        let place = self.path().map(shown);
        ConfigError { place, ..ConfigError::new(message) }
    }
}

/// What is wrong with a configuration: `file:line:column: what is wrong; what would be right`. The parser's own error
/// is not its source, because it quotes the file, which may hold secrets. A message quotes no secret that was written
/// where something else belongs.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", place.as_ref().map_or(String::new(), |place| format!("{place}: ")))]
pub struct ConfigError {
    place: Option<String>,
    message: String,
    source: Option<io::Error>,
}

impl ConfigError {
    /// Returns an error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: without_secrets(&message.into()), source: None }
    }

    /// Returns the error of a file at `path` that cannot be read.
    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        let message = format!("{}: cannot be read: {error}", shown(path));
        Self { source: Some(error), ..Self::new(message) }
    }

    /// Returns the message without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Minimum length of what may be a secret or a digest, or a large part of one, without its mark.
const LIKE_A_SECRET: usize = 6;

/// Returns `text` without the clients' secrets and their digests.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    ["lps_", "sha256:"].into_iter().fold(text.to_owned(), |text, mark| {
        let Some((first, rest)) = text.split_once(mark) else { return text };
        rest.split(mark).fold(first.to_owned(), |before, secret| {
            let after = secret.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-:".contains(c));
            let (kept, after) =
                if secret.len() - after.len() < LIKE_A_SECRET { (mark, secret) } else { ("(a secret)", after) };
            before + kept + after
        })
    })
}
