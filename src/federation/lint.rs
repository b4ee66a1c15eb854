//! Rules that are allowed, but probably a mistake.

use super::issuer::{Issuers, Rule};
use super::matcher::{Expected, Matcher};
use super::template::Template;
use crate::clients::{Client, Registry};

/// An issuer whose tokens anybody can get, and the claims that identify an owner by number, which
/// nobody else can take over.
struct Shared {
    name: &'static str,
    owner: &'static [&'static str],
}

const SHARED: [Shared; 3] = [
    Shared {
        name: "https://token.actions.githubusercontent.com",
        owner: &["repository_owner_id", "repository_id", "enterprise_id"],
    },
    Shared { name: "https://gitlab.com", owner: &["namespace_id", "project_id"] },
    Shared { name: "https://accounts.google.com", owner: &["sub"] },
];

/// Returns a warning for each rule that grants less than it says, and for each rule of a shared issuer in which no claim
/// identifies the owner by number.
#[must_use]
pub fn warnings(issuers: &Issuers, registry: &Registry) -> Vec<String> {
    let mut all = Vec::new();
    for issuer in issuers.iter() {
        all.extend(
            issuer.rules().filter_map(|rule| Some(vain(rule, registry.named(rule.client().as_str())?))).flatten(),
        );
        let Some(shared) = SHARED.iter().find(|shared| shared.name == issuer.name()) else { continue };
        for rule in issuer.rules().filter(|rule| !names_owner(&rule.matcher, shared.owner)) {
            all.push(format!(
                "{}anybody can get tokens of {}, and names are given to others when they are free; match a claim that \
                 names the owner by number: {}",
                place(rule),
                shared.name,
                shared.owner.join(" or ")
            ));
        }
    }
    all
}

fn place(rule: &Rule) -> String {
    rule.place().map(|place| format!("{place}: ")).unwrap_or_default()
}

/// Returns what `rule` says and its client's policy never allows.
fn vain(rule: &Rule, client: &Client) -> Vec<String> {
    let id = &client.id;
    let scope = rule.scope().into_iter().flat_map(|scope| scope.as_str().split_terminator(' '));
    let missing: Vec<_> = scope.filter(|token| !client.scope.contains(token)).collect();
    let scope = (!missing.is_empty()).then(|| {
        format!("{}scope: {id} may not request {}, so the rule never grants it", place(rule), missing.join(", "))
    });
    let begins = |start: &&str| {
        client.subjects().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => prefix.starts_with(start) || start.starts_with(prefix),
            None => pattern.starts_with(start),
        })
    };
    let subject = rule.subject.as_ref().map(Template::start).filter(|start| !begins(start)).map(|start| {
        let at = place(rule);
        format!("{at}subject: `subjects` of {id} allow none that begins with {start:?}, so the rule gives no token")
    });
    scope.into_iter().chain(subject).collect()
}

/// Whether one of `claims` is pinned to one number, or `sub` to one with the owner's:
/// `repo:acme@1234/…`.
fn names_owner(matcher: &Matcher, claims: &[&str]) -> bool {
    let is_number = |expected: &Expected| match expected {
        Expected::Integer(_) => true,
        Expected::Text(text, glob) => glob.is_exact() && text.bytes().all(|b| b.is_ascii_digit()),
        Expected::Bool(_) | Expected::Object(_) => false,
    };
    let has_number = |expected: &Expected| match expected {
        Expected::Text(text, _) => {
            let owner = text.strip_prefix("repo:").and_then(|rest| rest.split_once('/')).map(|(owner, _)| owner);
            let number = owner.and_then(|owner| owner.split_once('@')).map(|(_, number)| number);
            number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        }
        _ => false,
    };
    claims.iter().any(|name| matcher.pins(name, is_number)) || matcher.pins("sub", has_number)
}
