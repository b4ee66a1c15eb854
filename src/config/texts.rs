//! The texts of a configuration: its file and those that it includes, read and not yet parsed.
//!
//! Which files are included is read from the lines before the first table alone, so that a file with a mistake further
//! down still names them. What keeps an included file from being read is no error here: it is said when all is parsed,
//! and until then the files that can be read are compared like any others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::sections;
use super::source::{ConfigError, Source, Text};
use crate::files::{self, ReadError};

/// Maximum size of a file.
const MAX_BYTES: u64 = 16 << 20;
/// Maximum size of all files together: a million clients.
const MAX_TOTAL: usize = 256 << 20;
/// Maximum number of paths in `include`.
const MAX_PATHS: usize = 64;
/// Maximum number of included files.
const MAX_FILES: usize = 4_096;
const EXPECTED: &str = "expected a path such as \"clients.d/team.toml\" or \"clients.d/*.toml\": * only in the file's name, \
                        never two in a row, and not for hidden files";

/// A configuration's file and those that it includes.
#[derive(Debug)]
pub struct Texts {
    pub(super) main: Source,
    /// In the order of the paths that `include` lists, and under one path by name.
    pub(super) included: Vec<Source>,
    /// What keeps other files from being read.
    pub(super) problems: Vec<ConfigError>,
    /// The size of all texts.
    bytes: usize,
}

impl Texts {
    /// Reads the file at `path` and those that it includes.
    ///
    /// # Errors
    /// The file at `path` is absent, not readable, or no text.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::with(path, content(path)?))
    }

    /// `text` as that of the file at `path`, and the files that it includes.
    pub(super) fn with(path: &Path, text: String) -> Self {
        let mut texts = Self::alone(path, text);
        let main = texts.main.clone();
        let written = include(&main);
        if let Some(too_many) = written.get(MAX_PATHS) {
            texts.problems.push(main.error(too_many, format!("expected at most {MAX_PATHS} paths")));
        }
        let mut seen: HashMap<_, _> = fs::canonicalize(path).into_iter().map(|main| (main, path.to_owned())).collect();
        for one in written.iter().take(MAX_PATHS) {
            let added = texts.include(one, &mut seen);
            texts.problems.extend(added.err().map(|problem| main.error(one, problem)));
        }
        texts
    }

    /// With `text` as that of the included file at `path`, as the settings name it.
    pub(super) fn replaced(mut self, path: &Path, text: String) -> Self {
        let new = Source::file(path, text);
        match self.included.iter_mut().find(|source| source.path() == Some(path)) {
            Some(source) => *source = new,
            None => self.included.push(new),
        }
        self
    }

    /// `text` as that of the file at `path`, which includes nothing.
    pub(super) fn alone(path: &Path, text: String) -> Self {
        Self::of(Source::file(path, text))
    }

    /// `main` as a file that includes nothing.
    pub(super) fn of(main: Source) -> Self {
        Self { bytes: main.content().len(), main, included: Vec::new(), problems: Vec::new() }
    }

    /// Reads the files that `written` names, without those that were `seen`.
    ///
    /// A file under two names is read under the first. But paths in it are relative to its folder, so a link from another
    /// folder could pass it off with other files beside it: that is a problem.
    fn include(&mut self, written: &Text, seen: &mut HashMap<PathBuf, PathBuf>) -> Result<(), String> {
        let main = self.main.clone();
        let path = main.resolve(Path::new(written.get_ref()));
        let pattern = Pattern::parse(&path).ok_or(EXPECTED)?;
        for path in pattern.files()? {
            let read = fs::canonicalize(&path).map_err(ReadError::Io).and_then(|target| match seen.entry(target) {
                Entry::Occupied(first) if is_same_folder(first.get(), &path) => Ok(None),
                Entry::Occupied(first) => Ok(Some(Err(format!("is the same file as {}", first.get().display())))),
                Entry::Vacant(new) => {
                    new.insert(path.clone());
                    Ok(Some(text(&path)?.map_err(str::to_owned)))
                }
            });
            match read {
                Ok(None) => {}
                Ok(Some(Ok(text))) => self.add(&path, text)?,
                Ok(Some(Err(why))) => self.problems.push(main.error(written, in_file(&path, &why))),
                Err(error) if pattern.is_gone(&path, &error) => {}
                Err(error) => self.problems.push(main.error(written, in_file(&path, &unread(&error)))),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, text: String) -> Result<(), String> {
        if self.bytes + text.len() > MAX_TOTAL {
            return Err(format!("expected files of at most {} MiB together", MAX_TOTAL >> 20));
        }
        if self.included.len() == MAX_FILES {
            return Err(format!("expected at most {MAX_FILES} included files"));
        }
        self.bytes += text.len();
        self.included.push(Source::file(path, text));
        Ok(())
    }

    /// Whether every file could be read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Those of `files` that `include` names, and that were not there to read, even if they are there again.
    #[must_use]
    pub fn missing<'f>(&self, files: &'f [PathBuf]) -> HashSet<&'f PathBuf> {
        let read: HashSet<_> = self.iter().map(|(path, _)| path).collect();
        let mut missing: HashSet<_> = files.iter().filter(|path| !read.contains(path.as_path())).collect();
        // What could not be read is a problem of its own.
        if missing.is_empty() || !self.is_whole() {
            return HashSet::new();
        }
        let written: Vec<_> =
            include(&self.main).iter().map(|written| self.main.resolve(Path::new(written.get_ref()))).collect();
        let patterns: Vec<_> = written.iter().filter_map(|path| Pattern::parse(path)).collect();
        missing.retain(|path| patterns.iter().any(|pattern| pattern.names(path)));
        missing
    }

    /// Each file and its text; first that which includes the others.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &str)> {
        std::iter::once(&self.main).chain(&self.included).filter_map(Source::whole)
    }
}

