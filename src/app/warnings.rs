//! What a configuration allows, but is probably a mistake.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::clients::Registry;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::keys::KeyRing;

/// Maximum number of files that warnings name.
const NAMED: usize = 5;

/// Returns what is allowed, but probably a mistake.
pub(super) fn warnings(config: &Config, registry: &Registry, keys: &KeyRing, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    if registry.is_empty() && registry.anonymous().is_none() {
        all.push(
            "nobody can get a token: there is no client and no [anonymous]; `lingpai client add` adds a client"
                .to_owned(),
        );
    }
    if config.token.refresh_lifetime > config.token.session_lifetime {
        all.push(
            "refresh_lifetime is longer than session_lifetime, so sessions end before refresh tokens do".to_owned(),
        );
    }
    if !config.keys.check_modes {
        all.push(
            "[keys] check_modes is false: a private key that every user of this machine can read or change is accepted too"
                .to_owned(),
        );
    }
    if config.keys.check_modes {
        let list = config.revocations.as_ref().map(|list| list.path.as_path());
        let files = config.files().map(|(file, _)| file).chain(list);
        all.extend(files.filter_map(changeable_by_all).take(NAMED));
    }
    let schedule = keys.schedule(now);
    for kid in &config.keys.revoked {
        if !schedule.iter().any(|one| one.key.kid().as_str() == kid.get_ref()) {
            all.push(format!(
                "the revoked key {} is not in the folder: is its id mistyped? If not, the line may go once its tokens have \
                 ended",
                kid.get_ref()
            ));
        }
    }
    all
}

fn changeable_by_all(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let path = path.display();
    (mode & 0o002 != 0).then(|| {
        format!(
            "{path} has mode {mode:04o}, so every user of this machine can change who gets tokens: `chmod o-w {path}`"
        )
    })
}
