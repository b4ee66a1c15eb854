//! `check --running`.

use std::fs;
use std::process::Command;

use lingpai::keys::{Alg, KeyName};

use super::{DAY, now};
use crate::app::quiet;
use crate::home::Home;

/// What would break if one configuration, with its keys, took the place of another.
#[test]
fn check_against_what_is_running() {
    let running = |home: &Home| {
        fs::create_dir(home.path("running")).unwrap();
        fs::copy(home.path("lingpai.toml"), home.path("running/lingpai.toml")).unwrap();
        assert!(
            Command::new("cp").arg("-rp").args([home.path("keys"), home.path("running")]).status().unwrap().success()
        );
    };
    let check = ["check", "--running", "running/lingpai.toml"];
    let breaks = |home: &Home, expected: &[&str]| {
        home.run(&check).assert_refused(1, expected);
        assert_eq!(home.run(&["check", "--json", check[1], check[2]]).json()["breaks"].as_array().unwrap().len(), 1);
    };

    // Nothing is changed; then a key is published in time.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3600, -60]);
    running(&home);
    home.run(&check).assert(0);
    let next = home.key(400);
    home.run(&check).assert(0);
    let tomorrow = KeyName { from: now().plus(250), alg: Alg::Es256 }.to_string();
    fs::rename(home.path("keys").join(next), home.path("keys").join(&tomorrow)).unwrap();
    breaks(&home, &[&tomorrow, "is new and signs in", "until then they refuse its tokens"]);
    fs::remove_file(home.path("keys").join(&tomorrow)).unwrap();

    // A key that is gone before its last token has ended; the other had retired.
    fs::remove_file(home.path("keys").join(&names[0])).unwrap();
    breaks(&home, &[&names[0], "is gone, and tokens that it signed last until"]);
    let (home, names) = Home::with_keys(&[-9 * DAY, -2 * DAY, -60]);
    running(&home);
    fs::remove_file(home.path("keys").join(&names[0])).unwrap();
    home.run(&check).assert(0);
    // The one that signs.
    fs::remove_file(home.path("keys").join(&names[2])).unwrap();
    let said = home.run(&check);
    assert!(said.assert(1).err.contains("would sign again, which verifiers may have forgotten"), "{said:?}");

    // Lifetimes that are lowered below live tokens.
    let (home, names) = Home::with_keys(&[-9 * DAY, -3600]);
    running(&home);
    let lowered = quiet().replace("[token]", "[token]\nrefresh_lifetime = \"2h\"");
    home.write("lingpai.toml", &lowered);
    breaks(
        &home,
        &[&names[0], "the refresh lifetime is lowered while refresh tokens of", "from then on they are refused"],
    );
    // Raised again, a key that had retired is no new one.
    let (home, _) = Home::with_keys(&[-9 * DAY, -3 * DAY]);
    running(&home);
    home.write("lingpai.toml", &quiet().replace("[token]", "[token]\nrefresh_lifetime = \"30d\""));
    home.run(&check).assert(0);

    // Another issuer.
    home.write("lingpai.toml", &quiet().replace("https://tokens", "https://other"));
    breaks(&home, &["the issuer changes from https://tokens.example.com: every token"]);
    home.run(&["check", "--running", "nowhere.toml"]).assert_refused(2, &["nowhere.toml: there is no such file"]);
    Home::new().run(&["check", "--running", "nowhere.toml"]).assert_refused(2, &["there is no lingpai.toml here"]);
}
