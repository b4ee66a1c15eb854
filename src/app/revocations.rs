//! The revocation list: read from a file or a folder of files, and reloaded when they change.
//!
//! It is not a [`Part`](super::part::Part), because it is never half applied: complete lines count
//! at the next look, and a last line without a newline waits. An appending writer never delays it,
//! and a file in the middle of a copy only lacks lines. So lines that still matter count for a
//! minute after they are gone, until the copy ends; lines that were added count at once. Anything
//! else that is not a line of the list makes the whole list invalid, and the previous one stays in
//! force.
//!
//! Without changes a look costs one `stat` per file, and one `readdir` for a folder.

use std::fs::{self, Metadata};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use super::part::{HOLD, Watch};
use super::sight::Pace;
use crate::clock::Timestamp;
use crate::crypto::Digester;
use crate::files::{self, ReadError};
use crate::revocation::{Builder, LineError, Lost, MAX_ENTRIES, TooMany};
use crate::service::{RevocationList, State};

/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 1_024;
/// Maximum size of all files together, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Maximum files in a folder.
const MAX_FILES: usize = 4_096;

/// The name of the part in the log and the metrics.
const NAME: &str = "revocations";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the list at `path`, a file or a folder of files, at `now`, if a session can last `longest`
/// seconds.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub(super) fn load(path: &Path, now: Timestamp, longest: i64) -> Result<RevocationList, StartError> {
    let status = Status::of(path)?;
    if status.is_gone {
        return Err(gone(path));
    }
    status.read(now, longest)
}

fn gone(path: &Path) -> StartError {
    StartError::new(format!("{}: there is no such revocation list; an empty file is an empty list", path.display()))
}

/// The files of a list, in the order in which they count, and their metadata.
pub(super) struct Status {
    pub(super) files: Vec<PathBuf>,
    newest: Option<Timestamp>,
    digest: [u8; 32],
    /// Whether there is neither a file nor a folder.
    pub(super) is_gone: bool,
}

impl Status {
    pub(super) fn of(path: &Path) -> Result<Self, StartError> {
        let mut seen = Seen::default();
        let is_gone = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(unreadable(path, &error)),
            Ok(folder) if folder.is_dir() => {
                for file in listed(path)? {
                    seen.see(file)?;
                }
                false
            }
            Ok(file) => {
                seen.add(path.to_owned(), &file)?;
                false
            }
        };
        seen.all.add(&[u8::from(is_gone)]);
        Ok(Self { files: seen.files, newest: seen.newest, digest: seen.all.finish(), is_gone })
    }

    /// Reads all files, or fails.
    fn read(&self, now: Timestamp, longest: i64) -> Result<RevocationList, StartError> {
        let mut reader = Reader { builder: Builder::at(now, longest), ..Reader::default() };
        for file in &self.files {
            reader.read(file)?;
        }
        Ok(RevocationList {
            entries: reader.builder.finish(),
            digest: reader.digest.finish(),
            newest: self.newest,
            status: self.digest,
            waiting: reader.waiting,
        })
    }
}

/// Lists the files of a folder, sorted by name. Names that begin with a dot are skipped.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, StartError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let name = entry.map_err(|error| unreadable(folder, &error))?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if names.len() == MAX_FILES {
            return Err(StartError::new(format!("{}: expected at most {MAX_FILES} files", folder.display())));
        }
        names.push(name);
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Files with their metadata.
#[derive(Default)]
struct Seen {
    files: Vec<PathBuf>,
    newest: Option<Timestamp>,
    bytes: u64,
    all: Digester,
}

