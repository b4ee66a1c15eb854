//! `lingpai explain --token`: which rule decides about a trusted issuer's token, and why the others
//! do not match.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::app::StartError;
use crate::cli::{Answer, Settings, complain, read, say, say_json};
use crate::clients::{GrantRequest, GrantType, Registry, decide};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::federation::{Issuer, Issuers, Rule, Untrusted, Verdict};
use crate::files;
use crate::foreign::{HeaderPolicy, KeySet, MAX_KEY_SET, Owner, Rejected, Unverified};
use crate::token::MAX_TOKEN;

/// Maximum length of a claim's value on a terminal, in characters.
const MAX_SHOWN: usize = 200;
/// What stands before a line about a rule.
const INDENT: &str = "           ";

/// A token and the configuration that judges it.
struct Case {
    registry: Registry,
    issuers: Issuers,
    leeway: i64,
    now: Timestamp,
}

/// Whether the token would get one of ours.
pub(super) fn run(settings: &Settings, file: &Path, jwks: Option<&Path>) -> Answer {
    let config = settings.load()?;
    let case = Case::of(&config)?;
    let text = read(file, 2 * MAX_TOKEN as u64)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    let Some(claims) = claims(text) else {
        complain("this is not a token: expected three base64url segments separated by dots");
        return Ok(false);
    };
    let token = Unverified::parse(text, HeaderPolicy::ISSUER).ok();
    let named = token.and_then(|token| Some((case.issuers.unverified_issuer(&token)?, token)));
    let Some((issuer, token)) = named else {
        let named = |name| claims.get(name).map_or("none".to_owned(), shown);
        let problem = format!("no entry of [[issuers]] fits: its iss is {}, its sub {}", named("iss"), named("sub"));
        let whose = match claims.get("iss").and_then(Value::as_str) {
            Some(iss) if iss == config.issuer.as_str() => "; this service issued it: `lingpai token inspect` reads it",
            Some(iss) if case.registry.is_client(iss) => "; a client signed it itself, which needs no rule",
            _ => "",
        };
        complain(&(problem + whose));
        return Ok(false);
    };
    let keys = jwks.map(key_set).transpose()?;
    let itself = issuer.check(token, keys.as_ref(), case.leeway, case.now);
    let said: Vec<_> = issuer.explain(&claims).into_iter().map(|verdict| case.said(verdict)).collect();
    let granted = itself.is_none_or(|verified| verified.is_ok()) && said.iter().any(|one| one.granted);
    if settings.json {
        say_json(&in_json(issuer, itself, granted, &said))?;
    } else {
        say(&in_words(issuer, itself, &claims, &said))?;
    }
    Ok(granted)
}

impl Case {
    fn of(config: &Config) -> Result<Self, StartError> {
        let registry = Registry::compile(config)?;
        let read = |path: &Path| Ok(files::read(path, MAX_KEY_SET as u64)?.bytes.to_vec());
        let issuers = Issuers::compile_with(config, &registry, read)?;
        Ok(Self { registry, issuers, leeway: config.token.leeway, now: Clock::system().now() })
    }

    fn said(&self, verdict: Verdict<'_>) -> Said {
        let base = |rule: &Rule, word| Said {
            place: rule.place().unwrap_or_default().to_owned(),
            client: rule.client().to_string(),
            word,
            granted: false,
            grants: Vec::new(),
            difference: None,
            why: String::new(),
            more: json!({}),
        };
        match verdict {
            Verdict::Later(rule) => {
                Said { why: "it matches too, but an earlier rule decides".into(), ..base(rule, "later") }
            }
            Verdict::Differs(rule, difference) => {
                let found = difference.found.as_ref().map_or("nothing".to_owned(), shown);
                let why = format!("{}: the rule has {}, the token {found}", difference.claim, difference.expected);
                let more =
                    json!({"claim": difference.claim, "expected": difference.expected, "found": difference.found});
                let difference = Some((difference.claim, [difference.expected, found]));
                Said { difference, why, more, ..base(rule, "differs") }
            }
            Verdict::Speaks(rule, subject) => {
                let (granted, why, subject) = self.outcome(rule, subject);
                let grants = self.grants(rule);
                let more = json!({ "subject": subject, "grants": grants });
                Said { granted, grants, why, more, ..base(rule, "speaks") }
            }
        }
    }

