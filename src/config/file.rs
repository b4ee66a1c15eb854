//! How a file becomes a [`Config`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::setting::{Missing, empty};
use super::settings::{Client, ClientTable, ClientTables, Config, File, IssuerRule, IssuerTable, Tls, TrustedIssuer};
use super::source::{ConfigError, Source};
use super::texts::Texts;
use super::values::{Addresses, Overrides};
use super::{sections, suggest};

/// Tables that an included file may hold.
const INCLUDED: [&str; 2] = ["clients", "issuers"];

/// Maximum number of issuers in all files.
pub const MAX_ISSUERS: usize = 64;
/// Maximum size of an included file without its `[[clients]]`, and of each `[[clients]]` table, in bytes. Each becomes a
/// tree, which takes a hundred times as much.
///
/// The largest client has 112 KB if no character is written as an escape: 64 scope tokens of 128 bytes, 64 subjects of
/// 255, 64 claims and 16 audiences of 255 characters, and a path.
const MAX_TREE: usize = 256 << 10;

/// An included file, without the tables that are parsed one by one.
#[derive(Deserialize)]
struct IncludedTables {
    clients: Option<Vec<ClientTable>>,
    issuers: Option<Vec<IssuerTable>>,
}

/// The number of its issuers, before memory is taken for them.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    issuers: Vec<IgnoredAny>,
}

/// What an included file says.
#[derive(Debug)]
pub(super) struct Included {
    clients: ClientTables,
    issuers: Vec<TrustedIssuer>,
}

/// A file that is cut into its clients and the rest.
struct Cut {
    tables: Vec<Range<usize>>,
    rest: Source,
    text: String,
}

impl Cut {
    fn of(source: &Source) -> Self {
        let tables = sections::clients(source.content());
        let starts = std::iter::once(0).chain(tables.iter().map(|table| table.end));
        let ends = tables.iter().map(|table| table.start).chain([source.content().len()]);
        let rest = starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty());
        let (rest, text) = source.pieces(rest);
        Self { tables, rest, text }
    }

    /// The clients of `source`, of which this was cut: its tables, or the `others`.
    fn clients(self, source: &Source, others: Option<Vec<ClientTable>>) -> Result<ClientTables, ConfigError> {
        if let (Some(table), Some(_)) = (self.tables.first(), &others) {
            let expected = "`clients` is also written in another form; write each client as [[clients]]";
            return Err(source.error_at(table.clone(), expected));
        }
        let others = others.into_iter().flatten().map(|table| one(table, self.rest.clone())).collect();
        Ok(ClientTables { files: vec![(source.clone(), self.tables)], others })
    }
}

/// Parses what was read; `overrides` win over what it says.
pub(super) fn parse(texts: Texts, overrides: Overrides) -> Result<Config, ConfigError> {
    let source = texts.main;
    let cut = Cut::of(&source);
    let mut file: File = parsed(&cut.rest, &cut.text)?;
    let (rest, others) = (cut.rest.clone(), file.clients.take());
    let mut issuers = trusted(file.issuers.take(), &rest);
    let mut clients = cut.clients(&source, others)?;
    if let Some(problem) = texts.problems.into_iter().next() {
        return Err(problem);
    }
    for source in &texts.included {
        let Included { clients: more, issuers: trusted } = included(source)?;
        clients.append(more);
        issuers.extend(trusted);
    }
    config(file, &rest, (clients, issuers), overrides)
}

/// Parses an included file, except for its `[[clients]]`.
pub(super) fn included(source: &Source) -> Result<Included, ConfigError> {
    let cut = Cut::of(source);
    if cut.text.len() > MAX_TREE {
        let most = MAX_TREE >> 10;
        return Err(source.error_in_file(format!("expected at most {most} KiB beside the [[clients]] tables")));
    }
    #[expect(clippy::zero_sized_map_values, reason = "a table, of which only the names are kept")]
    let names: BTreeMap<toml::Spanned<String>, IgnoredAny> = parsed(&cut.rest, &cut.text)?;
    let others = names.keys().filter(|name| !INCLUDED.contains(&name.get_ref().as_str()));
    if let Some(other) = others.min_by_key(|name| name.span().start) {
        let all = INCLUDED.map(|name| format!("[[{name}]]")).join(" and ");
        let why =
            format!("an included file holds only {all}; move `{}` to the file that includes this one", other.get_ref());
        return Err(cut.rest.error(other, in_words(&why)));
    }
    let Counted { issuers } = parsed(&cut.rest, &cut.text)?;
    if issuers.len() > MAX_ISSUERS {
        return Err(source.error_in_file(format!("expected at most {MAX_ISSUERS} [[issuers]] in all files")));
    }
    let IncludedTables { clients, issuers } = parsed(&cut.rest, &cut.text)?;
    let issuers = trusted(issuers, &cut.rest);
    issuers.iter().try_for_each(within_a_team)?;
    Ok(Included { clients: cut.clients(source, clients)?, issuers })
}

