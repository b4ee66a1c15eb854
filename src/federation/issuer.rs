//! Issuers and their rules, compiled.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::matcher::{Difference, Matcher};
use super::template::Template;
use crate::clock::Timestamp;
use crate::foreign::{self, Assertion, HeaderPolicy, KeySet, MaxAge, Rejected, Rules, Unverified, Verified};
use crate::token::{ClientId, Scope, Subject};

/// Every trusted issuer.
#[derive(Debug, Default)]
pub struct Issuers(pub(super) Vec<Issuer>);

/// An issuer that is trusted, for identities that one of its rules matches.
#[derive(Debug)]
pub struct Issuer {
    pub(super) name: Name,
    /// The only value that `aud` may have.
    pub(super) audience: Box<str>,
    /// How long an identity may live, in seconds.
    pub(super) max_age: i64,
    pub(super) keys: Keys,
    pub(super) rules: Vec<Rule>,
}

/// How a token names its issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// By `iss`.
    Issuer(Box<str>),
    /// By `sub`, which begins with this: `spiffe://example.org/`. `iss` is not read.
    Spiffe(Box<str>),
}

/// What an identity that matches gets.
#[derive(Debug)]
pub struct Rule {
    pub(super) matcher: Matcher,
    /// The client that the identity is.
    pub(super) client: ClientId,
    pub(super) subject: Option<Template>,
    pub(super) scope: Option<Scope>,
    /// `file:line:column`.
    pub(super) place: Option<String>,
}

/// What a rule makes of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The client.
    pub client: ClientId,
    /// The tokens' subject; the client if None.
    pub subject: Option<Subject>,
    /// What their scope is within, beside the client's.
    pub limit: Option<Scope>,
}

/// A token, and the trusted issuer that it names. Nothing that it says is believed yet.
#[derive(Debug)]
pub struct Named<'s, 't> {
    issuer: &'s Issuer,
    token: Unverified<'t>,
}

/// Why a token of a trusted issuer is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrusted {
    /// The token itself.
    Rejected(Rejected),
    /// No rule matches.
    NoRule,
    /// The claims do not fill the rule's subject.
    Subject,
    /// There are no keys to verify the token with, and they cannot be fetched now.
    NoKeys,
}

impl Issuers {
    /// The issuer that `token` names, if it is a trusted one, and the token, of which nothing is believed yet.
    #[must_use]
    pub fn unverified_issuer<'t>(&self, token: &'t str) -> Option<(&Issuer, Unverified<'t>)> {
        if self.0.is_empty() {
            return None;
        }
        let token = Unverified::parse(token, HeaderPolicy::ISSUER).ok()?;
        let (iss, sub) = (token.unverified_issuer(), token.unverified_subject());
        let by_issuer = |issuer: &&Issuer| matches!(&issuer.name, Name::Issuer(name) if Some(&**name) == iss);
        let by_subject = |issuer: &&Issuer| match &issuer.name {
            Name::Spiffe(prefix) => sub.is_some_and(|sub| sub.starts_with(&**prefix)),
            Name::Issuer(_) => false,
        };
        let issuer = self.0.iter().find(by_issuer).or_else(|| self.0.iter().find(by_subject))?;
        Some((issuer, token))
    }

    /// Fetches the keys that `token` needs, if it names a trusted issuer and they are not there yet. Returns the token,
    /// so that it is read once.
    pub async fn prepare<'s, 't>(&'s self, token: &'t str, now: Timestamp) -> Option<Named<'s, 't>> {
        let (issuer, token) = self.unverified_issuer(token)?;
        if let Keys::Fetched(kept) = &issuer.keys {
            kept.prepare(token.unverified_kid(), now).await;
        }
        Some(Named { issuer, token })
    }

    /// Takes over the keys that were fetched for the issuers of `before`. One that has them elsewhere begins anew.
    pub fn keep_keys(&mut self, before: &Self) {
        for issuer in &mut self.0 {
            let same = before.0.iter().find(|other| other.name == issuer.name);
            if let (Keys::Fetched(kept), Some(Keys::Fetched(fetched))) = (&mut issuer.keys, same.map(|same| &same.keys))
                && kept.source == fetched.source
            {
                *kept = Arc::clone(fetched);
            }
        }
    }

    /// Of each issuer whose keys are fetched: its name, and how many seconds ago they were, if they ever were.
    pub fn ages(&self, now: Timestamp) -> impl Iterator<Item = (&str, Option<i64>)> {
        self.0.iter().filter_map(move |issuer| match &issuer.keys {
            Keys::Fetched(kept) => Some((issuer.name(), kept.age(now))),
            Keys::File(_) => None,
        })
    }

    /// What is to be warned of at `now`: keys that cannot be fetched.
    pub fn stale(&self, now: Timestamp) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(move |issuer| {
            let Keys::Fetched(kept) = &issuer.keys else { return None };
            let (why, name) = (kept.failure()?, issuer.name());
            Some(match kept.age(now).filter(|_| kept.current(now).is_some()) {
                Some(age) => format!("the keys of {name} are {age} s old and serve for a day: {why}"),
                None => format!("there are no keys of {name}, so its tokens are answered with 503: {why}"),
            })
        })
    }

    /// Each of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'s> Named<'s, '_> {
    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &'s Issuer {
        self.issuer
    }

    /// What the issuer's first rule that matches makes of the token.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn identify(self, leeway: i64, now: Timestamp) -> Result<Identity, Untrusted> {
        self.issuer.identify(self.token, leeway, now)
    }
}

