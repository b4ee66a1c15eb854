//! `lingpai healthcheck`: what a container without a shell knows of the server in it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::app::standard;
use crate::home::{Home, until};

#[test]
fn ready_and_not() {
    let home = Home::standard();
    let server = home.serve(&[]);
    let at = server.address.clone();
    let listen = ["healthcheck", "--listen", &at];
    assert_eq!(home.run(&listen).assert(0).out, format!("ready: {at}\n"));
    home.run_in(&["healthcheck"], &[("LINGPAI_LISTEN", &at)]).assert(0);
    home.run(&["healthcheck", "--at", &at]).assert(0);
    // Of everywhere, this machine is asked.
    let port = at.rsplit(':').next().unwrap();
    home.run(&["healthcheck", "--listen", &format!("0.0.0.0:{port}")]).assert(0);
    // A file that the server refuses is no reason to end it.
    home.write("lingpai.toml", "isuer = 1");
    let ran = home.run(&listen);
    assert!(ran.assert(0).err.contains("warning: lingpai.toml:1:1: unknown field `isuer`"), "{ran:?}");
    server.stop("TERM");
    home.write("lingpai.toml", &standard());
    home.run(&listen).assert_refused(1, &[&format!("lingpai: not ready: {at} cannot be reached: Connection refused")]);
}

#[test]
fn the_operator_is_asked_first() {
    let home = Home::standard();
    let ops = format!("unix:{}", home.path("ops").display());
    let drain = "[drain]\nlame_duck = \"600s\"\n";
    home.write("lingpai.toml", &format!("{}{drain}[ops]\nlisten = {ops:?}\n", standard()));
    let server = home.serve(&[]);
    // Whatever else it listens on.
    assert_eq!(home.run(&["healthcheck", "--listen", "127.0.0.1:1"]).assert(0).out, format!("ready: {ops}\n"));
    server.signal("TERM");
    until(|| home.run(&["healthcheck"]).code == Some(1));
    home.run(&["healthcheck"]).assert_refused(1, &[&format!("lingpai: not ready: {ops} answers 503")]);
}

#[test]
fn whom_nobody_can_ask() {
    let home = Home::standard();
    let no_address = ["no address can be asked", "add [ops] with a listen address, or say --at ADDRESS"];
    home.run(&["healthcheck", "--listen", "fd:http"]).assert_refused(2, &no_address);
    home.write("lingpai.toml", &format!("proxy_protocol = true\n{}", standard()));
    home.run(&["healthcheck"]).assert_refused(2, &no_address);
    home.run(&["healthcheck", "--at", "fd:http"]).assert_refused(1, &["fd:http cannot be reached"]);
    home.run(&["healthcheck", "--at", "localhost"]).assert(2);
}

/// Who does not answer, or answers something else, is not ready, and that is said in time.
#[test]
fn silence_and_noise() {
    let home = Home::standard();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let begin = Instant::now();
    home.run(&["healthcheck", "--at", &at]).assert_refused(1, &[&format!("{at} does not answer within 2 s")]);
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&begin.elapsed()));
    for (answer, expected) in [
        (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], "answers 404"),
        (b"HTTP/1.1 200", "ready: "),
        (b"HTTP/1.1 20", "the answer is not HTTP"),
        (b"HTTP/1.1 2\x1b[0", "the answer is not HTTP"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "the answer is not HTTP"),
        (b"", "the answer is not HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = [0; 256];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
        });
        let ran = home.run(&["healthcheck", "--at", &at]);
        assert!(ran.out.contains(expected) || ran.err.contains(expected), "{ran:?}");
        assert_eq!(ran.code, Some(i32::from(expected != "ready: ")), "{ran:?}");
    }
}