/// What the text says in `include`, as far as its head can be parsed.
fn include(main: &Source) -> Vec<Text> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        include: Vec<Text>,
    }
    toml::from_str(sections::head(main.content())).map_or_else(|_| Vec::new(), |head: Head| head.include)
}

/// The files that one path of `include` names.
struct Pattern<'p> {
    path: &'p Path,
    folder: &'p Path,
    name: &'p str,
}

impl<'p> Pattern<'p> {
    fn parse(path: &'p Path) -> Option<Self> {
        // A folder has no file's name.
        let text = path.to_str().filter(|text| !text.ends_with(['/', '.']))?;
        let (name, folder) = (path.file_name()?.to_str()?, path.parent()?);
        let is_hidden = name.contains('*') && name.starts_with('.');
        let is_good = !is_hidden && !text.contains("**") && !text.contains('\0') && !folder.to_str()?.contains('*');
        is_good.then_some(Self { path, folder, name })
    }

    fn names_one(&self) -> bool {
        !self.name.contains('*')
    }

    /// The paths of the files, by name.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        if self.names_one() {
            return Ok(vec![self.path.to_owned()]);
        }
        let unreadable = |error: io::Error| in_file(self.folder, &format!("cannot be read: {error}"));
        let entries = match fs::read_dir(files::folder(self.path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            // One more than there may be shows that there are too many.
            if self.fits(&name) && names.len() <= MAX_FILES {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names.into_iter().map(|name| self.folder.join(name)).collect())
    }

    /// Whether it stands for the file at `path`.
    fn names(&self, path: &Path) -> bool {
        path.parent() == Some(self.folder) && path.file_name().is_some_and(|name| self.fits(name))
    }

    /// Whether the name is one that it stands for. A `*` is any number of characters. Hidden files are passed over.
    fn fits(&self, name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        let Some((first, rest)) = self.name.split_once('*') else { return self.name == name };
        let Some(mut left) = name.strip_prefix(first).filter(|_| !name.starts_with('.')) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return left.ends_with(part);
            }
            let Some((_, after)) = left.split_once(part) else { return false };
            left = after;
        }
        false
    }

    /// Whether the file at `path` was removed while its folder was read, and nothing names it.
    fn is_gone(&self, path: &Path, error: &ReadError) -> bool {
        let absent = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let is_absent = matches!(error, ReadError::Io(error) if absent(error));
        is_absent && !self.names_one() && path.symlink_metadata().is_err_and(|error| absent(&error))
    }
}

