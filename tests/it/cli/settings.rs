//! Flags, environment and file: which one wins.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;

use crate::app::{ISSUER, SECRET, standard};
use crate::home::{Home, ended};

#[test]
fn flag_before_environment_before_file() {
    let home = Home::standard();
    let file = |issuer: &str| standard().replace(ISSUER, issuer);
    home.write("lingpai.toml", &file("https://default.example"));
    home.write("env.toml", &file("https://file-of-env.example"));
    home.write("flag.toml", &file("https://file-of-flag.example"));
    let issuer = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ran = home.run_in(&[&["check", "--json"], arguments].concat(), environment);
        ran.assert(0).json()["issuer"].as_str().unwrap().to_owned()
    };
    let (config, env) = (("LINGPAI_CONFIG", "env.toml"), ("LINGPAI_ISSUER", "https://env.example"));
    assert_eq!(issuer(&[], &[]), "https://default.example");
    assert_eq!(issuer(&[], &[config]), "https://file-of-env.example");
    assert_eq!(issuer(&["--config", "flag.toml"], &[config]), "https://file-of-flag.example");
    assert_eq!(issuer(&[], &[config, env]), "https://env.example");
    assert_eq!(issuer(&["--issuer", "https://flag.example"], &[config, env]), "https://flag.example");

    // The folder of keys: relative to the file, or to where the command is run.
    fs::create_dir_all(home.path("sub/empty")).unwrap();
    home.write("sub/lingpai.toml", &format!("issuer = \"{ISSUER}\"\n[keys]\npath = \"empty\""));
    let check = |arguments: &[&str], environment: &[(&str, &str)]| {
        home.run_in(&[&["check", "--config", "sub/lingpai.toml"], arguments].concat(), environment)
    };
    check(&[], &[]).assert_refused(2, &["sub/empty: holds no ES256 key"]);
    check(&[], &[("LINGPAI_KEYS", "keys")]).assert(0);
    check(&["--keys", "keys"], &[("LINGPAI_KEYS", "nowhere")]).assert(0);
    check(&["--keys", "nowhere"], &[("LINGPAI_KEYS", "keys")]).assert(2);

    // An address that is not free shows which one was meant.
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    home.write("lingpai.toml", &standard().replace("[token]", &format!("listen = {busy:?}\n[token]")));
    home.run(&["serve"]).assert_refused(2, &[&busy]);
    let free = ("LINGPAI_LISTEN", "127.0.0.1:0");
    assert_eq!(home.serve_in(&["serve"], &[free]).stop("TERM").code, Some(0));
    home.run_in(&["serve", "--listen", &busy], &[free]).assert_refused(2, &[&busy]);
    let flag = ["serve", "--listen", "127.0.0.1:0"];
    assert_eq!(home.serve_in(&flag, &[("LINGPAI_LISTEN", &busy)]).stop("TERM").code, Some(0));
}

/// Kubernetes puts variables beside every service of this name.
#[test]
fn other_variables_are_ignored() {
    let home = Home::standard();
    let environment = [
        ("LINGPAI_PORT", "tcp://10.0.0.1:80"),
        ("LINGPAI_SERVICE_HOST", "10.0.0.1"),
        ("LINGPAI_JSON", "maybe"),
        ("LINGPAI_TOKEN", "x"),
        ("LINGPAI_LEEWAY", "1h"),
        ("RUST_LOG", "trace"),
    ];
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &environment);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(!ran.err.contains("TRACE") && !ran.err.contains("DEBUG"), "{}", ran.err);
}

/// Compose and shells write a variable that is not set as an empty one.
#[test]
fn an_empty_variable_is_absent() {
    let home = Home::standard();
    let empty = ["CONFIG", "ISSUER", "KEYS", "LISTEN"].map(|name| (format!("LINGPAI_{name}"), ""));
    let empty = empty.each_ref().map(|(name, value)| (name.as_str(), *value));
    assert_eq!(home.run_in(&["check", "--json"], &empty).assert(0).json()["issuer"], ISSUER);
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &empty);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_bad_variable_is_named_in_one_line() {
    let home = Home::standard();
    for (name, value, expected) in [
        (
            "LINGPAI_ISSUER",
            "http://canary.example",
            "the issuer is http on a host that is not loopback; expected an https",
        ),
        ("LINGPAI_LISTEN", "canary", "expected an address: "),
        ("LINGPAI_LISTEN", "127.0.0.1:0,,", "expected an address: "),
    ] {
        for command in ["check", "serve"] {
            let ran = home.run_in(&[command], &[(name, value)]);
            ran.assert_refused(2, &[&format!("lingpai: {name}: {expected}")]);
            assert!(!ran.err.contains("canary"), "{ran:?}");
        }
        // A flag wins, whatever stands there.
        let flags = ["check", "--issuer", ISSUER, "--listen", "127.0.0.1:0"];
        home.run_in(&flags, &[(name, value)]).assert(0);
    }
    let mut command = home.command(&["check"], &[]);
    command.env("LINGPAI_ISSUER", std::ffi::OsStr::from_bytes(b"\xff"));
    ended(command.spawn().unwrap()).assert_refused(2, &["LINGPAI_ISSUER: is not UTF-8 text"]);
}
