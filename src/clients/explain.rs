//! Explains the policy: what it grants or refuses of a request, part by part, and which line of the
//! configuration decides.

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
    let is_allowed = |order: GrantRequest| decide(registry, client, order, now).is_ok();
    let mut all = Vec::new();
    let mut add = |kind, value: &str, is_granted, why: String, place| {
        all.push(Finding { kind, value: value.to_owned(), is_granted, why, place });
    };
    if question.scope.is_empty() {
        for token in client.scope.iter() {
            add(
                "scope",
                token,
                true,
                "all that it may request, by default".into(),
                written.find(&written.scope, token),
            );
        }
    }
    for text in question.scope {
        let Some(token) = ScopeToken::parse(text) else {
            add("scope", text, false, format!("expected {}", ScopeToken::EXPECTED), None);
            continue;
        };
        let granted = is_allowed(GrantRequest { scope: Some(vec![token]), ..GrantRequest::default() });
        let why = if granted { "in its scope" } else { "not in its scope" };
        add("scope", text, granted, why.into(), written.find(&written.scope, text));
    }
    let service = config.token.audience.as_ref();
    let audience_place = |name: &str| match (written.audience.is_empty(), service) {
        (false, _) => written.find(&written.audience, name),
        (true, Some(list)) => {
            let found = list.get_ref().iter().find(|text| text.get_ref() == name).or(list.get_ref().first());
            found.and_then(|text| config.source.place(text.span()))
        }
        (true, None) => None,
    };
    if question.audience.is_empty() {
        for name in client.audience.iter().map(ToString::to_string) {
            let why = match (written.audience.is_empty(), service) {
                (false, _) => "all that it may request, by default",
                (true, Some(_)) => "the service's audience, by default",
                (true, None) => "the issuer, by default",
            };
            add("audience", &name, true, why.into(), audience_place(&name));
        }
    }
    for text in question.audience {
        let Some(audience) = Audience::parse(text) else {
            add("audience", text, false, format!("expected {}", Audience::EXPECTED), None);
            continue;
        };
        let granted = is_allowed(GrantRequest { audience: Audiences::collect([audience]), ..GrantRequest::default() });
        let why = match granted {
            true => "in its audiences",
            false if client.id.is_anonymous() => "a request without credentials may not request an audience",
            false => "not in its audiences",
        };
        add("audience", text, granted, why.into(), audience_place(text));
    }
    if question.subjects.is_empty() {
        let place = written.id.as_ref().and_then(|id| written.place(id));
        add("subject", client.id.as_str(), true, "its own id, by default".into(), place);
    }
    for text in question.subjects {
        let Some(subject) = Subject::parse(text) else {
            add("subject", text, false, format!("expected {}", Subject::EXPECTED), None);
            continue;
        };
        let granted = is_allowed(GrantRequest { subject: Some(subject), ..GrantRequest::default() });
        let pattern = written.subjects.iter().find(|pattern| matches(pattern.get_ref(), text));
        let (why, place) = if client.id.is_anonymous() {
            ("a request without credentials may not name a subject".to_owned(), None)
        } else if text == client.id.as_str() {
            ("its own id".to_owned(), written.id.as_ref().and_then(|id| written.place(id)))
        } else if registry.is_client(text) {
            ("the id of another client, which patterns never allow".to_owned(), place_of(config, text))
        } else if let Some(pattern) = pattern {
            (format!("the pattern {:?} allows it", pattern.get_ref()), written.place(pattern))
        } else {
            ("no pattern of its subjects allows it".to_owned(), written.find(&written.subjects, text))
        };
        add("subject", text, granted, why, place);
    }
    Ok(all)
}

fn written(config: &Config, client: &Client) -> Result<Written, ConfigError> {
    if client.id.is_anonymous() {
        let scope = config.anonymous.as_ref().map(|anonymous| anonymous.scope.clone()).unwrap_or_default();
        let (source, none) = (config.source.clone(), Vec::new);
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

fn matches(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => subject.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
        None => subject == pattern,
    }
}
