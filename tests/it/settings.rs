//! The configuration: every mistake is one line that names file, line and
//! column and says what would be right, and never repeats a secret.

use std::fs;
use std::path::Path;

use lingpai::app;
use lingpai::clients::SecretDigest;
use lingpai::clock::Timestamp;
use lingpai::config::{Config, Listen, Overrides, settings};
use lingpai::service::Snapshot;
use tempfile::tempdir;

use crate::app::{ISSUER, START, copy_key, load};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";

/// What `serve` makes of this file beside a folder with one key; an error
/// without the folder's name.
fn read(content: &str) -> Result<(Config, Snapshot), String> {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    copy_key(KEY, &folder.path().join("keys").join(KEY));
    let short = |said: String| said.replace(&format!("{}/", folder.path().display()), "");
    let config = load(folder.path(), content).map_err(|error| short(error.to_string()))?;
    let snapshot = app::snapshot(&config, Timestamp::from_unix(START)).map_err(|error| short(error.to_string()))?;
    Ok((config, snapshot))
}

/// An issuer on line 1 and these lines after it.
fn file(lines: &str) -> String {
    format!("issuer = \"{ISSUER}\"\n{lines}\n")
}

fn digest(secret: &str) -> String {
    SecretDigest::of(secret.as_bytes()).written()
}

/// A client on line 2, its id on line 3, `secrets` on line 4, and what it has from line 5 on.
fn client(id: &str, secrets: &[&str], lines: &str) -> String {
    file(&format!("[[clients]]\nid = \"{id}\"\nsecrets = {secrets:?}\n{lines}"))
}

/// A client that is right, and what it has from line 5 on.
fn has(lines: &str) -> String {
    client("a", &[&digest("x")], lines)
}

fn many(what: &str, count: usize) -> String {
    format!("{what} = {:?}", (0..count).map(|i| format!("s{i}")).collect::<Vec<_>>())
}

#[track_caller]
fn assert_refused(content: &str, expected: &str) {
    let Err(said) = read(content) else { panic!("accepted:\n{content}") };
    assert!(said.starts_with(&format!("lingpai.toml:{expected}")), "{content}\nsaid: {said}\nwant: {expected}");
    assert!(!said.contains('\n'), "{said}");
}

#[test]
fn who_a_client_is() {
    const ID: &str = "3:6: expected a client id: 1 to 64 characters of A-Z a-z 0-9 . _ ~ -";
    let good = digest("x");
    for id in ["", "a b", "a/b", "a:b", "é", "a\\n", &"x".repeat(65)] {
        assert_refused(&client(id, &[&good], ""), ID);
    }
    assert_refused(&client("anonymous", &[&good], ""), "3:6: the id `anonymous` is reserved");
    let twice = has("[[clients]]\nid = \"b\"\nsecrets = []\n").replace("[]", &format!("{:?}", [&good]));
    assert!(read(&twice).is_ok());
    assert_refused(&twice.replace("\"b\"", "\"a\""), "6:6: another client has this id; ids must be unique");
}

#[test]
fn secrets() {
    const DIGEST: &str = "expected \"sha256:\" and 64 lower-case hex digits";
    let three = [digest("x"), digest("y"), digest("z")];
    let three: Vec<_> = three.iter().map(String::as_str).collect();
    assert_refused(&client("a", &three, ""), "4:11: expected one secret, or two while one is being replaced");
    assert_refused(&client("a", &[], ""), "3:6: nobody can authenticate as this client; expected `secrets`");
    let good = digest("x");
    let upper = format!("sha256:{}", good[7..].to_uppercase());
    let nobody = format!("sha256:{}", "0".repeat(64));
    let wrong = ["", "sha256:", "sha256:abc", &good[7..], &good.replace("256", "512"), &upper, &nobody];
    for text in wrong.into_iter().chain(["lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"]) {
        assert_refused(&client("a", &[text], ""), &format!("4:12: {DIGEST}"));
        assert_refused(&client("a", &[&good, text], ""), &format!("4:87: {DIGEST}"));
    }
}

