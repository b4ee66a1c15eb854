//! Every problem of a configuration's files, as far as they parse.

use super::texts::Texts;
use super::{ConfigError, Overrides, file, sections};

/// Returns what is wrong with what was read: with the configuration's file, with what it includes, and with each client.
/// Empty if all of it is valid.
#[must_use]
pub fn problems(texts: Texts, overrides: Overrides) -> Vec<ConfigError> {
    let Texts { main, included, problems, .. } = texts;
    let files: Vec<_> = std::iter::once(&main).chain(&included).cloned().collect();
    let rest = file::parse(Texts::of(main), overrides).err().into_iter().chain(problems);
    let rests = included.iter().filter_map(|source| file::included(source).err());
    let clients = files.iter().flat_map(|source| {
        let tables = sections::clients(source.content()).into_iter();
        tables.filter_map(|table| file::client(source, table).err())
    });
    rest.chain(rests).chain(clients).collect()
}
