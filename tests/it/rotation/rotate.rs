//! `keys rotate` and `keys prune`.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{DAY, lead};
use crate::home::{Home, ended};

#[test]
fn rotate() {
    let (home, _) = Home::with_keys(&[-DAY]);
    let made = home.run(&["keys", "rotate", "--json"]);
    assert!((2 * (300 + 2 + 5) - 20..=2 * (300 + 2 + 5) + 60).contains(&lead(&made)), "{made:?}");
    assert_eq!(made.json()["made"], true);
    // To the minute, so that two machines choose one name.
    assert!(made.json()["from"].as_str().unwrap().ends_with(":00Z"), "{made:?}");
    assert_eq!(home.states(), ["signing", "upcoming"]);

    let (again, names) = (home.run(&["keys", "rotate"]), home.names("keys"));
    assert_eq!(again.assert(0).out, format!("nothing to do: keys/{} is upcoming\n", names[1]));
    let again = home.run(&["keys", "rotate", "--json"]).assert(0).json();
    assert_eq!((&again["made"], &again["kid"]), (&json!(false), &made.json()["kid"]));
    home.run(&["keys", "rotate", "--in", "1m"])
        .assert_refused(1, &["is upcoming and signs from", "nothing was written"]);
    assert_eq!(home.names("keys"), names);

    // Another algorithm is another schedule.
    home.run(&["keys", "rotate", "--alg", "EdDSA"]).assert(0);
    assert_eq!(home.names("keys").len(), 3);

    // In an emergency nobody waits for what is to come.
    let ran = home.run(&["keys", "rotate", "--now"]);
    assert!(ran.assert(0).out.contains("it signs now") && ran.err.contains("for up to 5 min verifiers"), "{ran:?}");
    assert!(ran.err.contains(" is still upcoming; if it was stolen too: lingpai keys revoke "), "{ran:?}");
    assert_eq!(home.states().iter().filter(|state| *state == "signing").count(), 1);
    // Where files travel slowly.
    let ran = home.run(&["keys", "rotate", "--now", "--in", "90s", "--json"]);
    assert!((80..=90).contains(&lead(&ran)), "{ran:?}");
    let ran = home.run(&["keys", "rotate", "--now", "--in", "6m"]);
    assert!(ran.assert(0).out.contains(", in 6 min; copy it") && !ran.err.contains("for up to"), "{ran:?}");
}

/// The job that rotates also begins.
#[test]
fn rotate_in_an_empty_folder() {
    let home = Home::standard();
    fs::remove_dir_all(home.path("keys")).unwrap();
    home.run(&["keys", "rotate", "--in", "2h"]).assert(0);
    assert_eq!(home.states(), ["signing"]);
    home.run(&["keys", "rotate", "--in", "2h"]).assert(0);
    assert_eq!(home.states(), ["signing", "upcoming"]);
}

/// A job that runs in the wrong folder does not seem to work.
#[test]
fn nothing_is_rotated_nowhere() {
    let home = Home::new();
    for command in ["rotate", "prune"] {
        home.run(&["keys", command]).assert_refused(1, &["there is no lingpai.toml here, and no key in keys"]);
    }
    assert!(home.names(".").is_empty());
    home.run(&["keys", "new"]).assert(0);
    assert!(home.run(&["check"]).assert(0).err.contains("these are development defaults"));
}

