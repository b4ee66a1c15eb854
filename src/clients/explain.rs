//! Explains the policy: what it grants or refuses of a request, part by part, and which line of the
//! configuration decides.

use super::client::allows;
use super::{Client, GrantRequest, Registry, decide};
use crate::clock::Timestamp;
use crate::config::{self, Config, ConfigError, Source, Text};
use crate::token::{Audience, Audiences, ScopeToken, Subject};

/// A request as typed on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// Scope tokens; if empty, all that the client may request.
    pub scope: &'a [String],
    /// Audiences; if empty, all that the client may request.
    pub audience: &'a [String],
    /// Subjects, each for a separate token; if empty, the client.
    pub subjects: &'a [String],
}

/// The verdict on one part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `scope`, `audience` or `subject`.
    pub kind: &'static str,
    /// The part.
    pub value: String,
    /// Whether it is granted.
    pub is_granted: bool,
    /// Why, or why not.
    pub why: String,
    /// `file:line:column` of the setting that decides, if any.
    pub place: Option<String>,
}

/// A client as the file has it.
struct Written {
    source: Source,
    id: Option<Text>,
    scope: Vec<Text>,
    audience: Vec<Text>,
    subjects: Vec<Text>,
}

impl Written {
    fn client(client: config::Client) -> Self {
        let config::Client { source, id, scope, audience, subjects, .. } = client;
        let audience = audience.map(toml::Spanned::into_inner).unwrap_or_default();
        Self { source, id: Some(id), scope, audience, subjects }
    }

    fn place(&self, text: &Text) -> Option<String> {
        self.source.place(text.span())
    }

    /// Returns the place of its id, if it has one.
    fn own_place(&self) -> Option<String> {
        self.id.as_ref().and_then(|id| self.place(id))
    }

    /// Returns the place of `value` in `list`, otherwise of the list, otherwise of the client.
    fn find(&self, list: &[Text], value: &str) -> Option<String> {
        let found = list.iter().find(|text| text.get_ref() == value).or(list.first()).or(self.id.as_ref());
        found.and_then(|text| self.place(text))
    }
}

/// Explains what `config` grants `client` of `question`. `registry` was compiled from `config`.
///
/// # Errors
/// The client cannot be parsed.
pub fn explain(
    config: &Config,
    registry: &Registry,
    client: &Client,
    question: Question<'_>,
    now: Timestamp,
) -> Result<Vec<Finding>, ConfigError> {
    let written = written(config, client)?;
    let mut inquiry = Inquiry { config, registry, client, written, now, findings: Vec::new() };
    inquiry.scope(question.scope);
    inquiry.audience(question.audience);
    inquiry.subjects(question.subjects);
    Ok(inquiry.findings)
}

/// The state of answering a question.
struct Inquiry<'a> {
    config: &'a Config,
    registry: &'a Registry,
    client: &'a Client,
    written: Written,
    now: Timestamp,
    findings: Vec<Finding>,
}

