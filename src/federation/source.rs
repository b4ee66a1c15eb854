//! Fetches an issuer's keys by discovery and key set, within strict limits.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use rustls::ClientConfig;
use serde::Deserialize;

use super::address::is_public;
use crate::fetch::{self, FetchError, Server};
use crate::files;
use crate::foreign::{KeySet, KeySetError, Owner};

/// Maximum time for discovery and the key set together.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum size of a file with certificates or a token, in bytes.
const MAX_CA: u64 = 1 << 20;
const MAX_TOKEN: u64 = 16 << 10;
/// Maximum length of a failure in the log, in characters.
const MAX_SHOWN: usize = 1_000;
/// Seconds after which a set is fetched again, whatever its server asks for.
const AGES: std::ops::RangeInclusive<i64> = 300..=3_600;

/// Where an issuer publishes its keys, and how they may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Where the keys are.
    pub(super) at: At,
    /// The CA certificates to trust instead of the machine's.
    pub(super) ca_file: Option<PathBuf>,
    /// A file with a Bearer token to present. It is read at each fetch, because it is renewed.
    pub(super) token_file: Option<PathBuf>,
    /// Whether addresses that are not public are allowed.
    pub(super) allow_private: bool,
}

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// In the issuer's metadata (`OpenID` Connect Discovery §4).
    Discovered(Box<str>),
    /// At this URL.
    Uri(Box<str>),
}

/// Resolves names to addresses.
pub(super) trait Resolve: fmt::Debug + Send + Sync {
    /// Returns the addresses of `server`.
    fn resolve<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The machine's resolver.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async { Ok(tokio::net::lookup_host((server.host.as_str(), server.port)).await?.collect()) }.boxed()
    }
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfetched {
    #[error("{url}: {error}")]
    Exchange {
        url: String,
        #[source]
        error: FetchError,
    },
    #[error("{0}: the name cannot be resolved: {1}")]
    Name(String, #[source] io::Error),
    #[error("{0}: every address of it is private, loopback or reserved; set allow_private if that is meant")]
    Address(String),
    #[error("{0}: expected https; http is only for loopback addresses")]
    Insecure(String),
    #[error("{0}: status {1}; expected 200 without a redirect")]
    Status(String, StatusCode),
    #[error("{0}: the answer is encoded, though nothing asked for that")]
    Encoded(String),
    #[error("{0}: expected a JSON object with issuer and jwks_uri")]
    NoMetadata(String),
    #[error("{0}: the metadata are another issuer's")]
    OtherIssuer(String),
    #[error("{0}: {1}")]
    Keys(String, #[source] KeySetError),
    #[error("{0}: no key that can be used")]
    NoKeys(String),
    #[error("TLS cannot be used here")]
    Trust,
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: String },
    #[error("no answer within {} s", LIMIT.as_secs())]
    Time,
}

impl Unfetched {
    /// Formats it for the log, as one line of at most [`MAX_SHOWN`] characters: a key set's ids and a
    /// certificate's names are untrusted text too.
    pub(super) fn in_a_line(&self) -> String {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        self.to_string().chars().take(MAX_SHOWN).map(|c| if breaks(c) { '?' } else { c }).collect()
    }
}

/// A key set, and the seconds for which it is fresh.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) max_age: i64,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// Fetches the keys.
    ///
    /// # Errors
    /// The first problem.
    pub(super) async fn fetch(&self, resolver: &dyn Resolve) -> Result<Fetched, Unfetched> {
        tokio::time::timeout(LIMIT, self.fetch_slowly(resolver)).await.unwrap_or(Err(Unfetched::Time))
    }

    async fn fetch_slowly(&self, resolver: &dyn Resolve) -> Result<Fetched, Unfetched> {
        let with = Fetcher { source: self, resolver, trust: self.trust().await?, token: self.token()? };
        let (uri, may_know) = match &self.at {
            At::Uri(uri) => (uri.to_string(), true),
            At::Discovered(issuer) => {
                let found = with.discover(issuer).await?;
                let is_own = is_same_origin(&found, issuer);
                (found, is_own)
            }
        };
        let answer = with.get(&uri, may_know).await?;
        let keys = KeySet::parse(answer.body(), Owner::Issuer).map_err(|error| Unfetched::Keys(shown(&uri), error))?;
        if keys.is_empty() {
            return Err(Unfetched::NoKeys(shown(&uri)));
        }
        Ok(Fetched { keys, max_age: max_age(answer.headers()) })
    }

    /// Returns the addresses that may be connected to. The connection uses exactly these, so a name
    /// that later resolves to others gains nothing.
    pub(super) async fn allowed(
        &self,
        url: &str,
        server: &Server,
        resolver: &dyn Resolve,
    ) -> Result<Vec<SocketAddr>, Unfetched> {
        let found = resolver.resolve(server).await.map_err(|error| Unfetched::Name(shown(url), error))?;
        let may = |address: &SocketAddr| self.allow_private || is_public(address.ip());
        let allowed: Vec<_> = found.into_iter().filter(may).collect();
        if allowed.is_empty() {
            return Err(Unfetched::Address(shown(url)));
        }
        if !server.is_tls && !allowed.iter().all(|address| address.ip().is_loopback()) {
            return Err(Unfetched::Insecure(shown(url)));
        }
        Ok(allowed)
    }

    async fn trust(&self) -> Result<Arc<ClientConfig>, Unfetched> {
        let Some(path) = &self.ca_file else {
            // The machine has a hundred certificate files or more.
            let trust = tokio::task::spawn_blocking(fetch::trusting_public).await.map_err(|_| Unfetched::Trust)?;
            return trust.map(Arc::new).map_err(|_| Unfetched::Trust);
        };
        let trust = fetch::trusting_pem(&read(path, MAX_CA)?);
        let problem = |error: FetchError| Unfetched::File { path: path.clone(), error: error.to_string() };
        trust.map(Arc::new).map_err(problem)
    }

    fn token(&self) -> Result<Option<HeaderValue>, Unfetched> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let bytes = read(path, MAX_TOKEN)?;
        let text = bytes.trim_ascii();
        let is_token = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        let value = HeaderValue::from_bytes(&[b"Bearer ", text].concat()).ok().filter(|_| is_token);
        let problem = || Unfetched::File { path: path.clone(), error: "is not a token".to_owned() };
        let mut value = value.ok_or_else(problem)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn read(path: &Path, limit: u64) -> Result<zeroize::Zeroizing<Vec<u8>>, Unfetched> {
    let contents = files::read(path, limit);
    contents
        .map(|contents| contents.bytes)
        .map_err(|error| Unfetched::File { path: path.to_owned(), error: error.to_string() })
}

/// One fetch, with its client configuration.
struct Fetcher<'a> {
    source: &'a Source,
    resolver: &'a dyn Resolve,
    trust: Arc<ClientConfig>,
    token: Option<HeaderValue>,
}

