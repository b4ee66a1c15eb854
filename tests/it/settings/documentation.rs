//! Every setting stands in the example and in the handbook.

use std::fs;
use std::path::Path;

use lingpai::clock::Timestamp;
use lingpai::config::{Listen, settings};

use super::{digest, read};
use crate::app::ISSUER;

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
