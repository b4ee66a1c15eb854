//! What is printed: usage, documents, manual pages, and outputs that cannot be written.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::token::forged;
use crate::home::{Home, ended};

#[test]
fn openapi_version_and_usage() {
    let home = Home::new();
    let document = home.run(&["openapi"]).assert(0).json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/token") && paths.contains_key("/.well-known/jwks.json"));
    let yaml = home.run(&["openapi", "--yaml"]);
    assert_eq!(yaml.assert(0).err, "");
    for path in paths.keys() {
        assert!(yaml.out.contains(&format!("\n  {path}:\n")), "{path}");
    }
    assert!(yaml.out.starts_with("openapi: 3.") && !yaml.out.contains('\t'));
    assert_eq!(home.run(&["--version"]).assert(0).out, format!("lingpai {}\n", env!("CARGO_PKG_VERSION")));
    home.run(&["--help"]).assert(0);
    for wrong in [
        &["nonsense"][..],
        &["serve", "--nonsense"],
        &["serve", "--listen", "example.com:80"],
        &["serve", "--issuer", "http://public.example"],
        &["keys"],
        &["client", "add"],
        &["token", "inspect", "a", "b"],
        &["--config"],
    ] {
        let ran = home.run(wrong);
        assert!(ran.assert(2).out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    }
    assert!(home.names(".").is_empty());
}

#[test]
fn completions_and_manual_pages() {
    let home = Home::new();
    for (shell, part) in
        [("bash", "complete -F _lingpai"), ("zsh", "#compdef lingpai"), ("fish", "complete -c lingpai")]
    {
        let script = home.run(&["completions", shell]);
        assert!(script.assert(0).out.contains(part) && script.out.contains("rotate"), "{shell}");
    }
    home.run(&["completions", "nosh"]).assert(2);
    for (arguments, parts) in [
        (&["man"][..], ["lingpai \\- A stateless signed", "lingpai\\-keys(1)"]),
        (&["man", "keys", "rotate"], ["lingpai\\-keys\\-rotate \\- Schedule", "\\-\\-in"]),
        (&["man", "keys", "export"], ["lingpai\\-keys\\-export \\- Print the public", "\\-\\-out"]),
    ] {
        let page = home.run(arguments);
        assert!(page.assert(0).out.contains(".TH lingpai"), "{page:?}");
        for part in parts {
            assert!(page.out.contains(part), "{part} is not in {}", page.out);
        }
    }
    home.run(&["man", "nonsense"]).assert_refused(1, &["there is no command \"nonsense\""]);
    assert!(home.names(".").is_empty());
}

/// `lingpai openapi | head -1` is a usual thing to write.
#[test]
fn nobody_reading_is_no_panic() {
    let home = Home::standard();
    for arguments in [&["openapi"][..], &["keys", "list"], &["check"], &["--help"], &["--version"]] {
        let mut child = home.command(arguments, &[]).spawn().unwrap();
        drop(child.stdout.take());
        let ran = ended(child);
        assert!(!ran.err.contains("panicked") && ran.code != Some(101), "{arguments:?} {ran:?}");
    }
}

/// A full disk is not success: one line says so. `--help` is clap's own.
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let home = Home::standard();
    let token = forged(&json!({}));
    home.write("token", &token);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let ready = std::thread::spawn(move || {
        let (mut stream, _) = busy.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    });
    for arguments in [
        &["openapi"][..],
        &["openapi", "--yaml"],
        &["completions", "bash"],
        &["man"],
        &["check"],
        &["check", "--json"],
        &["keys", "list"],
        &["keys", "list", "--json"],
        &["keys", "export", "--public"],
        &["keys", "export", "--public", "--json"],
        &["keys", "export", "--public", "--out", "out"],
        &["keys", "prune"],
        &["keys", "prune", "--json"],
        &["keys", "rotate"],
        &["keys", "rotate", "--json"],
        &["keys", "new", "--alg", "EdDSA"],
        &["token", "inspect", "token"],
        &["token", "inspect", "token", "--json"],
        &["client", "add", "shop"],
        &["client", "list"],
        &["client", "rotate", "orders"],
        &["client", "retire", "orders"],
        &["client", "remove", "billing"],
        &["explain", "orders"],
        &["keys", "list", "--wide"],
        &["init", "a"],
        &["healthcheck", "--at", &address],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = ended(home.command(arguments, &[]).stdout(full).spawn().unwrap());
        assert_eq!(ran.code, Some(2), "{arguments:?} {ran:?}");
        let begin = if arguments.contains(&"--json") { "{\"error\":" } else { "lingpai: " };
        assert!(ran.err.starts_with(begin) && ran.err.lines().count() == 1, "{arguments:?} {ran:?}");
        assert!(ran.err.contains("No space left on device"), "{arguments:?} {ran:?}");
    }
    ready.join().unwrap();
}

/// A reader that has seen enough changes nothing: `lingpai keys list | head -1` ends as it would.
#[test]
fn a_closed_pipe_is_silent() {
    let home = Home::standard();
    home.write("token", &forged(&json!({"exp": 1_700_000_600, "iat": 1_700_000_000})));
    for (arguments, code) in [
        (&["openapi"][..], 0),
        (&["completions", "zsh"], 0),
        (&["man"], 0),
        (&["check"], 0),
        (&["keys", "list"], 0),
        (&["keys", "export", "--public"], 0),
        (&["token", "inspect", "token"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = ended(home.command(arguments, &[]).stdout(writer).spawn().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{arguments:?}");
    }
}
