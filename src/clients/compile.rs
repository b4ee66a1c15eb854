//! Compiles a client as written: each value is checked once, and errors have their place in the
//! file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::NUL;
use super::credentials::{Credentials, MAX_SECRETS};
use super::keysets::{KeySets, Read};
use super::{Client, GrantType, GrantTypes, Lifetimes, NewSecret, Rate, RateLimiter, SecretDigest};
use crate::config::{self, Config, ConfigError, List, Source, Text};
use crate::keys::Alg;
use crate::peer::SubjectName;
use crate::token::{Audience, Audiences, ClientId, RESERVED, Scope, ScopeToken};

const MAX_PATTERNS: usize = 64;
const MAX_CLAIMS: usize = 64;
/// Maximum length of a subject in bytes, and of a claim's name in characters.
const MAX_NAME: usize = 255;

/// The service's defaults for clients.
pub(super) struct Service {
    /// The configuration's own file, if there is one.
    file: Option<PathBuf>,
    audience: Audiences,
    pub(super) algorithm: Alg,
    pub(super) lifetimes: Lifetimes,
}

impl Service {
    /// Compiles the service's defaults from `config`.
    pub(super) fn compile(config: &Config) -> Result<Self, ConfigError> {
        let (source, token) = (&config.source, &config.token);
        let of_issuer = || {
            let audience = Audience::parse(config.issuer.as_str()).and_then(|one| Audiences::collect([one]));
            let too_long = "the issuer is too long to be the default audience; set [token] audience";
            audience.ok_or_else(|| source.error_in_file(too_long))
        };
        Ok(Self {
            file: source.path().map(Path::to_owned),
            audience: token.audience.as_ref().map_or_else(of_issuer, |written| audiences(source, written))?,
            algorithm: algorithm(source, &token.algorithm)?,
            lifetimes: Lifetimes {
                access: token.access_lifetime,
                refresh: token.refresh_lifetime,
                session: token.session_lifetime,
            },
        })
    }

    /// Returns the client of tokens without credentials, with this scope.
    pub(super) fn anonymous(&self, source: &Source, written: &[Text]) -> Result<Client, ConfigError> {
        Ok(Client {
            id: ClientId::anonymous(),
            credentials: Credentials::none(),
            scope: scope(source, written)?,
            audience: self.audience.clone(),
            subjects: Box::default(),
            claims: Box::default(),
            algorithm: self.algorithm,
            grants: GrantTypes::default(),
            accepts: None,
            sender: None,
            limiter: None,
            lifetimes: self.lifetimes,
            not_before: None,
            is_included: false,
        })
    }
}

/// Compiles a client as written.
pub(super) fn client(
    written: &config::Client,
    is_vouched: bool,
    service: &Service,
    key_sets: &mut KeySets<impl Read>,
) -> Result<Client, ConfigError> {
    let source = &written.source;
    let id = ClientId::parse(written.id.get_ref())
        .ok_or_else(|| source.error(&written.id, format!("expected a client id: {}", ClientId::EXPECTED)))?;
    if id.is_anonymous() {
        return Err(source.error(&written.id, "the id `anonymous` is reserved for tokens without credentials"));
    }
    // Ids are logged.
    if id.as_str().starts_with(NewSecret::PREFIX) {
        return Err(source.error(&written.id, "expected a client id; this is a secret, for it begins with `lps_`"));
    }
    Ok(Client {
        credentials: credentials(source, written, is_vouched, key_sets)?,
        scope: scope(source, &written.scope)?,
        audience: match &written.audience {
            Some(own) => audiences(source, own)?,
            None => service.audience.clone(),
        },
        subjects: at_most(source, &written.subjects, MAX_PATTERNS, "patterns", pattern)?.join(" ").into(),
        claims: at_most(source, &written.claims, MAX_CLAIMS, "claims", claim_name)?.join("\0").into(),
        algorithm: match &written.algorithm {
            Some(own) => algorithm(source, own)?,
            None => service.algorithm,
        },
        grants: grants(source, written.grants.as_deref())?,
        accepts: accepts(source, &written.accepts)?,
        sender: written.sender,
        limiter: written.rate.map(|rate| Arc::new(RateLimiter::new(Rate::per_second(rate)))),
        lifetimes: Lifetimes {
            access: written.access_lifetime.unwrap_or(service.lifetimes.access),
            refresh: written.refresh_lifetime.unwrap_or(service.lifetimes.refresh),
            session: written.session_lifetime.unwrap_or(service.lifetimes.session),
        },
        not_before: written.not_before,
        is_included: source.path() != service.file.as_deref(),
        id,
    })
}

fn credentials(
    source: &Source,
    written: &config::Client,
    is_vouched: bool,
    key_sets: &mut KeySets<impl Read>,
) -> Result<Credentials, ConfigError> {
    let secrets = written.secrets();
    if let Some(too_many) = written.secrets.as_ref().filter(|_| secrets.len() > MAX_SECRETS) {
        return Err(source.error(too_many, "expected one secret, or two while one is being replaced"));
    }
    if secrets.is_empty() && written.jwks.is_none() && named_by(written).is_none() && !is_vouched {
        let expected = "nobody can authenticate as this client; expected `secrets` with one secret, a `jwks` file, or \
                        `tls_san_dns`, `tls_san_uri`, or a rule of [[issuers]]";
        return Err(source.error(&written.id, expected));
    }
    let parse = |text: &Text| {
        SecretDigest::parse(text.get_ref())
            .filter(|digest| !digest.equals(&SecretDigest::UNMATCHED))
            .ok_or_else(|| source.error(text, format!("expected {}", SecretDigest::EXPECTED)))
    };
    let secrets = secrets.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let keys = written.jwks.as_ref().map(|written| {
        let path = source.resolve(written.get_ref());
        key_sets.get(&path).map_err(|problem| source.error(written, format!("{}: {problem}", path.display())))
    });
    Ok(Credentials::of(secrets, keys.transpose()?, subject_name(source, written)?))
}

