//! The development server, which runs when there is no configuration file.

use std::path::PathBuf;

use super::StartError;
use crate::clients::NewSecret;
use crate::clock::Timestamp;
use crate::config::{Config, Issuer};
use crate::keys::{self, Alg, FIRST_KEY_BACKDATE, KeyName};

const CLIENT: &str = "demo";

/// A configuration with a client that has a new secret.
pub struct Development {
    /// What to serve.
    pub config: Config,
    /// The client's id.
    pub client: &'static str,
    /// The client's secret.
    pub secret: NewSecret,
    /// The folder of keys.
    pub folder: PathBuf,
    /// The key that was made, if there was none.
    pub made: Option<KeyName>,
}

/// Completes `config`, which comes from no file, so that it can serve: adds a client, and a first key if there is none.
/// `issuer` replaces that of `config`.
///
/// # Errors
/// A folder of keys that is not in order, or no random bytes.
pub fn development(mut config: Config, issuer: Option<Issuer>, now: Timestamp) -> Result<Development, StartError> {
    let folder = config.keys.path.clone();
    config.issuer = issuer.unwrap_or(config.issuer);
    let made = if keys::load(&folder)?.is_empty() {
        Some(keys::generate(&folder, Alg::default(), now.plus(-FIRST_KEY_BACKDATE))?.name())
    } else {
        None
    };
    let secret = NewSecret::generate()?;
    let digest = secret.digest().written();
    let config = config.with_client(CLIENT, &digest, &["demo:read", "demo:write"], "user:*", "tenant");
    Ok(Development { config, client: CLIENT, secret, folder, made })
}

/// Refuses an address that other machines can reach: without a file everybody gets a token, and the client's secret is
/// on the screen.
///
/// # Errors
/// The first such address.
pub fn refuse_public_address(config: &Config) -> Result<(), StartError> {
    match config.listen.iter().find(|address| !address.is_loopback()) {
        Some(address) => Err(StartError::new(format!(
            "{address} is not a loopback address, and without a configuration file everybody gets a token; write one \
             with `lingpai init`, or listen on 127.0.0.1"
        ))),
        None => Ok(()),
    }
}
