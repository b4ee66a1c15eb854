//! The text of a TOML file, cut and put together at the places that the parser names.

use std::ops::Range;

use toml_edit::{Array, Document};

use super::EditError;

pub(super) fn parse(text: &str) -> Result<Document<&str>, EditError> {
    Document::parse(text).map_err(|_| EditError::Invalid("the file is not TOML; `lingpai check` says where".into()))
}

/// The error where the parser's positions do not match the text.
pub(super) fn unexpected() -> EditError {
    EditError::refused("it is written in a form that cannot be edited; write it as [\"one\", \"two\"] first")
}

/// Adds the string `item` to `array`, whose positions count from `offset`.
pub(super) fn push(text: &str, array: &Array, offset: usize, item: &str) -> Option<String> {
    let item = format!("\"{item}\"");
    let brackets = shifted(array.span(), offset)?;
    let Some(last) = array.iter().last() else {
        let at = brackets.start + 1;
        return Some(splice(text, at..at, &item));
    };
    let last = shifted(last.span(), offset)?;
    let (start, end) = (line_start(text, last.start), line_end(text, last.end));
    let indent = slice(text, start..last.start);
    let (tail, comma) = (slice(text, last.end..end), slice(text, last.end..end).trim_start().starts_with(','));
    let has_line = start > brackets.start && end < brackets.end && indent.trim().is_empty();
    if !has_line || comma != array.trailing_comma() {
        return Some(splice(text, last.end..last.end, &format!(", {item}")));
    }
    let separator = if comma { "" } else { "," };
    Some(splice(text, last.end..end, &format!("{separator}{tail}{indent}{item},{}", end_of_line(text))))
}

/// Appends `added` as a paragraph of its own.
pub(super) fn append(text: &str, added: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') { "\n" } else { "\n\n" };
    format!("{text}{}", format!("{gap}{added}").replace('\n', end_of_line(text)))
}

pub(super) fn end_of_line(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

pub(super) fn shifted(span: Option<Range<usize>>, by: usize) -> Option<Range<usize>> {
    span.map(|span| span.start + by..span.end + by)
}

/// Returns where the line of `at` begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    slice(text, 0..at).rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns where the line after that of `at` begins.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    slice(text, at..text.len()).find('\n').map_or(text.len(), |newline| at + newline + 1)
}

pub(super) fn slice(text: &str, range: Range<usize>) -> &str {
    #[expect(clippy::expect_used, reason = "each range is one of the parser's, or between two of them")]
    text.get(range).expect("a range of the text")
}

pub(super) fn splice(text: &str, range: Range<usize>, by: &str) -> String {
    format!("{}{by}{}", slice(text, 0..range.start), slice(text, range.end..text.len()))
}
