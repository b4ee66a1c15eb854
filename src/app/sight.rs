//! What a look sees of files, and which of them are complete.
//!
//! Most prefixes of a configuration are valid, so a file that is still being
//! written must not be applied, and Linux does not tell when a writer is done. A
//! file counts as complete when one of these holds:
//!
//! - It has the same content at two looks an interval apart. A look on request
//!   (SIGHUP) counts as the second one only if the first is longer ago than that
//!   and the modification time is the same.
//! - It was renamed into place: its path has another inode than at the last look,
//!   and that inode's change time (ctime) is not its modification time (mtime). A
//!   write sets both to the same instant; a rename, a link or a `chmod` afterwards
//!   sets the ctime only. The inode alone proves nothing: vim, git, tar, and `mv`
//!   between file systems make a new one, and then write it. Where both times are
//!   equal, because the clock of the file system is coarse (a tick is up to 10 ms)
//!   or a rename leaves the ctime alone (FUSE, some NFS servers), the next look decides.
//!
//!   An inode is its number and its time of birth. ext4 reuses the number of a removed
//!   file, so after an even number of renames the path has the first one again. Other
//!   times would not tell: a `chmod` or a `touch -d` during a slow write changes them, too,
//!   and the same inode then has half of the new content. Where the file system keeps no
//!   time of birth, the next look decides.
//! - A link was swapped: its path, or its folder, resolves to another path than at
//!   the last look. This is how Kubernetes swaps `..data`.
//!
//! Times are compared only with each other, never with this machine's clock, so a
//! file server's clock does not matter. A file that is gone needs no second look,
//! unless a part says so with [`Content::gone`]: a name disappears atomically.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock::Timestamp;
use crate::crypto::Digester;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    /// It may come from a private key, so it stays inside the process.
    pub(super) digest: [u8; 32],
}

impl Content {
    /// `exposed` says whether others can read it: a change of the mode is a change.
    pub(super) fn new(path: &Path, bytes: &[u8], exposed: bool) -> Self {
        let mut digest = Digester::default();
        digest.add(bytes);
        digest.add(&[u8::from(exposed)]);
        Self { path: path.to_owned(), digest: digest.finish() }
    }

    /// A file that was there, whose absence needs a second look.
    pub(super) fn gone(path: &Path) -> Self {
        Self { path: path.to_owned(), digest: GONE }
    }
}

/// The digest of a file that is gone: of no content.
const GONE: [u8; 32] = [0; 32];

/// Returns a digest of names and contents, to tell whether anything has changed.
pub(super) fn digest(files: &[Content]) -> [u8; 32] {
    let mut all = Digester::default();
    for file in files {
        all.add(file.path.as_os_str().as_encoded_bytes());
        all.add(&file.digest);
    }
    all.finish()
}

/// How a look came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// It was requested; otherwise it comes an interval after the last look.
    pub(super) asked: bool,
    /// Seconds between two looks that may confirm each other.
    pub(super) seconds: i64,
    pub(super) now: Timestamp,
}

/// Files as they were at the last look.
#[derive(Debug, Default)]
pub(super) struct Sight {
    files: HashMap<PathBuf, Seen>,
    /// What each of their folders resolves to.
    folders: HashMap<PathBuf, Option<PathBuf>>,
}

#[derive(Debug)]
struct Seen {
    digest: [u8; 32],
    place: Option<Place>,
    /// When this content was first seen.
    since: Timestamp,
    whole: bool,
}

/// What a path resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Device and number.
    inode: (u64, u64),
    /// None if the file system does not keep it.
    born: Option<SystemTime>,
    modified: (i64, i64),
    /// Whether the inode changed after the last write.
    finished: bool,
    /// What the path resolves to, if it is a link.
    link: Option<PathBuf>,
}

/// A file that may still be being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    /// Whether this content is seen for the first time.
    pub(super) fresh: bool,
    /// Whether it is there no more.
    pub(super) gone: bool,
}

impl Sight {
    /// Records the files as they are now. `again` reads them once more: what a path resolves
    /// to belongs to the content only if both are the same before and after. Otherwise the times
    /// may be those of an inode that is removed just then, and the content that of the next one.
    pub(super) fn look(
        &mut self,
        files: &[Content],
        pace: Pace,
        again: impl FnOnce() -> Option<Vec<Content>>,
    ) -> Option<Unfinished> {
        let mut folders = HashMap::new();
        for folder in files.iter().map(|file| folder(&file.path)) {
            if !folders.contains_key(folder) {
                folders.insert(folder.to_owned(), fs::canonicalize(folder).ok());
            }
        }
        let resolve = || files.iter().map(|file| Place::of(&file.path)).collect::<Vec<_>>();
        let places = resolve();
        let is_new = |file: &Content| self.files.get(&file.path).is_none_or(|before| before.digest != file.digest);
        let steady = !files.iter().any(is_new) || again().is_some_and(|again| again == files) && resolve() == places;
        let mut unfinished: Option<Unfinished> = None;
        let mut seen = HashMap::with_capacity(files.len());
        for (file, place) in files.iter().zip(places) {
            let before = self.files.get(&file.path);
            let same = before.filter(|before| before.digest == file.digest);
            let folder = folder(&file.path);
            let moved = self.folders.get(folder).is_some_and(|before| folders.get(folder) != Some(before));
            let came = steady && (moved || place.as_ref().is_some_and(|place| place.came(before)));
            let whole = came || same.is_some_and(|before| before.confirmed(place.as_ref(), pace));
            if !whole {
                let fresh = same.is_none() || unfinished.as_ref().is_some_and(|one| one.fresh);
                unfinished = Some(Unfinished { path: file.path.clone(), fresh, gone: file.digest == GONE });
            }
            let since = same.map_or(pace.now, |before| before.since.min(pace.now));
            seen.insert(file.path.clone(), Seen { digest: file.digest, place, since, whole });
        }
        (self.files, self.folders) = (seen, folders);
        unfinished
    }