impl Seen {
    /// Adds a file of a folder.
    fn see(&mut self, path: PathBuf) -> Result<(), StartError> {
        match fs::metadata(&path) {
            Ok(file) => self.add(path, &file),
            // It was removed after the folder was read. A broken link still exists.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&path).is_err() => Ok(()),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    fn add(&mut self, path: PathBuf, file: &Metadata) -> Result<(), StartError> {
        if !file.is_file() {
            return Err(StartError::new(format!("{}: is not a regular file", path.display())));
        }
        self.bytes = self.bytes.saturating_add(file.len());
        if self.bytes > MAX_BYTES {
            return Err(too_large(&path));
        }
        self.newest = self.newest.max(Some(Timestamp::from_unix(file.mtime())));
        self.all.add(path.as_os_str().as_encoded_bytes());
        for number in [file.dev(), file.ino(), file.len()] {
            self.all.add(&number.to_be_bytes());
        }
        for number in [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()] {
            self.all.add(&number.to_be_bytes());
        }
        self.files.push(path);
        Ok(())
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    builder: Builder,
    digest: Digester,
    bytes: u64,
    waiting: Option<String>,
}

impl Reader {
    fn read(&mut self, path: &Path) -> Result<(), StartError> {
        let Self { builder, digest, bytes, waiting } = self;
        let unfinished = each_line(path, bytes, |number, line, text| {
            digest.add(line);
            builder.add(number, text)
        })?;
        *waiting = waiting.take().or(unfinished);
        Ok(())
    }
}

/// Calls `each` with every complete line of a file: its number, its bytes and its text. Returns a
/// message about a last line without a newline.
pub(super) fn each_line(
    path: &Path,
    bytes: &mut u64,
    mut each: impl FnMut(usize, &[u8], &str) -> Result<(), LineError>,
) -> Result<Option<String>, StartError> {
    let (file, _) = files::open(path).map_err(|error| match error {
        ReadError::Io(error) => unreadable(path, &error),
        other => StartError::new(format!("{}: {other}", path.display())),
    })?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = file.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| unreadable(path, &error))? as u64;
        if read == 0 {
            return Ok(None);
        }
        number += 1;
        *bytes += read;
        if *bytes > MAX_BYTES {
            return Err(too_large(path));
        }
        let refused = |message: String| refusal(path, &LineError { line: number, message });
        match line.strip_suffix(b"\n") {
            Some(complete) => {
                let text = text(complete, number).map_err(refused)?;
                each(number, complete, text).map_err(|error| refusal(path, &error))?;
            }
            None if read > MAX_LINE => return Err(refused(format!("expected a line of at most {MAX_LINE} bytes"))),
            None => {
                let path = path.display();
                return Ok(Some(format!("{path}: line {number} has no newline at its end yet, so it does not count")));
            }
        }
    }
}

/// Returns the text of a line without its end.
pub(super) fn text(line: &[u8], number: usize) -> Result<&str, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let text = std::str::from_utf8(line).map_err(|_| "expected UTF-8 text")?;
    // A character that editors show as a line break would hide an entry in a comment.
    match text.find(|c: char| c.is_control() && c != '\t') {
        Some(_) => Err("expected no control character".to_owned()),
        None => Ok(text),
    }
}

