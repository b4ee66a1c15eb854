//! Changes of the list of revocations: an entry is appended, and what has ended is dropped.
//!
//! Both hold the file's lock. A file that was replaced while they waited for it is opened anew.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use super::revocations::{self, Status, each_line};
use crate::clock::Timestamp;
use crate::files;
use crate::revocation::{Entry, LineError};
use crate::service::RevocationList;

/// The name of the file that entries are appended to where the list is a folder.
const IN_FOLDER: &str = "revoked";

/// World-readable, because servers run as another user than their operator.
const MODE: u32 = 0o644;

/// Where the list is written.
#[derive(Debug)]
pub struct RevocationFile {
    list: PathBuf,
    file: PathBuf,
}

/// What became of a list whose ended entries were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Entries that were dropped.
    pub dropped: usize,
    /// Entries that still matter.
    pub kept: usize,
}

impl RevocationFile {
    /// That of the list at `path`: the file, or one in the folder.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let file = if path.is_dir() { path.join(IN_FOLDER) } else { path.to_owned() };
        // The file itself, where the path is a link to it: what replaces it must not replace the link.
        Self { list: path.to_owned(), file: fs::canonicalize(&file).unwrap_or(file) }
    }

    /// The file that entries are appended to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// The list, as a server would read it; None if there is none yet.
    ///
    /// # Errors
    /// What a server would refuse.
    pub fn load(&self) -> Result<Option<RevocationList>, StartError> {
        if Status::of(&self.list)?.is_gone {
            Ok(None)
        } else {
            revocations::load(&self.list, Timestamp::default(), 0).map(Some)
        }
    }

    /// Appends `entry`, and waits until the disk has it.
    ///
    /// # Errors
    /// A list that a server would refuse, and what the system refuses; nothing was appended then.
    pub fn append(&self, entry: &Entry<'_>) -> Result<(), StartError> {
        self.load()?;
        let unwritable = |error: &dyn std::fmt::Display| {
            StartError::new(format!("{}: cannot be changed: {error}; nothing was written", self.file.display()))
        };
        let mut file = Self::locked(&self.file).map_err(|error| unwritable(&error))?;
        let before = last_line(&mut file).map_err(|error| unwritable(&error))?;
        // A whole line that only lacks its newline gets it. What is no line would refuse the list.
        let text = std::str::from_utf8(&before).map_err(|_| unwritable(&"its last line is not UTF-8 text"))?;
        Entry::parse(text).map_err(|error| unwritable(&format!("its last line has no newline, and {error}")))?;
        let begin = if before.is_empty() { "" } else { "\n" };
        file.write_all(format!("{begin}{entry}\n").as_bytes()).map_err(|error| unwritable(&error))?;
        file.sync_all().map_err(|error| unwritable(&error))
    }

    /// Opens a file and locks it; makes it if it is not there.
    fn locked(path: &Path) -> std::io::Result<File> {
        loop {
            match files::create(path, b"", MODE) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let file = OpenOptions::new().read(true).append(true).open(path)?;
            file.lock()?;
            let (opened, there) = (file.metadata()?, fs::metadata(path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
                return Ok(file);
            }
        }
    }

    /// Each entry of the list, in the order of files and lines.
    ///
    /// # Errors
    /// What a server would refuse.
    pub fn each(&self, mut each: impl FnMut(&Entry<'_>)) -> Result<(), StartError> {
        let mut bytes = 0;
        for path in &Status::of(&self.list)?.files {
            each_line(path, &mut bytes, |line, _, text| {
                let entry = parsed(line, text)?;
                entry.iter().for_each(&mut each);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Drops the entries of which `has_ended` says so, from every file of the list. Comments stay.
    ///
    /// # Errors
    /// What a server would refuse, and what the system refuses.
    pub fn prune(&self, has_ended: impl Fn(&Entry<'_>) -> bool) -> Result<Pruned, StartError> {
        self.load()?;
        let mut all = Pruned { dropped: 0, kept: 0 };
        for path in Status::of(&self.list)?.files {
            let path = fs::canonicalize(&path).unwrap_or(path);
            // Held until the file is replaced.
            let _lock = Self::locked(&path)?;
            let (mut left, mut bytes, mut here) = (Vec::new(), 0, Pruned { dropped: 0, kept: 0 });
            each_line(&path, &mut bytes, |line, raw, text| {
                let entry = parsed(line, text)?;
                if entry.as_ref().is_some_and(&has_ended) {
                    here.dropped += 1;
                    return Ok(());
                }
                here.kept += usize::from(entry.is_some());
                left.extend_from_slice(raw);
                left.push(b'\n');
                Ok(())
            })?;
            all.kept += here.kept;
            if here.dropped > 0 {
                left.extend_from_slice(&last_line(&mut File::open(&path)?)?);
                files::replace(&path, &left, |_| Ok::<_, StartError>(()))?;
                all.dropped += here.dropped;
            }
        }
        Ok(all)
    }
}

fn parsed(line: usize, text: &str) -> Result<Option<Entry<'_>>, LineError> {
    Entry::parse(text).map_err(|message| LineError { line, message })
}

/// What stands after the last newline, up to a bound far over a line's.
fn last_line(file: &mut File) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4_096)))?;
    let mut end = Vec::new();
    file.take(4_096).read_to_end(&mut end)?;
    let start = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(end.split_off(start))
}