    /// Accepts what was seen last as complete: it is in force.
    pub(super) fn trust(&mut self) {
        self.files.values_mut().for_each(|seen| seen.whole = true);
    }
}

impl Seen {
    /// Whether a look that finds the same content proves that it is complete.
    fn confirmed(&self, current: Option<&Place>, pace: Pace) -> bool {
        let modified = |place: Option<&Place>| place.map(|place| place.modified);
        // The clock counts whole seconds, so one more is needed.
        let apart = pace.now.since(self.since) > pace.seconds;
        self.whole || !pace.asked || apart && modified(current) == modified(self.place.as_ref())
    }
}

impl Place {
    fn of(path: &Path) -> Option<Self> {
        let link = fs::symlink_metadata(path).ok()?.is_symlink();
        let status = fs::metadata(path).ok()?;
        let modified = (status.mtime(), status.mtime_nsec());
        Some(Self {
            inode: (status.dev(), status.ino()),
            born: status.created().ok(),
            modified,
            finished: modified != (status.ctime(), status.ctime_nsec()),
            link: if link { Some(fs::canonicalize(path).ok()?) } else { None },
        })
    }

    /// Whether a rename or a swapped link put it in place since the path was seen `before`.
    fn came(&self, before: Option<&Seen>) -> bool {
        let before = before.and_then(|seen| seen.place.as_ref());
        let linked = self.link.is_some() && self.link != before.and_then(|place| place.link.clone());
        linked || self.finished && before.is_none_or(|place| (place.inode, place.born) != (self.inode, self.born))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Watcher {
        folder: tempfile::TempDir,
        sight: Sight,
        now: i64,
    }

    impl Watcher {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), sight: Sight::default(), now: 1_000 }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Whether all of `names` are whole.
        fn look(&mut self, asked: bool, names: &[&str]) -> bool {
            let read = |path: &PathBuf| Content::new(path, &fs::read(path).unwrap(), false);
            let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
            let files: Vec<_> = paths.iter().map(read).collect();
            let pace = Pace { asked, seconds: 2, now: Timestamp::from_unix(self.now) };
            self.sight.look(&files, pace, || Some(paths.iter().map(read).collect())).is_none()
        }

        /// Writes a file that has not been touched since its last write, whatever the clock's grain.
        fn write(&self, name: &str, content: &str) {
            fs::write(self.path(name), content).unwrap();
            // What happens in one tick of a coarse clock has equal times.
            let ctime = |status: fs::Metadata| (status.ctime(), status.ctime_nsec());
            let status = fs::metadata(self.path(name)).unwrap();
            assert_eq!((status.mtime(), status.mtime_nsec()), ctime(status));
        }

        /// Writes beside, and renames.
        fn replace(&self, name: &str, content: &str) {
            self.write("aside", content);
            self.finish("aside");
            fs::rename(self.path("aside"), self.path(name)).unwrap();
        }

        /// Waits until the clock of the file system has ticked.
        fn tick(&self) {
            let now = || {
                self.write("clock", "");
                fs::metadata(self.path("clock")).unwrap().modified().unwrap()
            };
            let began = now();
            while now() == began {}
        }

