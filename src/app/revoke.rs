//! Edits of the revocation list: appends an entry, drops entries without effect.
//!
//! Both hold the file's lock. If the file was replaced while they waited for the lock, they open it
//! again.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use super::revocations::{self, Status, each_line};
use crate::clock::Timestamp;
use crate::files;
use crate::revocation::{Entry, LineError};
use crate::service::RevocationList;

/// The name of the file that entries are appended to if the list is a folder.
const IN_FOLDER: &str = "revoked";

/// World-readable, because servers run as a different user than the operator.
const MODE: u32 = 0o644;

/// Where the list is edited.
#[derive(Debug)]
pub struct RevocationFile {
    list: PathBuf,
    file: PathBuf,
}

/// The outcome of pruning a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Entries that were dropped.
    pub dropped: usize,
    /// Entries that still matter.
    pub kept: usize,
}

impl RevocationFile {
    /// Returns the file to edit of the list at `path`: the file itself, or one in the folder.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let file = if path.is_dir() { path.join(IN_FOLDER) } else { path.to_owned() };
        // If the path is a link, its target: a replacement must not replace the link.
        Self { list: path.to_owned(), file: fs::canonicalize(&file).unwrap_or(file) }
    }

    /// Returns the file that entries are appended to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Loads the list as a server would; None if there is none yet.
    ///
    /// # Errors
    /// The reason why a server would refuse the list.
    pub fn load(&self) -> Result<Option<RevocationList>, StartError> {
        if Status::of(&self.list)?.is_gone {
            Ok(None)
        } else {
            revocations::load(&self.list, Timestamp::default(), 0).map(Some)
        }
    }

    /// Appends `entry`, and syncs it to disk. Returns false if an entry of the list already says the same, for as long or
    /// longer: then nothing was appended.
    ///
    /// # Errors
    /// A server would refuse the list, or the system failed; nothing was appended then.
    pub fn append(&self, entry: &Entry<'_>) -> Result<bool, StartError> {
        let mut is_there = false;
        if self.load()?.is_some() {
            self.each(|one| is_there |= one.kind == entry.kind && one.id == entry.id && one.at >= entry.at)?;
        }
        if is_there {
            return Ok(false);
        }
        let unwritable = |error: &dyn std::fmt::Display| {
            StartError::new(format!("{}: cannot be changed: {error}; nothing was written", self.file.display()))
        };
        let mut file = Self::locked(&self.file).map_err(|error| unwritable(&error))?;
        let before = last_line(&mut file).map_err(|error| unwritable(&error))?;
        // A complete line that only lacks its newline gets it. Anything else would make the list
        // invalid.
        let text = std::str::from_utf8(&before).map_err(|_| unwritable(&"its last line is not UTF-8 text"))?;
        Entry::parse(text).map_err(|error| unwritable(&format!("its last line has no newline, and {error}")))?;
        let begin = if before.is_empty() { "" } else { "\n" };
        let length = file.metadata().map_err(|error| unwritable(&error))?.len();
        let written = file.write_all(format!("{begin}{entry}\n").as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // A full disk takes the beginning of a line.
            file.set_len(length).map_err(|error| {
                let path = self.file.display();
                StartError::new(format!("{path}: a part of a line was written, and cannot be removed: {error}"))
            })?;
            return Err(unwritable(&error));
        }
        Ok(true)
    }

    /// Opens and locks a file; creates it if it does not exist. Its path has no links left, so a link there is refused:
    /// the folder's owner may have made it in the meantime.
    fn locked(path: &Path) -> std::io::Result<File> {
        loop {
            match files::create(path, b"", MODE) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let file = files::open_to_append(path)?;
            file.lock()?;
            let (opened, there) = (file.metadata()?, fs::symlink_metadata(path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
                return Ok(file);
            }
        }
    }

    /// Calls `each` with every entry of the list, in the order of files and lines.
    ///
    /// # Errors
    /// The reason why a server would refuse the list.
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

    /// Drops the entries for which `has_ended` returns true from every file of the list. Comments
    /// stay.
    ///
    /// # Errors
    /// A server would refuse the list, or the system failed.
    pub fn prune(&self, has_ended: impl Fn(&Entry<'_>) -> bool) -> Result<Pruned, StartError> {
        self.load()?;
        let mut all = Pruned { dropped: 0, kept: 0 };
        for path in Status::of(&self.list)?.files {
            let path = fs::canonicalize(&path).unwrap_or(path);
            // Held until the file has been replaced.
            let mut file = Self::locked(&path)?;
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
                left.extend_from_slice(&last_line(&mut file)?);
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

/// Reads what follows the last newline, up to a bound well above the length of a line.
fn last_line(file: &mut File) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4_096)))?;
    let mut end = Vec::new();
    file.take(4_096).read_to_end(&mut end)?;
    let start = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(end.split_off(start))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The folder's owner could otherwise let root write to any file.
    #[test]
    fn a_link_that_has_taken_the_list_s_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (list, other) = (folder.path().join("revoked"), folder.path().join("other"));
        fs::write(&list, "").unwrap();
        fs::write(&other, "").unwrap();
        let file = RevocationFile::of(&list);
        let entry = Entry { kind: crate::revocation::Kind::Client, id: "orders", at: Timestamp::default() };
        assert!(file.append(&entry).unwrap());
        fs::remove_file(&list).unwrap();
        symlink(&other, &list).unwrap();
        let refused = file.append(&entry).unwrap_err().to_string();
        assert!(refused.contains("it has become a symbolic link") && refused.ends_with("nothing was written"));
        assert!(fs::read(other).unwrap().is_empty());
        // A link that the operator made is followed.
        assert!(RevocationFile::of(&list).append(&entry).unwrap());
    }
}