#[test]
fn what_a_client_may_have() {
    let long = "x".repeat(256);
    for (value, problem) in [
        ("scope = [\"ok\", \"a b\"]", "5:16: expected a scope token: 1 to 128 visible ASCII characters"),
        ("scope = [\"\"]", "5:10: expected a scope token"),
        ("scope = [\"é\"]", "5:10: expected a scope token"),
        ("scope = ['a\"']", "5:10: expected a scope token"),
        (&format!("scope = [\"{}\"]", &long[..129]), "5:10: expected a scope token"),
        (&many("scope", 65), "5:448: expected at most 64 scope tokens"),
        ("audience = [\"\"]", "5:13: expected an audience: 1 to 255 characters"),
        ("audience = [\"a\\u0007\"]", "5:13: expected an audience: 1 to 255 characters"),
        (&format!("audience = [\"{long}\"]"), "5:13: expected an audience: 1 to 255 characters"),
        (&many("audience", 9), "5:61: expected at most 8 audiences"),
        ("subjects = [\"us*er\"]", "5:13: expected a subject such as \"user:7\" or a pattern such as \"user:*\""),
        ("subjects = [\"user:7\", \"**\"]", "5:23: expected a subject such as"),
        ("subjects = [\"\"]", "5:13: expected a subject such as"),
        ("subjects = [\"a b\"]", "5:13: expected a subject such as"),
        (&format!("subjects = [\"{long}\"]"), "5:13: expected a subject such as"),
        (&many("subjects", 65), "5:451: expected at most 64 patterns"),
        ("claims = [\"\"]", "5:11: expected a claim's name: 1 to 255 characters"),
        (&format!("claims = [\"{long}\"]"), "5:11: expected a claim's name"),
        (&many("claims", 65), "5:449: expected at most 64 claims"),
        // A column counts characters, as an editor does.
        ("claims = [\"é\", \"iss\"]", "5:16: `iss` is a reserved claim, which no client may set"),
        ("access_lifetime = \"25h\"", "5:19: expected a duration from 1s to 1d"),
        ("refresh_lifetime = \"91d\"", "5:20: expected a duration from 1s to 90d"),
        ("session_lifetime = \"366d\"", "5:20: expected a duration from 1s to 365d"),
        ("session_lifetime = \"0s\"", "5:20: expected a duration from 1s to 365d"),
        ("not_before = \"2026-11-22\"", "5:14: expected an instant in UTC such as \"2026-11-22T00:00:00Z\""),
        ("not_before = \"2026-11-22T00:00:00+01:00\"", "5:14: expected an instant in UTC"),
        ("scopes = []", "5:1: unknown field `scopes`; did you mean `scope`?"),
    ] {
        assert_refused(&has(value), problem);
        // Windows' line ends change no place.
        assert_refused(&has(value).replace('\n', "\r\n"), problem);
    }
}

#[test]
fn reserved_claims() {
    let reserved =
        "iss sub aud exp nbf iat jti client_id scope cnf act may_act auth_time acr amr azp nonce sid events typ";
    for name in reserved.split(' ') {
        assert_refused(&has(&format!("claims = [\"{name}\"]")), &format!("5:11: `{name}` is a reserved claim"));
    }
}

#[test]
fn what_the_service_has() {
    for (lines, problem) in [
        ("[token]\nalgorithm = \"HS256\"", "3:13: expected an algorithm: \"ES256\", \"EdDSA\" or \"RS256\""),
        ("[token]\nalgorithm = \"none\"", "3:13: expected an algorithm"),
        ("[token]\nalgorithm = \"es256\"", "3:13: expected an algorithm"),
        ("[token]\nalgorithm = \"\"", "3:13: expected an algorithm"),
        ("[token]\naudience = [\"\"]", "3:13: expected an audience"),
        (&format!("[token]\n{}", many("audience", 9)), "3:61: expected at most 8 audiences"),
        ("[anonymous]\nscope = [\"a b\"]", "3:10: expected a scope token"),
        (&format!("[anonymous]\n{}", many("scope", 65)), "3:448: expected at most 64 scope tokens"),
        ("[keys]\nrevoked = [\"x\"]", "3:12: expected a key's id: 43 characters, as `lingpai keys list` shows it"),
        (&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(42)), "3:12: expected a key's id"),
        (&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(44)), "3:12: expected a key's id"),
        (&format!("[keys]\nrevoked = [\"{}+\"]", "A".repeat(42)), "3:12: expected a key's id"),
        ("[keys]\njwks_max_age = \"25h\"", "3:16: expected a duration from 0s to 1d"),
    ] {
        assert_refused(&file(lines), problem);
    }
}

