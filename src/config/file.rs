//! How a file becomes a [`Config`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::setting::{Missing, empty};
use super::settings::{Client, ClientTable, ClientTables, Config, File, IssuerRule, IssuerTable, Tls, TrustedIssuer};
use super::source::{ConfigError, Source};
use super::texts::Texts;
use super::values::{Addresses, Overrides};
use super::{sections, suggest};

/// Tables that an included file may hold.
const INCLUDED: [&str; 2] = ["clients", "issuers"];

/// Maximum number of issuers in all files.
pub const MAX_ISSUERS: usize = 64;
/// Maximum size of an included file without its `[[clients]]`, and of each `[[clients]]` table, in bytes. Each becomes a
/// tree, which takes a hundred times as much.
///
/// The largest client has 112 KB if no character is written as an escape: 64 scope tokens of 128 bytes, 64 subjects of
/// 255, 64 claims and 16 audiences of 255 characters, and a path.
const MAX_TREE: usize = 256 << 10;

/// An included file, without the tables that are parsed one by one.
#[derive(Deserialize)]
struct IncludedTables {
    clients: Option<Vec<ClientTable>>,
    issuers: Option<Vec<IssuerTable>>,
}

/// The number of its issuers, before memory is taken for them.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    issuers: Vec<IgnoredAny>,
}

/// What an included file says.
#[derive(Debug)]
pub(super) struct Included {
    clients: ClientTables,
    issuers: Vec<TrustedIssuer>,
}

/// A file that is cut into its clients and the rest.
struct Cut {
    tables: Vec<Range<usize>>,
    rest: Source,
    text: String,
}

impl Cut {
    fn of(source: &Source) -> Self {
        let tables = sections::clients(source.content());
        let starts = std::iter::once(0).chain(tables.iter().map(|table| table.end));
        let ends = tables.iter().map(|table| table.start).chain([source.content().len()]);
        let rest = starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty());
        let (rest, text) = source.pieces(rest);
        Self { tables, rest, text }
    }

    /// The clients of `source`, of which this was cut: its tables, or the `others`.
    fn clients(self, source: &Source, others: Option<Vec<ClientTable>>) -> Result<ClientTables, ConfigError> {
        if let (Some(table), Some(_)) = (self.tables.first(), &others) {
            let expected = "`clients` is also written in another form; write each client as [[clients]]";
            return Err(source.error_at(table.clone(), expected));
        }
        let others = others.into_iter().flatten().map(|table| one(table, self.rest.clone())).collect();
        Ok(ClientTables { files: vec![(source.clone(), self.tables)], others })
    }
}

/// Parses what was read; `overrides` win over what it says.
pub(super) fn parse(texts: Texts, overrides: Overrides) -> Result<Config, ConfigError> {
    let source = texts.main;
    let cut = Cut::of(&source);
    let mut file: File = parsed(&cut.rest, &cut.text)?;
    let (rest, others) = (cut.rest.clone(), file.clients.take());
    let mut issuers = trusted(file.issuers.take(), &rest);
    let mut clients = cut.clients(&source, others)?;
    if let Some(problem) = texts.problems.into_iter().next() {
        return Err(problem);
    }
    for source in &texts.included {
        let Included { clients: more, issuers: trusted } = included(source)?;
        clients.append(more);
        issuers.extend(trusted);
    }
    config(file, &rest, (clients, issuers), overrides)
}

/// Parses an included file, except for its `[[clients]]`.
pub(super) fn included(source: &Source) -> Result<Included, ConfigError> {
    let cut = Cut::of(source);
    if cut.text.len() > MAX_TREE {
        let most = MAX_TREE >> 10;
        return Err(source.error_in_file(format!("expected at most {most} KiB beside the [[clients]] tables")));
    }
    #[expect(clippy::zero_sized_map_values, reason = "a table, of which only the names are kept")]
    let names: BTreeMap<toml::Spanned<String>, IgnoredAny> = parsed(&cut.rest, &cut.text)?;
    let others = names.keys().filter(|name| !INCLUDED.contains(&name.get_ref().as_str()));
    if let Some(other) = others.min_by_key(|name| name.span().start) {
        let all = INCLUDED.map(|name| format!("[[{name}]]")).join(" and ");
        let why =
            format!("an included file holds only {all}; move `{}` to the file that includes this one", other.get_ref());
        return Err(cut.rest.error(other, in_words(&why)));
    }
    let Counted { issuers } = parsed(&cut.rest, &cut.text)?;
    if issuers.len() > MAX_ISSUERS {
        return Err(source.error_in_file(format!("expected at most {MAX_ISSUERS} [[issuers]] in all files")));
    }
    let IncludedTables { clients, issuers } = parsed(&cut.rest, &cut.text)?;
    let issuers = trusted(issuers, &cut.rest);
    issuers.iter().try_for_each(within_a_team)?;
    Ok(Included { clients: cut.clients(source, clients)?, issuers })
}

