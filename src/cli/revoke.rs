//! `lingpai revoke`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Answer, NO_FILE, Settings, complain, read, say, say_json, visible};
use crate::app::{self, Pruned, RevocationFile, StartError};
use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::files::shown;
use crate::keys::{self, KeyRing, Modes};
use crate::revocation::{Entry, Kind, Marks};
use crate::token::{self, AccessClaims, Compact, RefreshClaims, Rejection, SessionId, Verifying};

#[derive(Args)]
#[group(id = "what", required = true, multiple = false)]
struct What {
    /// Revoke the session of the token in this file, or the token itself if it names none; `-` is
    /// standard input. The token is verified first.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Revoke one access token, by its id.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    jti: Option<String>,
    /// Revoke a session and every token of it, by its id (`sid`).
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// Revoke a client's tokens and sessions that began before an instant.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    client: Option<String>,
    /// Revoke a subject's tokens and sessions that began before an instant; one subject, not a pattern.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    subject: Option<String>,
    /// Print the entries of the list.
    #[arg(long)]
    list: bool,
    /// Drop entries that no longer have an effect.
    #[arg(long)]
    prune: bool,
}

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
    /// End only what began before this instant in UTC, such as 2026-11-22T00:00:00Z; with
    /// `--client` and `--subject` [default: now].
    #[arg(long, value_name = "INSTANT", value_parser = instant, conflicts_with_all = ["token", "jti", "session", "list", "prune"])]
    before: Option<Timestamp>,
    /// Write nothing; print what the token can still do and until when, or the line that would be
    /// written.
    #[arg(long, conflicts_with_all = ["list", "prune"])]
    dry_run: bool,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "expected an instant in UTC such as 2026-11-22T00:00:00Z".to_owned())
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let config = settings.load()?;
    let registry = Registry::compile(&config)?;
    let service = Service { now: Clock::system().now(), config: &config, registry: &registry };
    let What { token, jti, session, client, subject, list, prune } = &arguments.what;
    if *list {
        return service.list(settings.json);
    }
    if *prune {
        return service.prune(settings.json);
    }
    // This includes tokens that are issued in the current second.
    let before = arguments.before.unwrap_or(service.now.plus(1));
    let named = |kind, id: &Option<String>| id.clone().map(|id| (kind, id));
    let (kind, id, at) = if let Some(file) = token {
        let text = read(file, super::token::MAX_INPUT)?;
        let text = super::token::presented(&text);
        let found = match service.verified(&text)? {
            Ok(found) => found,
            Err(why) => {
                complain(&format!("the token is not accepted, so nothing was written: {why}"));
                return Ok(false);
            }
        };
        if found.session.is_none() {
            complain(
                "note: the token names no session, so it alone ends; --client or --subject ends what was issued with it, \
                 too",
            );
        }
        if arguments.dry_run {
            return service.describe(&found, settings.json);
        }
        found.entry()
    } else if let Some((kind, id)) = named(Kind::Jti, jti).or_else(|| named(Kind::Session, session)) {
        let at = service.until(kind, &id);
        (kind, id, at)
    } else {
        let (kind, id) = named(Kind::Client, client)
            .or_else(|| named(Kind::Subject, subject))
            .ok_or_else(|| StartError::new("expected something to revoke"))?;
        (kind, id, before)
    };
    kind.accepts(&id).map_err(|expected| StartError::new(format!("--{}: {expected}", kind.word())))?;
    if is_option(kind, &id) {
        let why =
            format!("--{0}: expected a value; one that begins with two hyphens is written --{0}={id}", kind.word());
        return Err(StartError::new(visible(&why)));
    }
    if kind == Kind::Subject && id.contains('*') {
        complain(&format!("note: an entry names one subject, and is no pattern: {id:?} alone ends"));
    }
    if kind == Kind::Client && !registry.is_client(&id) && !config.is_development() {
        complain(&format!("note: the configuration has no client {id:?}"));
    }
    service.append(&Entry { kind, id: &id, at }, arguments.dry_run, settings.json)
}

/// Whether `id` is rather the next option, before which the value was forgotten.
fn is_option(kind: Kind, id: &str) -> bool {
    let has_any_form = matches!(kind, Kind::Client | Kind::Subject);
    has_any_form && id.starts_with("--") && std::env::args_os().any(|word| word == id)
}

/// The service that the list belongs to.
struct Service<'a> {
    config: &'a Config,
    registry: &'a Registry,
    now: Timestamp,
}

