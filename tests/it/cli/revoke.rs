//! `lingpai keys revoke`, `keys list` and what `keys rotate` says to a schedule that is full.

use std::fs;

use lingpai::clock::Clock;
use lingpai::keys::{self, Alg};

use crate::app::{SECRET, standard};
use crate::home::{Home, RECENT};

fn kids(home: &Home) -> Vec<String> {
    let rows = home.run(&["keys", "list", "--json"]).assert(0).json();
    rows.as_array().unwrap().iter().map(|row| row["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_revoked_key_stops_and_what_follows_is_said() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "\n[keys] # theirs\nrevoked = [ # none yet\n]\n"));
    let old = kids(&home).remove(0);
    // The only one that signs.
    let ran = home.run(&["keys", "revoke", &old]);
    ran.assert_refused(2, &["nothing was written", "replace it first, with `lingpai keys rotate --now`"]);
    let now = Clock::system().now();
    let new = keys::generate(&home.path("keys"), Alg::Es256, now.plus(-60)).unwrap();
    let short: String = new.kid().as_str().chars().take(11).collect();
    let server = home.serve(&[]);
    let token = server.create("orders", SECRET).text("value");
    server.stop("TERM");
    // As `keys list` writes it.
    let ran = home.run(&["keys", "revoke", &format!("{short}…")]);
    assert!(
        ran.assert(0).out.starts_with(&format!("revoked {} ({}) in lingpai.toml", new.kid(), new.name())),
        "{ran:?}"
    );
    assert!(ran.out.contains(&format!("\n{} signs now\n", *RECENT)), "{ran:?}");
    assert!(
        ran.out.contains("access tokens would have been good until 20") && ran.out.contains("for up to 5 min"),
        "{ran:?}"
    );
    assert!(
        home.text("lingpai.toml").ends_with(&format!("[keys] # theirs\nrevoked = [\"{}\" # none yet\n]\n", new.kid()))
    );
    let server = home.serve(&[]);
    assert_eq!(server.send("GET", "/token", &format!("Authorization: Token {token}"), "").status, 401);
    server.stop("TERM");
    // An older key signs again, which is odd.
    let warned = home.run(&["check"]);
    assert!(warned.assert(0).err.contains(&format!("{} signs again because the newer", *RECENT)), "{warned:?}");

    home.run(&["keys", "revoke", &short]).assert_refused(1, &["is already revoked"]);
    let alone =
        ["nothing was written", "no other ES256 key signs now: replace it first, with `lingpai keys rotate --now`"];
    home.run(&["keys", "revoke", &old]).assert_refused(2, &alone);
    home.run(&["keys", "revoke", "nothing-here"]).assert_refused(1, &["there is no key"]);
    home.run(&["keys", "revoke", &old[..4]]).assert_refused(1, &["too short: expected 11 characters"]);
    Home::new().run(&["keys", "revoke", &old]).assert_refused(1, &["there is no lingpai.toml here"]);
}

#[test]
fn an_upcoming_key_has_signed_nothing() {
    let home = Home::standard();
    home.run(&["keys", "rotate"]).assert(0);
    let upcoming = kids(&home).remove(1);
    let ran = home.run(&["keys", "revoke", &upcoming, "--json"]).assert(0).json();
    assert_eq!((&ran["was"], &ran["signing"]), (&"upcoming".into(), &RECENT.as_str().into()));
    assert!(ran["access_tokens_until"].is_null());
    assert!(home.text("lingpai.toml").ends_with(&format!("\n[keys]\nrevoked = [\"{upcoming}\"]\n")));
}

#[test]
fn a_schedule_that_is_full_refuses_another_instant() {
    let home = Home::standard();
    home.run(&["keys", "rotate"]).assert(0);
    let before = home.names("keys");
    // A job that runs every day has nothing to do; somebody who wants it earlier is told that it is not so.
    assert!(home.run(&["keys", "rotate"]).assert(0).out.contains("nothing to do"));
    assert!(home.run(&["keys", "rotate", "--in", "2h"]).assert(0).out.contains("nothing to do"));
    home.run(&["keys", "rotate", "--in", "1m"])
        .assert_refused(1, &["is upcoming and signs from", "nothing was written"]);
    assert_eq!(home.names("keys"), before);
    let list = home.run(&["keys", "list"]);
    assert!(list.assert(0).out.lines().all(|line| line.chars().count() <= 80), "{}", list.out);
    let wide = home.run(&["keys", "list", "--wide"]);
    for kid in kids(&home) {
        assert!(list.out.contains(&format!("{}…", &kid[..11])) && wide.out.contains(&kid), "{}", list.out);
    }
    assert!(wide.out.contains("SIGNS UNTIL"));
    fs::remove_dir_all(home.path("keys")).unwrap();
    assert!(home.run(&["keys", "list"]).assert(0).err.contains("there is no key"));
}
