//! `[[issuers]]`, as written, becomes [`Issuers`]. Every mistake is found here, before anything is served.

use std::collections::HashSet;
use std::path::Path;

use super::glob::Glob;
use super::issuer::{Issuer, Issuers, Name, Rule};
use super::matcher::{Expected, Matcher};
use super::template::Template;
use crate::clients::Registry;
use crate::config::{Config, ConfigError, IssuerRule, MatchValue, Matches, Source, Text, TrustedIssuer};
use crate::crypto::Digester;
use crate::files::ReadError;
use crate::foreign::{KeySet, Owner};
use crate::token::{Audience, ClientId, Scope, ScopeToken};

const MAX_ISSUERS: usize = 64;
const MAX_RULES: usize = 1_000;
const MAX_CLAIMS: usize = 32;
/// Maximum length of an issuer's name and of a claim's, in bytes.
const MAX_NAME: usize = 255;

impl Issuers {
    /// Compiles what `config` says of issuers, whose rules name clients of `registry`; `read` reads key sets.
    ///
    /// # Errors
    /// The first value that is not as it should be, with its place.
    pub fn compile_with(
        config: &Config,
        registry: &Registry,
        mut read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<Self, ConfigError> {
        let source = &config.source;
        if config.issuers.len() > MAX_ISSUERS {
            return Err(source.error_in_file(format!("expected at most {MAX_ISSUERS} [[issuers]]")));
        }
        let mut all = Vec::with_capacity(config.issuers.len());
        let mut names = HashSet::new();
        for (index, written) in config.issuers.iter().enumerate() {
            let one = Entry { config, registry, source, written, index };
            let issuer = one.issuer(&mut read)?;
            if !names.insert(issuer.name().to_owned()) {
                return Err(one.error("another entry has this issuer; put its rules in one entry"));
            }
            all.push(issuer);
        }
        Ok(Self(all))
    }

    /// A digest of what replicas must agree in about issuers.
    #[must_use]
    pub fn digest(&self, config: &Config) -> [u8; 32] {
        let mut all = Digester::default();
        for (issuer, written) in self.0.iter().zip(&config.issuers) {
            written.digest(&mut all, &|_, all| issuer.keys.digest(all));
            // The first rule that matches speaks, so their order says something.
            for rule in &written.rules {
                rule.digest(&mut all, &|_, _| {});
            }
        }
        all.finish()
    }
}

/// One of `[[issuers]]`, as written.
struct Entry<'c> {
    config: &'c Config,
    registry: &'c Registry,
    source: &'c Source,
    written: &'c TrustedIssuer,
    index: usize,
}