/// Refuses what is the operator's to decide: to send one of the server's files to an address, and to
/// trust a domain, which takes tokens away from other teams' issuers, because `sub` is read before `iss`.
fn within_a_team(issuer: &TrustedIssuer) -> Result<(), ConfigError> {
    let refuse = |name: &str, span: Range<usize>| {
        let why = format!("an included file must not set `{name}`; move this issuer to the file that includes it");
        Err(issuer.source.error_at(span, why))
    };
    match (&issuer.token_file, &issuer.spiffe) {
        (Some(path), _) => refuse("token_file", path.span()),
        (None, Some(domain)) => refuse("spiffe", domain.span()),
        (None, None) => Ok(()),
    }
}

/// Returns the settings without a file: the defaults and `overrides`, which name an issuer.
#[expect(clippy::expect_used, reason = "nothing else is required")]
pub(super) fn development(overrides: Overrides) -> Config {
    config(empty(), &Source::development(), Default::default(), overrides).expect("an issuer, and defaults")
}

/// Returns what `file` says, with these clients and issuers and with defaults filled in; `overrides` win.
fn config(
    mut file: File,
    source: &Source,
    (clients, issuers): (ClientTables, Vec<TrustedIssuer>),
    overrides: Overrides,
) -> Result<Config, ConfigError> {
    file.issuer = overrides.issuer.or(file.issuer);
    if !overrides.listen.is_empty() {
        file.listen = Some(Addresses(overrides.listen));
    }
    let missing =
        source.error_in_file("`issuer` is missing; add a line such as issuer = \"https://tokens.example.com\"");
    let mut config = Config::read(file, source.clone(), clients, issuers).map_err(|Missing| missing)?;
    config.keys.path = overrides.keys.unwrap_or_else(|| source.resolve(&config.keys.path));
    if let Some(Tls { cert, key }) = &mut config.tls {
        for path in [cert, key] {
            *path = source.resolve(path);
        }
    }
    if let Some(list) = &mut config.revocations {
        list.path = source.resolve(&list.path);
    }
    Ok(config)
}

/// Parses the `[[clients]]` table at `range`.
pub(super) fn client(source: &Source, range: Range<usize>) -> Result<Client, ConfigError> {
    #[derive(Deserialize)]
    struct One {
        clients: [ClientTable; 1],
    }
    if range.len() > MAX_TREE {
        let why = format!("expected a [[clients]] table of at most {} KiB, up to the next header", MAX_TREE >> 10);
        return Err(source.error_at(range, why));
    }
    let (piece, text) = source.pieces([range]);
    let One { clients: [table] } = parsed(&piece, &text)?;
    Ok(one(table, piece))
}

impl ClientTables {
    /// Parses each client.
    pub(super) fn read(&self) -> impl Iterator<Item = Result<Client, ConfigError>> {
        let tables = self.files.iter().flat_map(|(source, tables)| tables.iter().map(move |table| (source, table)));
        tables.map(|(source, table)| client(source, table.clone())).chain(self.others.iter().cloned().map(Ok))
    }
}

#[expect(clippy::expect_used, reason = "a client has no setting that an override may give")]
fn one(table: ClientTable, source: Source) -> Client {
    Client::read(table, source).expect("a whole table")
}

/// The issuers of a file, which `source` is what is left of without its clients.
#[expect(clippy::expect_used, reason = "an issuer has no setting that an override may give")]
fn trusted(tables: Option<Vec<IssuerTable>>, source: &Source) -> Vec<TrustedIssuer> {
    let rule = |table| IssuerRule::read(table).expect("a whole table");
    let one = |mut table: IssuerTable| {
        let rules = table.rules.take().into_iter().flatten().map(rule).collect();
        TrustedIssuer::read(table, source.clone(), rules).expect("a whole table")
    };
    tables.into_iter().flatten().map(one).collect()
}

fn parsed<T: serde::de::DeserializeOwned>(source: &Source, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| match error.span() {
        Some(span) if error.message() == "duplicate key" => {
            let key = text.get(span.clone()).filter(|key| key.len() <= MAX_SHOWN).unwrap_or_default();
            source.error_at(span, in_words(&format!("duplicate key {key}: it is set above; write it once")))
        }
        Some(span) => source.error_at(span, in_words(error.message())),
        None if error.message() == "recursion limit" => source.error_in_file("nested more deeply than any setting is"),
        None => source.error_in_file(in_words(error.message())),
    })
}

/// Maximum length of a key that a message repeats, in bytes.
const MAX_SHOWN: usize = 64;

/// Rewrites the parser's message about a wrong type in plain words, on one line and without the value: a misplaced
/// secret must not reach a terminal or a log.
fn in_words(message: &str) -> String {
    let unquoted = message.split_once(" string \"").and_then(|(kind, rest)| {
        let (_, expected) = rest.rsplit_once("\", expected ")?;
        Some(format!("{kind} string, expected {expected}"))
    });
    let message = suggest::nearest(unquoted.as_deref().unwrap_or(message))
        .replace(
            "invalid type: map, expected a sequence",
            "expected an array; that of tables has two brackets, such as [[clients]]",
        )
        .replace("expected a sequence", "expected an array, such as [\"one\", \"two\"]")
        .replace("expected a nonzero u32", &format!("expected an integer from 1 to {}", u32::MAX))
        .replace("expected u32", &format!("expected an integer from 0 to {}", u32::MAX));
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            _ if c.is_control() => _ = write!(line, "\\u{:04x}", u32::from(c)),
            _ => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests;
