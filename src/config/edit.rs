//! Edits of the configuration's files: clients come and go, secrets are replaced, keys are revoked.
//!
//! An edit changes only the bytes that it must. Comments, order, blank lines and line endings stay. The new content is
//! parsed and compiled before it replaces the file atomically. If the file has changed in the meantime, the edit reads
//! it and starts over, so that of two concurrent edits neither is lost. Whichever file is edited, the folder of the
//! configuration's own file is locked meanwhile, because together they are one configuration.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use toml_edit::{Array, Document, Item, TableLike, value};

use super::texts::{Texts, content};
use super::{Config, ConfigError, Overrides, sections};
use crate::files;

/// Maximum attempts on a file that others keep changing.
const ATTEMPTS: usize = 100;
const INLINE: &str = "clients is an inline array; write each client as [[clients]] first";

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Nothing has that name, or the change makes no sense.
    #[error("{0}; nothing was written")]
    Refused(String),
    /// The new content would not be a valid configuration.
    #[error("nothing was written: {0}")]
    Invalid(String),
    /// Something else keeps changing the file.
    #[error("{}: something else keeps changing it; nothing was written; try again", .0.display())]
    Busy(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: cannot be changed: {error}; nothing was written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl EditError {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// Why one attempt failed.
enum Failed {
    System(io::Error),
    Invalid(String),
    Changed,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

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

/// Replaces the content of `file`, or of the file that it is a link to, by what `change` makes of it, if `check`
/// accepts the configuration of `main` that follows. `file` is `main`, or one that it includes, as
/// [`Config::file_at`] names it.
///
/// # Errors
/// See [`EditError`]; the file is unchanged then.
pub fn edit(
    file: &Path,
    main: &Path,
    overrides: &Overrides,
    change: impl Fn(&str) -> Result<String, EditError>,
    check: impl Fn(&Config) -> Result<(), String>,
) -> Result<(), EditError> {
    let unwritable = |error: io::Error| EditError::Unwritable { path: file.to_owned(), error };
    let (target, main_target) = targets(file, main).map_err(unwritable)?;
    let invalid = |error: &ConfigError| error.message().to_owned();
    for _ in 0..ATTEMPTS {
        let before = content(&target).map_err(|error| EditError::Invalid(error.to_string()))?;
        let after = change(&before)?;
        if after == before {
            return Ok(());
        }
        let _locked = files::lock(&main_target, Some(&target)).map_err(unwritable)?;
        let replaced = files::replace(&target, after.as_bytes(), |written| {
            if content(&target).map_err(|error| Failed::Invalid(invalid(&error)))? != before {
                return Err(Failed::Changed);
            }
            // Under its own name: the paths in it are relative to its folder, and to that of the link to it.
            let config = content(written).and_then(|text| whole(file, text, main, overrides));
            check(&config.map_err(|error| Failed::Invalid(invalid(&error)))?).map_err(Failed::Invalid)
        });
        match replaced {
            Ok(()) => return Ok(()),
            Err(Failed::Changed) => {}
            Err(Failed::Invalid(problem)) => return Err(EditError::Invalid(problem)),
            Err(Failed::System(error)) => return Err(unwritable(error)),
        }
    }
    Err(EditError::Busy(file.to_owned()))
}

/// Writes the new file `file` with this `text`, if `check` accepts the configuration of `main` with it. Its mode is that
/// of `main`.
///
/// # Errors
/// See [`EditError`]; there is then no such file.
pub fn create(
    file: &Path,
    text: &str,
    main: &Path,
    overrides: &Overrides,
    check: impl Fn(&Config) -> Result<(), String>,
) -> Result<(), EditError> {
    let unwritable = |error: io::Error| EditError::Unwritable { path: file.to_owned(), error };
    let target = fs::canonicalize(main).map_err(unwritable)?;
    let _locked = files::lock(&target, None).map_err(unwritable)?;
    let config = whole(file, text.to_owned(), main, overrides);
    let config = config.map_err(|error| EditError::Invalid(error.message().to_owned()))?;
    check(&config).map_err(EditError::Invalid)?;
    let mode = fs::metadata(&target).map_err(unwritable)?.permissions().mode() & 0o666;
    files::create(file, text.as_bytes(), mode).map_err(unwritable)
}

/// The configuration of `main` with `text` as that of `file`.
fn whole(file: &Path, text: String, main: &Path, overrides: &Overrides) -> Result<Config, ConfigError> {
    let texts = if file == main { Texts::with(main, text) } else { Texts::read(main)?.replaced(file, text) };
    Config::of(texts, overrides.clone())
}

/// Where `file`, which may be written, and `main` lead.
fn targets(file: &Path, main: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let target = fs::canonicalize(file)?;
    refuse_read_only(&target)?;
    Ok((target, fs::canonicalize(main)?))
}

/// Refuses a read-only file, even if its folder would allow it to be replaced.
fn refuse_read_only(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
    }
    Ok(())
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
    let end = table.start + ends.map(|span| span.end).max().unwrap_or_default();
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
        EditError::refused(format!("the client {id:?} has no secret to replace: it authenticates by its jwks"))
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
    let secrets = secrets(&document).filter(|secrets| secrets.len() > 1).ok_or_else(|| {
        let add = format!("lingpai client rotate {id}");
        EditError::refused(format!("the client {id:?} has no second secret to keep; add one with `{add}`"))
    })?;
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

fn parse(text: &str) -> Result<Document<&str>, EditError> {
    Document::parse(text).map_err(|_| EditError::Invalid("the file is not TOML; `lingpai check` says where".into()))
}

fn refuse_inline(text: &str) -> Result<(), EditError> {
    let document = parse(text)?;
    match document.get("clients") {
        Some(clients) if !clients.is_array_of_tables() => Err(EditError::refused(INLINE)),
        _ => Ok(()),
    }
}

/// The error where the parser's positions do not match the text.
fn unexpected() -> EditError {
    EditError::refused("the array is written in a form that cannot be edited; write it as [\"one\", \"two\"] first")
}

/// Adds the string `item` to `array`, whose positions count from `offset`.
fn push(text: &str, array: &Array, offset: usize, item: &str) -> Option<String> {
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
fn append(text: &str, added: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') { "\n" } else { "\n\n" };
    format!("{text}{}", format!("{gap}{added}").replace('\n', end_of_line(text)))
}

fn end_of_line(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn shifted(span: Option<Range<usize>>, by: usize) -> Option<Range<usize>> {
    span.map(|span| span.start + by..span.end + by)
}

/// Returns where the line of `at` begins.
fn line_start(text: &str, at: usize) -> usize {
    slice(text, 0..at).rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns where the line after that of `at` begins.
fn line_end(text: &str, at: usize) -> usize {
    slice(text, at..text.len()).find('\n').map_or(text.len(), |newline| at + newline + 1)
}

fn slice(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

fn splice(text: &str, range: Range<usize>, by: &str) -> String {
    format!("{}{by}{}", slice(text, 0..range.start), slice(text, range.end..text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# top\nissuer = \"https://t.example\" # why\n\n# the first\n[[clients]]\nid = 'a'\nsecrets = [\"s1\"] # one\n\n\
                        # the second\n  [[ clients ]] # here\n  id = \"b\"\n  secrets = [\n    \"s1\", # old\n    # new\n    \
                        \"s2\", # since May\n  ]\n  # the end of b\n\n[keys] # where\npath = \"keys\" # there\n\n[reload]\n";

    /// Each in both kinds of line ends.
    #[track_caller]
    fn assert_edit(change: impl Fn(&str) -> Result<String, EditError>, before: &str, after: &str) {
        assert_eq!(change(before).unwrap(), after);
        let windows = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(change(&windows(before)).unwrap(), windows(after));
    }

    #[test]
    fn a_client_that_comes_and_goes_leaves_the_file_as_it_was() {
        let client = NewClient { id: "c", secret: Some("s"), jwks: None, lists: &[("scope", &["x".to_owned()])] };
        for text in [FILE, "", "a = 1\n", "a = 1\n\n", "a = 1\n# the last word\n\n\n"] {
            let added = with_client(text, &client).unwrap();
            assert!(added.ends_with("\n[[clients]]\nid = \"c\"\nsecrets = [\"s\"]\nscope = [\"x\"]\n"), "{added}");
            assert_edit(|text| without_client(text, "c"), &added, text);
        }
    }

    #[test]
    fn what_is_around_a_client_stays() {
        let first = FILE.replace("[[clients]]\nid = 'a'\nsecrets = [\"s1\"] # one\n", "");
        assert_edit(|text| without_client(text, "a"), FILE, &first);
        let second = FILE.split("  [[ clients").next().unwrap().to_owned() + FILE.split_once("  ]\n").unwrap().1;
        assert_edit(|text| without_client(text, "b"), FILE, &second);
        assert!(matches!(without_client(FILE, "c"), Err(EditError::Refused(_))));
        let inline = "clients = [{ id = \"a\" }]";
        assert!(matches!(without_client(inline, "a"), Err(EditError::Refused(why)) if why == INLINE));
    }

    #[test]
    fn a_second_secret() {
        assert_edit(|text| with_secret(text, "a", "s9"), FILE, &FILE.replace("[\"s1\"]", "[\"s1\", \"s9\"]"));
        for (before, after) in [
            ("[ \"x\", ]", "[ \"x\", \"s9\", ]"),
            ("[\n\t\"x\"\n]", "[\n\t\"x\",\n\t\"s9\",\n]"),
            ("[\n\t\"x\", # old\n# end\n]", "[\n\t\"x\", # old\n\t\"s9\",\n# end\n]"),
            ("[\n\t\"x\" # old, very\n]", "[\n\t\"x\", # old, very\n\t\"s9\",\n]"),
            ("[\n\t\"x\"\n\t, ]", "[\n\t\"x\", \"s9\"\n\t, ]"),
            ("[\n\t\"x\"]", "[\n\t\"x\", \"s9\"]"),
        ] {
            let file = |secrets: &str| format!("[[clients]]\nid = \"a\"\nsecrets = {secrets}\nscope = []");
            assert_edit(|text| with_secret(text, "a", "s9"), &file(before), &file(after));
        }
        assert!(matches!(with_secret(FILE, "b", "s9"), Err(EditError::Refused(why)) if why.contains("retire")));
        for none in ["[[clients]]\nid = \"a\"", "[[clients]]\nid = \"a\"\nsecrets = []"] {
            assert!(matches!(with_secret(none, "a", "s9"), Err(EditError::Refused(why)) if why.contains("jwks")));
        }
    }

    #[test]
    fn the_oldest_secret() {
        assert_edit(|text| without_oldest_secret(text, "b"), FILE, &FILE.replace("    \"s1\", # old\n", ""));
        for (before, after) in [
            ("[\"x\", \"y\"]", "[\"y\"]"),
            ("[ \"x\" , 'y' ]", "[ 'y' ]"),
            ("[\n\"x\",\n\"y\"]", "[\n\"y\"]"),
            ("[\"x\", # old\n\"y\"]", "[# old\n\"y\"]"),
        ] {
            let file = |secrets: &str| format!("[[clients]]\nid = \"a\"\nsecrets = {secrets}\nscope = []");
            assert_edit(|text| without_oldest_secret(text, "a"), &file(before), &file(after));
        }
        assert!(matches!(without_oldest_secret(FILE, "a"), Err(EditError::Refused(why)) if why.contains("rotate")));
    }

    #[test]
    fn a_file_that_something_else_changes_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lingpai.toml");
        fs::write(&path, "issuer = \"https://t.example\"\n").unwrap();
        let interfere = |text: &str| {
            if text.matches("# theirs").count() < 2 {
                fs::write(&path, format!("{text}# theirs\n")).unwrap();
            }
            Ok(format!("{text}# ours\n"))
        };
        edit(&path, &path, &Overrides::default(), interfere, |_| Ok(())).unwrap();
        let both = "issuer = \"https://t.example\"\n# theirs\n# theirs\n# ours\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), both);
        // Without end.
        let interfere = |text: &str| {
            fs::write(&path, format!("{text}# theirs\n")).unwrap();
            Ok(format!("{text}# ours\n"))
        };
        let busy = edit(&path, &path, &Overrides::default(), interfere, |_| Ok(())).unwrap_err();
        assert!(matches!(busy, EditError::Busy(_)), "{busy}");
        // What is refused, or is no configuration, is not written.
        let before = fs::read_to_string(&path).unwrap();
        let refused = edit(&path, &path, &Overrides::default(), |_| Ok("a = 1".to_owned()), |_| Ok(())).unwrap_err();
        assert!(refused.to_string().starts_with("nothing was written: unknown field `a`"), "{refused}");
        let refused = edit(&path, &path, &Overrides::default(), |text| Ok(format!("{text}#\n")), |_| Err("no".into()));
        assert_eq!(refused.unwrap_err().to_string(), "nothing was written: no");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Together they are one configuration, also while two of them are edited at once.
    #[test]
    fn an_included_file_is_edited_as_a_part_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (main, team) = (folder.path().join("lingpai.toml"), folder.path().join("d/team.toml"));
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(&main, "issuer = \"https://t.example\"\ninclude = [\"d/*.toml\"]\n").unwrap();
        let overrides = Overrides::default();
        let is_locked = || fs::File::open(folder.path()).unwrap().try_lock().is_err();
        let check = |config: &Config| {
            assert!(is_locked());
            if config.clients_len() == 1 { Ok(()) } else { Err(config.clients_len().to_string()) }
        };
        let refused = create(&team, "# none\n", &main, &overrides, check).unwrap_err();
        assert_eq!(refused.to_string(), "nothing was written: 0");
        assert!(!team.exists());
        fs::set_permissions(&main, fs::Permissions::from_mode(0o640)).unwrap();
        create(&team, "[[clients]]\nid = \"a\"\n", &main, &overrides, check).unwrap();
        assert_eq!(fs::metadata(&team).unwrap().permissions().mode() & 0o777, 0o640);
        let again = create(&team, "[[clients]]\nid = \"b\"\n", &main, &overrides, check).unwrap_err();
        assert!(
            again.to_string().starts_with("nothing was written: ") || again.to_string().contains("exists"),
            "{again}"
        );

        edit(&team, &main, &overrides, |text| Ok(text.to_owned() + "scope = []\n"), check).unwrap();
        let refused = edit(&team, &main, &overrides, |text| without_client(text, "a"), check).unwrap_err();
        assert_eq!(refused.to_string(), "nothing was written: 0");
        let refused = edit(&main, &main, &overrides, |text| Ok(text.replace("d/*", "e/*")), check).unwrap_err();
        assert_eq!(refused.to_string(), "nothing was written: 0");
        let refused = edit(&team, &main, &overrides, |text| Ok(text.to_owned() + "[token]\n"), check).unwrap_err();
        assert!(refused.to_string().starts_with("nothing was written: an included file holds only"), "{refused}");
        assert_eq!(fs::read_to_string(&team).unwrap(), "[[clients]]\nid = \"a\"\nscope = []\n");
    }

    #[test]
    fn a_revoked_key() {
        let revoke = |text: &str| with_revoked(text, "K");
        let line = "path = \"keys\" # there\n";
        assert_edit(revoke, FILE, &FILE.replace(line, &format!("{line}revoked = [\"K\"]\n")));
        for (before, after) in [
            ("a = 1\n", "a = 1\n\n[keys]\nrevoked = [\"K\"]\n"),
            ("[keys]\n\n[a]\n", "[keys]\nrevoked = [\"K\"]\n\n[a]\n"),
            ("[keys]\nrevoked = [] # none\n", "[keys]\nrevoked = [\"K\"] # none\n"),
            ("[keys]\nrevoked = [\"J\"]\n", "[keys]\nrevoked = [\"J\", \"K\"]\n"),
            ("[keys]\nrevoked = [\"K\"]\n", "[keys]\nrevoked = [\"K\"]\n"),
            ("keys = { revoked = [] }\n", "keys = { revoked = [\"K\"] }\n"),
            ("keys.revoked = [\"J\"]\n", "keys.revoked = [\"J\", \"K\"]\n"),
        ] {
            assert_edit(revoke, before, after);
        }
        assert_eq!(revoke("[keys]").unwrap(), "[keys]\nrevoked = [\"K\"]\n");
        assert!(matches!(revoke("keys.path = \"k\""), Err(EditError::Refused(_))));
    }
}
