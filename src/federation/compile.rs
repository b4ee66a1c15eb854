//! Compiles `[[issuers]]` into [`Issuers`]. Every mistake is found here, before anything is served.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::glob::Glob;
use super::issuer::{Issuer, Issuers, Name, Rule};
use super::keys::{Kept, Keys};
use super::matcher::{Expected, Matcher};
use super::source::{At, Source as KeySource};
use super::template::Template;
use crate::clients::Registry;
use crate::config::{
    self, Config, ConfigError, IssuerRule, MAX_ISSUERS, MatchValue, Matches, PathText, Source, Text, TrustedIssuer,
};
use crate::crypto::Digester;
use crate::fetch;
use crate::files::{self, ReadError};
use crate::foreign::{KeySet, MAX_KEY_SET, Owner};
use crate::token::{Audience, ClientId, Scope, ScopeToken};

const MAX_RULES: usize = 1_000;
const MAX_CLAIMS: usize = 32;
/// Maximum length of an issuer's or claim's name, in bytes.
const MAX_NAME: usize = 255;

impl Issuers {
    /// Compiles the issuers of `config`, whose rules name clients of `registry`; `read` reads key
    /// sets.
    ///
    /// # Errors
    /// The first invalid value, with its place.
    pub fn compile_with(
        config: &Config,
        registry: &Registry,
        read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<Self, ConfigError> {
        Self::build(config, registry, read, Err)
    }

    /// Returns the first problem of each issuer: a broken one does not hide the others.
    #[must_use]
    pub fn problems(config: &Config, registry: &Registry) -> Vec<ConfigError> {
        let mut all = Vec::new();
        let read = |path: &Path| Ok(files::read(path, MAX_KEY_SET as u64)?.bytes.to_vec());
        let built = Self::build(config, registry, read, |problem| {
            all.push(problem);
            Ok(())
        });
        all.extend(built.err());
        all
    }

    /// Compiles, and leaves out each issuer whose problem `report` does not return.
    fn build(
        config: &Config,
        registry: &Registry,
        mut read: impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
        mut report: impl FnMut(ConfigError) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        if let Some(too_many) = config.issuers.get(MAX_ISSUERS) {
            return Err(too_many
                .source
                .error_in_file(format!("expected at most {MAX_ISSUERS} [[issuers]] in all files")));
        }
        let clients = clients_beside(config);
        let mut all = Vec::with_capacity(config.issuers.len());
        let mut places = HashMap::new();
        for written in &config.issuers {
            let beside = written.source.path().and_then(|path| clients.get(path));
            let entry = Entry { config, registry, source: &written.source, written, beside };
            match entry.issuer(&mut read).and_then(|issuer| entry.only(issuer, &mut places)) {
                Ok(issuer) => all.push(issuer),
                Err(problem) => report(problem)?,
            }
        }
        Ok(Self(all))
    }

    /// Returns a digest of everything about issuers that replicas must agree on.
    #[must_use]
    pub fn digest(&self, config: &Config) -> [u8; 32] {
        let of_each = self.0.iter().zip(&config.issuers).map(|(issuer, written)| issuer.digest(written));
        let mut of_each: Vec<_> = of_each.collect();
        // A token names its issuer, so their order, and that of included files, does not matter.
        of_each.sort_unstable();
        let mut all = Digester::default();
        for one in &of_each {
            all.add(one);
        }
        all.finish()
    }
}

impl Issuer {
    /// Returns a digest of everything about one issuer that replicas must agree on.
    fn digest(&self, written: &TrustedIssuer) -> [u8; 32] {
        let mut all = Digester::default();
        all.add(&[u8::from(self.is_included)]);
        written.digest(&mut all, &|_, all| {
            if let Keys::File(keys) = &self.keys {
                keys.digest(all);
            }
        });
        // The first matching rule decides, so their order matters.
        for rule in &written.rules {
            rule.digest(&mut all, &|_, _| {});
        }
        all.finish()
    }
}

/// The ids of the clients of each included file that has issuers. A team names its own clients, and no other's.
fn clients_beside(config: &Config) -> HashMap<&Path, HashSet<String>> {
    let main = config.source.path();
    let files = config.issuers.iter().filter_map(|issuer| issuer.source.path());
    let files: HashSet<_> = files.filter(|path| Some(*path) != main).collect();
    files.into_iter().map(|path| (path, config.ids_in(path))).collect()
}

/// An entry of `[[issuers]]`, as written.
struct Entry<'c> {
    config: &'c Config,
    registry: &'c Registry,
    source: &'c Source,
    written: &'c TrustedIssuer,
    /// The clients of its file, if that is an included one.
    beside: Option<&'c HashSet<String>>,
}