    /// Returns the grants of the rule's client that take a trusted issuer's token.
    fn grants(&self, rule: &Rule) -> Vec<&'static str> {
        let client = self.registry.named(rule.client().as_str());
        let grants = client.into_iter().flat_map(|client| client.grants.iter());
        grants.filter(|grant| *grant != GrantType::RefreshToken).map(GrantType::name).collect()
    }

    /// Returns whether the client's policy grants the rule's outcome, why, and the subject.
    fn outcome(&self, rule: &Rule, subject: Result<Option<String>, Untrusted>) -> (bool, String, Option<String>) {
        let Ok(subject) = subject else {
            return (false, "REFUSED: the claims do not fill the rule's subject".to_owned(), None);
        };
        let order = GrantRequest {
            subject: subject.as_deref().and_then(crate::token::Subject::parse),
            limit: rule.scope().cloned(),
            ..GrantRequest::default()
        };
        let Some(client) = self.registry.named(rule.client().as_str()) else {
            return (false, "REFUSED: there is no such client".to_owned(), subject);
        };
        match decide(&self.registry, client, order, self.now) {
            Ok(_) if self.grants(rule).is_empty() => {
                (false, "REFUSED: the client's `grants` list none that takes the token".to_owned(), subject)
            }
            Ok(session) => {
                let about = session.subject.as_str().to_owned();
                (true, format!("subject {about}, scope {:?}", session.scope.as_str()), Some(about))
            }
            Err(refusal) => {
                let value = refusal.value().map_or_else(String::new, |value| format!(" ({value})"));
                (false, format!("REFUSED: {}{value}", refusal.word()), subject)
            }
        }
    }
}

/// A rule's verdict, for printing.
struct Said {
    place: String,
    client: String,
    word: &'static str,
    granted: bool,
    /// The grants with which the token may be presented.
    grants: Vec<&'static str>,
    /// The claim that differs; what the rule has, and what the token has.
    difference: Option<(String, [String; 2])>,
    why: String,
    more: Value,
}

impl Said {
    /// The rule, then what it says, with the two that differ one under the other.
    fn in_words(&self) -> String {
        let Self { place, client, word, difference, why, .. } = self;
        let rule = format!("{word:<8} {place}, client {client}");
        match difference {
            Some((claim, [rules, tokens])) => {
                format!("{rule}: {claim}\n{INDENT}rule   {rules}\n{INDENT}token  {tokens}")
            }
            None => format!("{rule}\n{INDENT}{why}"),
        }
    }
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn key_set(path: &Path) -> Result<KeySet, StartError> {
    let bytes = read(path, MAX_KEY_SET as u64)?;
    KeySet::parse(&bytes, Owner::Issuer)
        .map_err(|error| StartError::with_source(format!("{}: {error}", path.display()), error))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(MAX_SHOWN).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

fn in_words(
    issuer: &Issuer,
    itself: Option<Result<(), Rejected>>,
    claims: &Map<String, Value>,
    said: &[Said],
) -> String {
    let verdict = match itself {
        None => "not verified, because nothing is fetched here; --jwks FILE verifies it".to_owned(),
        Some(Ok(())) => "verified".to_owned(),
        Some(Err(Rejected::WrongAudience)) => {
            let found = claims.get("aud").map_or("none".to_owned(), shown);
            format!("NOT VALID: its aud is {found}, expected {:?}", issuer.audience())
        }
        Some(Err(rejected)) => {
            let at = |name| claims.get(name).and_then(Value::as_i64);
            let more = match (rejected, at("iat"), at("exp")) {
                (Rejected::Expired, _, Some(exp)) => format!(": it ended at {}", Timestamp::from_unix(exp)),
                (Rejected::MaxAge, Some(iat), Some(exp)) => {
                    format!(": it is good for {} s, longer than the issuer's max_age", exp.saturating_sub(iat))
                }
                _ => String::new(),
            };
            format!("NOT VALID: {}{more}", rejected.word())
        }
    };
    let rules: Vec<_> = said.iter().map(Said::in_words).collect();
    format!("token of {}\n  {verdict}\n\n{}\n\n{}", issuer.name(), rules.join("\n"), outcome(itself, said))
}

/// What comes of it all.
fn outcome(itself: Option<Result<(), Rejected>>, said: &[Said]) -> String {
    let speaks = said.iter().find(|one| one.word == "speaks");
    match (itself, speaks) {
        (Some(Err(rejected)), _) => format!("REFUSED: the token itself is not valid ({})", rejected.word()),
        (_, None) => "REFUSED: no rule matches, so there is no token".to_owned(),
        (None, Some(one)) if one.granted => {
            format!("granted, if the token is good: client {}, by {}", one.client, one.grants.join(" or "))
        }
        (_, Some(one)) if one.granted => format!("granted: client {}, by {}", one.client, one.grants.join(" or ")),
        (_, Some(one)) => one.why.clone(),
    }
}

fn in_json(issuer: &Issuer, itself: Option<Result<(), Rejected>>, granted: bool, said: &[Said]) -> Value {
    let rule = |one: &Said| {
        let mut rule = json!({"place": one.place, "client_id": one.client, "verdict": one.word, "why": one.why});
        if let (Some(rule), Some(more)) = (rule.as_object_mut(), one.more.as_object()) {
            rule.extend(more.clone());
        }
        rule
    };
    json!({
        "issuer": issuer.name(), "granted": granted, "verified": itself.map(|verified| verified.is_ok()),
        "problem": itself.and_then(Result::err).map(Rejected::word),
        "rules": said.iter().map(rule).collect::<Vec<_>>(),
    })
}
