//! The claims of both kinds of token: written, and read strictly.
//!
//! Strictly: exact types, no duplicate members, no missing required ones, and the same limits as
//! for requests. What this room writes it can always read; a token forged with a stolen or shared
//! key must have the same shape.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize as DeserializeDerive, Serialize};

use super::text::Text;
use super::{ACCESS_CAP, LEEWAY_CAP, REFRESH_CAP, SESSION_CAP};
use super::{
    Actor, Audiences, ClaimValue, ClientId, Confirmation, Dialect, ExtraClaims, Grant, Scalar, Scope, Sender, Session,
    SessionId, Subject,
};
use crate::clock::Timestamp;

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// `sub`: what the token is about.
    pub subject: Subject,
    /// `aud`: who may accept it.
    pub audience: Audiences,
    /// `exp`: when it expires.
    pub expires: Timestamp,
    /// `iat`: when it was issued.
    pub issued: Timestamp,
    /// `nbf`: when it becomes valid, if present.
    pub not_before: Option<Timestamp>,
    /// `jti`: the token's id.
    pub id: Box<str>,
    /// `client_id`: the client that requested it.
    pub client: ClientId,
    /// `scope`: what it allows.
    pub scope: Scope,
    /// `sid`: its session, if present.
    pub session: Option<SessionId>,
    /// `cnf`: the key that its sender must prove to hold, if it is bound.
    pub confirmation: Option<Confirmation>,
    /// `act`: the actors, if the subject does not act itself.
    pub actor: Option<Actor>,
    /// All other claims.
    pub extra: ExtraClaims,
}

/// The claims of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshClaims {
    /// `exp`: when it expires.
    pub expires: Timestamp,
    /// `iat`: when it was issued.
    pub issued: Timestamp,
    /// `jti`: the token's id.
    pub id: Box<str>,
    /// The session that it continues.
    pub session: Session,
}

/// An access token's claims, for writing.
pub(super) struct NewAccess<'a> {
    pub(super) issuer: &'a str,
    pub(super) session: &'a Session,
    pub(super) grant: &'a Grant<'a>,
    pub(super) expires: Timestamp,
    pub(super) issued: Timestamp,
    pub(super) id: &'a str,
}

impl Serialize for NewAccess<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.issuer)?;
        map.serialize_entry("sub", self.session.subject.as_str())?;
        map.serialize_entry("aud", &*self.grant.audience)?;
        map.serialize_entry("exp", &self.expires)?;
        map.serialize_entry("iat", &self.issued)?;
        map.serialize_entry("jti", self.id)?;
        map.serialize_entry("client_id", self.session.client.as_str())?;
        if !self.grant.scope.is_empty() {
            map.serialize_entry("scope", &*self.grant.scope)?;
        }
        if let Some(id) = &self.session.id {
            map.serialize_entry("sid", id)?;
        }
        if let Some(confirmation) = &self.grant.confirmation {
            map.serialize_entry("cnf", confirmation)?;
        }
        if let Some(actor) = &self.session.actor {
            map.serialize_entry("act", actor)?;
        }
        for (name, value) in self.grant.claims.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A refresh token's claims as encoded.
#[derive(Serialize, DeserializeDerive)]
#[serde(deny_unknown_fields)]
pub(super) struct WireRefresh<'a> {
    v: u8,
    #[serde(borrow)]
    dialect: Cow<'a, str>,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    sub: Cow<'a, Subject>,
    aud: Cow<'a, Audiences>,
    exp: Timestamp,
    iat: Timestamp,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    client_id: Cow<'a, ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    scope: Option<Cow<'a, Scope>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    claims: Option<Cow<'a, ExtraClaims>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    lifetime: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    sender: Option<Sender>,
    session_start: Timestamp,
    session_end: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    sid: Option<Cow<'a, SessionId>>,
}

const VERSION: u8 = 1;

impl<'a> WireRefresh<'a> {
    pub(super) fn new(issuer: &'a str, session: &'a Session, exp: Timestamp, iat: Timestamp, jti: &'a str) -> Self {
        Self {
            v: VERSION,
            dialect: session.dialect.name().into(),
            iss: issuer.into(),
            sub: Cow::Borrowed(&session.subject),
            aud: Cow::Borrowed(&session.audience),
            exp,
            iat,
            jti: jti.into(),
            client_id: Cow::Borrowed(&session.client),
            scope: (!session.scope.is_empty()).then_some(Cow::Borrowed(&session.scope)),
            claims: (!session.claims.is_empty()).then_some(Cow::Borrowed(&session.claims)),
            lifetime: session.lifetime,
            sender: session.sender,
            session_start: session.start,
            session_end: session.end,
            sid: session.id.as_ref().map(Cow::Borrowed),
        }
    }
}

