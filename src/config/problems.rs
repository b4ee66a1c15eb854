//! Every problem of a file, as far as it parses.

use std::path::Path;

use super::source::Source;
use super::{ConfigError, Overrides, file, sections};

/// Returns what is wrong with the text of the file at `path`: first with the settings, then with each client. Empty if
/// the file is valid.
#[must_use]
pub fn problems(path: &Path, content: String, overrides: Overrides) -> Vec<ConfigError> {
    let source = Source::file(path, content.clone());
    let rest = file::parse(path, content, overrides).err();
    let clients =
        sections::clients(source.content()).into_iter().filter_map(|table| file::client(&source, table).err());
    rest.into_iter().chain(clients).collect()
}