impl Entry<'_> {
    fn issuer(&self, read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>) -> Result<Issuer, ConfigError> {
        let written = self.written;
        let name = self.name()?;
        if written.rules.is_empty() {
            return Err(self.error("no rule, so no token: expected at least one [[issuers.rules]] after it"));
        }
        if written.rules.len() > MAX_RULES {
            return Err(self.error(format!("expected at most {MAX_RULES} [[issuers.rules]]")));
        }
        let rules = written.rules.iter().map(|rule| self.rule(rule)).collect::<Result<Vec<_>, _>>()?;
        let (audience, keys) = (self.audience()?, self.keys(&name, read)?);
        Ok(Issuer { audience, max_age: written.max_age, keys, name, rules, is_included: self.beside.is_some() })
    }

    /// `issuer`, if no entry before had its name. `places` has where each name was first.
    fn only(&self, issuer: Issuer, places: &mut HashMap<String, Option<String>>) -> Result<Issuer, ConfigError> {
        let Some(first) = places.insert(issuer.name().to_owned(), self.place()) else { return Ok(issuer) };
        let first = first.map_or_else(String::new, |place| format!("; the other one is at {place}"));
        Err(self.error(format!("another entry has this issuer; put its rules in one entry{first}")))
    }

    /// Makes an error about the entry as a whole.
    fn error(&self, message: impl Into<String>) -> ConfigError {
        match self.named() {
            Some(name) => self.source.error(name, message),
            None => self.source.error_in_file(format!("[[issuers]] number {}: {}", self.number(), message.into())),
        }
    }

    fn named(&self) -> Option<&Text> {
        self.written.issuer.as_ref().or(self.written.spiffe.as_ref())
    }

    fn place(&self) -> Option<String> {
        self.named().and_then(|name| self.source.place(name.span()))
    }

    /// Which one of its file it is, from 1.
    fn number(&self) -> usize {
        let of_file = self.config.issuers.iter().filter(|one| one.source.path() == self.source.path());
        of_file.take_while(|one| !std::ptr::eq(*one, self.written)).count() + 1
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

    fn keys(
        &self,
        name: &Name,
        read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<Keys, ConfigError> {
        let TrustedIssuer { jwks_uri, jwks_file, ca_file, token_file, .. } = self.written;
        let Some(file) = jwks_file else {
            let source = self.key_source(name, read)?;
            let (Name::Issuer(name) | Name::Spiffe(name)) = name;
            return Ok(Keys::Fetched(Arc::new(Kept::new(name, source))));
        };
        if let Some(uri) = jwks_uri {
            return Err(self.source.error(uri, "expected `jwks_uri` or `jwks_file`, not both"));
        }
        if let Some(path) = ca_file.as_ref().or(token_file.as_ref()) {
            return Err(self
                .source
                .error(path, "nothing is fetched where there is `jwks_file`; leave one of them out"));
        }
        self.key_file(file, read)
    }

    /// Returns where the keys are fetched. The CA file is checked now, and read again at each
    /// fetch.
    fn key_source(
        &self,
        name: &Name,
        read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<KeySource, ConfigError> {
        let TrustedIssuer { jwks_uri, ca_file, token_file, allow_private, .. } = self.written;
        let at = match (jwks_uri, name, &self.written.issuer) {
            (Some(uri), ..) => At::Uri(self.url(uri)?),
            (None, Name::Issuer(_), Some(written)) => At::Discovered(self.url(written)?),
            _ => return Err(self.error("a trust domain has no place for its keys; expected `jwks_uri` or `jwks_file`")),
        };
        if let Some(written) = ca_file {
            let path = self.source.resolve(written.get_ref());
            let problem = |problem: String| self.source.error(written, format!("{}: {problem}", path.display()));
            let pem = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
            fetch::trusting_pem(&pem).map_err(|_| problem("expected CA certificates in PEM".to_owned()))?;
        }
        let resolve = |path: &PathText| self.source.resolve(path.get_ref());
        let (ca_file, token_file) = (ca_file.as_ref().map(resolve), token_file.as_ref().map(resolve));
        Ok(KeySource { at, ca_file, token_file, allow_private: *allow_private })
    }

    /// Parses a URL that keys may be fetched from. An issuer may end with a slash, and a key set's
    /// URL may have a query.
    fn url(&self, written: &Text) -> Result<Box<str>, ConfigError> {
        let url = written.get_ref().as_str();
        let (path, _) = url.split_once('?').unwrap_or((url, ""));
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.parse::<config::Issuer>().is_ok() && url.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Ok(url.into());
        }
        let expected = "keys cannot be fetched there; expected an https URL (http for loopback), or `jwks_file`";
        Err(self.source.error(written, expected))
    }

    fn key_file(
        &self,
        written: &PathText,
        read: &mut impl FnMut(&Path) -> Result<Vec<u8>, ReadError>,
    ) -> Result<Keys, ConfigError> {
        let path = self.source.resolve(written.get_ref());
        let problem = |problem: String| self.source.error(written, format!("{}: {problem}", path.display()));
        let bytes = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        let keys = KeySet::parse(&bytes, Owner::Issuer).map_err(|error| problem(error.to_string()))?;
        if keys.is_empty() {
            return Err(problem(
                "has no key that can be used; expected one that signs, of P-256, P-384, Ed25519 or RSA".into(),
            ));
        }
        Ok(Keys::File(Arc::new(keys)))
    }

    fn rule(&self, written: &IssuerRule) -> Result<Rule, ConfigError> {
        let source = self.source;
        if written.r#match.get_ref().0.is_empty() {
            let expected =
                "a rule without claims would match everybody; expected at least one, such as { sub = \"…\" }";
            return Err(source.error(&written.r#match, expected));
        }
        let subject = written
            .subject
            .as_ref()
            .map(|text| Template::parse(text.get_ref()).map_err(|expected| source.error(text, expected)));
        Ok(Rule {
            matcher: self.matcher(written.r#match.get_ref())?,
            client: self.client(&written.client)?,
            subject: subject.transpose()?,
            scope: written.scope.as_ref().map(|list| self.scope(list.get_ref())).transpose()?,
            place: source.place(written.r#match.span()),
        })
    }

    /// The client that a rule names.
    fn client(&self, written: &Text) -> Result<ClientId, ConfigError> {
        let name = written.get_ref();
        let Some(client) = self.registry.named(name) else {
            let expected = format!("there is no client {name:?}; expected the id of one of [[clients]]");
            return Err(self.source.error(written, expected));
        };
        if self.beside.is_some_and(|clients| !clients.contains(name)) {
            let expected = format!(
                "the client {name:?} is in another file; a rule in an included file names a client of that file"
            );
            return Err(self.source.error(written, expected));
        }
        Ok(client.id.clone())
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