/// Reads a claim that is present; `null` is an error.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl RefreshClaims {
    /// Parses the claims of a refresh token of `issuer`. None if anything is wrong.
    pub(super) fn read(payload: &[u8], issuer: &str) -> Option<Self> {
        // A derived reader would also accept an array of the values.
        let wire: WireRefresh = payload.starts_with(b"{").then(|| serde_json::from_slice(payload).ok())??;
        let dialect = Dialect::from_name(&wire.dialect)?;
        let right = wire.v == VERSION
            && wire.iss == issuer
            && is_id(&wire.jti)
            // The native dialect binds no sessions.
            && (wire.sender.is_none() || dialect == Dialect::OAuth2)
            && wire.lifetime.is_none_or(|seconds| (1..=ACCESS_CAP).contains(&seconds))
            && within(wire.iat, wire.exp, REFRESH_CAP)
            && within(wire.session_start, wire.session_end, SESSION_CAP)
            // The session may have begun on a replica whose clock is ahead of this token's issuer.
            && wire.session_start <= wire.iat.plus(LEEWAY_CAP)
            && wire.sid.as_ref().is_none_or(|id| id.start() == wire.session_start)
            && wire.exp <= wire.session_end;
        right.then(|| Self {
            expires: wire.exp,
            issued: wire.iat,
            id: wire.jti.into(),
            session: Session {
                id: wire.sid.map(Cow::into_owned),
                dialect,
                client: wire.client_id.into_owned(),
                subject: wire.sub.into_owned(),
                scope: wire.scope.map(Cow::into_owned).unwrap_or_default(),
                audience: wire.aud.into_owned(),
                claims: wire.claims.map(Cow::into_owned).unwrap_or_default(),
                lifetime: wire.lifetime,
                sender: wire.sender,
                start: wire.session_start,
                end: wire.session_end,
                actor: None,
            },
        })
    }
}

impl AccessClaims {
    /// Parses the claims of an access token of `issuer`. None if anything is wrong.
    pub(super) fn read(payload: &[u8], issuer: &str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        let claims = deserializer.deserialize_map(AccessVisitor { issuer }).ok()?;
        deserializer.end().ok()?;
        let began = claims.session.as_ref().is_none_or(|id| id.start() <= claims.issued.plus(LEEWAY_CAP));
        (began && within(claims.issued, claims.expires, ACCESS_CAP)).then_some(claims)
    }

    /// Returns the start of its session, or `iat` if it names none.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.session.as_ref().map_or(self.issued, SessionId::start)
    }
}

fn within(start: Timestamp, end: Timestamp, cap: i64) -> bool {
    (1..=cap).contains(&end.since(start))
}

fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

struct AccessVisitor<'i> {
    issuer: &'i str,
}

impl<'de> Visitor<'de> for AccessVisitor<'_> {
    type Value = AccessClaims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of an access token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<AccessClaims, A::Error> {
        let (mut iss, mut sub, mut aud, mut exp, mut iat) = (None::<Text>, None, None, None, None);
        let (mut nbf, mut jti, mut client_id, mut scope) = (None, None::<Text>, None, None);
        let (mut cnf, mut act, mut session, mut extra) = (None, None, None, ExtraClaims::default());
        while let Some(name) = members.next_key::<Text>()? {
            match &*name {
                "iss" => once(&mut iss, &mut members)?,
                "sub" => once(&mut sub, &mut members)?,
                "aud" => once(&mut aud, &mut members)?,
                "exp" => once(&mut exp, &mut members)?,
                "iat" => once(&mut iat, &mut members)?,
                "nbf" => once(&mut nbf, &mut members)?,
                "jti" => once(&mut jti, &mut members)?,
                "client_id" => once(&mut client_id, &mut members)?,
                "scope" => once(&mut scope, &mut members)?,
                "cnf" => once(&mut cnf, &mut members)?,
                "act" => once(&mut act, &mut members)?,
                // A value that this service would not write is an extra claim.
                "sid" => {
                    let value = members.next_value()?;
                    let id = session_id(&value);
                    let is_second = session.is_some() || id.is_some() && extra.iter().any(|(name, _)| name == "sid");
                    if is_second {
                        return Err(de::Error::custom("a duplicate claim"));
                    }
                    match id {
                        Some(id) => session = Some(id),
                        None => extra.read_from_token("sid", value).map_err(de::Error::custom)?,
                    }
                }
                other => {
                    let value = members.next_value()?;
                    extra.read_from_token(other, value).map_err(de::Error::custom)?;
                }
            }
        }
        if *required(iss, "iss")? != *self.issuer {
            return Err(de::Error::custom("another issuer"));
        }
        let id = required(jti, "jti")?;
        if !is_id(&id) {
            return Err(de::Error::custom("an id of 1 to 255 visible ASCII characters"));
        }
        Ok(AccessClaims {
            subject: required(sub, "sub")?,
            audience: required(aud, "aud")?,
            expires: required(exp, "exp")?,
            issued: required(iat, "iat")?,
            not_before: nbf,
            id: (*id).into(),
            client: required(client_id, "client_id")?,
            scope: scope.unwrap_or_default(),
            session,
            confirmation: cnf,
            actor: act,
            extra,
        })
    }
}

fn session_id(value: &ClaimValue) -> Option<SessionId> {
    match value {
        ClaimValue::One(Scalar::Text(text)) => SessionId::parse(text),
        _ => None,
    }
}

fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(slot: &mut Option<T>, members: &mut A) -> Result<(), A::Error> {
    if slot.replace(members.next_value()?).is_some() {
        return Err(de::Error::custom("a duplicate claim"));
    }
    Ok(())
}

fn required<T, E: de::Error>(slot: Option<T>, name: &'static str) -> Result<T, E> {
    slot.ok_or_else(|| E::missing_field(name))
}