        /// What a rename does to the times where the clock has ticked since the write.
        fn finish(&self, name: &str) {
            let file = fs::File::options().append(true).open(self.path(name)).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.set_modified(modified - std::time::Duration::from_millis(4)).unwrap();
        }
    }

    #[test]
    fn what_is_written_in_place_needs_a_second_look() {
        let mut at = Watcher::new();
        at.write("a", "one");
        assert!(!at.look(false, &["a"]) && at.look(false, &["a"]) && at.look(true, &["a"]));
        for content in ["t", "tw", "two"] {
            at.write("a", content);
            assert!(!at.look(false, &["a"]), "{content}");
        }
        assert!(at.look(false, &["a"]));
        // A new file too, and one that is made anew in its place, as by git and by mv between file systems.
        at.write("b", "one");
        assert!(!at.look(false, &["a", "b"]) && at.look(false, &["a", "b"]));
        fs::rename(at.path("a"), at.path("backup")).unwrap();
        at.write("a", "three");
        assert!(!at.look(false, &["a", "b"]) && at.look(false, &["a", "b"]));
    }

    #[test]
    fn what_is_asked_for_confirms_only_what_is_old_enough() {
        let mut at = Watcher::new();
        at.write("a", "one");
        assert!(!at.look(false, &["a"]));
        for (now, whole) in [(1_000, false), (1_002, false), (1_003, true)] {
            at.now = now;
            assert_eq!(at.look(true, &["a"]), whole, "{now}");
        }
        at.write("a", "two");
        assert!(!at.look(true, &["a"]));
        at.now = 1_006;
        // The same bytes, written again since.
        at.finish("a");
        assert!(!at.look(true, &["a"]));
        assert!(at.look(true, &["a"]));
        // A clock that is put back does not make it wait for ever.
        at.write("a", "three");
        assert!(!at.look(true, &["a"]));
        at.now = 100;
        assert!(!at.look(true, &["a"]));
        at.now = 103;
        assert!(at.look(true, &["a"]));
    }

    #[test]
    fn what_came_by_rename_is_whole() {
        let mut at = Watcher::new();
        for asked in [false, true] {
            at.replace("a", "one");
            assert!(at.look(asked, &["a"]));
            at.replace("a", "two");
            assert!(at.look(asked, &["a"]));
            // A write afterwards undoes it.
            at.replace("a", "three");
            at.write("a", "four");
            assert!(!at.look(asked, &["a"]));
        }
        // It stays whole while another file is not.
        at.write("b", "");
        at.replace("a", "five");
        assert!(!at.look(true, &["a", "b"]));
        assert!(at.look(true, &["a"]));
    }

    /// ext4 gives the second file the inode number of the first, which is free again.
    #[test]
    fn what_came_by_an_even_number_of_renames_is_whole() {
        let mut at = Watcher::new();
        for asked in [false, true] {
            at.replace("a", "one");
            assert!(at.look(asked, &["a"]));
            at.tick();
            at.replace("a", "two");
            at.replace("a", "three");
            assert!(at.look(asked, &["a"]));
        }
    }

    /// A `chmod` or a `touch -d` sets other times in the middle of a write, as it does after a rename.
    #[test]
    fn what_is_written_in_place_stays_so_whatever_its_times() {
        let mut at = Watcher::new();
        at.replace("a", "one");
        assert!(at.look(false, &["a"]));
        for content in ["t", "tw", "two"] {
            at.write("a", content);
            at.finish("a");
            assert!(!at.look(false, &["a"]), "{content}");
        }
        assert!(at.look(false, &["a"]));
    }

    #[test]
    fn what_came_by_a_link_is_whole() {
        let mut at = Watcher::new();
        for version in ["1", "2"] {
            fs::create_dir(at.path(version)).unwrap();
            at.write(&format!("{version}/a"), version);
        }
        symlink("1", at.path("data")).unwrap();
        symlink("data/a", at.path("a")).unwrap();
        let swap = |at: &Watcher, to: &str| {
            symlink(to, at.path("aside")).unwrap();
            fs::rename(at.path("aside"), at.path("data")).unwrap();
        };
        // The folder is a link, and the file is one.
        for name in ["data/a", "a"] {
            at.sight = Sight::default();
            swap(&at, "1");
            at.look(false, &[name]);
            swap(&at, "2");
            assert!(at.look(true, &[name]), "{name}");
        }
        // Beside it, a new name in a folder that was swapped, and one in a folder that was not.
        at.look(false, &["data/a"]);
        at.write("2/b", "");
        assert!(!at.look(true, &["data/a", "data/b"]));
        at.write("1/c", "");
        swap(&at, "1");
        assert!(at.look(true, &["data/a", "data/c"]));
        at.write("1/a", "in place");
        assert!(!at.look(true, &["data/a", "data/c"]));
    }

    #[test]
    fn what_changes_while_it_is_looked_at_is_not_whole() {
        let mut at = Watcher::new();
        at.replace("a", "one");
        let path = at.path("a");
        let files = [Content::new(&path, b"half", false)];
        let pace = Pace { asked: false, seconds: 2, now: Timestamp::from_unix(0) };
        let said = at.sight.look(&files, pace, || Some(vec![Content::new(&path, b"one", false)]));
        assert_eq!(said, Some(Unfinished { path: path.clone(), fresh: true, gone: false }));
        assert!(at.sight.look(&files, pace, || unreachable!()).is_none());

        // The same content, in a file that is written anew meanwhile.
        at.replace("a", "two");
        let files = [Content::new(&path, b"two", false)];
        let anew = || {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "two").unwrap();
            Some(files.to_vec())
        };
        assert!(at.sight.look(&files, pace, anew).is_some());
        assert!(at.sight.look(&files, pace, || unreachable!()).is_none());
    }
}
