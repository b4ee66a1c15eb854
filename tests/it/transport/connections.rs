//! How many connections there are, and how each of them ends.

use std::io::ErrorKind::WouldBlock;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::shell;
use crate::app::{SECRET, TestApp, answers, read_answer, standard};
use crate::home::{Home, LIMIT, Server, until};

#[test]
fn whoever_takes_all_connections_displaces_its_own() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[limits]\nconnections = 4"));
    let server = home.serve(&[]);
    let mut taken: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for stream in &mut taken {
        stream.write_all(b"GET").unwrap();
    }
    assert_eq!(server.send("GET", "/healthz", "", "").status, 200);
    taken[0].set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(taken[0].read(&mut [0; 1]).unwrap(), 0, "the oldest is closed");
    taken[3].write_all(b" /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(crate::app::read_answer(&mut taken[3]).status, 200);
}

/// Whether a new connection is answered. Where there are too many, it may be closed.
fn is_served(address: &str) -> bool {
    let (mut stream, mut said) = (TcpStream::connect(address).unwrap(), [0; 12]);
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    asked.is_ok() && stream.read_exact(&mut said).is_ok() && said == *b"HTTP/1.1 200"
}

/// Each proxy speaks for others, so it has a share of the large heads of its own.
#[test]
fn proxies_do_not_share_their_large_heads() {
    let home = Home::standard();
    let settings = standard().replacen("[token]", "trusted_proxies = [\"127.0.0.0/8\"]\n[token]", 1);
    assert!(settings.contains("trusted_proxies"));
    home.write("lingpai.toml", &(settings + "[limits]\nmemory = \"16MiB\""));
    let server = home.serve(&[]);
    // More than a small head, and less than a whole one. So little memory has room for three of them,
    // of which a caller gets two.
    let send = |proxy: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, proxy], 0)).into()).unwrap();
        socket.connect(&server.address.parse::<SocketAddr>().unwrap().into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Padding: {}", "a".repeat(10_000)).as_bytes())
            .unwrap();
        stream
    };
    let is_answered = |mut stream: TcpStream| {
        let (went, mut said) = (stream.write_all(b"\r\nConnection: close\r\n\r\n"), String::new());
        went.is_ok() && stream.read_to_string(&mut said).is_ok() && said.starts_with("HTTP/1.1 200")
    };
    let of_one = [send(2), send(2), send(2)];
    for stream in &of_one {
        stream.set_nonblocking(true).unwrap();
    }
    let is_open = |mut stream: &TcpStream| matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == WouldBlock);
    until(|| !of_one.iter().all(is_open));
    assert!(is_answered(send(3)));
    for stream in &of_one {
        stream.set_nonblocking(false).unwrap();
    }
    // Two that ask in the same instant may both be refused.
    assert!((1..=2).contains(&of_one.map(is_answered).iter().filter(|is| **is).count()));
}

/// The default leaves room for files: a flood of silent connections keeps nobody from reloading, nor the process busy.
#[test]
fn the_limit_of_open_files() {
    let home = Home::standard();
    let server = Server::of(shell(&home, "ulimit -n 64;", "serve --listen 127.0.0.1:0").spawn().unwrap());
    let flood: Vec<_> = (0..100).map(|_| server.connect()).collect();
    home.write("lingpai.toml", "typo");
    server.signal("HUP");
    until(|| server.log().contains("lingpai.toml:1:"));
    drop(flood);
    // The server takes a moment to see that the connections are closed.
    until(|| is_served(&server.address));
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert!(ran.code == Some(0) && !ran.err.contains("cannot accept a connection"), "{ran:?}");
}

/// A newcomer takes the place of a silent connection, not of one whose client is still reading an answer.
#[test]
fn a_download_is_not_cut_off_for_a_newcomer() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[limits]\nconnections = 4"));
    let server = home.serve(&[]);
    let _silent = [(); 3].map(|()| server.connect());
    let mut download = server.connect();
    download.write_all(b"GET /docs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = vec![0; 1 << 14];
    download.read_exact(&mut said).unwrap();
    let mut go_on = || {
        let mut piece = [0; 1 << 12];
        let read = download.read(&mut piece).unwrap();
        said.extend_from_slice(&piece[..read]);
        read > 0
    };
    let address = server.address.clone();
    let (answered, newcomer) = mpsc::channel();
    let asking = std::thread::spawn(move || {
        until(|| is_served(&address));
        answered.send(()).unwrap();
    });
    // Slowly, but it goes on.
    while newcomer.recv_timeout(Duration::from_millis(10)).is_err() && go_on() {}
    asking.join().unwrap();
    while go_on() {}
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{} bytes came of {head}", body.len());
}

#[test]
fn who_closes_its_side_is_answered() {
    let app = TestApp::start();
    let said = |request: &str| {
        let mut stream = TcpStream::connect(app.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        answers(&said).iter().map(|answer| answer.status).collect::<Vec<_>>()
    };
    let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    for _ in 0..200 {
        assert_eq!(said(get), [200]);
        assert_eq!(said("GET /healthz HTTP/1.0\r\n\r\n"), [200]);
        assert_eq!(said(post), [200]);
        assert_eq!(said(&format!("{get}{post}{get}")), [200, 200, 200]);
        // What did not arrive whole is not.
        assert!(said(&get[..get.len() - 2]).is_empty());
        assert_eq!(said(&format!("{get}{}", &get[..10])), [200]);
    }
}

/// An answer to HTTP/1.0 ends the connection, whatever was asked, and says that alone.
#[test]
fn http_1_0_is_not_kept() {
    let app = TestApp::start();
    for header in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
        for path in ["/healthz", "/nowhere"] {
            let mut stream = app.connect();
            stream.write_all(format!("GET {path} HTTP/1.0\r\n{header}\r\n").as_bytes()).unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            let answer = &answers(&said)[0];
            assert_eq!(answer.all("connection"), ["close"], "{said}");
            assert_eq!(answer.all("keep-alive"), <[&str; 0]>::default());
        }
    }
}

#[test]
fn a_bad_chunk_ends_the_connection_and_the_answer_says_so() {
    let app = TestApp::start();
    for (body, status) in [("x\r\n", 400), ("2\r\n{}x", 400), ("fffffffffffffffff\r\n", 400)] {
        for method in ["POST", "GET"] {
            let mut stream = app.connect();
            let head = format!("{method} /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
            stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}").as_bytes()).unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            let [answer] = &answers(&said)[..] else { panic!("{said}") };
            assert_eq!(answer.status, if method == "GET" { 401 } else { status }, "{said}");
            assert_eq!(answer.header("connection"), Some("close"), "{said}");
            assert_eq!(answer.json()["stack"], serde_json::json!([]));
        }
    }
}

/// Some proxies keep the caller's `Content-Length` in a request of their own that has no body. Were
/// the connection kept, their next request would be taken for it.
#[test]
fn a_body_that_is_ignored_is_not_waited_for() {
    let app = TestApp::start();
    let value = app.create("").text("value");
    for (path, status) in [
        ("/token", 200),
        ("/token?scope=other", 403),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/.well-known/jwks.json", 200),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/nowhere", 404),
    ] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {value}\r\nContent-Type: text/plain\r\n\
             Content-Length: 10\r\n\r\n"
        );
        let mut stream = app.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{path}");
        // A late body does no harm, and what follows it is not answered.
        let _ = stream.write_all(format!("0123456789{head}").as_bytes());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{path}");

        let mut stream = app.connect();
        for _ in 0..2 {
            stream.write_all(format!("{head}0123456789").as_bytes()).unwrap();
            let answer = read_answer(&mut stream);
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{path}");
        }
    }
}
