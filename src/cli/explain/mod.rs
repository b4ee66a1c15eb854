//! `lingpai explain`

mod token;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Answer, NO_FILE, Settings, complain, say, say_json};
use crate::app::StartError;
use crate::clients::{Client, Finding, GrantType, Question, Registry, explain};
use crate::clock::{Clock, Timestamp};
use crate::token::{ClientId, Sender};

#[derive(Args)]
pub(super) struct Arguments {
    /// The client's id, or `anonymous` for requests without credentials.
    #[arg(required_unless_present = "token")]
    client: Option<String>,
    /// Instead: a file with a token of a trusted issuer, `-` for standard input. Says which of [[issuers.rules]] speaks for
    /// it, and why each other does not.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client", "scope", "audience", "subject"])]
    token: Option<PathBuf>,
    /// Verify the token with the public keys in this file: nothing is fetched.
    #[arg(long, value_name = "FILE", requires = "token")]
    jwks: Option<PathBuf>,
    /// A scope token that it requests. May be repeated [default: all that it may request].
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// An audience that it requests. May be repeated [default: all that it may request].
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// A subject that it names. May be repeated; each gets a separate token [default: its id].
    #[arg(long, value_name = "SUBJECT")]
    subject: Vec<String>,
}

/// Whether everything is granted.
pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let id = match (&arguments.token, &arguments.client) {
        (Some(file), _) => return token::run(settings, file, arguments.jwks.as_deref()),
        (None, Some(id)) => id.as_str(),
        (None, None) => return Err(StartError::new("expected the id of a client, or --token")),
    };
    let config = settings.load()?;
    let registry = Registry::compile(&config)?;
    let client = if id == ClientId::ANONYMOUS { registry.anonymous() } else { registry.named(id) };
    let Some(client) = client else {
        complain(&match id {
            ClientId::ANONYMOUS => "no token without credentials: there is no [anonymous]".to_owned(),
            _ if config.is_development() => NO_FILE.to_owned(),
            _ => format!("there is no client {id:?}; `lingpai client list` shows them all"),
        });
        return Ok(false);
    };
    let question = Question { scope: &arguments.scope, audience: &arguments.audience, subjects: &arguments.subject };
    let findings = explain(&config, &registry, client, question, Clock::system().now())?;
    let granted = findings.iter().all(|finding| finding.is_granted);
    if settings.json {
        say_json(&in_json(client, granted, &findings))?;
        return Ok(granted);
    }
    for Finding { kind, value, is_granted, why, place } in &findings {
        let verdict = if *is_granted { "granted" } else { "REFUSED" };
        let place = place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        say(&format!("{verdict} {kind:<8} {value}: {why}{place}"))?;
    }
    let lifetimes = client.lifetimes;
    say(&format!(
        "lifetimes: access {} s, refresh {} s, session {} s; signed with {}",
        lifetimes.access,
        lifetimes.refresh,
        lifetimes.session,
        client.algorithm.name()
    ))?;
    let grants: Vec<_> = client.grants.iter().map(GrantType::name).collect();
    if !client.id.is_anonymous() {
        let native = if client.sender.is_some() { "no tokens (because of `sender`)" } else { "a pair of tokens" };
        let listed = if grants.is_empty() { "nothing".to_owned() } else { grants.join(", ") };
        say(&format!("it gets {native} at /token; by grant_type at /oauth2/token: {listed}"))?;
    }
    if let Some(not_before) = client.not_before {
        say(&format!("not_before: tokens and sessions that began before {not_before} are refused"))?;
    }
    if !granted {
        say("a request is granted in full or not at all: the answer names the first part that is refused")?;
    }
    Ok(granted)
}

fn in_json(client: &Client, granted: bool, findings: &[Finding]) -> serde_json::Value {
    let part = |finding: &Finding| {
        json!({
            "kind": finding.kind, "value": finding.value, "granted": finding.is_granted, "why": finding.why,
            "place": finding.place,
        })
    };
    json!({
        "client_id": client.id.as_str(), "granted": granted, "parts": findings.iter().map(part).collect::<Vec<_>>(),
        "access_lifetime": client.lifetimes.access, "refresh_lifetime": client.lifetimes.refresh,
        "session_lifetime": client.lifetimes.session, "algorithm": client.algorithm.name(),
        "grants": client.grants.iter().map(GrantType::name).collect::<Vec<_>>(),
        "sender": client.sender.map(Sender::name),
        "not_before": client.not_before.map(Timestamp::rfc3339),
    })
}