/// The file at `path` as `include` of `main` would name it, if one of its patterns matches it.
pub(super) fn would_include(main: &Source, include: &[Text], path: &Path) -> Option<PathBuf> {
    let (folder, name) = (fs::canonicalize(files::folder(path)).ok()?, path.file_name()?);
    include.iter().find_map(|written| {
        let whole = main.resolve(Path::new(written.get_ref()));
        let pattern = Pattern::parse(&whole).filter(|pattern| !pattern.names_one() && pattern.fits(name))?;
        let same = fs::canonicalize(files::folder(&whole)).is_ok_and(|one| one == folder);
        same.then(|| pattern.folder.join(name))
    })
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| fs::canonicalize(files::folder(path)).ok();
    folder(one) == folder(other)
}

fn in_file(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}

fn unread(error: &ReadError) -> String {
    match error {
        ReadError::Io(error) if error.kind() == ErrorKind::NotFound => "there is no such file".to_owned(),
        ReadError::Io(error) => format!("cannot be read: {error}"),
        ReadError::NotRegular | ReadError::TooLarge(_) => {
            format!("expected a regular file of at most {} MiB", MAX_BYTES >> 20)
        }
    }
}

/// Reads the text of the file at `path`; the inner error says that it is none.
fn text(path: &Path) -> Result<Result<String, &'static str>, ReadError> {
    let mut contents = files::read(path, MAX_BYTES)?;
    Ok(String::from_utf8(std::mem::take(&mut *contents.bytes)).map_err(|_| "is not UTF-8 text"))
}