impl Inquiry<'_> {
    fn is_allowed(&self, order: GrantRequest) -> bool {
        decide(self.registry, self.client, order, self.now).is_ok()
    }

    fn add(
        &mut self,
        kind: &'static str,
        value: &str,
        is_granted: bool,
        why: impl Into<String>,
        place: Option<String>,
    ) {
        self.findings.push(Finding { kind, value: value.to_owned(), is_granted, why: why.into(), place });
    }

    fn scope(&mut self, asked: &[String]) {
        if asked.is_empty() {
            for token in self.client.scope.iter() {
                let place = self.written.find(&self.written.scope, token);
                self.add("scope", token, true, "all that it may request, by default", place);
            }
        }
        for text in asked {
            let Some(token) = ScopeToken::parse(text) else {
                self.add("scope", text, false, format!("expected {}", ScopeToken::EXPECTED), None);
                continue;
            };
            let granted = self.is_allowed(GrantRequest { scope: Some(vec![token]), ..GrantRequest::default() });
            let why = if granted { "in its scope" } else { "not in its scope" };
            self.add("scope", text, granted, why, self.written.find(&self.written.scope, text));
        }
    }

    fn audience(&mut self, asked: &[String]) {
        if asked.is_empty() {
            let why = match (self.written.audience.is_empty(), &self.config.token.audience) {
                (false, _) => "all that it may request, by default",
                (true, Some(_)) => "the service's audience, by default",
                (true, None) => "the issuer, by default",
            };
            for audience in self.client.audience.iter() {
                self.add("audience", audience.as_str(), true, why, self.audience_place(audience.as_str()));
            }
        }
        for text in asked {
            let Some(audience) = Audience::parse(text) else {
                self.add("audience", text, false, format!("expected {}", Audience::EXPECTED), None);
                continue;
            };
            let granted =
                self.is_allowed(GrantRequest { audience: Audiences::collect([audience]), ..GrantRequest::default() });
            let why = match granted {
                true => "in its audiences",
                false if self.client.id.is_anonymous() => "a request without credentials may not request an audience",
                false => "not in its audiences",
            };
            self.add("audience", text, granted, why, self.audience_place(text));
        }
    }

    /// Returns the place of the audience `name`: the client's, otherwise the service's.
    fn audience_place(&self, name: &str) -> Option<String> {
        if !self.written.audience.is_empty() {
            return self.written.find(&self.written.audience, name);
        }
        let list = self.config.token.audience.as_ref()?.get_ref();
        let found = list.iter().find(|text| text.get_ref() == name).or(list.first())?;
        self.config.source.place(found.span())
    }

    fn subjects(&mut self, asked: &[String]) {
        if asked.is_empty() {
            self.add("subject", self.client.id.as_str(), true, "its own id, by default", self.written.own_place());
        }
        for text in asked {
            let Some(subject) = Subject::parse(text) else {
                self.add("subject", text, false, format!("expected {}", Subject::EXPECTED), None);
                continue;
            };
            let granted = self.is_allowed(GrantRequest { subject: Some(subject), ..GrantRequest::default() });
            let (why, place) = self.why_subject(text);
            self.add("subject", text, granted, why, place);
        }
    }

    /// Returns what decides about the subject `text`, and its place.
    fn why_subject(&self, text: &str) -> (String, Option<String>) {
        let Self { config, registry, client, written, .. } = self;
        if client.id.is_anonymous() {
            return ("a request without credentials may not name a subject".to_owned(), None);
        }
        if text == client.id.as_str() {
            return ("its own id".to_owned(), written.own_place());
        }
        if registry.is_client(text) {
            return ("the id of another client, which patterns never allow".to_owned(), place_of(config, text));
        }
        match written.subjects.iter().find(|pattern| allows(pattern.get_ref(), text)) {
            Some(pattern) => (format!("the pattern {:?} allows it", pattern.get_ref()), written.place(pattern)),
            None => ("no pattern of its subjects allows it".to_owned(), written.find(&written.subjects, text)),
        }
    }
}

fn written(config: &Config, client: &Client) -> Result<Written, ConfigError> {
    if client.id.is_anonymous() {
        let anonymous = config.anonymous.as_ref().ok_or_else(|| ConfigError::new("there is no [anonymous]"))?;
        let (scope, source, none) = (anonymous.scope.clone(), config.source.clone(), Vec::new);
        return Ok(Written { source, id: None, scope, audience: none(), subjects: none() });
    }
    let same = |one: &Result<config::Client, ConfigError>| {
        one.as_ref().map_or(true, |one| one.id.get_ref() == client.id.as_str())
    };
    let found = config.clients().find(same).unwrap_or_else(|| Err(ConfigError::new("the client is not in the file")));
    found.map(Written::client)
}

/// Returns the place of the client `id` in its file.
fn place_of(config: &Config, id: &str) -> Option<String> {
    let client = config.clients().filter_map(Result::ok).find(|client| client.id.get_ref() == id)?;
    client.source.place(client.id.span())
}
