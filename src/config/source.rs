//! Where a setting stands, and messages that say so.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A string and its place in the file.
pub type Text = toml::Spanned<String>;

/// An array of strings and its place in the file.
pub type List = toml::Spanned<Vec<Text>>;

/// A path and its place in the file.
pub type PathText = toml::Spanned<PathBuf>;

/// A [`Text`] that stands in no file.
pub(super) fn text(value: &str) -> Text {
    Text::new(0..0, value.to_owned())
}

/// What the settings were read from: a file, or a part of one.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<Arc<(PathBuf, String)>>,
    /// Where pieces of the file stand in the text that was parsed, and in the file.
    pieces: Vec<(usize, usize)>,
}

impl Source {
    pub(super) fn file(path: &Path, content: String) -> Self {
        Self { file: Some(Arc::new((path.to_owned(), content))), pieces: Vec::new() }
    }

    pub(super) fn development() -> Self {
        Self { file: None, pieces: Vec::new() }
    }

    /// These bytes of the file, one after the other, and their text.
    pub(super) fn pieces(&self, ranges: impl IntoIterator<Item = Range<usize>>) -> (Self, String) {
        let (mut text, mut pieces) = (String::new(), Vec::new());
        for range in ranges {
            pieces.push((text.len(), range.start));
            #[expect(clippy::expect_used, reason = "the lexer cuts between characters")]
            text.push_str(self.content().get(range).expect("a part of the file"));
        }
        (Self { file: self.file.clone(), pieces }, text)
    }

    /// The file, if the settings were read from one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref().map(|(path, _)| path.as_path())
    }

    /// `path` as the settings mean it: relative to the file's folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path().and_then(Path::parent).unwrap_or(Path::new("")).join(path)
    }

    /// The text of the file, or nothing.
    #[must_use]
    pub fn content(&self) -> &str {
        self.file.as_deref().map_or("", |(_, content)| content)
    }

    /// The file and its text, if the settings were read from one.
    pub(super) fn whole(&self) -> Option<(&Path, &str)> {
        self.file.as_deref().map(|(path, content)| (path.as_path(), content.as_str()))
    }

    /// An error about the bytes at `span` of this source.
    #[must_use]
    pub fn error_at(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError { place: self.place(span), message: message.into(), source: None }
    }

    /// `file:line:column` of the bytes at `span` of this source, if it is a file.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Option<String> {
        let piece = self.pieces.iter().rev().find(|(parsed, _)| *parsed <= span.start);
        let at = piece.map_or(span.start, |(parsed, start)| span.start - parsed + start);
        self.file.as_deref().map(|(path, content)| {
            let before = content.get(..at).unwrap_or(content);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            format!("{}:{line}:{column}", path.display())
        })
    }

    /// An error about the value `at`.
    #[must_use]
    pub fn error<T>(&self, at: &toml::Spanned<T>, message: impl Into<String>) -> ConfigError {
        self.error_at(at.span(), message)
    }

    /// An error about the file as a whole.
    #[must_use]
    pub fn error_in_file(&self, message: impl Into<String>) -> ConfigError {
        let place = self.path().map(|path| path.display().to_string());
        ConfigError { place, message: message.into(), source: None }
    }
}

/// What is wrong with a configuration: `file:line:column: what and what instead`. The parser's own error is no source of
/// it: that one quotes the file, where secrets may stand.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", place.as_ref().map_or(String::new(), |place| format!("{place}: ")))]
pub struct ConfigError {
    place: Option<String>,
    message: String,
    source: Option<io::Error>,
}

impl ConfigError {
    /// An error that stands in no file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), source: None }
    }

    /// The file at `path` cannot be read.
    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        let message = format!("{}: cannot be read: {error}", path.display());
        Self { place: None, message, source: Some(error) }
    }

    /// The message without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}
