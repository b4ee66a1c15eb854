//! What a file says, and what is wrong with it.

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
        ("[[clients]]\nid = \"a\"\nsecrets = []\n[[clients]]\nid = \"b\"\nscope = 1", "lingpai.toml:6:9: invalid type"),
        ("[[clients]]\nid = \"a\"\nsecrets = []\n[token]\ncache = -1", "lingpai.toml:5:9: invalid value"),
        ("[[clients]]\nid = \"a\"\nid = \"a\"", "lingpai.toml:3:1: duplicate key id: it is set above"),
        ("[[clients]] id = \"a\"", "lingpai.toml:1:13: "),
        (
            "clients = [{ id = \"a\", secrets = [] }]\n[[clients]]",
            "lingpai.toml:2:1: `clients` is also written in another form",
        ),
        ("[[clients]]\nid = \"a\"\nsecrets = []\n[clients.x]", "lingpai.toml:4:2: expected an array; that of tables"),
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
