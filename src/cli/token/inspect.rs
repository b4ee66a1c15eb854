//! `lingpai token inspect`

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Value, json};

use super::{Answer, Settings};
use crate::app::{self, RevocationFile, StartError};
use crate::cli::{complain, read, say, say_json};
use crate::clients::{self, Ended, Registry};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::foreign::{self, HeaderPolicy, KeySet, Owner, Rejected, Unverified};
use crate::keys::{self, KeyRing, Modes};
use crate::revocation::{Kind, Marks};
use crate::token::{self, AccessClaims, Compact, MAX_TOKEN, RefreshClaims, Rejection, Verifying};

/// An answer of `POST` holds two tokens and some words.
pub(in crate::cli) const MAX_INPUT: u64 = 2 * MAX_TOKEN as u64 + 1_024;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The file that holds the token, `Bearer` and the token, or a whole answer of POST; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Verify with the public keys in this file instead of the key folder.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let text = read(&arguments.file, MAX_INPUT)?;
    let text = presented(&text);
    let text = text.as_str();
    let (Some(header), Some(claims)) = (segment(text, 0), segment(text, 1)) else {
        complain(
            "this is not a token: expected three base64url segments of JSON separated by dots, or the answer of POST /token",
        );
        return Ok(false);
    };
    let kind = kind(&header);
    let now = Clock::system().now();
    let verdict = match &arguments.jwks {
        Some(jwks) => with_jwks(settings, text, &read(jwks, foreign::MAX_KEY_SET as u64)?, &claims, now)?,
        None => with_keys(settings, text, &header, now)?,
    };
    if settings.json {
        let problem = verdict.as_ref().err();
        say_json(&json!({
            "valid": verdict.is_ok(), "problem": problem, "kind": kind, "header": header, "claims": claims
        }))?;
    } else {
        let named = match kind {
            "access" => "an access token",
            "refresh" => "a refresh token",
            _ => "a token of a kind that this service does not write",
        };
        say(&format!("{named}\nheader {header:#}\nclaims {claims:#}"))?;
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

/// Finds the token in `text`: the token itself, a header's value, or an answer of POST, native or OAuth, of which it is
/// the access token.
pub(in crate::cli) fn presented(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.trim();
    if let Ok(Value::Object(answer)) = serde_json::from_str::<Value>(text) {
        let members = ["value", "access_token", "refresh", "refresh_token"];
        let found = members.into_iter().find_map(|member| answer.get(member)?.as_str());
        return found.unwrap_or_default().to_owned();
    }
    let value = text.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let value = value.map_or(text, |(_, value)| value.trim());
    let scheme = |word: &str| ["Bearer", "Token", "Toekn"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    match value.split_once(char::is_whitespace) {
        Some((word, token)) if scheme(word) => token.trim().to_owned(),
        _ => value.to_owned(),
    }
}

/// Returns the kind of the token, by its header.
fn kind(header: &Value) -> &'static str {
    match header.get("typ").and_then(Value::as_str) {
        Some("at+jwt") => "access",
        Some("rt+jwt") => "refresh",
        _ => "other",
    }
}

/// Returns what is wrong with the token, if anything.
type Verdict = Result<(), String>;

fn with_keys(settings: &Settings, text: &str, header: &Value, now: Timestamp) -> Result<Verdict, StartError> {
    let config = settings.load()?;
    let registry = Registry::compile(&config)?;
    let keys = keys::load_with(&config.keys.path, Modes::from(&config.keys))?;
    let ring = KeyRing::lenient(keys, app::plan(&config, &registry)?);
    let Some(compact) = Compact::parse(text) else {
        return Ok(Err(format!("it is longer than {MAX_TOKEN} bytes or does not have three segments")));
    };
    let with = verifying(&config, now);
    let checked = if kind(header) == "refresh" {
        token::verify::<RefreshClaims>(compact, &ring, with).map(|token| {
            let session = &token.claims().session;
            let ended = clients::renew(&registry, session.clone(), now).err();
            (Marks::of_refresh(token.claims()), session.start, ended)
        })
    } else {
        token::verify::<AccessClaims>(compact, &ring, with).map(|token| {
            let claims = token.claims();
            (Marks::of_access(claims), claims.began(), clients::admit(&registry, claims).err())
        })
    };
    match checked {
        Ok((marks, began, ended)) => still_good(&config, &marks, began, ended),
        Err(rejection) => Ok(Err(explain(rejection, config.issuer.as_str()))),
    }
}

/// Returns why the service refuses a token that is signed and current: a line of the list of revocations with one of
/// these `marks`, or its client.
fn still_good(config: &Config, marks: &Marks, began: Timestamp, ended: Option<Ended>) -> Result<Verdict, StartError> {
    let list = config.revocations.as_ref().map(|list| RevocationFile::of(&list.path).load()).transpose()?.flatten();
    let revoked = list.and_then(|list| list.entries.end(marks, began)).map(Kind::cause);
    let why = revoked.or(ended.map(Ended::word));
    Ok(why.map_or(Ok(()), |why| Err(format!("the service refuses it: {why}"))))
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
        return Ok(Err(explain_foreign(rejected)));
    }
    let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let payload = payload.ok_or_else(|| StartError::new("the token's claims are not base64url"))?;
    let mut with = verifying(&config, now);
    // Without a configured issuer, the token's own `iss` is believed.
    if config.is_development() && settings.issuer.is_none() {
        with.issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    }
    let checked = token::examine::<AccessClaims>(&payload, with).map(drop);
    Ok(checked.map_err(|rejection| explain(rejection, with.issuer)))
}

fn verifying(config: &Config, now: Timestamp) -> Verifying<'_> {
    Verifying { issuer: config.issuer.as_str(), leeway: config.token.leeway, now }
}

pub(in crate::cli) fn explain(rejection: Rejection, issuer: &str) -> String {
    match rejection {
        Rejection::UnknownHeader => {
            "no key in the key folder writes this header: it is another service's token, or its key is gone".into()
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

fn explain_foreign(rejected: Rejected) -> String {
    let why = match rejected {
        Rejected::Malformed => {
            return format!("it is longer than {MAX_TOKEN} bytes or does not have three base64url segments");
        }
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
        | Rejected::WrongAudience
        | Rejected::BadKey
        | Rejected::WrongMethod
        | Rejected::WrongUrl
        | Rejected::WrongTokenHash => "its claims have another shape than this version reads",
    };
    why.to_owned()
}

pub(in crate::cli) fn segment(text: &str, index: usize) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text.split('.').nth(index)?).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
}