impl Entry<'_> {
    fn issuer(&self, read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>) -> Result<Issuer, ConfigError> {
        let written = self.written;
        let name = self.name()?;
        let rules = written.rules.iter().map(|rule| self.rule(rule)).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() {
            return Err(self.error("no rule, so no token: expected at least one [[issuers.rules]] after it"));
        }
        if rules.len() > MAX_RULES {
            return Err(self.error(format!("expected at most {MAX_RULES} [[issuers.rules]]")));
        }
        Ok(Issuer { name, audience: self.audience()?, max_age: written.max_age, keys: self.keys(read)?, rules })
    }

    /// An error about the entry as a whole.
    fn error(&self, message: impl Into<String>) -> ConfigError {
        let named = self.written.issuer.as_ref().or(self.written.spiffe.as_ref());
        match named {
            Some(name) => self.source.error(name, message),
            None => self.source.error_in_file(format!("[[issuers]] number {}: {}", self.index + 1, message.into())),
        }
    }

    fn name(&self) -> Result<Name, ConfigError> {
        match (&self.written.issuer, &self.written.spiffe) {
            (Some(issuer), None) => self.issuer_name(issuer),
            (None, Some(domain)) => self.trust_domain(domain),
            (None, None) => Err(self.error("expected `issuer`, or `spiffe` with a trust domain")),
            (Some(_), Some(domain)) => Err(self.source.error(domain, "expected `issuer` or `spiffe`, not both")),
        }
    }

    fn issuer_name(&self, written: &Text) -> Result<Name, ConfigError> {
        let name = written.get_ref().as_str();
        let problem = |message: &str| Err(self.source.error(written, message));
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return problem("expected what its tokens say in `iss`: 1 to 255 visible ASCII characters");
        }
        if name == self.config.issuer.as_str() {
            return problem("this service is the issuer of its own tokens; expected another issuer");
        }
        if self.registry.is_client(name) {
            return problem("a client has this id, and signs assertions with it as `iss`; rename the client");
        }
        Ok(Name::Issuer(name.into()))
    }

    fn trust_domain(&self, written: &Text) -> Result<Name, ConfigError> {
        let domain = written.get_ref();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > MAX_NAME || !domain.bytes().all(allowed) {
            let expected = "expected a trust domain such as \"example.org\": 1 to 255 of a-z 0-9 . - _";
            return Err(self.source.error(written, expected));
        }
        Ok(Name::Spiffe(format!("spiffe://{domain}/").into()))
    }

    fn audience(&self) -> Result<Box<str>, ConfigError> {
        let Some(written) = &self.written.audience else { return Ok(self.config.issuer.as_str().into()) };
        match Audience::parse(written.get_ref()) {
            Some(audience) => Ok(audience.as_str().into()),
            None => Err(self.source.error(written, format!("expected an audience: {}", Audience::EXPECTED))),
        }
    }

    fn keys(&self, read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>) -> Result<KeySet, ConfigError> {
        let Some(written) = &self.written.jwks_file else {
            return Err(self.error("expected `jwks_file`, a file with its public keys"));
        };
        let path = self.source.resolve(written.get_ref());
        let problem = |problem: String| self.source.error(written, format!("{}: {problem}", path.display()));
        let bytes = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        let keys = KeySet::parse(&bytes, Owner::Issuer).map_err(|error| problem(error.to_string()))?;
        if keys.is_empty() {
            return Err(problem(
                "has no key that can be used; expected one that signs, of P-256, P-384, Ed25519 or RSA".into(),
            ));
        }
        Ok(keys)
    }

    fn rule(&self, written: &IssuerRule) -> Result<Rule, ConfigError> {
        let source = self.source;
        if written.r#match.get_ref().0.is_empty() {
            let expected =
                "a rule without claims would match everybody; expected at least one, such as { sub = \"…\" }";
            return Err(source.error(&written.r#match, expected));
        }
        let name = written.client.get_ref();
        let client = self.registry.named(name).ok_or_else(|| {
            source.error(&written.client, format!("there is no client {name:?}; expected the id of one of [[clients]]"))
        })?;
        let subject = written
            .subject
            .as_ref()
            .map(|text| Template::parse(text.get_ref()).map_err(|expected| source.error(text, expected)));
        Ok(Rule {
            matcher: self.matcher(written.r#match.get_ref())?,
            client: ClientId::clone(&client.id),
            subject: subject.transpose()?,
            scope: written.scope.as_ref().map(|list| self.scope(list.get_ref())).transpose()?,
            place: source.place(written.r#match.span()),
        })
    }

    fn scope(&self, written: &[Text]) -> Result<Scope, ConfigError> {
        let token = |text: &Text| {
            let expected = || self.source.error(text, format!("expected a scope token: {}", ScopeToken::EXPECTED));
            ScopeToken::parse(text.get_ref()).ok_or_else(expected)
        };
        let tokens = written.iter().map(token).collect::<Result<Vec<_>, _>>()?;
        Scope::collect(tokens).ok_or_else(|| match written.get(Scope::MAX) {
            Some(text) => self.source.error(text, format!("expected at most {} scope tokens", Scope::MAX)),
            None => self.error("too many scope tokens"),
        })
    }

    fn matcher(&self, written: &Matches) -> Result<Matcher, ConfigError> {
        let mut all = Vec::with_capacity(written.0.len());
        for (index, (name, value)) in written.0.iter().enumerate() {
            let problem = |message: &str| Err(self.source.error(name, message));
            if index == MAX_CLAIMS {
                return problem(&format!("expected at most {MAX_CLAIMS} claims"));
            }
            if name.get_ref().is_empty() || name.get_ref().len() > MAX_NAME {
                return problem("expected a claim's name: 1 to 255 bytes");
            }
            let expected = match value.get_ref() {
                MatchValue::Bool(value) => Expected::Bool(*value),
                MatchValue::Integer(number) => Expected::Integer(*number),
                MatchValue::Text(text) => {
                    let wrong = || self.source.error(value, format!("expected {}", Glob::EXPECTED));
                    Expected::Text(text.as_str().into(), Glob::parse(text).ok_or_else(wrong)?)
                }
                MatchValue::Table(inner) if inner.0.is_empty() => {
                    return Err(self.source.error(value, "expected at least one member"));
                }
                MatchValue::Table(inner) => Expected::Object(self.matcher(inner)?),
            };
            all.push((name.get_ref().as_str().into(), expected));
        }
        Ok(Matcher(all))
    }
}
