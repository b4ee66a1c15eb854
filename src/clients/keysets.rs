//! The key sets of clients, while they are compiled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::crypto::Digester;
use crate::files::ReadError;
use crate::foreign::{KeySet, Owner};

/// Reads a file.
pub(super) trait Read: FnMut(&Path) -> Result<Vec<u8>, ReadError> {}

impl<F: FnMut(&Path) -> Result<Vec<u8>, ReadError>> Read for F {}

/// Key sets that were parsed. Many clients may name the same one, under one path or several: they share it, because a
/// hundred keys take as much memory as a hundred clients.
pub(super) struct KeySets<R> {
    read: R,
    at: HashMap<PathBuf, Arc<KeySet>>,
    /// By the digest of their content.
    parsed: HashMap<[u8; 32], Arc<KeySet>>,
}

impl<R: Read> KeySets<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, at: HashMap::new(), parsed: HashMap::new() }
    }

    /// Returns the set in the file at `path`, or what is wrong with it.
    pub(super) fn get(&mut self, path: &Path) -> Result<Arc<KeySet>, String> {
        if let Some(set) = self.at.get(path) {
            return Ok(Arc::clone(set));
        }
        let bytes = (self.read)(path).map_err(|error| format!("cannot be read: {error}"))?;
        let mut digest = Digester::default();
        digest.add(&bytes);
        let set = match self.parsed.entry(digest.finish()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(new) => {
                let set = KeySet::parse(&bytes, Owner::Client).map_err(|error| error.to_string())?;
                Arc::clone(new.insert(Arc::new(set)))
            }
        };
        self.at.insert(path.to_owned(), Arc::clone(&set));
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn set(x: &str) -> String {
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#)
    }

    #[test]
    fn the_same_set_is_parsed_once() {
        let (one, other) =
            (set("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), set("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"));
        let read = RefCell::new(Vec::new());
        let mut sets = KeySets::new(|path: &Path| {
            read.borrow_mut().push(path.to_owned());
            Ok(match path.to_str() {
                Some("other") => other.clone(),
                Some("bad") => "{}".to_owned(),
                _ => one.clone(),
            }
            .into_bytes())
        });
        let mut get = |path: &str| sets.get(Path::new(path));
        let first = get("one").unwrap();
        for same in ["one", "./one", "copy"] {
            assert!(Arc::ptr_eq(&first, &get(same).unwrap()), "{same}");
        }
        assert!(!Arc::ptr_eq(&first, &get("other").unwrap()));
        for _ in 0..2 {
            assert!(get("bad").is_err());
        }
        // What was refused is read again.
        assert_eq!(read.borrow()[..], ["one", "./one", "copy", "other", "bad", "bad"].map(PathBuf::from));
    }
}
