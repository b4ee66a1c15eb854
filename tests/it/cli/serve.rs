//! `lingpai serve`: how it starts, what it refuses, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::app::{SECRET, segment, standard};
use crate::home::{Home, secret_in, watch};

#[test]
fn development() {
    let home = Home::new();
    let server = home.serve(&[]);
    let demo = secret_in(&server.line("-u 'demo:"));
    server.line("lingpai init");
    let anybody = server.send("POST", "/token", "", "");
    assert_eq!(anybody.status, 200);
    let claims = segment(&anybody.text("value"), 1);
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("anonymous"), &json!("guest")));
    assert_eq!(claims["iss"], format!("http://{}", server.address));
    let pair = server.create("demo", &demo);
    let refresh = format!("Authorization: Token {}", pair.text("refresh"));
    assert_eq!(server.send("PUT", "/token", &refresh, "").status, 200);
    let kid = segment(&pair.text("value"), 0)["kid"].clone();
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(!ran.err.contains(&demo));

    // The key is kept, the secret is not; and `serve` is what is meant by no command.
    let made = home.names("keys");
    assert_eq!(made.len(), 1);
    let server = home.serve_in(&[], &[("LINGPAI_LISTEN", "127.0.0.1:0")]);
    let next = secret_in(&server.line("-u 'demo:"));
    assert_ne!(next, demo);
    assert_eq!(server.create("demo", &demo).status, 401);
    assert_eq!(segment(&server.create("demo", &next).text("value"), 0)["kid"], kid);
    assert_eq!(server.stop("TERM").code, Some(0));
    assert_eq!((home.names("keys"), home.names(".")), (made, vec!["keys".to_owned()]));
}

#[test]
fn without_a_file_only_this_machine_is_served() {
    let home = Home::new();
    let public = &["is not a loopback address", "lingpai init"];
    for address in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0", "fd:http"] {
        home.run(&["serve", "--listen", address]).assert_refused(2, public);
        home.run_in(&["serve"], &[("LINGPAI_LISTEN", address)]).assert_refused(2, public);
        home.run(&["check", "--listen", address]).assert_refused(2, public);
    }
    home.run(&["--listen", "127.0.0.1:0", "serve", "--listen", "0.0.0.0:0"]).assert_refused(2, public);
    assert!(home.names(".").is_empty(), "keys were made");
}

#[test]
fn what_serve_refuses() {
    let home = Home::new();
    let gone = "there is no such file; `lingpai init` writes one";
    home.run(&["serve", "--config", "gone.toml"]).assert_refused(2, &["gone.toml: ", gone]);
    home.run_in(&["serve"], &[("LINGPAI_CONFIG", "gone.toml")]).assert_refused(2, &["gone.toml: ", gone]);

    let home = Home::standard();
    for (before, after, place) in [
        ("[anonymous]", "[anonymus]", ":5:2: unknown field `anonymus`"),
        ("[token]", "[token]\nleeway = \"1h\"", ":4:10: expected a duration from 0s to 60s"),
        ("\"bills\"", "\"b i l l s\"", ":17:10: expected a scope token"),
        ("[token]", "[token]\nalgorithm = \"HS256\"", ":4:13: expected an algorithm"),
    ] {
        home.write("bad.toml", &standard().replace(before, after));
        for command in ["serve", "check"] {
            home.run(&[command, "--config", "bad.toml"]).assert_refused(2, &[&format!("bad.toml{place}")]);
        }
    }
    fs::rename(home.path("keys"), home.path("away")).unwrap();
    for _ in ["absent", "empty"] {
        home.run(&["serve", "--listen", "127.0.0.1:0"])
            .assert_refused(2, &["keys: holds no ES256", "lingpai keys new"]);
        fs::create_dir_all(home.path("keys")).unwrap();
    }
    assert!(home.names("keys").is_empty(), "a file was there, so no key may be made");

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let ran = home.run(&["serve", "--keys", "away", "--listen", &address]);
    ran.assert_refused(2, &[&format!("cannot listen on {address}")]);
}

/// A file that cannot be followed is not the same as no file: no file means that
/// anybody gets a token.
#[test]
fn a_dangling_configuration_is_not_development() {
    let home = Home::new();
    symlink("..data/lingpai.toml", home.path("lingpai.toml")).unwrap();
    home.run(&["check"]).assert(2);
    let mut child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let mut first = String::new();
    let _watchdog = watch(&child);
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(first, "", "it serves");
}

#[test]
fn every_address_is_served() {
    let home = Home::standard();
    home.write("two.toml", &standard().replace("[token]", "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n[token]"));
    let server = home.serve_in(&["serve", "--config", "two.toml"], &[]);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    let first: Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert_eq!(first["listen"].as_str().unwrap().split(' ').count(), 2, "{first}");
}

/// One client stopped within the head, one within the body, and one says nothing.
#[test]
fn it_ends_in_bounded_time_whatever_its_clients_do() {
    let server = Home::standard().serve(&[]);
    let body = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let open = ["POST /token HT", body, ""].map(|begun| {
        let mut stream = server.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        stream
    });
    // An answer on a later connection shows that those were accepted.
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    drop(open);
}

#[test]
fn an_interrupt_ends_it_too() {
    let server = Home::standard().serve(&[]);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("INT");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_hangup_does_not_end_it() {
    let server = Home::standard().serve(&[]);
    server.signal("HUP");
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
