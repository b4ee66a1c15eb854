//! The policy: takes a request and a client, returns a grant or the refused part.

use std::borrow::Cow;

use super::{Client, Registry};
use crate::clock::Timestamp;
use crate::token::{
    AccessClaims, Audience, Audiences, Dialect, ExtraClaims, Grant, LEEWAY_CAP, Scope, ScopeToken, Session, Subject,
};

/// The content of a request. `None` stands for an absent member.
#[derive(Debug, Clone, Default)]
pub struct GrantRequest {
    /// Scope tokens, in the order listed.
    pub scope: Option<Vec<ScopeToken>>,
    /// Audiences.
    pub audience: Option<Audiences>,
    /// The token's subject.
    pub subject: Option<Subject>,
    /// Lifetime of the access token, in seconds.
    pub lifetime: Option<i64>,
    /// Extra claims.
    pub claims: Option<ExtraClaims>,
    /// A further limit on the scope besides the client's, even if none is requested.
    pub limit: Option<Scope>,
}

/// The part of a request that the policy refuses. Each dialect says it in these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This scope token.
    #[error("the scope {0} is not allowed")]
    Scope(ScopeToken),
    /// This audience.
    #[error("the audience {0} is not allowed")]
    Audience(Audience),
    /// This subject.
    #[error("the subject {0} is not allowed")]
    Subject(Subject),
    /// This extra claim.
    #[error("the claim {0} is not allowed")]
    Claim(String),
    /// This member is not available without credentials.
    #[error("{0} is not allowed without credentials")]
    Anonymous(&'static str),
    /// The lifetime exceeds this many seconds.
    #[error("lifetime must be at most {0} seconds")]
    Lifetime(i64),
}

impl Refusal {
    /// Returns the log's word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Scope(_) => "scope_not_allowed",
            Self::Audience(_) => "audience_not_allowed",
            Self::Subject(_) => "subject_not_allowed",
            Self::Claim(_) => "claim_not_allowed",
            Self::Anonymous(_) => "credentials_needed",
            Self::Lifetime(_) => "lifetime_too_long",
        }
    }

    /// Returns the scope token, audience, subject or claim's name that is refused.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Scope(token) => Some(token.as_str()),
            Self::Audience(audience) => Some(audience.as_str()),
            Self::Subject(subject) => Some(subject.as_str()),
            Self::Claim(name) => Some(name),
            Self::Anonymous(_) | Self::Lifetime(_) => None,
        }
    }
}

/// Decides what `client` gets for `order`: all of it or nothing.
///
/// # Errors
/// The first refused part, in the order of the members.
pub fn decide(registry: &Registry, client: &Client, order: GrantRequest, now: Timestamp) -> Result<Session, Refusal> {
    if client.id.is_anonymous() {
        let members = [
            ("audience", order.audience.is_some()),
            ("subject", order.subject.is_some()),
            ("claims", order.claims.is_some()),
        ];
        if let Some((member, _)) = members.into_iter().find(|(_, used)| *used) {
            return Err(Refusal::Anonymous(member));
        }
    }
    let scope = chosen_scope(client, order.scope, order.limit.as_ref())?;
    let audience = chosen_audience(client, order.audience)?;
    let subject = order.subject.unwrap_or_else(|| Subject::from(&client.id));
    if !may_be_about(registry, client, &subject) {
        return Err(Refusal::Subject(subject));
    }
    let claims = order.claims.unwrap_or_default();
    if let Some((refused, _)) = claims.iter().find(|(name, _)| !client.may_claim(name)) {
        return Err(Refusal::Claim(refused.to_owned()));
    }
    if order.lifetime.is_some_and(|seconds| seconds > client.lifetimes.access) {
        return Err(Refusal::Lifetime(client.lifetimes.access));
    }
    Ok(Session {
        id: None,
        dialect: Dialect::Native,
        client: client.id.clone(),
        subject,
        scope,
        audience,
        claims,
        lifetime: order.lifetime,
        sender: None,
        start: now,
        end: now.plus(client.lifetimes.session),
        actor: None,
    })
}

/// Returns the requested scope, if it is within the client's and `limit`; without a request, all
/// that these allow.
fn chosen_scope(client: &Client, asked: Option<Vec<ScopeToken>>, limit: Option<&Scope>) -> Result<Scope, Refusal> {
    let allowed = limit.map_or_else(|| client.scope.clone(), |limit| client.scope.intersect(limit));
    let Some(asked) = asked else { return Ok(allowed) };
    match asked.iter().find(|token| !allowed.contains(token.as_str())) {
        Some(refused) => Err(Refusal::Scope(refused.clone())),
        None => Ok(subset(asked)),
    }
}

/// Returns the requested audiences, if all are the client's; without a request, all of the
/// client's.
pub(super) fn chosen_audience(client: &Client, asked: Option<Audiences>) -> Result<Audiences, Refusal> {
    asked.map_or_else(|| Ok(client.audience.clone()), |asked| part_of(asked, &client.audience))
}