fn refusal(path: &Path, error: &LineError) -> StartError {
    StartError::new(format!("{}: {error}", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> StartError {
    StartError::new(format!("{}: cannot be read: {error}", path.display()))
}

fn too_large(path: &Path) -> StartError {
    StartError::new(format!(
        "{}: expected at most {} MiB in all; `lingpai revoke --prune` drops entries without effect",
        path.display(),
        MAX_BYTES >> 20
    ))
}

/// The list being watched.
#[derive(Debug)]
pub(super) struct List {
    path: PathBuf,
    refused: Option<Refused>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Refused {
    /// A digest of the files' metadata; None if it could not be read.
    status: Option<[u8; 32]>,
    why: String,
}

/// Puts what `list` adds to `before` in force, beside what it lacks. Returns whether it adds anything.
fn extend(before: &RevocationList, list: RevocationList, state: &State) -> bool {
    let entries = match before.entries.extended_by(&list.entries) {
        Ok(Some(entries)) => entries,
        Ok(None) => return false,
        Err(TooMany) => {
            let problem = format!("both lists have more than {MAX_ENTRIES} entries, so what was added waits, too");
            tracing::warn!(part = NAME, problem, "reloading");
            return false;
        }
    };
    tracing::info!(part = NAME, entries = entries.len(), "added entries count");
    let mut digest = Digester::default();
    digest.add(&before.digest);
    digest.add(&list.digest);
    // No files have this status, so that none of them passes for what is in force.
    let (digest, status) = (digest.finish(), [0; 32]);
    state.revoke(RevocationList { entries, digest, newest: before.newest.max(list.newest), status, ..list });
    true
}

/// A list that lacks entries of the one in force, and is held back.
#[derive(Debug)]
struct Held {
    status: [u8; 32],
    lost: Lost,
    since: Timestamp,
    why: String,
}

impl List {
    /// Starts to watch the list at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, refused: None, held: None }
    }

    fn reload(&mut self, pace: Pace, state: &State) -> Result<bool, Refused> {
        let error = |status, error: &StartError| Refused { status, why: error.to_string() };
        let status = Status::of(&self.path).map_err(|unread| error(None, &unread))?;
        if !pace.asked && self.is_known(&status, pace.now, state) {
            return Ok(false);
        }
        let longest = state.snapshot().longest_session();
        let list = status.read(pace.now, longest).map_err(|refused| error(Some(status.digest), &refused))?;
        let before = state.revocations();
        let missing = before.entries.lost(&list.entries, pace.now, longest);
        let is_new = status.digest != before.status;
        if (missing.count > 0 || status.is_gone && is_new) && !self.has_waited(missing, pace.now) {
            self.hold(&status, missing, pace, state);
            return Ok(extend(&before, list, state));
        }
        self.held = None;
        let (entries, missing) = (list.entries.len(), (missing.count > 0).then_some(missing.count));
        state.revoke(list);
        if status.is_gone {
            return Err(error(Some(status.digest), &gone(&self.path)));
        }
        if self.refused.take().is_some() {
            tracing::info!(part = NAME, "the problem with the files is fixed");
        }
        tracing::info!(part = NAME, entries, missing, "reloaded");
        Ok(true)
    }

    /// Whether these files have been judged, and time has not changed the verdict.
    fn is_known(&mut self, status: &Status, now: Timestamp, state: &State) -> bool {
        if status.digest == state.revocations().status {
            self.held = None;
            if !status.is_gone && self.refused.take().is_some() {
                tracing::info!(part = NAME, "the files match what is in force again");
            }
            return true;
        }
        let is_refused = self.refused.as_ref().is_some_and(|refused| refused.status == Some(status.digest));
        let is_held = self.held.as_ref().is_some_and(|held| held.status == status.digest);
        is_refused || is_held && !self.held.as_ref().is_some_and(|held| held.has_waited(now))
    }

    /// Whether `lost` was lost a minute ago.
    fn has_waited(&self, lost: Lost, now: Timestamp) -> bool {
        self.held.as_ref().is_some_and(|held| !lost.exceeds(held.lost) && held.has_waited(now))
    }

    fn hold(&mut self, status: &Status, lost: Lost, pace: Pace, state: &State) {
        self.refused = None;
        let path = self.path.display();
        let why = if status.is_gone {
            format!("{path}: the revocation list is gone")
        } else {
            format!("{path}: {} entries that still matter are gone", lost.count)
        };
        // When more is lost, the minute starts over: another copy may have begun.
        let since = self.held.as_ref().filter(|held| !lost.exceeds(held.lost)).map_or(pace.now, |held| held.since);
        let is_first = self.held.is_none();
        let held = Held { status: status.digest, lost, since, why };
        if pace.asked || is_first {
            let warning = held.message();
            tracing::warn!(part = NAME, warning, "reloading");
            state.count_refused_reload(NAME);
        }
        self.held = Some(held);
    }

    fn refuse(&mut self, asked: bool, refused: Refused, state: &State) {
        self.held = None;
        let is_known = self.refused.as_ref().is_some_and(|before| before.why == refused.why);
        if asked || !is_known {
            let error = &refused.why;
            tracing::error!(part = NAME, error, "reload refused: the previous state stays in force");
            state.count_refused_reload(NAME);
        }
        self.refused = Some(refused);
    }
}

impl Held {
    fn has_waited(&self, now: Timestamp) -> bool {
        now.since(self.since) >= HOLD
    }

    fn message(&self) -> String {
        format!(
            "{}: held back until {}, in case a copy is under way; what was loaded before still counts, and what \
             was added counts too; if it is meant, wait, or restart to apply it now",
            self.why,
            self.since.plus(HOLD)
        )
    }
}

impl Watch for List {
    fn look(&mut self, pace: Pace, state: &State) -> bool {
        if let Some(held) = &mut self.held {
            // If the clock is set back, the minute starts over instead of becoming a day.
            held.since = held.since.min(pace.now);
        }
        self.reload(pace, state).unwrap_or_else(|refused| {
            self.refuse(pace.asked, refused, state);
            false
        })
    }

    fn fail(&mut self, state: &State) {
        let why = "an internal error; the log says where".to_owned();
        self.refuse(true, Refused { status: None, why }, state);
    }

    fn refused(&self) -> Option<String> {
        self.refused.as_ref().map(|refused| format!("{NAME}: {}", refused.why))
    }

    fn pending(&self) -> Option<String> {
        self.held.as_ref().map(|held| format!("{NAME}: {}", held.message()))
    }

    fn held_until(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.since.plus(HOLD))
    }

    fn is_unfinished(&self) -> bool {
        false
    }
}
