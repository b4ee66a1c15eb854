//! Rules that are allowed, but probably a mistake.

use super::issuer::Issuers;
use super::matcher::{Expected, Matcher};

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

/// Returns a warning for each rule of a shared issuer in which no claim identifies the owner by
/// number.
#[must_use]
pub fn warnings(issuers: &Issuers) -> Vec<String> {
    let mut all = Vec::new();
    for issuer in issuers.iter() {
        let Some(shared) = SHARED.iter().find(|shared| shared.name == issuer.name()) else { continue };
        for rule in issuer.rules().filter(|rule| !names_owner(&rule.matcher, shared.owner)) {
            let place = rule.place().map(|place| format!("{place}: ")).unwrap_or_default();
            all.push(format!(
                "{place}anybody can get tokens of {}, and names are given to others when they are free; match a claim that \
                 names the owner by number: {}",
                shared.name,
                shared.owner.join(" or ")
            ));
        }
    }
    all
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