impl Issuer {
    /// `iss`, or the trust domain.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Issuer(name) | Name::Spiffe(name) => name,
        }
    }

    /// Its rules, in the file's order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Its keys, if there are any that serve at `now`.
    fn keys(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::File(keys) => Some(Arc::clone(keys)),
            Keys::Fetched(kept) => kept.current(now),
        }
    }

    /// What the first rule that matches makes of `token`, which names this issuer.
    fn identify(&self, token: Unverified<'_>, leeway: i64, now: Timestamp) -> Result<Identity, Untrusted> {
        let keys = self.keys(now).ok_or(Untrusted::NoKeys)?;
        let verified = self.verify(token, &keys, leeway, now).map_err(Untrusted::Rejected)?;
        let claims = &verified.claims().claims;
        let rule = self.rules.iter().find(|rule| self.matches(rule, claims)).ok_or(Untrusted::NoRule)?;
        Ok(Identity { client: rule.client.clone(), subject: rule.subject(claims)?, limit: rule.scope.clone() })
    }

    /// Whether `token` is good, whatever the rules say: by `keys`, otherwise by those that are here. None if there are none.
    #[must_use]
    pub fn check(
        &self,
        token: Unverified<'_>,
        keys: Option<&KeySet>,
        leeway: i64,
        now: Timestamp,
    ) -> Option<Result<(), Rejected>> {
        let own = self.keys(now);
        let keys = keys.or(own.as_deref())?;
        Some(self.verify(token, keys, leeway, now).map(drop))
    }

    fn verify(
        &self,
        token: Unverified<'_>,
        keys: &KeySet,
        leeway: i64,
        now: Timestamp,
    ) -> Result<Verified<Assertion>, Rejected> {
        let issuer = match &self.name {
            Name::Issuer(name) => Some(&**name),
            Name::Spiffe(_) => None,
        };
        let max_age = MaxAge::FromIssue(self.max_age);
        foreign::verify(token, keys, Rules { issuer, audiences: &[&*self.audience], max_age, leeway, now })
    }

    /// Whether an identity is what `rule` has. A SPIFFE identity is of the trust domain too.
    fn matches(&self, rule: &Rule, claims: &Map<String, Value>) -> bool {
        self.is_own(claims) && rule.matcher.matches(claims)
    }

    /// The first claim in which an identity differs from what `rule` has. None if it [matches](Self::matches).
    pub(super) fn difference(&self, rule: &Rule, claims: &Map<String, Value>) -> Option<Difference> {
        if !self.is_own(claims) {
            let expected = format!("a SPIFFE ID that begins with {:?}", self.name());
            return Some(Difference { claim: "sub".to_owned(), expected, found: claims.get("sub").cloned() });
        }
        rule.matcher.difference(claims)
    }

    /// Whether a SPIFFE identity is of the trust domain.
    fn is_own(&self, claims: &Map<String, Value>) -> bool {
        match &self.name {
            Name::Spiffe(domain) => {
                claims.get("sub").and_then(Value::as_str).is_some_and(|sub| is_spiffe_id(sub, domain))
            }
            Name::Issuer(_) => true,
        }
    }
}

/// Whether `text` is a workload's id in the trust domain whose ids begin with `domain` (SPIFFE-ID §2).
fn is_spiffe_id(text: &str, domain: &str) -> bool {
    let is_segment = |segment: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
    };
    text.len() <= 2_048 && text.strip_prefix(domain).is_some_and(|path| path.split('/').all(is_segment))
}

impl Rule {
    /// The client that an identity is, if the rule matches it.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// What the scope is within, beside the client's.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Where the file has it, as `file:line:column`.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The subject that the rule makes of `claims`, if it makes one.
    ///
    /// # Errors
    /// [`Untrusted::Subject`] where the claims do not fill it, or what comes of it is no subject.
    pub fn subject(&self, claims: &Map<String, Value>) -> Result<Option<Subject>, Untrusted> {
        let Some(template) = &self.subject else { return Ok(None) };
        let subject = template.fill(claims).and_then(|filled| Subject::parse(&filled));
        subject.map(Some).ok_or(Untrusted::Subject)
    }
}