/// Refuses what is the operator's to decide: to send one of the server's files to an address, and to
/// trust a domain, which takes tokens away from other teams' issuers, because `sub` is read before `iss`.
fn within_a_team(issuer: &TrustedIssuer) -> Result<(), ConfigError> {
    let refuse = |name: &str, span: Range<usize>| {
        let why = format!("an included file must not set `{name}`; move this issuer to the file that includes it");
        Err(issuer.source.error_at(span, why))
    };
    match (&issuer.token_file, &issuer.spiffe) {
        (Some(path), _) => refuse("token_file", path.span()),
        (None, Some(domain)) => refuse("spiffe", domain.span()),
        (None, None) => Ok(()),
    }
}

/// Returns the settings without a file: the defaults and `overrides`, which name an issuer.
#[expect(clippy::expect_used, reason = "nothing else is required")]
pub(super) fn development(overrides: Overrides) -> Config {
    config(empty(), &Source::development(), Default::default(), overrides).expect("an issuer, and defaults")
}

/// Returns what `file` says, with these clients and issuers and with defaults filled in; `overrides` win.
fn config(
    mut file: File,
    source: &Source,
    (clients, issuers): (ClientTables, Vec<TrustedIssuer>),
    overrides: Overrides,
) -> Result<Config, ConfigError> {
    file.issuer = overrides.issuer.or(file.issuer);
    if !overrides.listen.is_empty() {
        file.listen = Some(Addresses(overrides.listen));
    }
    let missing =
        source.error_in_file("`issuer` is missing; add a line such as issuer = \"https://tokens.example.com\"");
    let mut config = Config::read(file, source.clone(), clients, issuers).map_err(|Missing| missing)?;
    config.keys.path = overrides.keys.unwrap_or_else(|| source.resolve(&config.keys.path));
    if let Some(Tls { cert, key }) = &mut config.tls {
        for path in [cert, key] {
            *path = source.resolve(path);
        }
    }
    if let Some(list) = &mut config.revocations {
        list.path = source.resolve(&list.path);
    }
    Ok(config)
}

/// Parses the `[[clients]]` table at `range`.
pub(super) fn client(source: &Source, range: Range<usize>) -> Result<Client, ConfigError> {
    #[derive(Deserialize)]
    struct One {
        clients: [ClientTable; 1],
    }
    if range.len() > MAX_TREE {
        let why = format!("expected a [[clients]] table of at most {} KiB, up to the next header", MAX_TREE >> 10);
        return Err(source.error_at(range, why));
    }
    let (piece, text) = source.pieces([range]);
    let One { clients: [table] } = parsed(&piece, &text)?;
    Ok(one(table, piece))
}

impl ClientTables {
    /// Parses each client.
    pub(super) fn read(&self) -> impl Iterator<Item = Result<Client, ConfigError>> {
        let tables = self.files.iter().flat_map(|(source, tables)| tables.iter().map(move |table| (source, table)));
        tables.map(|(source, table)| client(source, table.clone())).chain(self.others.iter().cloned().map(Ok))
    }
}

#[expect(clippy::expect_used, reason = "a client has no setting that an override may give")]
fn one(table: ClientTable, source: Source) -> Client {
    Client::read(table, source).expect("a whole table")
}

/// The issuers of a file, which `source` is what is left of without its clients.
#[expect(clippy::expect_used, reason = "an issuer has no setting that an override may give")]
fn trusted(tables: Option<Vec<IssuerTable>>, source: &Source) -> Vec<TrustedIssuer> {
    let rule = |table| IssuerRule::read(table).expect("a whole table");
    let one = |mut table: IssuerTable| {
        let rules = table.rules.take().into_iter().flatten().map(rule).collect();
        TrustedIssuer::read(table, source.clone(), rules).expect("a whole table")
    };
    tables.into_iter().flatten().map(one).collect()
}