impl Fetcher<'_> {
    /// Returns the key set's URL from the issuer's metadata.
    async fn discover(&self, issuer: &str) -> Result<String, Unfetched> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let answer = self.get(&url, true).await?;
        let metadata: Metadata =
            serde_json::from_slice(answer.body()).map_err(|_| Unfetched::NoMetadata(url.clone()))?;
        if metadata.issuer != issuer {
            return Err(Unfetched::OtherIssuer(url));
        }
        Ok(metadata.jwks_uri)
    }

    /// Returns the answer at `url`, if it is complete, not encoded, and 200. Sends the token if
    /// `may_know`.
    async fn get(&self, url: &str, may_know: bool) -> Result<Response<Bytes>, Unfetched> {
        let exchange = |error| Unfetched::Exchange { url: shown(url), error };
        let uri: Uri = url.parse().map_err(|_| exchange(FetchError::Url))?;
        let server = Server::of(&uri).map_err(exchange)?;
        let addresses = self.source.allowed(url, &server, self.resolver).await?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = self.token.as_ref().filter(|_| may_know) {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let answer = fetch::fetch_at(request, &addresses, Arc::clone(&self.trust)).await.map_err(exchange)?;
        if answer.status() != StatusCode::OK {
            return Err(Unfetched::Status(shown(url), answer.status()));
        }
        if answer.headers().contains_key(CONTENT_ENCODING) {
            return Err(Unfetched::Encoded(shown(url)));
        }
        Ok(answer)
    }
}

/// Formats `url` for the log: metadata are untrusted text.
fn shown(url: &str) -> String {
    url.chars().take(200).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn is_same_origin(one: &str, other: &str) -> bool {
    let server = |url: &str| url.parse::<Uri>().ok().and_then(|uri| Server::of(&uri).ok());
    server(one).is_some_and(|one| Some(one) == server(other))
}

/// Returns `max-age` (RFC 9111 §5.2.2.1), clamped to [`AGES`].
fn max_age(headers: &HeaderMap) -> i64 {
    let said =
        headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let seconds = said.filter_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse::<i64>().unwrap_or_default())
    });
    seconds.min().unwrap_or(*AGES.start()).clamp(*AGES.start(), *AGES.end())
}
