//! Clients: one more, one less, and their secrets.

use std::ops::Range;

use toml_edit::{Array, Document, Item, TableLike, value};

use super::EditError;
use super::text::{append, line_end, line_start, parse, push, shifted, slice, splice, unexpected};
use crate::config::sections;

pub(super) const INLINE: &str = "clients is an inline array; write each client as [[clients]] first";

/// A client to be added.
#[derive(Debug)]
pub struct NewClient<'a> {
    /// Its id.
    pub id: &'a str,
    /// The digest of its secret, if it has one.
    pub secret: Option<&'a str>,
    /// Its JWKS file, relative to the folder of the file that it is written in, if it has one.
    pub jwks: Option<&'a str>,
    /// Settings that are arrays, by name. An empty one is left out.
    pub lists: &'a [(&'a str, &'a [String])],
}

/// Returns the text with a client appended.
///
/// # Errors
/// The clients are written as an inline array.
pub fn with_client(text: &str, client: &NewClient<'_>) -> Result<String, EditError> {
    refuse_inline(text)?;
    let mut table = toml_edit::Table::new();
    table.insert("id", value(client.id));
    if let Some(digest) = client.secret {
        table.insert("secrets", value(Array::from_iter([digest])));
    }
    if let Some(path) = client.jwks {
        table.insert("jwks", value(path));
    }
    for (name, items) in client.lists.iter().filter(|(_, items)| !items.is_empty()) {
        table.insert(name, value(items.iter().map(String::as_str).collect::<Array>()));
    }
    Ok(append(text, &format!("[[clients]]\n{table}")))
}

/// Returns the text without the client `id`. Comments around it stay.
///
/// # Errors
/// There is no such client.
pub fn without_client(text: &str, id: &str) -> Result<String, EditError> {
    let Found { table, document } = find(text, id)?;
    let ends = one(&document).into_iter().flat_map(TableLike::iter).filter_map(|(_, item)| item.span());
    let end = table.start + ends.map(|span| span.end).max().ok_or_else(unexpected)?;
    let (before, after) = (slice(text, 0..line_start(text, table.start)), slice(text, line_end(text, end)..text.len()));
    let is_apart = before.trim().is_empty() || before.ends_with("\n\n") || before.ends_with("\r\n\r\n");
    let (mut before, mut after) = (before, after);
    if is_apart && after.is_empty() {
        // `with_client` put this line between.
        before = before.strip_suffix("\r\n").or(before.strip_suffix('\n')).unwrap_or(before);
    } else if is_apart {
        while let Some(rest) = after.strip_prefix('\n').or(after.strip_prefix("\r\n")) {
            after = rest;
        }
    }
    Ok(format!("{before}{after}"))
}

/// Returns the text with `digest` as the client's second secret.
///
/// # Errors
/// There is no such client, or it does not have exactly one secret.
pub fn with_secret(text: &str, id: &str, digest: &str) -> Result<String, EditError> {
    let Found { table, document } = find(text, id)?;
    let secrets = secrets(&document).filter(|secrets| !secrets.is_empty()).ok_or_else(|| {
        EditError::refused(format!("the client {id:?} has no secret to replace: it authenticates in another way"))
    })?;
    if secrets.len() > 1 {
        let why =
            format!("the client {id:?} already has two secrets; drop the oldest with `lingpai client retire {id}`");
        return Err(EditError::refused(why));
    }
    push(text, secrets, table.start, digest).ok_or_else(unexpected)
}

/// Returns the text without the first of the client's two secrets, which is the oldest.
///
/// # Errors
/// There is no such client, or it does not have two secrets.
pub fn without_oldest_secret(text: &str, id: &str) -> Result<String, EditError> {
    let Found { table, document } = find(text, id)?;
    let secrets = secrets(&document).filter(|secrets| !secrets.is_empty());
    let secrets = secrets.ok_or_else(|| EditError::refused(format!("the client {id:?} has no secret to drop")))?;
    if secrets.len() == 1 {
        let add = format!("lingpai client rotate {id}");
        let why = format!("the client {id:?} has no second secret to keep; add one with `{add}`");
        return Err(EditError::refused(why));
    }
    let mut places = secrets.iter().filter_map(|secret| shifted(secret.span(), table.start));
    let (Some(first), Some(second)) = (places.next(), places.next()) else { return Err(unexpected()) };
    let comma = slice(text, first.end..second.start).find(',').map_or(first.end, |at| first.end + at + 1);
    let rest = slice(text, comma..second.start);
    let start = line_start(text, first.start);
    // If the secret has a line of its own, the whole line goes; anything between it and the other secret stays.
    let has_line = slice(text, start..first.start).trim().is_empty()
        && rest.trim_start_matches([' ', '\t']).starts_with(['#', '\r', '\n']);
    let range = if has_line {
        start..line_end(text, comma)
    } else {
        first.start..comma + (rest.len() - rest.trim_start().len())
    };
    Ok(splice(text, range, ""))
}

struct Found<'t> {
    table: Range<usize>,
    document: Document<&'t str>,
}

/// The table of the client `id`.
fn find<'t>(text: &'t str, id: &str) -> Result<Found<'t>, EditError> {
    refuse_inline(text)?;
    for table in sections::clients(text) {
        let document = parse(slice(text, table.clone()))?;
        if one(&document).and_then(|client| client.get("id")).and_then(Item::as_str) == Some(id) {
            return Ok(Found { table, document });
        }
    }
    Err(EditError::refused(format!("there is no client {id:?}")))
}

/// Returns the client in a piece of the file that holds one.
fn one<'d>(document: &'d Document<&str>) -> Option<&'d dyn TableLike> {
    Some(document.get("clients")?.as_array_of_tables()?.get(0)?)
}

fn secrets<'d>(document: &'d Document<&str>) -> Option<&'d Array> {
    one(document)?.get("secrets")?.as_array()
}

fn refuse_inline(text: &str) -> Result<(), EditError> {
    let document = parse(text)?;
    match document.get("clients") {
        Some(clients) if !clients.is_array_of_tables() => Err(EditError::refused(INLINE)),
        _ => Ok(()),
    }
}