impl Service<'_> {
    fn file(&self) -> Result<RevocationFile, StartError> {
        let list = self.config.revocations.as_ref().ok_or_else(|| {
            if self.config.is_development() {
                return StartError::new(NO_FILE);
            }
            StartError::new(
                "there is no list of revocations: make an empty file `revoked`, set `path = \"revoked\"` below \
                 `[revocations]` in the configuration file, and restart",
            )
        })?;
        Ok(RevocationFile::of(&list.path))
    }

    /// Returns the maximum seconds that a session which begins now can last.
    fn longest_session(&self) -> i64 {
        self.registry.longest().session + self.config.token.leeway
    }

    /// Returns until when an entry matters that names a token or session by its id alone.
    fn until(&self, kind: Kind, id: &str) -> Timestamp {
        match SessionId::parse(id).filter(|_| kind == Kind::Session) {
            Some(session) => session.start().plus(self.longest_session()),
            None => self.now.plus(self.registry.longest().access + self.config.token.leeway),
        }
    }

    fn append(&self, entry: &Entry<'_>, is_dry: bool, as_json: bool) -> Answer {
        let file = self.file()?;
        let ends = entry.ends(self.longest_session());
        let was_empty = std::fs::metadata(file.path()).map_or(true, |file| file.len() == 0);
        let is_new = !is_dry && file.append(entry)?;
        let path = shown(file.path());
        if as_json {
            say_json(&json!({
                "kind": entry.kind.word(), "id": entry.id, "at": entry.at.rfc3339(), "line": entry.to_string(),
                "file": file.path().to_string_lossy(), "written": is_new, "no_effect_from": ends.rfc3339(),
            }))?;
            return Ok(true);
        }
        let done = match (is_dry, is_new) {
            (true, _) => "would add to",
            (false, true) => "added to",
            (false, false) => "already in",
        };
        say(&format!("{done} {path}: {entry}"))?;
        if is_new {
            let interval = self.config.reload.interval;
            say(&format!("servers that read this file obey it within {interval} s"))?;
            if was_empty {
                say("a server that started before `[revocations]` was set does not read it: restart it")?;
            }
        }
        if matches!(entry.kind, Kind::Client | Kind::Subject) && entry.at > self.now.plus(1) {
            say(&format!("until {} it also ends new tokens", entry.at))?;
        }
        say(&format!("from {ends} on it has no effect, and `lingpai revoke --prune` drops it"))?;
        Ok(true)
    }

    fn list(&self, as_json: bool) -> Answer {
        let (file, longest) = (self.file()?, self.longest_session());
        let (mut text, mut all) = (String::new(), Vec::new());
        file.each(|entry| {
            let ends = entry.ends(longest);
            if as_json {
                all.push(json!({
                    "kind": entry.kind.word(), "id": entry.id, "at": entry.at.rfc3339(),
                    "no_effect_from": ends.rfc3339(), "has_effect": ends > self.now,
                }));
            } else {
                let _ = writeln!(text, "{entry}");
            }
        })?;
        if as_json {
            say_json(&Value::from(all))?;
        } else if !text.is_empty() {
            say(text.trim_end())?;
        }
        Ok(true)
    }

    fn prune(&self, as_json: bool) -> Answer {
        let (file, longest, leeway) = (self.file()?, self.longest_session(), self.config.token.leeway);
        let Pruned { dropped, kept } = file.prune(|entry| entry.ends(longest).plus(leeway) <= self.now)?;
        if as_json {
            say_json(&json!({"dropped": dropped, "kept": kept}))?;
        } else {
            say(&format!("dropped {dropped}, kept {kept}"))?;
        }
        Ok(true)
    }

    /// Returns the content of the token if its signature is valid, even if it has expired.
    fn verified(&self, text: &str) -> Result<Result<Found, String>, StartError> {
        let Some(compact) = Compact::parse(text) else {
            return Ok(Err("expected three segments separated by dots".to_owned()));
        };
        let keys = keys::load_with(&self.config.keys.path, Modes::from(&self.config.keys))?;
        let ring = KeyRing::lenient(keys, app::plan(self.config, self.registry)?);
        let at = |now| Verifying { issuer: self.config.issuer.as_str(), leeway: self.config.token.leeway, now };
        let found = |now| match token::verify::<AccessClaims>(compact, &ring, at(now)) {
            Ok(access) => Ok(self.access(access.claims())),
            Err(Rejection::WrongKind) => {
                token::verify::<RefreshClaims>(compact, &ring, at(now)).map(|refresh| self.refresh(refresh.claims()))
            }
            Err(rejection) => Err(rejection),
        };
        let found = match found(self.now) {
            // Its session may still be alive, so verify it as of its issue.
            Err(Rejection::Expired) => issued(text).map_or(Err(Rejection::Expired), found),
            other => other,
        };
        Ok(found.map_err(|rejection| super::token::explain(rejection, self.config.issuer.as_str())).and_then(|found| {
            let is_over = found.session.is_none() && found.until <= self.now;
            if is_over { Err("it has expired, and names no session".to_owned()) } else { Ok(found) }
        }))
    }

    fn access(&self, claims: &AccessClaims) -> Found {
        let longest = self.longest_session();
        Found {
            what: "access token",
            id: claims.id.to_string(),
            client: claims.client.to_string(),
            subject: claims.subject.to_string(),
            scope: claims.scope.as_str().to_owned(),
            audience: claims.audience.iter().map(ToString::to_string).collect(),
            until: claims.expires.plus(self.config.token.leeway),
            session_end: claims.session.as_ref().map(|session| session.start().plus(longest)),
            session: claims.session.clone(),
            began: claims.began(),
            marks: Marks::of_access(claims),
            gone: crate::clients::admit(self.registry, claims).err().map(crate::clients::Ended::word),
        }
    }

    fn refresh(&self, claims: &RefreshClaims) -> Found {
        let session = &claims.session;
        let gone = crate::clients::renew(self.registry, session.clone(), self.now).err();
        Found {
            what: REFRESH_TOKEN,
            id: claims.id.to_string(),
            client: session.client.to_string(),
            subject: session.subject.to_string(),
            scope: session.scope.as_str().to_owned(),
            audience: session.audience.iter().map(ToString::to_string).collect(),
            until: claims.expires.plus(self.config.token.leeway),
            session_end: Some(session.end.plus(self.config.token.leeway)),
            session: session.id.clone(),
            began: session.start,
            marks: Marks::of_refresh(claims),
            gone: gone.map(crate::clients::Ended::word),
        }
    }

    /// Prints what a token can still do, and until when.
    fn describe(&self, found: &Found, as_json: bool) -> Answer {
        let list = self.file().ok().and_then(|file| file.load().transpose()).transpose()?;
        let revoked = list.and_then(|list| list.entries.end(&found.marks, found.began)).map(Kind::cause);
        let ended = revoked.or(found.gone);
        let works = ended.is_none() && found.until > self.now;
        // A refresh token yields new pairs until the session ends; it may have been stolen together
        // with this access token.
        let session = found.session_end.filter(|end| ended.is_none() && *end > self.now);
        let (kind, id, at) = found.entry();
        let line = Entry { kind, id: &id, at }.to_string();
        if as_json {
            say_json(&json!({
                "token": found.what, "id": found.id, "client": found.client, "subject": found.subject,
                "scope": found.scope, "audience": found.audience, "session": found.session,
                "works": works, "until": found.until.rfc3339(), "ended_by": ended,
                "session_goes_on_until": session.map(Timestamp::rfc3339), "line": line,
            }))?;
            return Ok(works);
        }
        let Found { what, id, client, subject, scope, .. } = found;
        let audience = found.audience.join(" ");
        say(&format!("{what} {id}\nclient   {client}\nsubject  {subject}\nscope    {scope}\naudience {audience}"))?;
        say(&match ended {
            Some(why) => format!("works    no longer: {why}"),
            None if works => format!("works    until {}", found.until),
            None => format!("works    no longer: it expired at {}", found.until),
        })?;
        if let Some(end) = session {
            // Whether an access token came with a refresh token is not in it.
            let condition = if found.what == REFRESH_TOKEN { "" } else { ", if it came with a refresh token" };
            say(&format!("session  can be refreshed until {end}{condition}"))?;
        }
        if ended.is_none() {
            say(&format!("the line that ends it: {line}"))?;
        }
        Ok(works)
    }
}

const REFRESH_TOKEN: &str = "refresh token";

/// A token with a valid signature.
struct Found {
    what: &'static str,
    id: String,
    client: String,
    subject: String,
    scope: String,
    audience: Vec<String>,
    /// When it expires.
    until: Timestamp,
    session: Option<SessionId>,
    /// When its session ends, if known.
    session_end: Option<Timestamp>,
    began: Timestamp,
    marks: Marks,
    /// Why the client's settings refuse it, if they do.
    gone: Option<&'static str>,
}

impl Found {
    /// Returns the entry that ends it: its session if it names one, otherwise itself.
    fn entry(&self) -> (Kind, String, Timestamp) {
        match &self.session {
            Some(session) => (Kind::Session, session.to_string(), self.session_end.unwrap_or(self.until)),
            None => (Kind::Jti, self.id.clone(), self.until),
        }
    }
}

/// Returns the issue instant that a token claims.
fn issued(text: &str) -> Option<Timestamp> {
    super::token::segment(text, 1)?.get("iat")?.as_i64().map(Timestamp::from_unix)
}