/// Reads the text of the file at `path`.
pub(super) fn content(path: &Path) -> Result<String, ConfigError> {
    let problem = |what: &str| ConfigError::new(in_file(path, what));
    match text(path) {
        Ok(text) => text.map_err(problem),
        Err(ReadError::Io(error)) if error.kind() != ErrorKind::NotFound => Err(ConfigError::unreadable(path, error)),
        Err(ReadError::Io(_)) => Err(problem("there is no such file; `lingpai init` writes one")),
        Err(error) => Err(problem(&unread(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program removes a file to write it anew, and in between the folder is read.
    #[test]
    fn what_was_not_there_to_read_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("d")).unwrap();
        fs::write(path("main"), "include = [\"d/*.toml\"]\n").unwrap();
        let files = ["main", "d/a.toml", "d/b.toml", "other.toml"].map(path);
        for name in ["d/a.toml", "d/b.toml"] {
            fs::write(path(name), "").unwrap();
        }
        let missing = |texts: &Texts| texts.missing(&files).into_iter().cloned().collect::<Vec<_>>();
        assert!(missing(&Texts::read(&path("main")).unwrap()).is_empty());
        fs::remove_file(path("d/b.toml")).unwrap();
        let texts = Texts::read(&path("main")).unwrap();
        fs::write(path("d/b.toml"), "").unwrap();
        assert_eq!(missing(&texts), [path("d/b.toml")]);
        // One that is there and cannot be read.
        fs::write(path("d/b.toml"), b"\xff").unwrap();
        assert!(missing(&Texts::read(&path("main")).unwrap()).is_empty());
    }

    #[test]
    fn patterns() {
        let fits = |pattern: &str, name: &str| {
            let path = Path::new("/d").join(pattern);
            Pattern::parse(&path).is_some_and(|pattern| pattern.fits(OsStr::new(name)))
        };
        for (pattern, name) in [
            ("*", "a"),
            ("*.toml", "a.toml"),
            ("a*c*e", "abcde"),
            ("a*c*e", "ace"),
            ("a*a", "aa"),
            ("a*", "a"),
            ("x", "x"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".a"),
            ("*.toml", ".toml"),
            ("*.toml", "a.toml~"),
            ("*.toml", "a.tom"),
            ("a*a", "a"),
            ("a*c*e", "abde"),
            ("a*b*b", "ab"),
            ("x", "y"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        for bad in ["", "a/", "*/a.toml", "a/**", "**.toml", "..", "a/..", "a/.", ".*", "a\0b"] {
            assert!(Pattern::parse(&Path::new("/d").join(bad)).is_none(), "{bad:?}");
        }
    }

    /// What `include` says, and which files are read for it.
    fn read(folder: &Path, include: &str) -> (Vec<String>, Vec<String>) {
        let texts = Texts::with(&folder.join("main.toml"), format!("include = {include}\n[x]\nnot TOML"));
        let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let problems =
            texts.problems.iter().map(|problem| problem.to_string().replace(folder.to_str().unwrap(), "")).collect();
        (texts.iter().skip(1).map(|(path, _)| name(path)).collect(), problems)
    }

    #[test]
    fn files_are_read_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        for name in ["main.toml", "d/b.toml", "d/a.toml", "d/c.txt", "d/.hidden.toml"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink("a.toml", at("d/link.toml")).unwrap();
        let read = |include: &str| read(folder.path(), include);
        for (include, expected) in [
            ("[]", &[][..]),
            ("[\"*.toml\", \"./main.toml\"]", &[]),
            ("[\"none/*.toml\", \"d/*.json\"]", &[]),
            ("[\"d/*.toml\"]", &["d/a.toml", "d/b.toml"]),
            ("[\"d/b.toml\", \"d/*\", \"d/../d/a.toml\"]", &["d/b.toml", "d/a.toml", "d/c.txt"]),
            ("[\"d/.hidden.toml\"]", &["d/.hidden.toml"]),
        ] {
            assert_eq!(read(include), (expected.iter().map(|name| (*name).to_owned()).collect(), vec![]), "{include}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("d/sub.toml")).unwrap();
        fs::write(at("d/good.toml"), "").unwrap();
        fs::write(at("d/latin.toml"), b"\xe9").unwrap();
        std::os::unix::fs::symlink("nowhere", at("d/dangling.toml")).unwrap();
        let (files, problems) = read(folder.path(), "[\"d/*.toml\", \"none.toml\", \"**\"]");
        assert_eq!(files, ["d/good.toml"]);
        assert_eq!(
            problems[..4],
            [
                "/main.toml:1:12: /d/dangling.toml: there is no such file",
                "/main.toml:1:12: /d/latin.toml: is not UTF-8 text",
                "/main.toml:1:12: /d/sub.toml: expected a regular file of at most 16 MiB",
                "/main.toml:1:24: /none.toml: there is no such file",
            ]
        );
        assert!(problems[4].starts_with("/main.toml:1:37: expected a path such as"), "{}", problems[4]);
        let many = format!("[{}]", "\"d/good.toml\",".repeat(65));
        let (files, problems) = read(folder.path(), &many);
        assert_eq!((files.len(), problems), (1, vec!["/main.toml:1:908: expected at most 64 paths".to_owned()]));
        // A team's link that would pass off another team's file as its own.
        for team in ["a", "b"] {
            fs::create_dir(at(team)).unwrap();
        }
        fs::write(at("b/b.toml"), "").unwrap();
        std::os::unix::fs::symlink("../b/b.toml", at("a/z.toml")).unwrap();
        let (files, problems) = read(folder.path(), "[\"a/*.toml\", \"b/*.toml\"]");
        assert_eq!(files, ["a/z.toml"]);
        assert_eq!(problems, ["/main.toml:1:24: /b/b.toml: is the same file as /a/z.toml"]);
        // A folder that is none.
        let (_, problems) = read(folder.path(), "[\"d/good.toml/*\"]");
        assert!(problems[0].starts_with("/main.toml:1:12: /d/good.toml: cannot be read: "), "{problems:?}");
    }

    #[test]
    fn all_together_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut texts = Texts::alone(&folder.path().join("main.toml"), String::new());
        for name in 0..MAX_FILES {
            texts.add(Path::new(&name.to_string()), String::new()).unwrap();
        }
        let said = texts.add(Path::new("more"), String::new()).unwrap_err();
        assert_eq!(said, "expected at most 4096 included files");
        texts.included.clear();
        texts.bytes = MAX_TOTAL - 1;
        texts.add(Path::new("large"), " ".to_owned()).unwrap();
        let said = texts.add(Path::new("more"), " ".to_owned()).unwrap_err();
        assert_eq!(said, "expected files of at most 256 MiB together");
    }
}
