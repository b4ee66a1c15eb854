//! `lingpai revoke`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::{LATER, RANDOM, pair, sid};
use crate::app::SECRET;
use crate::forge::DAY;
use crate::home::{Home, until};

/// `lingpai revoke` in a home of its own.
struct Office {
    home: Home,
}

impl Office {
    fn new() -> Self {
        Self::with(Home::standard())
    }

    /// Adds a list to a home.
    fn with(home: Home) -> Self {
        let config = home.text("lingpai.toml").replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1);
        home.write("lingpai.toml", &config.replacen("[token]", "[reload]\ninterval = \"1s\"\n[token]", 1));
        Self { home }
    }

    fn revoke(&self, arguments: &[&str], input: &str) -> crate::home::Ran {
        self.home.run_with_input(&[&["revoke"], arguments].concat(), input.as_bytes())
    }
}

/// "`lingpai revoke … ` appends; `--token` writes a `session` line where there is a `sid`, else `jti`."
#[test]
fn revoke_appends_what_a_server_obeys() {
    let office = Office::new();
    office.home.write("revoked", "# ours\n");
    let server = office.home.serve(&[]);
    let answer = server.create("orders", SECRET);
    let (access, refresh) = pair(&answer);
    let id = sid(&access).unwrap();
    let get = |token: &str| server.send("GET", "/token", &format!("Authorization: Token {token}"), "").status;
    // What can it still do?
    let told = office.revoke(&["--token", "-", "--dry-run"], &access);
    for part in
        ["access token", "client   orders", "works    until ", "session  can be refreshed", &format!("session {id} ")]
    {
        assert!(told.assert(0).out.contains(part), "{told:?}\nwant: {part}");
    }
    assert!(told.out.contains(", if it came with a refresh token\n"), "{told:?}");
    let told = office.revoke(&["--token", "-", "--dry-run"], &refresh).assert(0).out.clone();
    assert!(told.contains("can be refreshed until ") && !told.contains("if it came"), "{told}");
    assert_eq!(office.home.text("revoked"), "# ours\n");
    assert_eq!(get(&access), 200);
    let done = office.revoke(&["--token", "-"], &format!("{refresh}\n"));
    assert!(done.assert(0).out.contains("on it has no effect") && !done.out.contains("restart"), "{done:?}");
    assert!(office.home.text("revoked").starts_with(&format!("# ours\nsession {id} ")));
    until(|| get(&access) == 401);
    // Once is enough.
    let before = office.home.text("revoked");
    let again = office.revoke(&["--token", "-"], &access);
    assert!(again.assert(0).out.starts_with("already in ") && office.home.text("revoked") == before, "{again:?}");
    let put = server.send("PUT", "/token", &format!("Authorization: Token {refresh}"), "");
    assert_eq!(put.status, 401);
    let told = office.revoke(&["--token", "-", "--dry-run", "--json"], &access);
    assert_eq!(told.assert(1).json()["ended_by"], "revoked_session");

    // No token is believed that others made.
    let (access, _) = pair(&server.create("orders", SECRET));
    let ran = office.revoke(&["--token", "-"], &access.replace(&access[access.len() - 4..], "AAAA"));
    ran.assert_refused(1, &["the token is not accepted"]);
    office.revoke(&["--token", "-"], "x").assert_refused(1, &["expected three segments"]);
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// A token from before there was a list.
#[test]
fn a_token_that_names_no_session_ends_alone() {
    let home = Home::standard();
    let server = home.serve(&[]);
    let (access, _) = pair(&server.create("orders", SECRET));
    server.stop("TERM");
    let office = Office::with(home);
    office.home.write("revoked", "");
    for how in [&["--token", "-", "--dry-run"][..], &["--token", "-"]] {
        let ran = office.revoke(how, &access);
        assert!(
            ran.assert(0).err.starts_with("lingpai: note: the token names no session, so it alone ends;"),
            "{ran:?}"
        );
    }
    assert!(office.home.text("revoked").starts_with("jti "));
    // With the first line of a list comes what is easily forgotten.
    office.home.write("revoked", "");
    let told = office.revoke(&["--subject", "user:7"], "");
    assert!(told.assert(0).out.contains("\na server that started before `[revocations]` was set does not read it"));
    Home::new().run(&["revoke", "--client", "shop"]).assert_refused(2, &["there is no lingpai.toml here"]);
}

#[test]
fn a_full_disk_leaves_no_half_a_line() {
    let office = Office::new();
    let before = format!("#{}\n", "x".repeat(1_000));
    office.home.write("revoked", &before);
    office.home.run_limited(1, &["revoke", "--jti", RANDOM]).assert_refused(2, &["too large", "nothing was written"]);
    assert_eq!(office.home.text("revoked"), before);
    office.revoke(&["--jti", RANDOM], "").assert(0);
}

#[test]
fn revoke_takes_names() {
    let office = Office::new();
    let list = || office.home.text("revoked");
    // It makes the file, for everybody to read.
    let told = office.revoke(&["--jti", RANDOM, "--json"], "").assert(0).json();
    assert_eq!((&told["kind"], &told["written"]), (&json!("jti"), &json!(true)));
    assert_eq!(fs::metadata(office.home.path("revoked")).unwrap().mode() & 0o777, 0o644);
    assert_eq!(list(), format!("{}\n", told["line"].as_str().unwrap()));
    office.revoke(&["--session", &format!("1780315200.{RANDOM}")], "").assert(0);
    assert!(list().contains(&format!("session 1780315200.{RANDOM} 2026-07-01T12:00:05Z\n")), "{}", list());
    let known = office.revoke(&["--client", "orders", "--before", "2026-06-01T00:00:00Z"], "");
    assert_eq!(known.assert(0).err, "");
    let unknown = office.revoke(&["--client", "order", "--dry-run"], "");
    assert!(unknown.assert(0).err.contains("note: the configuration has no client \"order\""), "{unknown:?}");
    office.revoke(&["--subject", "user:7"], "").assert(0);
    let ran = office.revoke(&["--subject", "user:7", "--before", "2100-01-01T00:00:00Z"], "");
    assert!(ran.assert(0).out.contains("until 2100-01-01T00:00:00Z it also ends new tokens"), "{ran:?}");
    assert!(list().contains("client orders before 2026-06-01T00:00:00Z\nsubject user:7 before 20"));
    let before = list();
    for wrong in [
        &["--jti", "x"][..],
        &["--session", RANDOM],
        &["--client", "a b"],
        &["--client", "a\nclient b"],
        &["--subject", ""],
        &["--subject", "x before 2026-06-01T00:00:00Z\nsubject y"],
        &["--jti", RANDOM, "--before", "2026-06-01T00:00:00Z"],
        &["--client", "a", "--before", "tomorrow"],
        &["--client", "a", "--subject", "b"],
        &["--before", "2026-06-01T00:00:00Z"],
        &[],
    ] {
        assert_eq!(office.revoke(wrong, "").code, Some(2), "{wrong:?}");
    }
    assert_eq!(list(), before);
    office.revoke(&["--subject", "user 7"], "").assert_refused(2, &["--subject: expected 1 to"]);
    let all = office.revoke(&["--list", "--json"], "").json();
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(all[4]["has_effect"], true);
    assert_eq!(office.revoke(&["--list"], "").out, before);

    // A subject may look like a pattern, and is one subject all the same.
    let starred = office.revoke(&["--subject", "user:a*"], "");
    assert!(
        starred.assert(0).err.contains("note: an entry names one subject, and is no pattern: \"user:a*\" alone ends")
    );
    assert!(list().contains("\nsubject user:a* before "), "{}", list());

    // Each of them may begin with a hyphen. With two it is rather an option, before which the value was forgotten.
    for (option, id) in [("--subject", "-7"), ("--client", "-shop")] {
        office.revoke(&[option, id], "").assert(0);
        assert!(list().contains(&format!("\n{} {id} before ", &option[2..])), "{}", list());
    }
    office.revoke(&["--subject=--json"], "").assert(0);
    assert!(list().contains("\nsubject --json before "), "{}", list());
    office.revoke(&["--session", "-7"], "").assert_refused(2, &["--session: expected"]);
    office.revoke(&["--subject", "--json"], "").assert_refused(
        2,
        &["--subject: expected a value; one that begins with two hyphens is written --subject=--json"],
    );
    let hyphen = RANDOM.replacen('A', "-", 1);
    office.revoke(&["--jti", &hyphen], "").assert(0);
    assert!(list().contains(&format!("\njti {hyphen} ")), "{}", list());
    for wrong in [["--jti", "--dry-run"], ["--client", "--dry-run"], ["--subject", "--dry-run"]] {
        assert_eq!(office.revoke(&wrong, "").code, Some(2), "{wrong:?}");
    }

    // A last line without a newline is completed if it is one, and is otherwise somebody's who is not done.
    office.home.write("revoked", &format!("jti {RANDOM} {LATER}"));
    office.revoke(&["--client", "orders"], "").assert(0);
    assert!(list().starts_with(&format!("jti {RANDOM} {LATER}\nclient orders before ")));
    office.home.write("revoked", "jti AAA");
    office.revoke(&["--client", "orders"], "").assert_refused(2, &["its last line has no newline"]);
    assert_eq!(list(), "jti AAA");
    office.home.write("revoked", "x\n");
    office.revoke(&["--client", "orders"], "").assert_refused(2, &["line 1: expected a line that begins with"]);
    assert_eq!(list(), "x\n");
    // A folder has a file of its own.
    fs::remove_file(office.home.path("revoked")).unwrap();
    fs::create_dir(office.home.path("revoked")).unwrap();
    office.revoke(&["--client", "orders"], "").assert(0);
    assert_eq!(office.home.names("revoked"), ["revoked"]);
    let home = Home::standard();
    home.run(&["revoke", "--client", "orders"]).assert_refused(2, &["there is no list of revocations"]);
}

/// "`revoke --prune` drops what has ended": comments stay, and so does whatever could still matter.
#[test]
fn prune_drops_what_has_ended() {
    let office = Office::new();
    let (old, ahead) = ("2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let recent = lingpai::clock::Clock::system().now().plus(-DAY).rfc3339();
    let kept = format!("# why\r\n\njti {RANDOM} {ahead}\nclient orders before {recent}\n");
    let ended = format!("session 1.{RANDOM} {old}\nclient orders before {old}\n");
    office.home.write("revoked", &format!("{ended}{kept}jti AAA"));
    let said = office.revoke(&["--prune", "--json"], "").assert(0).json();
    assert_eq!(said, json!({"dropped": 2, "kept": 2}));
    assert_eq!(office.home.text("revoked"), format!("{kept}jti AAA"));
    assert_eq!(office.home.names("."), ["keys", "lingpai.toml", "revoked"]);
    assert_eq!(office.revoke(&["--prune"], "").assert(0).out, "dropped 0, kept 2\n");
}

/// Whoever appends while another prunes loses nothing.
#[test]
fn many_may_revoke_at_once() {
    let office = Office::new();
    office.home.write("revoked", &format!("jti {RANDOM} 2026-01-01T00:00:00Z\n"));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let office = &office;
            scope.spawn(move || office.revoke(&["--client", &format!("c{number}")], "").assert(0).code);
            scope.spawn(move || office.revoke(&["--prune"], "").assert(0).code);
        }
    });
    let all = office.home.text("revoked");
    assert_eq!(all.lines().filter(|line| line.starts_with("client c")).count(), 8, "{all}");
    assert_eq!(office.home.names("."), ["keys", "lingpai.toml", "revoked"]);
}