/// "one message that names file, line and what would be right"
#[test]
fn a_mistake_has_a_line_also_when_something_is_missing() {
    assert_refused(&has("audience = []"), "5:");
    assert_refused(&file("[token]\naudience = []"), "3:");
    let long = format!("issuer = \"https://t.example/{}\"\n", "x".repeat(256));
    assert_refused(&long, "1:");
}

/// TOML has instants of its own, so the quotation marks are easily forgotten.
#[test]
fn an_instant_needs_no_quotation_marks() {
    let quoted = read(&has("not_before = \"2026-11-22T00:00:00Z\"")).unwrap().1;
    for written in ["2026-11-22T00:00:00Z", "2026-11-22 00:00:00Z"] {
        let (_, snapshot) = read(&has(&format!("not_before = {written}"))).unwrap();
        assert_eq!(snapshot.configuration_digest, quoted.configuration_digest, "{written}");
    }
    for wrong in [
        "2026-11-22T00:00:00",
        "2026-11-22",
        "00:00:00",
        "2026-11-22T00:00:00+08:00",
        "2026-11-22T00:00:00.5Z",
        "{ at = 1 }",
        "{}",
        "\"2026-11-22\"",
    ] {
        let expected = "5:14: expected an instant in UTC such as \"2026-11-22T00:00:00Z\"";
        assert_refused(&has(&format!("not_before = {wrong}")), expected);
    }
    assert_refused(&has("not_before = 1"), "5:14: invalid type: integer `1`, expected an instant in UTC such as");
}

