//! Compiled issuers and their rules.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::matcher::{Difference, Matcher};
use super::template::Template;
use crate::clock::Timestamp;
use crate::foreign::{self, Assertion, HeaderPolicy, KeySet, MaxAge, Rejected, Rules, Unverified, Verified};
use crate::token::{ClientId, Scope, Subject};

/// The trusted issuers.
#[derive(Debug, Default)]
pub struct Issuers(pub(super) Vec<Issuer>);

/// A trusted issuer: an identity that it signed is accepted if a rule matches.
#[derive(Debug)]
pub struct Issuer {
    pub(super) name: Name,
    /// The only value that `aud` may have.
    pub(super) audience: Box<str>,
    /// Maximum lifetime of an identity, in seconds.
    pub(super) max_age: i64,
    pub(super) keys: Keys,
    pub(super) rules: Vec<Rule>,
    /// Whether it stands in an included file.
    pub(super) is_included: bool,
}

/// How tokens name the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// By `iss`.
    Issuer(Box<str>),
    /// By the prefix of `sub`: `spiffe://example.org/`. `iss` is not read.
    Spiffe(Box<str>),
}

/// A rule: what a matching identity gets.
#[derive(Debug)]
pub struct Rule {
    pub(super) matcher: Matcher,
    /// The client that the identity acts as.
    pub(super) client: ClientId,
    pub(super) subject: Option<Template>,
    pub(super) scope: Option<Scope>,
    /// `file:line:column`.
    pub(super) place: Option<String>,
}

/// The outcome of a rule for an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The client.
    pub client: ClientId,
    /// The tokens' subject; None for the client itself.
    pub subject: Option<Subject>,
    /// A further limit on the scope, besides the client's own.
    pub limit: Option<Scope>,
}

/// A token, and the trusted issuer that it names. Nothing in it is verified yet.
#[derive(Debug)]
pub struct Named<'s, 't> {
    issuer: &'s Issuer,
    token: Box<Unverified<'t>>,
}

/// Why a trusted issuer's token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrusted {
    /// The token is not valid.
    Rejected(Rejected),
    /// No rule matches.
    NoRule,
    /// The claims do not fill the rule's subject.
    Subject,
    /// The keys are missing and cannot be fetched at the moment.
    NoKeys,
}

impl Issuers {
    /// Returns the trusted issuer that `token` names, if any.
    ///
    /// A `sub` in a trust domain decides (JWT-SVID §3.1), and `iss` is read only in other tokens: a
    /// SPIFFE server may write anything there, even the name of another issuer, and only the domain's
    /// keys vouch for its workloads.
    #[must_use]
    pub fn unverified_issuer(&self, token: &Unverified<'_>) -> Option<&Issuer> {
        if self.0.is_empty() || !token.has_type(HeaderPolicy::ISSUER) {
            return None;
        }
        let (iss, sub) = (token.unverified_issuer(), token.unverified_subject());
        let by_issuer = |issuer: &&Issuer| matches!(&issuer.name, Name::Issuer(name) if Some(&**name) == iss);
        let by_subject = |issuer: &&Issuer| match &issuer.name {
            Name::Spiffe(prefix) => sub.is_some_and(|sub| sub.starts_with(&**prefix)),
            Name::Issuer(_) => false,
        };
        // No team's entry stands in the way of one in the configuration's own file.
        let of = |is_included| self.0.iter().filter(move |issuer| issuer.is_included == is_included);
        let among = |is_included| of(is_included).find(by_subject).or_else(|| of(is_included).find(by_issuer));
        among(false).or_else(|| among(true))
    }