pub(super) const NEEDS_CA: &str = "the client's certificate needs a CA; set [mtls] ca";

/// Returns the setting that identifies the client's certificate, if any.
pub(super) fn named_by(written: &config::Client) -> Option<&Text> {
    written.tls_san_uri.as_ref().or(written.tls_san_dns.as_ref())
}

fn subject_name(source: &Source, written: &config::Client) -> Result<Option<SubjectName>, ConfigError> {
    match (&written.tls_san_dns, &written.tls_san_uri) {
        (None, None) => Ok(None),
        (Some(_), Some(uri)) => Err(source.error(uri, "expected tls_san_dns or tls_san_uri, not both")),
        (Some(name), None) => {
            let text = name.get_ref();
            let right = (1..=MAX_NAME).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let expected = || source.error(name, "expected a host name such as \"orders.example.com\"");
            right.then(|| Some(SubjectName::dns(text))).ok_or_else(expected)
        }
        (None, Some(uri)) => {
            let text = uri.get_ref();
            let right = (3..=MAX_NAME).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
                && text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
            let expected = || source.error(uri, "expected a URI such as \"spiffe://example.com/orders\"");
            right.then(|| Some(SubjectName::Uri(text.as_str().into()))).ok_or_else(expected)
        }
    }
}

fn algorithm(source: &Source, name: &Text) -> Result<Alg, ConfigError> {
    let [one, other, last] = Alg::ALL.map(Alg::name);
    let expected = || source.error(name, format!("expected an algorithm: {one:?}, {other:?} or {last:?}"));
    Alg::from_name(name.get_ref()).ok_or_else(expected)
}

fn grants(source: &Source, written: Option<&[Text]>) -> Result<GrantTypes, ConfigError> {
    let read = |name: &Text| {
        let expected =
            || format!("expected a grant: {}", GrantType::ALL.map(|one| format!("{:?}", one.name())).join(" or "));
        GrantType::from_name(name.get_ref()).ok_or_else(|| source.error(name, expected()))
    };
    match written {
        None => Ok([GrantType::ClientCredentials].into_iter().collect()),
        Some(names) => names.iter().map(read).collect(),
    }
}

fn accepts(source: &Source, written: &[Text]) -> Result<Option<Audiences>, ConfigError> {
    if written.is_empty() {
        return Ok(None);
    }
    let all = at_most(source, written, Audiences::MAX, "audiences", audience)?;
    Ok(Audiences::collect(all))
}

fn audience(text: &str) -> Result<Audience, String> {
    Audience::parse(text).ok_or(format!("expected an audience: {}", Audience::EXPECTED))
}

fn scope(source: &Source, written: &[Text]) -> Result<Scope, ConfigError> {
    let tokens = at_most(source, written, Scope::MAX, "scope tokens", |text| {
        let several =
            if text.contains(' ') { "; write each as a string of its own (--scope may be repeated)" } else { "" };
        ScopeToken::parse(text).ok_or_else(|| format!("expected a scope token: {}{several}", ScopeToken::EXPECTED))
    })?;
    Scope::collect(tokens).ok_or_else(|| source.error_in_file("too many scope tokens"))
}

fn audiences(source: &Source, written: &List) -> Result<Audiences, ConfigError> {
    let all = at_most(source, written.get_ref(), Audiences::MAX, "audiences", audience)?;
    Audiences::collect(all).ok_or_else(|| {
        source.error(written, format!("expected 1 to {} audiences; leave the line out for the default", Audiences::MAX))
    })
}

fn pattern(text: &str) -> Result<String, String> {
    let fixed = text.strip_suffix('*').unwrap_or(text);
    let right = fixed.len() <= MAX_NAME && fixed.bytes().all(|b| b.is_ascii_graphic() && b != b'*') && !text.is_empty();
    let expected = "expected a subject such as \"user:7\" or a pattern such as \"user:*\": visible ASCII, with `*` only \
                    at the end";
    if right { Ok(text.to_owned()) } else { Err(expected.into()) }
}

fn claim_name(text: &str) -> Result<String, String> {
    if RESERVED.contains(&text) {
        return Err(format!("`{text}` is a reserved claim, which no client may set; choose another name"));
    }
    if text.is_empty() || text.chars().count() > MAX_NAME || text.contains(NUL) {
        return Err(format!("expected a claim's name: 1 to {MAX_NAME} characters, without NUL"));
    }
    Ok(text.into())
}

fn at_most<T>(
    source: &Source,
    written: &[Text],
    limit: usize,
    what: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConfigError> {
    if let Some(first_too_many) = written.get(limit) {
        return Err(source.error(first_too_many, format!("expected at most {limit} {what}")));
    }
    written.iter().map(|text| read(text.get_ref()).map_err(|problem| source.error(text, problem))).collect()
}