/// What no browser sends would never be allowed.
#[test]
fn an_origin_is_written_as_browsers_send_it() {
    let origins = |origin: &str| file(&format!("[cors]\norigins = [\"{origin}\"]"));
    for right in ["https://a.example", "http://a.example:443", "https://a.example:80", "http://[::1]:8080", "http://b"]
    {
        if let Err(said) = read(&(origins(right) + "\n[anonymous]\n")) {
            panic!("{said}");
        }
    }
    for (wrong, right) in [
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://a.example:0443", "https://a.example"),
    ] {
        assert_refused(&origins(wrong), &format!("3:12: expected \"{right}\", as browsers send it: "));
    }
    for wrong in ["https://a.example:08080", "https://a.example:", "https://a.example:65536", "https://", "ftp://a"] {
        assert_refused(&origins(wrong), "3:12: expected an origin such as");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    const CANARY: &str = "lps_canary789abcdefghijklmnopqrstuvwxyzABCDEFGH";
    for content in [
        client(&format!("{CANARY} "), &[&digest("x")], ""),
        client(&format!("{CANARY}{CANARY}"), &[&digest("x")], ""),
        client("a", &[CANARY], ""),
        client("a", &[&digest("x"), CANARY], ""),
        client("a", &[&format!("sha256:{CANARY}")], ""),
        client("a", &[&digest("x"), &digest("y"), CANARY], ""),
        has(&format!("scope = [\"{CANARY} x\"]")),
        has(&format!("scope = \"{CANARY}\"")),
        has(&format!("scope = [{CANARY}]")),
        has(&format!("scope = [[\"{CANARY}\"]]")),
        has(&format!("scope = \"{CANARY}")),
        has(&format!("audience = [\"{CANARY}\\n\"]")),
        has(&format!("subjects = [\"{CANARY}*x\"]")),
        has(&format!("not_before = \"{CANARY}\"")),
        has(&format!("access_lifetime = \"{CANARY}\"")),
        has(&format!("access_lifetime = {CANARY}")),
        has(CANARY),
        file(&format!("clients = \"{CANARY}\"")),
        file(&format!("listen = \"{CANARY}\"")),
        file(&format!("[token]\nalgorithm = \"{CANARY}\"")),
        file(&format!("[token]\ncache = \"{CANARY}\"")),
        file(&format!("[keys]\nrevoked = [\"{CANARY}\"]")),
        format!("issuer = \"http://{CANARY}.example\""),
        format!("issuer = \"{CANARY}\""),
    ] {
        let Err(said) = read(&content) else { panic!("accepted:\n{content}") };
        assert!(!said.contains("canary"), "{said}");
        assert!(said.starts_with("lingpai.toml:") && !said.contains('\n'), "{said}");
    }
}

/// A name in quotation marks can be anything.
#[test]
fn an_unknown_key_is_named_in_one_line_and_without_a_secret() {
    let digest = digest("x");
    for content in [
        file(&format!("\"a {digest}\" = 1")),
        has(&format!("\"{digest}\" = 1")),
        has(&format!("\"lps_canary {digest} lps_parrot\" = 1")),
        has(&format!("\"lps_{digest}\" = 1")),
    ] {
        let Err(said) = read(&content) else { panic!("accepted:\n{content}") };
        assert!(said.contains("unknown field `") && said.contains("(a secret)"), "{said}");
        assert!(![&digest[7..], "canary", "parrot"].into_iter().any(|part| said.contains(part)), "{said}");
    }
    assert_refused(&file("\"a\\nb\\u001b\\u009b\" = 1"), "2:1: unknown field `a\\nb\\u001b\\u009b`, expected one of");
}

#[test]
fn a_file_that_is_none() {
    let folder = tempdir().unwrap();
    let refused = |path: &Path, expected: &str| {
        let said = Config::load(Some(path), Overrides::default()).unwrap_err().to_string();
        assert_eq!(said, format!("{}: {expected}", path.display()));
    };
    refused(&folder.path().join("gone.toml"), "there is no such file; `lingpai init` writes one");
    refused(folder.path(), "expected a regular file of at most 16 MiB");
    refused(Path::new("/dev/zero"), "expected a regular file of at most 16 MiB");
    let path = folder.path().join("lingpai.toml");
    fs::write(&path, b"issuer = \"\xff\"").unwrap();
    refused(&path, "is not UTF-8 text");
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    refused(&path, "expected a regular file of at most 16 MiB");
    fs::write(&path, "").unwrap();
    let said = Config::load(Some(&path), Overrides::default()).unwrap_err().to_string();
    assert!(said.contains("`issuer` is missing; add a line such as issuer = \"https://"), "{said}");
}

#[test]
fn what_is_just_within_the_limits() {
    let (x, y) = (digest("x"), digest("y"));
    for content in [
        client(&"x".repeat(64), &[&x, &y], ""),
        client("A-z_0.9~", &[&x], ""),
        has(&many("scope", 64)),
        has(&many("audience", 8)),
        has(&format!("audience = [\"{}\"]", "é".repeat(255))),
        has(&format!("subjects = [\"{}*\", \"*\", \"a\"]", "x".repeat(255))),
        has(&many("claims", 64)),
        has("scope = []\nsubjects = []\nclaims = []"),
        has("access_lifetime = \"24h\"\nrefresh_lifetime = \"90d\"\nsession_lifetime = \"365d\""),
        file("[token]\naccess_lifetime = \"1s\"\nleeway = \"60s\"\ncache = 0"),
        file("[keys]\njwks_max_age = \"0s\""),
        file("[anonymous]"),
    ] {
        if let Err(said) = read(&content) {
            panic!("{said}\n{content}");
        }
    }
}

/// The contract's example, with a digest and an instant that are real.
#[test]
fn every_setting_of_the_example_is_read() {
    let content = format!(
        r#"
issuer = "https://tokens.example.com"  # required; https (http for loopback), no query, fragment or trailing slash
listen = "127.0.0.1:8080"              # or an array; IPv4:port, [IPv6]:port, unix:/path, fd:name

[keys]
path         = "keys"                  # relative to this file's folder
jwks_max_age = "6m"                    # how long verifiers may cache the JWKS
revoked      = ["{revoked}"]

[reload]
interval = "3s"                        # how often files are compared; SIGHUP reloads at once

[ops]
listen = "127.0.0.1:9464"              # absent: no ops listener

[token]
algorithm        = "ES256"
audience         = ["https://api.example.com"]  # default: the issuer
access_lifetime  = "11m"               # durations: <integer><s|m|h|d>
refresh_lifetime = "2d"
session_lifetime = "31d"
leeway           = "6s"                # at most 60s
cache            = 10001               # verified tokens remembered; 0: none

[anonymous]                            # absent: no token without credentials
scope = ["guest"]

[[clients]]
id       = "orders"                    # [A-Za-z0-9._~-], at most 64, unique, not `anonymous`
secrets  = ["{digest}"]
scope    = ["orders:read", "orders:write"]
audience = ["https://orders.example.com"]
subjects = ["user:*"]                  # whom it may name; `*` only at the end, for one character or more
claims   = ["tenant"]
access_lifetime = "5m"                 # also refresh_lifetime, session_lifetime
refresh_lifetime = "3d"
session_lifetime = "32d"
not_before = "2026-11-22T00:00:00Z"    # sessions that began earlier end (set it when a secret leaked)
"#,
        digest = digest("s3cret"),
        revoked = "A".repeat(43),
    );
    let (config, snapshot) = read(&content).unwrap();
    let listen = |text: &str| vec![text.parse::<Listen>().unwrap()];
    assert_eq!((config.issuer.as_str(), &config.listen), (ISSUER, &listen("127.0.0.1:8080")));
    assert_eq!((config.keys.jwks_max_age, config.keys.revoked.len(), config.reload.interval), (360, 1, 3));
    assert_eq!(config.ops.unwrap().listen, listen("127.0.0.1:9464"));
    let token = &config.token;
    assert_eq!((token.access_lifetime, token.refresh_lifetime, token.session_lifetime), (660, 172_800, 31 * 86_400));
    assert_eq!((token.leeway, token.cache), (6, 10_001));
    assert_eq!(snapshot.registry.anonymous().unwrap().scope.as_str(), "guest");
    assert_eq!(
        snapshot.registry.anonymous().unwrap().audience.iter().next().unwrap().as_str(),
        "https://api.example.com"
    );

    let client = snapshot.registry.authenticate("orders", b"s3cret").unwrap();
    assert_eq!(client.scope.as_str(), "orders:read orders:write");
    assert!(
        client.audience.contains("https://orders.example.com") && !client.audience.contains("https://api.example.com")
    );
    let lifetimes = client.lifetimes;
    assert_eq!((lifetimes.access, lifetimes.refresh, lifetimes.session), (300, 3 * 86_400, 32 * 86_400));
    assert_eq!(client.not_before, Timestamp::parse_rfc3339("2026-11-22T00:00:00Z"));
    assert!(snapshot.registry.authenticate("orders", b"s3cre").is_none());
    assert!(snapshot.registry.authenticate("Orders", b"s3cret").is_none());
}

#[test]
fn what_is_allowed_but_probably_not_meant() {
    let warnings = |content: &str| {
        let (_, snapshot) = read(content).unwrap();
        snapshot.warnings(Timestamp::from_unix(START)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warnings(&has("")), "");
    for (content, expected) in [
        (file(""), "nobody can get a token"),
        (has("[token]\nsession_lifetime = \"1h\""), "refresh_lifetime is longer than session_lifetime"),
        (has(&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(43))), "is not in the folder"),
    ] {
        let said = warnings(&content);
        assert!(said.contains(expected) && !said.contains('\n'), "{said}");
    }
}

/// Where the handbook has the table of settings; the README has it until that page is there.
const HANDBOOK: &str = "deploy/configuration.md";

/// The handbook's table, as the declaration has it.
fn table() -> String {
    let mut lines = vec!["| key | default | applied by | meaning |".to_owned(), "| --- | --- | --- | --- |".to_owned()];
    lines.extend(settings().map(|setting| {
        let applied_by = if setting.needs_restart { "restart" } else { "reload" };
        format!("| `{}` | {} | {applied_by} | {} |", setting.key, setting.default, setting.text).replace("|  |", "| |")
    }));
    lines.join("\n") + "\n"
}

/// To change a setting's row: change `src/config/settings.rs`, and put in the page what this test prints when it fails.
#[test]
fn the_handbook_has_every_setting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match fs::read_to_string(root.join(HANDBOOK)) {
        Ok(page) => assert!(page.contains(&table()), "expected this table in {HANDBOOK}:\n{}", table()),
        Err(_) => readme_names_only_settings(&fs::read_to_string(root.join("README.md")).unwrap()),
    }
}

