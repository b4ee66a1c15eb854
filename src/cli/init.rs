//! `lingpai init`

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::client::beside;
use super::{Answer, Settings, complain, say, say_once};
use crate::app::StartError;
use crate::clients::NewSecret;
use crate::clock::Clock;
use crate::config::{DEFAULT_FILE, Issuer, Listen};
use crate::files::{self, shown};
use crate::keys::{self, Alg, FIRST_KEY_BACKDATE, KeyRing, Plan};

const CLIENT: &str = "first";

#[derive(Args)]
pub(super) struct Arguments {
    /// The folder to write into, created if missing [default: the current one, or that of `--config`].
    dir: Option<PathBuf>,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let file = match (&arguments.dir, &settings.config) {
        (Some(dir), Some(config)) => {
            return Err(StartError::new(format!(
                "say only once where to write: {} or --config {}",
                shown(dir),
                shown(config)
            )));
        }
        (None, Some(config)) => config.clone(),
        (None, None) => PathBuf::from(DEFAULT_FILE),
        (Some(dir), None) => dir.join(DEFAULT_FILE).components().filter(|part| *part != Component::CurDir).collect(),
    };
    let dir = file.parent().unwrap_or(Path::new(""));
    let folder = settings.keys.clone().unwrap_or_else(|| dir.join("keys"));
    if file.symlink_metadata().is_ok() {
        complain(&format!("{} is already there; nothing was written", shown(&file)));
        return Ok(false);
    }
    let failed =
        |error: std::io::Error| StartError::with_source(format!("{}: cannot be written: {error}", shown(&file)), error);
    if !dir.as_os_str().is_empty() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
    }
    let now = Clock::system().now();
    let ring = KeyRing::lenient(keys::load(&folder)?, Plan::default());
    let (key, is_new) = match ring.signer(Alg::default(), now) {
        Some(found) => (found.name(), false),
        None => (keys::generate(&folder, Alg::default(), now.plus(-FIRST_KEY_BACKDATE))?.name(), true),
    };
    let key = folder.join(key.to_string());
    let secret = NewSecret::generate()?;
    let (listen, issuer) = addresses(settings);
    let content = configuration(&issuer, &listen, &beside(&file, &folder)?, &secret.digest().written());
    files::create(&file, content.as_bytes(), 0o644).map_err(failed)?;

    if settings.json {
        let key = is_new.then(|| key.to_string_lossy());
        let answer = json!({"config": file.to_string_lossy(), "key": key, "client_id": CLIENT, "client_secret": secret.reveal()});
        say_once(&format!("{answer:#}"))?;
        return Ok(true);
    }
    say(&format!("wrote {}", shown(&file)))?;
    let key = shown(&key);
    say(&if is_new {
        format!("wrote {key}")
    } else {
        format!(
            "uses the existing key {key}; if a development server made it, delete it and {}, and start over",
            shown(&file)
        )
    })?;
    say_once(&format!("the client {CLIENT} has this secret, which is shown only now:\n\n  {}\n", secret.reveal()))?;
    if issuer.as_str().starts_with("http://") && listen.iter().any(|address| !address.is_loopback()) {
        say(&format!(
            "before others use it, set issuer in {} to the https URL under which they reach it",
            shown(&file)
        ))?;
    }
    let is_found = file == Path::new(DEFAULT_FILE);
    let config = if is_found { String::new() } else { format!(" --config {}", shown(&file)) };
    say(&format!("start it with: lingpai serve{config}"))?;
    Ok(true)
}

/// Returns where an `issuer` with http is reached, which is on this machine; None without a port.
fn address(issuer: &Issuer) -> Option<Listen> {
    issuer.as_str().strip_prefix("http://")?.split('/').next()?.parse().ok()
}

/// Returns where the service listens, and its issuer.
fn addresses(settings: &Settings) -> (Vec<Listen>, Issuer) {
    let listen = match settings.listen.as_slice() {
        // An issuer on this machine says where.
        [] => vec![settings.issuer.as_ref().and_then(address).unwrap_or_default()],
        addresses => addresses.to_vec(),
    };
    let port = listen.iter().find_map(|address| Some(address.sockets().first()?.port())).unwrap_or(8080);
    let issuer = settings.issuer.clone().unwrap_or_else(|| Issuer::local(&format!("127.0.0.1:{port}")));
    (listen, issuer)
}

fn configuration(issuer: &Issuer, listen: &[Listen], keys: &str, digest: &str) -> String {
    let quoted = |text: &str| toml_edit::value(text).to_string();
    let addresses: Vec<_> = listen.iter().map(|address| quoted(&address.to_string())).collect();
    let listen = match addresses.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    format!(
        r#"# The https URL under which others reach this service. It stands in every token.
issuer = {issuer}
listen = {listen}

[keys]
path    = {keys}
# The ids of stolen keys. `lingpai keys revoke KID` adds one.
revoked = []

[token]
access_lifetime  = "10m"
refresh_lifetime = "1d"
session_lifetime = "30d"

# Tokens without credentials, and what they allow.
# [anonymous]
# scope = ["guest"]

# Add more with `lingpai client add ID`.
[[clients]]
id      = "{CLIENT}"
secrets = ["{digest}"]
scope   = ["read", "write"]
"#,
        issuer = quoted(issuer.as_str()),
        keys = quoted(keys),
    )
}