/// Why a session is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its client is gone.
    ClientGone,
    /// Its client may no longer name its subject.
    SubjectGone,
    /// Its client may no longer request any of its audiences.
    AudienceGone,
    /// It began before its client's `not_before`.
    NotBefore,
    /// It begins this many seconds in the future, more than clocks may differ: replicas would
    /// refuse its renewed tokens.
    NotBegun(i64),
    /// It has reached its end.
    Expired,
}

impl Ended {
    /// Returns the log's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::SubjectGone => "subject_gone",
            Self::AudienceGone => "audience_gone",
            Self::NotBefore => "session_before_not_before",
            Self::NotBegun(_) => "session_not_begun",
            Self::Expired => "session_ended",
        }
    }
}

/// A renewed session, and what its next access token gets.
#[derive(Debug)]
pub struct Renewal<'r> {
    /// Its client.
    pub client: &'r Client,
    /// The session, with its end as of now.
    pub session: Session,
    scope: Scope,
    audience: Audiences,
    claims: ExtraClaims,
    access_lifetime: i64,
}

impl Renewal<'_> {
    /// Narrows the new access token to the scope `asked`.
    ///
    /// # Errors
    /// The first scope token that the session never had or the client may no longer request.
    pub fn narrow(&mut self, asked: Vec<ScopeToken>) -> Result<(), Refusal> {
        if let Some(refused) = asked.iter().find(|token| !self.scope.contains(token.as_str())) {
            return Err(Refusal::Scope(refused.clone()));
        }
        self.scope = subset(asked);
        Ok(())
    }

    /// Narrows the new access token to the audiences `asked` (RFC 8707 §2.2). The refresh token
    /// keeps the session's audiences.
    ///
    /// # Errors
    /// The first audience that the session never had or the client may no longer request.
    pub fn narrow_audience(&mut self, asked: Audiences) -> Result<(), Refusal> {
        self.audience = part_of(asked, &self.audience)?;
        Ok(())
    }

    /// Returns the scope of the new access token.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the grant for the new access token.
    #[must_use]
    pub fn grant(&self) -> Grant<'_> {
        Grant {
            scope: Cow::Borrowed(&self.scope),
            audience: Cow::Borrowed(&self.audience),
            claims: Cow::Borrowed(&self.claims),
            confirmation: None,
            algorithm: self.client.algorithm,
            access_lifetime: self.access_lifetime,
            refresh_lifetime: self.client.lifetimes.refresh,
        }
    }
}

/// Looks up the client of `session` again, and renews the session.
///
/// # Errors
/// Why the session has ended.
pub fn renew(registry: &Registry, mut session: Session, now: Timestamp) -> Result<Renewal<'_>, Ended> {
    let client = registry.client(&session.client).ok_or(Ended::ClientGone)?;
    may_continue(client, session.start, now)?;
    session.end = session.end.min(session.start.plus(client.lifetimes.session));
    if now >= session.end {
        return Err(Ended::Expired);
    }
    if !may_be_about(registry, client, &session.subject) {
        return Err(Ended::SubjectGone);
    }
    let audience = session.audience.intersect(&client.audience).ok_or(Ended::AudienceGone)?;
    Ok(Renewal {
        scope: session.scope.intersect(&client.scope),
        audience,
        claims: session.claims.filtered(|name| client.may_claim(name)),
        access_lifetime: session.lifetime.unwrap_or(i64::MAX).min(client.lifetimes.access),
        client,
        session,
    })
}

/// Checks that `client` gets a token at `now` of a session that began at `began`: the verifier of the
/// new token applies the same limits.
pub(super) fn may_continue(client: &Client, began: Timestamp, now: Timestamp) -> Result<(), Ended> {
    if client.not_before.is_some_and(|not_before| not_before > began) {
        return Err(Ended::NotBefore);
    }
    if began > now.plus(LEEWAY_CAP) {
        return Err(Ended::NotBegun(began.since(now)));
    }
    Ok(())
}

/// Returns the audiences `asked`, if all are in `allowed`.
fn part_of(asked: Audiences, allowed: &Audiences) -> Result<Audiences, Refusal> {
    if let Some(refused) = asked.iter().find(|one| !allowed.contains(one.as_str())) {
        return Err(Refusal::Audience(refused.clone()));
    }
    Ok(asked)
}

/// Builds a scope from some of a scope's tokens.
#[expect(clippy::expect_used, reason = "all of them are of one scope, which has at most as many as a scope may have")]
pub(super) fn subset(tokens: Vec<ScopeToken>) -> Scope {
    Scope::collect(tokens).expect("a part of a scope")
}

/// Checks that a token's client still exists, and that its `not_before` is no later than the start
/// of the token's session, or than the token's `iat` if it names no session.
///
/// # Errors
/// Which of the two does not hold.
pub fn admit(registry: &Registry, claims: &AccessClaims) -> Result<(), Ended> {
    let client = registry.client(&claims.client).ok_or(Ended::ClientGone)?;
    match client.not_before {
        Some(not_before) if claims.began() < not_before => Err(Ended::NotBefore),
        _ => Ok(()),
    }
}

fn may_be_about(registry: &Registry, client: &Client, subject: &Subject) -> bool {
    let name = subject.as_str();
    name == client.id.as_str() || (!registry.is_client(name) && client.may_name(subject))
}
