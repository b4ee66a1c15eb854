//! The list of revoked keys.

use toml_edit::{Item, TableLike};

use super::EditError;
use super::text::{append, end_of_line, line_end, parse, push, slice, splice, unexpected};
use crate::config::sections;

/// Returns the text with `kid` in `[keys] revoked`.
///
/// # Errors
/// `[keys]` is not written as a table.
pub fn with_revoked(text: &str, kid: &str) -> Result<String, EditError> {
    let document = parse(text)?;
    let keys = document.get("keys");
    if let Some(revoked) = keys.and_then(|keys| keys.get("revoked")).and_then(Item::as_array) {
        if revoked.iter().any(|one| one.as_str() == Some(kid)) {
            return Ok(text.to_owned());
        }
        return push(text, revoked, 0, kid).ok_or_else(unexpected);
    }
    let line = format!("revoked = [\"{kid}\"]\n");
    match (keys, sections::table(text, "keys")) {
        (None, _) => Ok(append(text, &format!("[keys]\n{line}"))),
        (Some(keys), Some(table)) => {
            let ends = keys.as_table().into_iter().flat_map(TableLike::iter).filter_map(|(_, item)| item.span());
            let last = ends.map(|span| span.end).filter(|end| *end > table.start).max().unwrap_or(table.start);
            let at = line_end(text, last);
            let is_open = !slice(text, 0..at).ends_with('\n');
            let line = if is_open { format!("\n{line}") } else { line };
            Ok(splice(text, at..at, &line.replace('\n', end_of_line(text))))
        }
        (Some(_), None) => Err(EditError::refused("keys is not written as a table; write it as [keys] first")),
    }
}
