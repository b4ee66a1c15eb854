//! A key file: its name is the first line, its content the rest.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::write_private;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, Folder, Import, Key, KeyName, Kid, Modes, Purpose};

/// In memory, where there is such a file system.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.unwrap().keep()
});

fuzz_target!(|data: &[u8]| {
    let (name, pem) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Ok(name) = std::str::from_utf8(name) else { return };
    let parsed = name.parse::<KeyName>();
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.to_string(), name);
    }
    // PEM begins after the line's end, or with it: that is all the same.
    let text = &*String::from_utf8_lossy(pem);
    let keys = Alg::ALL.map(|alg| read(alg, pem, text));
    assert!(keys.iter().flatten().count() <= 1, "one key of two algorithms");
    // It takes in all that is read, and other forms.
    let key = keys.iter().flatten().next();
    match Import::read(Path::new("/key.pem"), pem) {
        Ok(import) => assert!(key.is_none_or(|key| key.name().alg == import.alg())),
        Err(error) => {
            assert!(key.is_none(), "{error}");
            assert_silent(&error.to_string(), text);
        }
    }

    let is_file_name = (1..=255).contains(&name.len()) && !name.contains(['/', '\0']) && name != "." && name != "..";
    if !is_file_name {
        return;
    }
    let path = FOLDER.join(name);
    write_private(&path, pem);
    let read = Folder::read(&FOLDER).and_then(|folder| folder.keys(Modes::Checked));
    std::fs::remove_file(&path).unwrap();
    let expected = keys.iter().flatten().find(|key| parsed.is_ok_and(|name| name.alg == key.name().alg));
    match (read, expected) {
        (Ok(keys), _) if name.starts_with('.') || !name.as_bytes().ends_with(b".pem") => assert!(keys.is_empty()),
        (Ok(keys), Some(expected)) => {
            assert_eq!(keys.len(), 1);
            assert_eq!((keys[0].kid(), Ok(keys[0].name())), (expected.kid(), parsed));
        }
        (Err(error), None) => {
            let said = error.to_string();
            let path = path.to_str().unwrap();
            assert_silent(said.strip_prefix(path).unwrap(), text);
        }
        (Ok(_), None) => panic!("a key from nothing"),
        (Err(error), Some(_)) => panic!("{error}"),
    }
});

/// The key of a PEM text, which then does what a key does.
fn read(alg: Alg, pem: &[u8], text: &str) -> Option<Key> {
    let key = match Key::from_pem(KeyName { from: Timestamp::default(), alg }, pem) {
        Ok(key) => key,
        Err(message) => {
            assert_silent(&message.to_string(), text);
            return None;
        }
    };
    for purpose in [Purpose::Access, Purpose::Refresh] {
        let signature = key.sign(purpose, b"message").unwrap();
        assert!(key.verifies(purpose, b"message", &signature));
        assert!(!key.verifies(purpose, b"massage", &signature));
    }
    assert_eq!(Kid::parse(key.kid().as_str()).as_ref(), Some(key.kid()));
    let jwk: serde_json::Value = serde_json::from_str(key.jwk()).unwrap();
    let public = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"];
    assert!(jwk.as_object().unwrap().keys().all(|member| public.contains(&member.as_str())), "{jwk}");
    assert_eq!((&jwk["alg"], &jwk["kid"]), (&alg.name().into(), &key.kid().as_str().into()));
    Some(key)
}

/// Asserts that a message repeats nothing of a key.
fn assert_silent(message: &str, pem: &str) {
    assert_eq!(message.lines().count(), 1, "{message:?}");
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    for run in pem.split(|c| !is_base64(c)).filter(|run| run.len() >= 20) {
        assert!(!message.contains(run), "{message:?}");
    }
}

// Changes the text, or the bytes inside of the PEM.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let text = std::str::from_utf8(&data[..size]).unwrap_or_default();
    let cut = text.split_once("-----\n").and_then(|(before, rest)| Some((before, rest.split_once("\n-----")?)));
    if let Some((before, (base64, after))) = cut.filter(|_| !seed.is_multiple_of(4))
        && let Ok(mut der) = STANDARD.decode(base64.replace('\n', ""))
    {
        let length = der.len();
        der.resize(length + 16, 0);
        let most = der.len();
        let length = fuzzer_mutate(&mut der, length, most);
        let lines = STANDARD.encode(&der[..length]);
        let lines: Vec<_> = lines.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let changed = format!("{before}-----\n{}\n-----{after}", lines.join("\n"));
        if changed.len() <= max_size {
            data[..changed.len()].copy_from_slice(changed.as_bytes());
            return changed.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});
