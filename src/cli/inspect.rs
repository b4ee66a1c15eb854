//! `lingpai token inspect`

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Answer, Settings, complain, read, say, say_json, visible};
use crate::app::{self, StartError};
use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::foreign::{self, HeaderPolicy, KeySet, Owner, Rejected, Unverified};
use crate::keys::{self, KeyRing, Modes};
use crate::token::{self, AccessClaims, Compact, MAX_TOKEN, RefreshClaims, Rejection, Verifying};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Decode a token and verify it offline, with the keys or with a JWKS.
    Inspect(InspectArguments),
}

#[derive(Args)]
pub(super) struct InspectArguments {
    /// The file that holds the token; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Verify with the public keys in this file instead of the key folder.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

pub(super) fn run(settings: &Settings, command: &Command) -> Answer {
    let Command::Inspect(arguments) = command;
    let text = read(&arguments.file, MAX_TOKEN as u64 + 2)?;
    let text = std::str::from_utf8(&text).unwrap_or_default().trim();
    let (Some(header), Some(claims)) = (segment(text, 0), segment(text, 1)) else {
        complain("this is not a token: expected three base64url segments with dots between");
        return Ok(false);
    };
    let now = Clock::system().now();
    let verdict = match &arguments.jwks {
        Some(jwks) => with_jwks(settings, text, &read(jwks, foreign::MAX_KEY_SET as u64)?, &claims, now)?,
        None => with_keys(settings, text, &header, now)?,
    };
    if settings.json {
        let problem = verdict.as_ref().err();
        say_json(&json!({"valid": verdict.is_ok(), "problem": problem, "header": header, "claims": claims}))?;
    } else {
        say(&visible(&format!("header {header:#}\nclaims {claims:#}")))?;
        for (name, what) in [("iat", "issued "), ("exp", "expires")] {
            if let Some(at) = claims.get(name).and_then(Value::as_i64) {
                say(&format!("{what} {}", Timestamp::from_unix(at)))?;
            }
        }
        match &verdict {
            Ok(()) => say("valid")?,
            Err(problem) => say(&format!("NOT VALID: {problem}"))?,
        }
    }
    Ok(verdict.is_ok())
}

/// What is wrong with the token, if anything is.
type Verdict = Result<(), String>;

fn with_keys(settings: &Settings, text: &str, header: &Value, now: Timestamp) -> Result<Verdict, StartError> {
    let config = settings.load()?;
    let registry = Registry::compile(&config)?;
    let keys = keys::load_with(&config.keys.path, Modes::from(&config.keys))?;
    let ring = KeyRing::lenient(keys, app::plan(&config, &registry)?);
    let Some(compact) = Compact::parse(text) else {
        return Ok(Err("it is longer than 8192 bytes or has not three segments".to_owned()));
    };
    let with = verifying(&config, now);
    let checked = if header.get("typ").and_then(Value::as_str) == Some("rt+jwt") {
        token::verify::<RefreshClaims>(compact, &ring, with).map(drop)
    } else {
        token::verify::<AccessClaims>(compact, &ring, with).map(drop)
    };
    Ok(checked.map_err(|rejection| explain(rejection, config.issuer.as_str())))
}

fn with_jwks(
    settings: &Settings,
    text: &str,
    jwks: &[u8],
    claims: &Value,
    now: Timestamp,
) -> Result<Verdict, StartError> {
    let config = settings.load()?;
    let keys = match KeySet::parse(jwks, Owner::Issuer) {
        Ok(keys) => keys,
        Err(error) => return Ok(Err(format!("the JWKS is refused: {error}"))),
    };
    let signed =
        Unverified::parse(text, HeaderPolicy::ACCESS_TOKEN).and_then(|token| foreign::verify_signature(&token, &keys));
    if let Err(rejected) = signed {
        return Ok(Err(explain_foreign(rejected).to_owned()));
    }
    let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let mut with = verifying(&config, now);
    // Where nobody has said whose tokens to accept, the token's own word is taken.
    if config.is_development() && settings.issuer.is_none() {
        with.issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    }
    let checked = token::examine::<AccessClaims>(&payload, with).map(drop);
    Ok(checked.map_err(|rejection| explain(rejection, with.issuer)))
}

fn verifying(config: &Config, now: Timestamp) -> Verifying<'_> {
    Verifying { issuer: config.issuer.as_str(), leeway: config.token.leeway, now }
}

pub(super) fn explain(rejection: Rejection, issuer: &str) -> String {
    match rejection {
        Rejection::UnknownHeader => {
            "no key here writes this header (another service's token, or its key is gone)".into()
        }
        Rejection::WrongKind => "its header says that it is the other kind of token".into(),
        Rejection::RetiredKey => "its key is retired".into(),
        Rejection::RevokedKey => "its key is revoked".into(),
        Rejection::BadSignature => "the signature is wrong".into(),
        Rejection::BadClaims => {
            format!("its claims have another shape than this version reads, or iss is not {issuer}")
        }
        Rejection::Expired => "it has expired".into(),
        Rejection::NotYetValid => "it is not yet valid".into(),
    }
}

fn explain_foreign(rejected: Rejected) -> &'static str {
    match rejected {
        Rejected::Malformed => "it is longer than 8192 bytes or has not three base64url segments",
        Rejected::BadHeader | Rejected::ForbiddenHeader => "the header is not exactly alg, kid and typ, each a string",
        Rejected::WrongType => "the header does not say that it is an access token (typ at+jwt)",
        Rejected::UnsupportedAlgorithm => "the header names an algorithm that is not accepted",
        Rejected::UnknownKey | Rejected::AmbiguousKey => "the JWKS has no usable key with this kid",
        Rejected::WrongAlgorithm => "the key with this kid is for another algorithm",
        Rejected::BadSignature => "the signature is wrong",
        Rejected::BadClaims
        | Rejected::WrongIssuer
        | Rejected::Expired
        | Rejected::MaxAge
        | Rejected::NotYetValid
        | Rejected::WrongAudience => "its claims have another shape than this version reads",
    }
}

pub(super) fn segment(text: &str, index: usize) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text.split('.').nth(index)?).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
}
