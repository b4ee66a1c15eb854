//! Help, and what is said to a typo.

use crate::app::standard;
use crate::home::Home;

/// Every command, as it is typed.
fn commands(home: &Home, path: &[&str], all: &mut Vec<Vec<String>>) {
    let help = home.run(&[path, &["--help"]].concat());
    all.push(path.iter().map(|word| (*word).to_owned()).collect());
    let Some((_, listed)) = help.assert(0).out.split_once("\nCommands:\n") else { return };
    let names = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        commands(home, &[path, &[name]].concat(), all);
    }
}

#[test]
fn every_help_ends_with_an_example_and_has_no_markdown() {
    let home = Home::new();
    let mut all = Vec::new();
    commands(&home, &[], &mut all);
    assert!(all.len() > 25 && all.iter().any(|path| path.join(" ") == "keys revoke"), "{all:?}");
    for path in all {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let help = home.run(&[&path[..], &["--help"]].concat()).out;
        assert!(!help.contains('`'), "{help}");
        assert!(!home.run(&[&path[..], &["-h"]].concat()).out.contains('`'));
        let (_, example) = help.rsplit_once("\nExample:\n").unwrap_or_else(|| panic!("no example: {path:?}\n{help}"));
        assert_eq!(example.lines().count(), 1, "{help}");
        assert!(example.contains(&format!("lingpai {}", path.join(" "))) || path.len() < 2, "{path:?}: {example}");
        assert!(example.contains("lingpai "), "{path:?}: {example}");
    }
    // The pages are made of the same.
    let page = home.run(&["man", "keys", "revoke"]);
    assert!(page.assert(0).out.contains("lingpai keys revoke 2Yrp") && !page.out.contains('`'), "{page:?}");
}

#[test]
fn a_typo_gets_the_nearest_name() {
    let home = Home::standard();
    for (arguments, meant) in [
        (&["chekc"][..], "check"),
        (&["keys", "rotat"], "rotate"),
        (&["client", "ad"], "add"),
        (&["client", "add", "x", "--scop", "a"], "--scope"),
    ] {
        let ran = home.run(arguments);
        assert!(ran.assert(2).err.contains("similar") && ran.err.contains(meant), "{ran:?}");
    }
    for (right, wrong, meant) in [
        ("scope = [\"bills\"]", "scop = [\"bills\"]", "scope"),
        ("[anonymous]", "[anonymus]", "anonymous"),
        ("[token]", "[token]\nleway = 1", "leeway"),
    ] {
        home.write("lingpai.toml", &standard().replace(right, wrong));
        home.run(&["check"]).assert_refused(2, &[&format!("did you mean `{meant}`?")]);
    }
}

#[test]
fn errors_are_json_too() {
    let home = Home::standard();
    home.write("lingpai.toml", "isuer = 1");
    for (arguments, code, part) in [
        (&["check", "--json"][..], 2, "did you mean `issuer`"),
        (&["keys", "list", "--json", "--config", "gone.toml"], 2, "there is no such file"),
        (&["chekc", "--json"], 2, "unrecognized subcommand"),
        (&["--json", "man", "nonsense"], 1, "there is no command"),
    ] {
        let ran = home.run(arguments);
        ran.assert(code);
        let said: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert!(said["error"].as_str().unwrap().contains(part) && ran.out.is_empty(), "{ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    }
    let help = home.run(&["--json", "--help"]);
    assert!(help.assert(0).out.contains("Usage:") && help.err.is_empty());
}

/// A usage that is written by hand says what is needed, and names no option that is not there.
#[test]
fn usage_says_what_is_needed() {
    let home = Home::standard();
    for (command, expected) in [
        (&["explain"][..], &["lingpai explain [OPTIONS] <CLIENT>", "lingpai explain [OPTIONS] --token <FILE>"][..]),
        (&["keys", "export"], &["lingpai keys export --public [OPTIONS] [KID]"]),
    ] {
        home.run(command).assert(2);
        let help = home.run(&[command, &["--help"]].concat()).out;
        let (_, usage) = help.split_once("Usage: ").unwrap();
        let lines: Vec<_> = usage.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected);
        let options = lines.iter().flat_map(|line| line.split(' ')).filter(|word| word.starts_with("--"));
        assert!(options.into_iter().all(|option| help.contains(&format!("\n      {option} "))), "{help}");
    }
}

/// Colours are for terminals.
#[test]
fn nothing_is_coloured_in_a_pipe() {
    let home = Home::new();
    for arguments in [&["--help"][..], &["chekc"], &["check", "--config", "gone"]] {
        let ran = home.run(arguments);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{ran:?}");
    }
}