fn parsed<T: serde::de::DeserializeOwned>(source: &Source, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| match error.span() {
        Some(span) if error.message() == "duplicate key" => {
            let key = text.get(span.clone()).filter(|key| key.len() <= MAX_SHOWN).unwrap_or_default();
            source.error_at(span, in_words(&format!("duplicate key {key}: it is set above; write it once")))
        }
        Some(span) => source.error_at(span, in_words(error.message())),
        None if error.message() == "recursion limit" => source.error_in_file("nested more deeply than any setting is"),
        None => source.error_in_file(in_words(error.message())),
    })
}

/// Maximum length of a key that a message repeats, in bytes.
const MAX_SHOWN: usize = 64;

/// Rewrites the parser's message about a wrong type in plain words, on one line and without the value: a misplaced
/// secret must not reach a terminal or a log.
fn in_words(message: &str) -> String {
    let unquoted = message.split_once(" string \"").and_then(|(kind, rest)| {
        let (_, expected) = rest.rsplit_once("\", expected ")?;
        Some(format!("{kind} string, expected {expected}"))
    });
    let message = suggest::nearest(unquoted.as_deref().unwrap_or(message))
        .replace(
            "invalid type: map, expected a sequence",
            "expected an array; that of tables has two brackets, such as [[clients]]",
        )
        .replace("expected a sequence", "expected an array, such as [\"one\", \"two\"]")
        .replace("expected a nonzero u32", &format!("expected an integer from 1 to {}", u32::MAX))
        .replace("expected u32", &format!("expected an integer from 0 to {}", u32::MAX));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::values::{Issuer, Listen};
    use super::*;

    fn parse(content: &str) -> Result<Config, String> {
        // Only cases about clients may leave the issuer out.
        let issuer = content.contains("clients").then(|| Issuer::local("127.0.0.1"));
        let overrides = Overrides { issuer, ..Overrides::default() };
        let parsed = super::parse(Texts::alone(Path::new("/lingpai.toml"), content.to_owned()), overrides);
        let with_clients = parsed.and_then(|config| config.clients().collect::<Result<Vec<_>, _>>().map(|_| config));
        with_clients.map_err(|error| error.to_string().replacen('/', "", 1))
    }

    #[test]
    fn defaults() {
        let config = parse("issuer = \"https://t.example\"").unwrap();
        assert_eq!(config.listen, [Listen::default()]);
        assert_eq!((config.keys.jwks_max_age, config.reload.interval), (300, 2));
        assert_eq!((config.token.access_lifetime, config.token.refresh_lifetime), (600, 86_400));
        assert_eq!((config.token.session_lifetime, config.token.leeway), (2_592_000, 5));
        assert_eq!(config.token.cache, 10_000);
        assert!(config.anonymous.is_none() && config.ops.is_none() && config.clients_len() == 0);
        assert!(config.keys.path.ends_with("keys") && config.keys.path.is_absolute());
    }

    /// What an absent table, and a table with nothing in it, are read as.
    #[test]
    fn every_default_is_read() {
        let tables = ["cors", "keys", "reload", "drain", "limits", "token", "anonymous"];
        let tables = tables.map(|table| format!("[{table}]")).join("\n");
        for content in ["", &tables, "clients = [{ id = \"a\" }]"] {
            parse(&format!("issuer = \"https://t.example\"\n{content}")).unwrap();
        }
        let config = Config::development(Overrides::default());
        assert_eq!((config.issuer.as_str(), config.listen.len()), ("http://127.0.0.1:8080", 1));
        assert_eq!((config.token.algorithm.get_ref().as_str(), config.limits.failures), ("ES256", 60));
        assert_eq!((config.drain.lame_duck, config.drain.limit, config.keys.check_modes), (0, 10, true));
    }

    /// Every mistake is one line that names the place and what would be right.
    #[test]
    fn mistakes() {
        let cases = [
            ("listen = \"127.0.0.1:1\"", "lingpai.toml: `issuer` is missing"),
            ("issuer = \"http://t.example\"", "lingpai.toml:1:10: the issuer is http on a host"),
            ("issuer = 5", "lingpai.toml:1:10: invalid type: integer `5`, expected an https URL"),
            ("issuer = \"https://t.example\"\nissuerz = 1", "lingpai.toml:2:1: unknown field `issuerz`"),
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
            ("[cors]\norigins = [\"*\"]", "lingpai.toml:2:12: there is no \"*\""),
            ("[cors]\norigins = [\"https://a.example/\"]", "lingpai.toml:2:12: expected an origin such as"),
            ("forwarded_header = \"Via\"", "lingpai.toml:1:20: expected \"X-Forwarded-For\" or \"Forwarded\""),
            ("[clients]\nid = \"a\"", "lingpai.toml:1:1: expected an array; that of tables has two brackets"),
            (
                "[token]\ninclude = [\"a.toml\"]",
                "lingpai.toml:2:1: unknown field `include` in this table; it belongs above",
            ),
            ("[limits]\nconnections = 0", "lingpai.toml:2:15: invalid value: integer `0`, expected an integer from 1"),
            ("[limits]\nrequests = 0", "lingpai.toml:2:12: invalid value: integer `0`, expected an integer from 1"),
            ("[limits]\nmemory = \"128\"", "lingpai.toml:2:10: expected memory of at least 16MiB, such as \"128MiB\""),
            ("[limits]\nmemory = 128", "lingpai.toml:2:10: invalid type: integer `128`, expected memory"),
            ("[drain]\nlame_duck = \"11m\"", "lingpai.toml:2:13: expected a duration from 0s to 600s"),
            ("[ops]", "lingpai.toml:1:1: missing field `listen`"),
            ("[[clients]]\nsecrets = []", "lingpai.toml:1:1: missing field `id`"),
            ("[[clients]]\nid = \"a\"\nsecrets = []\nnot_before = \"x\"", "lingpai.toml:4:14: expected an instant"),
            (
                "[[clients]]\nid = \"a\"\nsecrets = []\n[[clients]]\nid = \"b\"\nscope = 1",
                "lingpai.toml:6:9: invalid type",
            ),
            ("[[clients]]\nid = \"a\"\nsecrets = []\n[token]\ncache = -1", "lingpai.toml:5:9: invalid value"),
            ("[[clients]]\nid = \"a\"\nid = \"a\"", "lingpai.toml:3:1: duplicate key id: it is set above"),
            ("[[clients]] id = \"a\"", "lingpai.toml:1:13: "),
            (
                "clients = [{ id = \"a\", secrets = [] }]\n[[clients]]",
                "lingpai.toml:2:1: `clients` is also written in another form",
            ),
            (
                "[[clients]]\nid = \"a\"\nsecrets = []\n[clients.x]",
                "lingpai.toml:4:2: expected an array; that of tables",
            ),
            ("clients = []\n[[clients]]\nid = \"a\"", "lingpai.toml:2:1: `clients` is also written in another form"),
            ("[anonymous]\nscopes = []", "lingpai.toml:2:1: unknown field `scopes`; did you mean `scope`?"),
            ("[keys]\nrevoked = 1", "lingpai.toml:2:11: invalid type: integer `1`, expected an array"),
            ("issuer = ", "lingpai.toml:1:"),
            (
                "issuer = \"https://t.example\"\nissuer = \"https://t.example\"",
                "lingpai.toml:2:1: duplicate key issuer: it is set above",
            ),
        ];
        for (content, expected) in cases {
            let said = parse(content).unwrap_err();
            assert!(said.starts_with(expected), "{content:?}\n said: {said}\n want: {expected}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    /// An included file is named with its own path and line.
    #[test]
    fn mistakes_in_an_included_file() {
        let refused = |content: &str| {
            let source = Source::file(Path::new("team.toml"), content.to_owned());
            let included = super::included(&source);
            let all = included.and_then(|included| included.clients.read().collect::<Result<Vec<_>, _>>());
            all.unwrap_err().to_string()
        };
        let only = |name: &str| {
            format!(
                "an included file holds only [[clients]] and [[issuers]]; move `{name}` to the file that includes this one"
            )
        };
        for (content, expected) in [
            ("issuer = \"https://t.example\"", format!("team.toml:1:1: {}", only("issuer"))),
            ("# x\ninclude = [\"a\"]\n[token]", format!("team.toml:2:1: {}", only("include"))),
            ("[[clients]]\nid = \"a\"\n[token]\nleeway = \"1s\"", format!("team.toml:3:2: {}", only("token"))),
            ("[[clients]]\nid = \"a\"\n[[client]]\nid = \"b\"", format!("team.toml:3:3: {}", only("client"))),
            ("lps_canary = 1", format!("team.toml:1:1: {}", only("(a secret)"))),
            ("\"a\\n\" = 1", format!("team.toml:1:1: {}", only("a\\n"))),
            ("[[clients]]\nid = \"a\"\nscope = 1", "team.toml:3:9: invalid type".to_owned()),
            ("[[clients]]\nid = \"a\"\n[clients.x]", "team.toml:3:2: expected an array; that of tables".to_owned()),
            ("clients = []\n[[clients]]", "team.toml:2:1: `clients` is also written in another form".to_owned()),
            ("clients = [{ id = 1 }]", "team.toml:1:19: invalid type".to_owned()),
            ("[[clients]]\nid = \"a\"\n[[issuers]]\nissuer = 1", "team.toml:4:10: invalid type".to_owned()),
            (
                "[[issuers]]\n[[clients]]\nid = \"a\"\n[[issuers.rules]]\nclient = \"a\"",
                "team.toml:4:1: missing field `match`".to_owned(),
            ),
            ("issuers = 1", "team.toml:1:11: invalid type".to_owned()),
            ("a = ", "team.toml:1:".to_owned()),
        ] {
            let said = refused(content);
            assert!(said.starts_with(&expected), "{content:?}\n said: {said}\n want: {expected}");
            assert!(!said.contains('\n'), "{said}");
        }
        for good in ["", "# none yet\n", "clients = []", "[[clients]]\nid = \"a\""] {
            assert!(super::included(&Source::file(Path::new("team.toml"), good.to_owned())).is_ok(), "{good:?}");
        }
    }

    /// Each tree takes a hundred times as much as its text.
    #[test]
    fn what_becomes_a_tree_is_bounded() {
        let said = |content: String| {
            let source = Source::file(Path::new("team.toml"), content);
            let included = super::included(&source);
            let all = included.and_then(|included| included.clients.read().collect::<Result<Vec<_>, _>>());
            all.map_or_else(|error| error.to_string(), |all| format!("{} clients", all.len()))
        };
        let head = "[[clients]]\nid = \"a\"\n#";
        let client = |bytes: usize| format!("{head}{}\n", "x".repeat(bytes - head.len() - 1));
        let expected = "team.toml:4:1: expected a [[clients]] table of at most 256 KiB, up to the next header";
        assert_eq!(said(client(99) + &client(MAX_TREE + 1) + &client(99)), expected);
        assert_eq!(said(client(MAX_TREE) + &client(MAX_TREE)), "2 clients");
        // It is not parsed: it would be refused for what it says.
        let large = format!("[[clients]]\nscope = [{}1]\n", "\"a\", ".repeat(60_000));
        assert_eq!(said(client(99) + &large), expected);
        assert_eq!(said(" ".repeat(MAX_TREE + 1)), "team.toml: expected at most 256 KiB beside the [[clients]] tables");

        // The largest client, without escapes.
        let array = |count: usize, length: usize, character: &str| {
            format!("[{}]", format!("\"{}\",", character.repeat(length)).repeat(count))
        };
        let largest = format!(
            "[[clients]]\nid = \"a\"\nscope = {}\nsubjects = {}\nclaims = {}\naudience = {}\naccepts = {3}\njwks = {:?}\n",
            array(64, 128, "s"),
            array(64, 255, "s"),
            array(64, 255, "\u{1f511}"),
            array(8, 255, "\u{1f511}"),
            "p".repeat(4_096),
        );
        assert!((110_000..MAX_TREE / 2).contains(&largest.len()), "{}", largest.len());
        assert_eq!(said(largest), "1 clients");
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
        let config = super::parse(Texts::alone(Path::new("/lingpai.toml"), content.to_owned()), overrides).unwrap();
        assert_eq!(config.issuer.as_str(), "https://flag.example");
        assert_eq!(config.listen, ["127.0.0.1:2".parse().unwrap()]);
        assert_eq!(config.keys.path, Path::new("elsewhere"));
    }
}