/// Whatever the number of machines, one key is scheduled, and who lost says so.
#[test]
fn rotations_at_once() {
    for arguments in [&["keys", "rotate"][..], &["keys", "rotate", "--in", "1h"]] {
        let (home, _) = Home::with_keys(&[-DAY]);
        let all: Vec<_> = (0..8).map(|_| home.command(arguments, &[]).spawn().unwrap()).collect();
        let mut wrote = 0;
        for ran in all.into_iter().map(ended) {
            match ran.code {
                Some(0) if ran.out.starts_with("wrote ") => wrote += 1,
                Some(0) => assert!(ran.out.starts_with("nothing to do: "), "{ran:?}"),
                _ => {
                    ran.assert(1);
                    let why = [
                        "is already there; nothing was written",
                        "was just scheduled by another process",
                        "is upcoming and signs from",
                    ];
                    assert!(why.iter().any(|why| ran.err.contains(why)), "{ran:?}");
                }
            }
        }
        assert!(wrote >= 1);
        let names = home.names("keys");
        assert_eq!(names.len(), 1 + wrote, "{names:?}");
        home.run(&["check"]).assert(0);
    }
}

/// Killed at any point, a rotation leaves a folder that every command reads, and no half of a key.
#[test]
fn a_rotation_that_is_killed() {
    let (home, _) = Home::with_keys(&[-DAY]);
    for micros in (0..40).map(|step| step * 250) {
        let limit = format!("{}", f64::from(micros) / 1e6 + 1e-4);
        let killed = Command::new("timeout")
            .args(["-s", "KILL", &limit, env!("CARGO_BIN_EXE_lingpai"), "keys", "rotate"])
            .current_dir(home.path("."))
            .output();
        assert!(killed.is_ok());
        home.run(&["check"]).assert(0);
        assert!(matches!(home.listed().len(), 1 | 2));
        let upcoming: Vec<_> = home.listed().iter().filter(|key| key["state"] == "upcoming").cloned().collect();
        for key in upcoming {
            fs::remove_file(home.path(key["file"].as_str().unwrap())).unwrap();
        }
    }
}

#[test]
fn prune() {
    // Retired for just over, and just under, 24 hours: a token of one day ended that long ago.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3 * DAY - 65, -2 * DAY - 65, -2 * DAY + 60]);
    let left_over = home.write("keys/.lingpai-0123456789abcdef", "");
    let old = Command::new("touch").args(["-d", "2 days ago"]).arg(&left_over).status();
    assert!(old.unwrap().success());
    home.write("keys/.lingpai-fedcba9876543210", "");
    assert_eq!(home.states(), ["retired", "retired", "retired", "signing"]);

    let ran = home.run(&["keys", "prune"]);
    let deleted = [&names[0], &names[1], ".lingpai-0123456789abcdef"].map(|name| format!("deleted keys/{name}\n"));
    assert_eq!(ran.assert(0).out, deleted.concat());
    assert_eq!(home.names("keys"), [&[".lingpai-fedcba9876543210".to_owned()], &names[2..]].concat());
    let ran = home.run(&["keys", "prune"]);
    assert_eq!(ran.assert(0).out, "nothing to delete: no key has been retired for 24 hours\n");
    let json = home.run(&["keys", "prune", "--json"]).assert(0).json();
    assert_eq!(json, json!({"deleted": [], "kept": 2}));
}

/// With a clock that is far ahead every key but the newest looks retired.
#[test]
fn a_clock_far_off_the_newest_key() {
    let (home, names) = Home::with_keys(&[-500 * DAY, -401 * DAY]);
    for command in ["prune", "rotate", "new"] {
        let ran = home.run(&["keys", command]);
        ran.assert_refused(1, &[&names[1], "is 401 days older than", "this machine's clock", "nothing was changed"]);
    }
    home.run(&["check"]).assert_refused(1, &["is 401 days older than"]);
    assert_eq!(home.names("keys"), names);

    let (home, names) = Home::with_keys(&[-DAY, 402 * DAY]);
    home.run(&["check"]).assert_refused(1, &[&names[1], "days after what this machine's clock says"]);
    home.run(&["keys", "prune"]).assert_refused(1, &["set the clock, or rename the key"]);
    // A clock that has been reset.
    let (home, names) = Home::with_keys(&[3 * DAY]);
    home.run(&["check"])
        .assert_refused(2, &["holds no ES256 key that signs now", &names[0], "this machine's clock says"]);
}