    /// Returns the token with the trusted issuer that it names.
    ///
    /// # Errors
    /// The token alone, if it names none.
    pub fn named<'s, 't>(&'s self, token: Box<Unverified<'t>>) -> Result<Named<'s, 't>, Box<Unverified<'t>>> {
        match self.unverified_issuer(&token) {
            Some(issuer) => Ok(Named { issuer, token }),
            None => Err(token),
        }
    }

    /// Takes over the fetched keys of `before`. An issuer whose keys have moved starts without.
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

    /// Returns the name of each issuer whose keys are fetched, and how many seconds ago they were,
    /// if ever.
    pub fn ages(&self, now: Timestamp) -> impl Iterator<Item = (&str, Option<i64>)> {
        self.0.iter().filter_map(move |issuer| match &issuer.keys {
            Keys::Fetched(kept) => Some((issuer.name(), kept.age(now))),
            Keys::File(_) => None,
        })
    }

    /// Returns a warning at `now` for each issuer whose keys cannot be fetched.
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

    /// Iterates over the issuers, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }

    /// Whether there are no issuers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'s, 't> Named<'s, 't> {
    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &'s Issuer {
        self.issuer
    }

    /// Returns the token's `iss`, unverified. A SPIFFE identity may have any, or none.
    #[must_use]
    pub fn unverified_iss(&self) -> Option<&str> {
        self.token.unverified_issuer()
    }

    /// Returns the token alone, for a signer of another kind.
    #[must_use]
    pub fn into_token(self) -> Box<Unverified<'t>> {
        self.token
    }

    /// Fetches the keys that the token needs, if they are missing.
    pub async fn prepare(&self, now: Timestamp) {
        if let Keys::Fetched(kept) = &self.issuer.keys {
            kept.prepare(self.token.unverified_kid(), now).await;
        }
    }

    /// Verifies the token, and applies the issuer's first rule that matches.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn identify(self, leeway: i64, now: Timestamp) -> Result<Identity, Untrusted> {
        self.issuer.identify(*self.token, leeway, now)
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

    /// Iterates over its rules, in the file's order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Returns its keys, if there are any that are still accepted at `now`.
    fn keys(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::File(keys) => Some(Arc::clone(keys)),
            Keys::Fetched(kept) => kept.current(now),
        }
    }

    /// Verifies `token`, which names this issuer, and applies the first rule that matches.
    fn identify(&self, token: Unverified<'_>, leeway: i64, now: Timestamp) -> Result<Identity, Untrusted> {
        let keys = self.keys(now).ok_or(Untrusted::NoKeys)?;
        let verified = self.verify(token, &keys, leeway, now).map_err(Untrusted::Rejected)?;
        let claims = &verified.claims().claims;
        let rule = self.rules.iter().find(|rule| self.matches(rule, claims)).ok_or(Untrusted::NoRule)?;
        Ok(Identity { client: rule.client.clone(), subject: rule.subject(claims)?, limit: rule.scope.clone() })
    }

    /// Verifies `token` without applying rules: with `keys`, otherwise with the keys at hand. Without
    /// any, only the claims are checked, and None says that they are good.
    #[must_use]
    pub fn check(
        &self,
        token: Unverified<'_>,
        keys: Option<&KeySet>,
        leeway: i64,
        now: Timestamp,
    ) -> Option<Result<(), Rejected>> {
        let own = self.keys(now);
        match keys.or(own.as_deref()) {
            Some(keys) => Some(self.verify(token, keys, leeway, now).map(drop)),
            None => self.judged(leeway, now, |rules| foreign::check_claims(token, rules)).err().map(Err),
        }
    }

    /// Returns what `aud` must be.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    fn verify(
        &self,
        token: Unverified<'_>,
        keys: &KeySet,
        leeway: i64,
        now: Timestamp,
    ) -> Result<Verified<Assertion>, Rejected> {
        self.judged(leeway, now, |rules| foreign::verify(token, keys, rules))
    }

    /// Judges by what its tokens must agree with.
    fn judged<T>(&self, leeway: i64, now: Timestamp, judge: impl FnOnce(Rules<'_>) -> T) -> T {
        let issuer = match &self.name {
            Name::Issuer(name) => Some(&**name),
            Name::Spiffe(_) => None,
        };
        let max_age = MaxAge::FromIssue(self.max_age);
        judge(Rules { issuer, audiences: &[&*self.audience], max_age, leeway, now })
    }

    /// Whether an identity meets `rule`, including its SPIFFE trust domain.
    fn matches(&self, rule: &Rule, claims: &Map<String, Value>) -> bool {
        self.is_own(claims) && rule.matcher.matches(claims)
    }

    /// Returns the first claim in which an identity differs from `rule`; None if it [matches](Self::matches).
    pub(super) fn difference(&self, rule: &Rule, claims: &Map<String, Value>) -> Option<Difference> {
        if !self.is_own(claims) {
            let expected = format!("a SPIFFE ID that begins with {:?}", self.name());
            return Some(Difference { claim: "sub".to_owned(), expected, found: claims.get("sub").cloned() });
        }
        rule.matcher.difference(claims)
    }

    /// Whether a SPIFFE identity belongs to the trust domain; true for other issuers.
    fn is_own(&self, claims: &Map<String, Value>) -> bool {
        match &self.name {
            Name::Spiffe(domain) => {
                claims.get("sub").and_then(Value::as_str).is_some_and(|sub| is_spiffe_id(sub, domain))
            }
            Name::Issuer(_) => true,
        }
    }
}

/// Whether `text` is a workload's SPIFFE ID in the trust domain with the prefix `domain` (SPIFFE-ID
/// §2).
fn is_spiffe_id(text: &str, domain: &str) -> bool {
    let is_segment = |segment: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
    };
    text.len() <= 2_048 && text.strip_prefix(domain).is_some_and(|path| path.split('/').all(is_segment))
}

impl Rule {
    /// Returns the client that a matching identity acts as.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Returns the rule's limit on the scope, besides the client's own.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Returns the rule's place, as `file:line:column`.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Returns the subject that the rule makes of `claims`, if it makes one.
    ///
    /// # Errors
    /// [`Untrusted::Subject`] if the claims do not fill the template, or the result is not a valid
    /// subject.
    pub fn subject(&self, claims: &Map<String, Value>) -> Result<Option<Subject>, Untrusted> {
        let Some(template) = &self.subject else { return Ok(None) };
        let subject = template.fill(claims).and_then(|filled| Subject::parse(&filled));
        subject.map(Some).ok_or(Untrusted::Subject)
    }
}
