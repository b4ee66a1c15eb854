//! `lingpai token get`: against a server, and against what answers in a server's place.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use crate::app::{SECRET, segment, standard, vectors};
use crate::home::{Home, Ran, ended};

/// Runs it with the secret on standard input.
fn get(home: &Home, arguments: &[&str], secret: &str) -> Ran {
    home.run_with_input(&[&["token", "get"], arguments].concat(), secret.as_bytes())
}

#[test]
fn a_token_alone_is_printed() {
    let home = Home::standard();
    let server = home.serve(&[]);
    let url = format!("http://{}", server.address);
    let client = ["--url", &url, "--client", "orders"];
    for secret in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        let ran = get(&home, &client, &secret);
        assert_eq!((ran.assert(0).err.as_str(), ran.out.lines().count()), ("", 1), "{ran:?}");
        assert_eq!(segment(ran.out.trim(), 1)["scope"], "orders:read orders:write");
    }
    let variable = [("LINGPAI_CLIENT_SECRET", SECRET)];
    let ran = home.run_in(&[&["token", "get"], &client[..], &["--scope", "orders:read"]].concat(), &variable);
    assert_eq!(segment(ran.assert(0).out.trim(), 1)["scope"], "orders:read");
    // Without a client, and with a slash after the URL.
    let anonymous = home.run(&["token", "get", "--url", &format!("{url}/")]);
    assert_eq!(segment(anonymous.assert(0).out.trim(), 1)["sub"], "anonymous");
    let json = get(&home, &[&client[..], &["--json"]].concat(), SECRET).assert(0).json();
    assert!(json["value"].is_string() && json["refresh"].is_string() && json["expire"].is_string());
    // The issuer is the default.
    let ran = get(&home, &["--issuer", &url, "--client", "orders"], SECRET);
    assert_eq!(ran.assert(0).out.lines().count(), 1);

    get(&home, &client, "wrong").assert_refused(1, &["answers 401: authentication failed; are the id and"]);
    get(&home, &["--url", &format!("{url}/token"), "--client", "orders"], SECRET)
        .assert_refused(1, &["answers 404", "is --url what tokens say in iss"]);
    get(&home, &[&client[..], &["--scope", "x"]].concat(), SECRET)
        .assert_refused(1, &["answers 403: the scope x is not allowed"]);
    get(&home, &client, "").assert_refused(2, &["the secret is empty", "LINGPAI_CLIENT_SECRET"]);
    let forgotten = home.run_in(&["token", "get", "--url", &url], &variable);
    forgotten.assert_refused(2, &["LINGPAI_CLIENT_SECRET is set, but no client is named; add --client ID"]);
    let tls = url.replacen("http", "https", 1);
    get(&home, &["--url", &tls], "").assert_refused(1, &["does not speak TLS; is it http?"]);
    server.stop("TERM");
    get(&home, &client, SECRET).assert_refused(1, &["cannot be reached: Connection refused"]);
    home.write("lingpai.toml", &standard().replace("[anonymous]\nscope = [\"guest\"]\n", ""));
    let server = home.serve(&[]);
    get(&home, &["--url", &format!("http://{}", server.address)], "")
        .assert_refused(1, &["answers 401", "; name a client with --client"]);
}

/// What comes back to a request in a server's place.
fn answered(answer: &'static [u8]) -> (Ran, String) {
    let home = Home::standard();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, mut request) = (listener.accept().unwrap().0, Vec::new());
        let mut buffer = [0; 4096];
        while !request.ends_with(b"{}") {
            let length = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..length]);
        }
        stream.write_all(answer).unwrap();
        String::from_utf8(request).unwrap()
    });
    let ran = get(&home, &["--url", &url, "--client", "orders"], SECRET);
    (ran, server.join().unwrap())
}

#[test]
fn whatever_answers_it_is_one_line_and_no_secret() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<html>lps_</a>"[..],
            "200 without a token",
        ),
        (b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "answers 429; try again in 7 s"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 24\r\n\r\n{\"message\":\"busy\\u001b[2J\"", "answers 503"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 24\r\n\r\n{\"message\":\"lps_secret\"}\n", "answers 503"),
        (
            b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "answers 302, a redirect, which is not followed",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"value\":\"\"}", "without a token"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"value\":\"a\\nb\"}", "without a token"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "cut off"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (b"", "the answer is not HTTP"),
    ] {
        let (ran, request) = answered(answer);
        ran.assert_refused(1, &[expected]);
        assert!(!ran.err.contains("lps_") && !ran.err.contains(SECRET) && !ran.err.contains('\u{1b}'), "{ran:?}");
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    }
}

#[test]
fn a_secret_goes_nowhere_in_the_clear() {
    let home = Home::standard();
    for url in ["http://192.0.2.1", "http://tokens.example.com:80", "http://localhost.example.com"] {
        get(&home, &["--url", url, "--client", "orders"], SECRET).assert_refused(2, &["in the clear", "--plain-http"]);
    }
    for url in ["ftp://localhost", "localhost:8080", "/token", "https://a@localhost", "https://localhost/?x"] {
        get(&home, &["--url", url, "--client", "orders"], SECRET).assert_refused(2, &["expected a URL"]);
    }
    // Never from the command line.
    let ran = home.run(&["token", "get", "--secret", SECRET]);
    assert!(ran.assert(2).err.contains("unexpected argument"), "{ran:?}");
}

/// Https is believed only with a certificate that this machine trusts, for the host that was named.
#[test]
fn certificates_are_verified() {
    let home = Home::standard();
    let (cert, key) = (vectors("tls").join("leaf.crt"), vectors("tls").join("key.pem"));
    fs::copy(&cert, home.path("cert.pem")).unwrap();
    fs::copy(key, home.path("key.pem")).unwrap();
    home.write("lingpai.toml", &(standard() + "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"));
    let child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let server = crate::home::Server::of(child);
    let port = server.address.rsplit(':').next().unwrap();
    let run = |roots: &str, host: &str| {
        let url = format!("https://{host}:{port}");
        let roots = home.path(roots);
        let environment = [("SSL_CERT_FILE", roots.to_str().unwrap()), ("LINGPAI_CLIENT_SECRET", SECRET)];
        let mut command = home.command(&["token", "get", "--client", "orders", "--url", &url], &environment);
        ended(command.stdin(Stdio::null()).spawn().unwrap())
    };
    fs::copy(vectors("tls").join("first.crt"), home.path("other.pem")).unwrap();
    home.write("empty.pem", "");
    let ran = run("cert.pem", "localhost");
    assert_eq!(segment(ran.assert(0).out.trim(), 1)["sub"], "orders");
    run("cert.pem", "127.0.0.1").assert_refused(1, &["certificate not valid for name"]);
    run("other.pem", "localhost").assert_refused(1, &["no authority that is trusted here; SSL_CERT_FILE=FILE names"]);
    run("empty.pem", "localhost").assert_refused(1, &["no certificates to trust"]);
    // The same server asks itself whatever its certificate says.
    let listen = format!("127.0.0.1:{port}");
    let ready = home.run(&["healthcheck", "--listen", &listen]);
    assert_eq!(ready.assert(0).out, format!("ready: {listen}\n"));
    server.stop("TERM");
    home.run(&["healthcheck", "--listen", &listen]).assert_refused(1, &["cannot be reached: Connection refused"]);
}
