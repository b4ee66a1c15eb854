//! The file's shape, and how it becomes a [`Config`].

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::sections;
use super::source::{ConfigError, List, Source, Text};
use super::values::{Addresses, ForwardedHeader, Forwarding, Instant, Issuer, Listen, Origin, Peer, Seconds};
use super::{Client, Clients, Config, Drain, Keys, Overrides, Revocations, Tls, Token};
use crate::files::{self, ReadError};
use crate::token::{ACCESS_CAP, LEEWAY_CAP, REFRESH_CAP, SESSION_CAP};

pub(super) const DEFAULT_KEYS: &str = "keys";
pub(super) const DEFAULT_RELOAD: i64 = 2;
pub(super) const DEFAULT_FAILURES: u32 = 60;
const MAX_BYTES: u64 = 16 << 20;

type Access = Seconds<1, ACCESS_CAP>;
type Refresh = Seconds<1, REFRESH_CAP>;
type Session = Seconds<1, SESSION_CAP>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: Option<Issuer>,
    listen: Option<Addresses>,
    #[serde(default)]
    proxy_protocol: bool,
    #[serde(default)]
    trusted_proxies: Vec<Peer>,
    #[serde(default)]
    forwarded_header: ForwardedHeader,
    #[serde(default)]
    keys: KeysTable,
    #[serde(default)]
    reload: ReloadTable,
    ops: Option<OpsTable>,
    tls: Option<TlsTable>,
    revocations: Option<RevocationsTable>,
    #[serde(default)]
    cors: CorsTable,
    #[serde(default)]
    drain: DrainTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    token: TokenTable,
    anonymous: Option<AnonymousTable>,
    clients: Option<Vec<ClientTable>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KeysTable {
    path: Option<PathBuf>,
    jwks_max_age: Option<Seconds<0, 86_400>>,
    #[serde(default)]
    revoked: Vec<Text>,
    check_modes: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReloadTable {
    interval: Option<Seconds<1, 3_600>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpsTable {
    listen: Addresses,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationsTable {
    path: PathBuf,
    #[serde(default)]
    publish: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CorsTable {
    #[serde(default)]
    origins: Vec<Origin>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DrainTable {
    lame_duck: Option<Seconds<0, 600>>,
    limit: Option<Seconds<1, 600>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    connections: Option<NonZeroU32>,
    failures: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    algorithm: Option<Text>,
    audience: Option<List>,
    access_lifetime: Option<Access>,
    refresh_lifetime: Option<Refresh>,
    session_lifetime: Option<Session>,
    leeway: Option<Seconds<0, LEEWAY_CAP>>,
    cache: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousTable {
    #[serde(default)]
    scope: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientTable {
    id: Text,
    secrets: Option<List>,
    jwks: Option<toml::Spanned<PathBuf>>,
    #[serde(default)]
    scope: Vec<Text>,
    audience: Option<List>,
    #[serde(default)]
    subjects: Vec<Text>,
    #[serde(default)]
    claims: Vec<Text>,
    algorithm: Option<Text>,
    grants: Option<Vec<Text>>,
    #[serde(default)]
    accepts: Vec<Text>,
    rate: Option<NonZeroU32>,
    access_lifetime: Option<Access>,
    refresh_lifetime: Option<Refresh>,
    session_lifetime: Option<Session>,
    not_before: Option<Instant>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { path: PathBuf::from(DEFAULT_KEYS), jwks_max_age: 300, revoked: Vec::new(), check_modes: true }
    }
}

impl Default for Drain {
    fn default() -> Self {
        DrainTable::default().into()
    }
}

impl From<DrainTable> for Drain {
    fn from(table: DrainTable) -> Self {
        Self { lame_duck: table.lame_duck.map_or(0, |s| s.0), limit: table.limit.map_or(10, |s| s.0) }
    }
}

impl Default for Token {
    fn default() -> Self {
        TokenTable::default().into()
    }
}

impl From<TokenTable> for Token {
    fn from(table: TokenTable) -> Self {
        Self {
            algorithm: table.algorithm,
            audience: table.audience,
            access_lifetime: table.access_lifetime.map_or(600, |s| s.0),
            refresh_lifetime: table.refresh_lifetime.map_or(86_400, |s| s.0),
            session_lifetime: table.session_lifetime.map_or(30 * 86_400, |s| s.0),
            leeway: table.leeway.map_or(5, |s| s.0),
            cache: table.cache.unwrap_or(10_000),
        }
    }
}

impl ClientTable {
    fn client(self, source: Source) -> Client {
        let table = self;
        Client {
            source,
            id: table.id,
            secrets: table.secrets.unwrap_or_else(|| List::new(0..0, Vec::new())),
            jwks: table.jwks,
            scope: table.scope,
            audience: table.audience,
            subjects: table.subjects,
            claims: table.claims,
            algorithm: table.algorithm,
            grants: table.grants,
            accepts: table.accepts,
            rate: table.rate.map(NonZeroU32::get),
            access_lifetime: table.access_lifetime.map(|s| s.0),
            refresh_lifetime: table.refresh_lifetime.map(|s| s.0),
            session_lifetime: table.session_lifetime.map(|s| s.0),
            not_before: table.not_before.map(|at| at.0),
        }
    }
}

/// Parses the content of the file at `path`; `overrides` win over what it says.
pub(super) fn parse(path: &Path, content: String, overrides: Overrides) -> Result<Config, ConfigError> {
    let source = Source::file(path, content);
    let tables = sections::clients(source.content());
    let starts = std::iter::once(0).chain(tables.iter().map(|table| table.end));
    let ends = tables.iter().map(|table| table.start).chain([source.content().len()]);
    let rest = starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty());
    let (rest, text) = source.pieces(rest);
    let file: File = parsed(&rest, &text)?;
    if let (Some(table), Some(_)) = (tables.first(), &file.clients) {
        let expected = "`clients` is written in another form too; write each client as [[clients]]";
        return Err(source.error_at(table.clone(), expected));
    }

    let issuer = overrides.issuer.or(file.issuer).ok_or_else(|| {
        source.error_in_file("`issuer` is missing; add a line such as issuer = \"https://tokens.example.com\"")
    })?;
    let listen = match (overrides.listen, file.listen) {
        (flag, _) if !flag.is_empty() => flag,
        (_, Some(Addresses(written))) => written,
        _ => vec![Listen::default()],
    };
    let beside = path.parent().unwrap_or(Path::new(""));
    let folder = beside.join(file.keys.path.unwrap_or_else(|| DEFAULT_KEYS.into()));
    Ok(Config {
        issuer,
        listen,
        keys: Keys {
            path: overrides.keys.unwrap_or(folder),
            jwks_max_age: file.keys.jwks_max_age.map_or(Keys::default().jwks_max_age, |s| s.0),
            revoked: file.keys.revoked,
            check_modes: file.keys.check_modes.unwrap_or(true),
        },
        reload_interval: file.reload.interval.map_or(DEFAULT_RELOAD, |s| s.0),
        ops: file.ops.map(|ops| ops.listen.0),
        proxy_protocol: file.proxy_protocol,
        origins: file.cors.origins,
        forwarding: Forwarding { trusted: file.trusted_proxies, is_rfc7239: file.forwarded_header.is_rfc7239 },
        tls: file.tls.map(|tls| Tls {
            cert: beside.join(tls.cert),
            key: beside.join(tls.key),
            client_ca: tls.client_ca.map(|path| beside.join(path)),
        }),
        revocations: file
            .revocations
            .map(|table| Revocations { path: beside.join(table.path), publish: table.publish }),
        drain: file.drain.into(),
        connections: file.limits.connections.map(NonZeroU32::get),
        failures: file.limits.failures.unwrap_or(DEFAULT_FAILURES),
        token: file.token.into(),
        anonymous: file.anonymous.map(|anonymous| anonymous.scope),
        clients: Clients {
            tables,
            others: file.clients.into_iter().flatten().map(|table| table.client(rest.clone())).collect(),
        },
        source: rest,
    })
}

/// Parses the `[[clients]]` table at `range`.
pub(super) fn client(source: &Source, range: Range<usize>) -> Result<Client, ConfigError> {
    #[derive(Deserialize)]
    struct One {
        clients: [ClientTable; 1],
    }
    let (piece, text) = source.pieces([range]);
    let One { clients: [table] } = parsed(&piece, &text)?;
    Ok(table.client(piece))
}

fn parsed<T: serde::de::DeserializeOwned>(source: &Source, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| source.error_at(error.span().unwrap_or_default(), in_words(error.message())))
}

/// Reads the text of the file at `path`.
pub(super) fn content(path: &Path) -> Result<String, ConfigError> {
    let problem = |what: &str| ConfigError::new(format!("{}: {what}", path.display()));
    let unreadable = |error: std::io::Error| problem(&format!("cannot be read: {error}"));
    let mut contents = files::read(path, MAX_BYTES).map_err(|error| match error {
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            problem("there is no such file; `lingpai init` writes one")
        }
        ReadError::Io(error) => unreadable(error),
        ReadError::NotRegular | ReadError::TooLarge(_) => problem("expected a regular file of at most 16 MiB"),
    })?;
    String::from_utf8(std::mem::take(&mut *contents.bytes)).map_err(|_| problem("is not UTF-8 text"))
}

/// The parser's message about a wrong type, in a person's words, in one line and
/// without the value: a misplaced secret must not reach a terminal or a log.
fn in_words(message: &str) -> String {
    let unquoted = message.split_once(" string \"").and_then(|(kind, rest)| {
        let (_, expected) = rest.rsplit_once("\", expected ")?;
        Some(format!("{kind} string, expected {expected}"))
    });
    let message = without_secrets(unquoted.as_deref().unwrap_or(message))
        .replace("expected a sequence", "expected an array, such as [\"one\", \"two\"]")
        .replace("expected a nonzero u32", "expected an integer from 1 to 4294967295")
        .replace("expected u32", "expected an integer from 0 to 4294967295");
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            _ if c.is_control() => _ = write!(line, "\\u{:04x}", u32::from(c)),
            _ => line.push(c),
        }
    }
    line
}

/// `text` with no client's secret, and no digest of one.
fn without_secrets(text: &str) -> String {
    ["lps_", "sha256:"].into_iter().fold(text.to_owned(), |text, mark| {
        let mut parts = text.split(mark);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |before, secret| {
            let after = secret.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-:".contains(c));
            before + "(a secret)" + after
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &str) -> Result<Config, String> {
        // Only cases about clients may leave the issuer out.
        let issuer = content.contains("clients").then(|| Issuer::local("127.0.0.1"));
        let overrides = Overrides { issuer, ..Overrides::default() };
        let parsed = super::parse(Path::new("/lingpai.toml"), content.to_owned(), overrides);
        let with_clients = parsed.and_then(|config| config.clients().collect::<Result<Vec<_>, _>>().map(|_| config));
        with_clients.map_err(|error| error.to_string().replacen('/', "", 1))
    }

    #[test]
    fn defaults() {
        let config = parse("issuer = \"https://t.example\"").unwrap();
        assert_eq!(config.listen, [Listen::default()]);
        assert_eq!((config.keys.jwks_max_age, config.reload_interval), (300, 2));
        assert_eq!((config.token.access_lifetime, config.token.refresh_lifetime), (600, 86_400));
        assert_eq!((config.token.session_lifetime, config.token.leeway), (2_592_000, 5));
        assert_eq!(config.token.cache, 10_000);
        assert!(config.anonymous.is_none() && config.ops.is_none() && config.clients_len() == 0);
        assert!(config.keys.path.ends_with("keys") && config.keys.path.is_absolute());
    }

    /// Every mistake is one line that names the place and what would be right.
    #[test]
    fn mistakes() {
        let cases = [
            ("listen = \"127.0.0.1:1\"", "lingpai.toml: `issuer` is missing"),
            ("issuer = \"http://t.example\"", "lingpai.toml:1:10: the issuer is http on a host"),
            ("issuer = 5", "lingpai.toml:1:10: invalid type: integer `5`, expected an https URL"),
            ("issuer = \"https://t.example\"\nissuers = 1", "lingpai.toml:2:1: unknown field `issuers`"),
            ("issuer = \"https://t.example\"\nlisten = []", "lingpai.toml:2:10: expected 1 to 16 addresses"),
            ("issuer = \"https://t.example\"\nlisten = \"x\"", "lingpai.toml:2:10: expected an address"),
            ("issuer = \"https://t.example\"\nlisten = [\"x\"]", "lingpai.toml:2:11: expected an address"),
            ("[token]\naccess_lifetime = \"25h\"", "lingpai.toml:2:19: expected a duration from 1s to 1d"),
            ("[token]\naccess_lifetime = \"0s\"", "lingpai.toml:2:19: expected a duration from 1s to 1d"),
            ("[token]\naccess_lifetime = 600", "lingpai.toml:2:19: invalid type: integer `600`, expected a duration"),
            ("[token]\nrefresh_lifetime = \"91d\"", "lingpai.toml:2:20: expected a duration from 1s to 90d"),
            ("[token]\nsession_lifetime = \"366d\"", "lingpai.toml:2:20: expected a duration from 1s to 365d"),
            ("[token]\nleeway = \"61s\"", "lingpai.toml:2:10: expected a duration from 0s to 60s"),
            ("[token]\ncache = -1", "lingpai.toml:2:9: invalid value: integer `-1`, expected an integer from 0"),
            ("[reload]\ninterval = \"0s\"", "lingpai.toml:2:12: expected a duration from 1s to 1h"),
            ("trusted_proxies = [\"10.0.0.1/8\"]", "lingpai.toml:1:20: expected a network such as"),
            ("[cors]\norigins = [\"*\"]", "lingpai.toml:2:12: expected an origin such as"),
            ("[cors]\norigins = [\"https://a.example/\"]", "lingpai.toml:2:12: expected an origin such as"),
            ("forwarded_header = \"Via\"", "lingpai.toml:1:20: expected \"X-Forwarded-For\" or \"Forwarded\""),
            ("[limits]\nconnections = 0", "lingpai.toml:2:15: invalid value: integer `0`, expected an integer from 1"),
            ("[drain]\nlame_duck = \"11m\"", "lingpai.toml:2:13: expected a duration from 0s to 600s"),
            ("[ops]", "lingpai.toml:1:1: missing field `listen`"),
            ("[[clients]]\nsecrets = []", "lingpai.toml:1:1: missing field `id`"),
            ("[[clients]]\nid = \"a\"\nsecrets = []\nnot_before = \"x\"", "lingpai.toml:4:14: expected an instant"),
            (
                "[[clients]]\nid = \"a\"\nsecrets = []\n[[clients]]\nid = \"b\"\nscope = 1",
                "lingpai.toml:6:9: invalid type",
            ),
            ("[[clients]]\nid = \"a\"\nsecrets = []\n[token]\ncache = -1", "lingpai.toml:5:9: invalid value"),
            ("[[clients]]\nid = \"a\"\nid = \"a\"", "lingpai.toml:3:1: duplicate key"),
            ("[[clients]] id = \"a\"", "lingpai.toml:1:13: "),
            (
                "clients = [{ id = \"a\", secrets = [] }]\n[[clients]]",
                "lingpai.toml:2:1: `clients` is written in another form too",
            ),
            (
                "[[clients]]\nid = \"a\"\nsecrets = []\n[clients.x]",
                "lingpai.toml:4:2: invalid type: map, expected an array",
            ),
            ("clients = []\n[[clients]]\nid = \"a\"", "lingpai.toml:2:1: `clients` is written in another form too"),
            ("[anonymous]\nscopes = []", "lingpai.toml:2:1: unknown field `scopes`, expected `scope`"),
            ("[keys]\nrevoked = 1", "lingpai.toml:2:11: invalid type: integer `1`, expected an array"),
            ("issuer = ", "lingpai.toml:1:"),
            ("issuer = \"https://t.example\"\nissuer = \"https://t.example\"", "lingpai.toml:2:1: duplicate key"),
        ];
        for (content, expected) in cases {
            let said = parse(content).unwrap_err();
            assert!(said.starts_with(expected), "{content:?}\n said: {said}\n want: {expected}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn a_misplaced_secret_is_not_repeated() {
        for content in [
            "[[clients]]\nid = \"a\"\nsecrets = \"lps_canary\"",
            "[token]\ncache = \"lps_canary\"",
            "[[clients]]\nid = \"a\"\nsecrets = []\nnot_before = \"lps_canary\"",
            "[[clients]]\nid = \"a\"\nsecrets = []\naccess_lifetime = \"lps_canary\"",
            "clients = \"lps_canary\"",
            "lps_canary = 1",
            "[[clients]]\nlps_canary = 1",
        ] {
            let said = parse(content).unwrap_err();
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn overrides_win() {
        let content = "issuer = \"https://file.example\"\nlisten = \"127.0.0.1:1\"";
        let overrides = Overrides {
            issuer: Some("https://flag.example".parse().unwrap()),
            listen: vec!["127.0.0.1:2".parse().unwrap()],
            keys: Some("elsewhere".into()),
        };
        let config = super::parse(Path::new("/lingpai.toml"), content.to_owned(), overrides).unwrap();
        assert_eq!(config.issuer.as_str(), "https://flag.example");
        assert_eq!(config.listen, ["127.0.0.1:2".parse().unwrap()]);
        assert_eq!(config.keys.path, Path::new("elsewhere"));
    }
}
