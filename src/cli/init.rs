//! `lingpai init`

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Answer, Settings, complain, say, say_once};
use crate::app::StartError;
use crate::clients::NewSecret;
use crate::clock::Clock;
use crate::config::DEFAULT_FILE;
use crate::files;
use crate::keys::{self, Alg, FIRST_KEY_BACKDATE, KeyRing, Plan};

const CLIENT: &str = "first";

#[derive(Args)]
pub(super) struct Arguments {
    /// The folder to write into; it is made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let here = arguments.dir == Path::new(".");
    let dir = if here { Path::new("") } else { arguments.dir.as_path() };
    let file = dir.join(DEFAULT_FILE);
    let folder = dir.join("keys");
    if file.symlink_metadata().is_ok() {
        complain(&format!("{} is already there; nothing was written", file.display()));
        return Ok(false);
    }
    let failed = |error: std::io::Error| StartError::new(format!("{}: cannot be written: {error}", file.display()));
    DirBuilder::new().recursive(true).mode(0o755).create(&arguments.dir).map_err(failed)?;
    let now = Clock::system().now();
    let ring = KeyRing::lenient(keys::load(&folder)?, Plan::default());
    let found = ring.signer(Alg::default(), now).map(|key| key.name().to_string());
    let made = match &found {
        Some(_) => None,
        None => Some(keys::generate(&folder, Alg::default(), now.plus(-FIRST_KEY_BACKDATE))?.name().to_string()),
    };
    let secret = NewSecret::generate().map_err(|_| StartError::new("the system has no random bytes to give"))?;
    let issuer = settings.issuer.as_ref().map_or("http://127.0.0.1:8080", |issuer| issuer.as_str());
    let content = configuration(issuer, &secret.digest().written());
    files::create(&file, content.as_bytes(), 0o644).map_err(failed)?;

    if settings.json {
        let key = made.map(|name| folder.join(name).to_string_lossy().into_owned());
        let answer = json!({"config": file.to_string_lossy(), "key": key, "client_id": CLIENT, "client_secret": secret.reveal()});
        say_once(&format!("{answer:#}"))?;
        return Ok(true);
    }
    say(&format!("wrote {}", file.display()))?;
    match made {
        Some(name) => say(&format!("wrote {}", folder.join(name).display()))?,
        None => say(&format!(
            "uses the key that is there already, {}; if a development server made it, delete it and begin again",
            folder.join(found.unwrap_or_default()).display()
        ))?,
    }
    say_once(&format!("the client `{CLIENT}` has this secret, which is shown only now:\n\n  {}\n", secret.reveal()))?;
    let config = if here { String::new() } else { format!(" --config {}", file.display()) };
    say(&format!("start it with: lingpai serve{config}"))?;
    Ok(true)
}

fn configuration(issuer: &str, digest: &str) -> String {
    format!(
        r#"# Who issues: the https URL under which others reach this service.
issuer = "{issuer}"
listen = "127.0.0.1:8080"

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
"#
    )
}