/// Each row's keys are settings, with the row's default.
fn readme_names_only_settings(page: &str) {
    let (_, table) = page.split_once("| key | default | |\n| --- | --- | --- |\n").unwrap();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split(" | ").collect();
        let names: Vec<_> = cells[0].split('`').skip(1).step_by(2).collect();
        for name in &names {
            // In a row of several, the first alone may be written with its table.
            let (at, _) = names[0].rsplit_once('.').unwrap_or_default();
            let found = settings().find(|one| one.key == *name || one.key == format!("{at}.{name}"));
            let Some(setting) = found else { panic!("{name} is no setting") };
            if cells[1].starts_with('`') {
                assert_eq!(setting.default, cells[1], "{name}");
            }
        }
    }
}

/// Each setting's key is in the digest or is not, and its value with it.
#[test]
fn what_replicas_must_agree_in() {
    let base = has("scope = [\"a\", \"b\"]");
    let digest_of =
        |content: &str| read(content).unwrap_or_else(|said| panic!("{said}\n{content}")).1.configuration_digest;
    let with = |lines: &str| digest_of(&format!("{lines}\n{base}"));
    let same = digest_of(&base);
    for lines in [
        "listen = \"127.0.0.1:1\"",
        "proxy_protocol = true",
        "ops.listen = \"127.0.0.1:2\"",
        "drain.limit = \"9s\"",
        "drain.lame_duck = \"9s\"",
        "limits.connections = 9",
        "keys.check_modes = false",
        "reload.interval = \"9s\"",
        "token.cache = 9",
        // A default that is written out.
        "token = { algorithm = \"ES256\", leeway = \"5s\", access_lifetime = \"600s\" }",
        "forwarded_header = \"x-forwarded-for\"",
        "cors.origins = []",
    ] {
        assert_eq!(with(lines), same, "{lines}");
    }
    let mut seen = vec![same];
    for lines in [
        "trusted_proxies = [\"unix\"]",
        "forwarded_header = \"Forwarded\"",
        "cors.origins = [\"https://a.example\"]",
        "keys.jwks_max_age = \"9s\"",
        "limits.failures = 9",
        "token.audience = [\"x\"]",
        "token.access_lifetime = \"9s\"",
        "token.refresh_lifetime = \"9s\"",
        "token.session_lifetime = \"9d\"",
        "token.leeway = \"9s\"",
        "anonymous = {}",
        "anonymous.scope = [\"x\"]",
    ] {
        seen.push(with(lines));
    }
    for lines in [
        "scope = [\"a\"]",
        "audience = [\"x\"]",
        "subjects = [\"x\"]",
        "claims = [\"x\"]",
        "grants = [\"refresh_token\"]",
        "accepts = [\"x\"]",
        "rate = 1",
        "access_lifetime = \"9s\"",
        "refresh_lifetime = \"9s\"",
        "session_lifetime = \"9d\"",
        "not_before = 2026-11-22T00:00:00Z",
    ] {
        seen.push(digest_of(&has(lines)));
    }
    seen.push(digest_of(&client("a", &[&digest("x"), &digest("y")], "scope = [\"a\", \"b\"]")));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two that differ have one digest");
    // Neither the order of clients and scope tokens counts, nor which secret it is.
    let other = client("a", &[&digest("z")], "scope = [\"b\", \"a\", \"b\"]");
    assert_eq!(digest_of(&other), same);
    let two = |first: &str, second: &str| {
        digest_of(&file(
            &[first, second].map(|id| format!("[[clients]]\nid = {id:?}\nsecrets = [{:?}]", digest("x"))).join("\n"),
        ))
    };
    assert_eq!(two("a", "b"), two("b", "a"));
}

/// The keys of a client's JWKS count, not how the file is called or laid out.
#[test]
fn a_clients_keys_are_in_the_digest() {
    let jwks = |name: &str, text: &str| {
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        copy_key(KEY, &folder.path().join("keys").join(KEY));
        fs::write(folder.path().join(name), text).unwrap();
        let config = load(folder.path(), &file(&format!("[[clients]]\nid = \"a\"\njwks = {name:?}"))).unwrap();
        app::snapshot(&config, Timestamp::from_unix(START)).unwrap().configuration_digest
    };
    let okp = |kid: &str, x: &str| {
        format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"{kid}\",\"x\":\"{x}\"}}]}}")
    };
    // RFC 8037 appendix A.2 and RFC 8032 §7.1, TEST 2.
    let (one, other) = ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    let same = jwks("a.json", &okp("k", one));
    assert_eq!(jwks("b.json", &okp("k", one).replace(',', " , ")), same);
    assert_ne!(jwks("a.json", &okp("k", other)), same);
    assert_ne!(jwks("a.json", &okp("l", one)), same);
}
