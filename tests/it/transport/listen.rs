//! The addresses that it listens on.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use socket2::{Domain, Socket, Type};

use super::over_unix;
use crate::app::{read_answer, standard};
use crate::home::{Home, LIMIT, Server};

#[test]
fn a_unix_socket() {
    let home = Home::standard();
    let (path, address) = (home.path("socket"), format!("unix:{}", home.path("socket").display()));
    // What nobody listens on any more is replaced.
    drop(UnixListener::bind(&path).unwrap());
    let server = home.serve_in(&["serve", "--listen", &address, "--listen", "127.0.0.1:0"], &[]);
    assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
    // What somebody listens on is not.
    home.run(&["serve", "--listen", &address]).assert_refused(2, &["cannot listen on unix:", "Address already in use"]);
    assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.stop("TERM").code, Some(0));
    assert!(!path.exists(), "the socket goes with the process");
    // Nor is a file.
    home.write("socket", "precious");
    home.run(&["serve", "--listen", &address]).assert_refused(2, &["cannot listen on unix:"]);
    assert_eq!(home.text("socket"), "precious");
}

#[test]
fn an_address_stands_once() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[ops]\nlisten = \"127.0.0.1:18080\""));
    for command in ["serve", "check"] {
        let ran = home.run(&[command, "--listen", "127.0.0.1:18080"]);
        ran.assert_refused(2, &["127.0.0.1:18080 appears twice in `listen`, `ops.listen` and `mtls.listen`"]);
        for address in [":18080", "localhost:18080", "0.0.0.0:18080"] {
            let ran = home.run(&[command, "--listen", address]);
            ran.assert_refused(
                2,
                &[&format!("{address} and 127.0.0.1:18080 overlap in `listen`, `ops.listen` and `mtls.listen`")],
            );
        }
    }
}

/// A port that nobody else has until this is dropped, outside of those that the kernel gives to clients.
struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    fn reserve() -> Self {
        let held = |number: u16| {
            let (domain, every) = if has_ipv6() {
                (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED))
            } else {
                (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
            };
            let socket = Socket::new(domain, Type::STREAM, None).ok()?;
            socket.bind(&SocketAddr::from((every, number)).into()).ok()?;
            // Only from now on, so that it was bound by nobody; and this socket does not listen, so a server may.
            socket.set_reuse_address(true).ok()?;
            Some(Self { number, _held: socket })
        };
        let ports = (20_000..30_000).cycle().skip(std::process::id() as usize % 10_000);
        ports.take(10_000).find_map(held).unwrap()
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[track_caller]
fn assert_answers(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).status, 200, "{address}");
}

/// Where both stand, each takes its own; where IPv6 stands alone, it takes IPv4 too.
#[test]
fn ipv4_and_ipv6_at_one_port() {
    if !has_ipv6() {
        return;
    }
    let home = Home::standard();
    let reserved = Port::reserve();
    let port = reserved.number;
    let (v4, v6) = (format!("127.0.0.1:{port}"), format!("[::1]:{port}"));
    let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    for listen in [&both[..], &both[1..]] {
        home.write("lingpai.toml", &format!("listen = {listen:?}\n{}", standard()));
        home.run(&["check"]).assert(0);
        let server = home.serve_in(&["serve"], &[]);
        assert_answers(&v4);
        assert_answers(&v6);
        // That it runs is no fault.
        home.run(&["check"]).assert(0);
        assert_eq!(server.stop("TERM").code, Some(0));
    }
    // The operator's addresses are such addresses too.
    home.write("lingpai.toml", &format!("listen = {:?}\n{}[ops]\nlisten = {:?}", both[1], standard(), both[0]));
    let server = home.serve_in(&["serve"], &[]);
    let asked = |address: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        read_answer(&mut stream).status
    };
    assert_eq!([asked(&v4), asked(&v6)], [200, 404]);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn localhost_is_both_loopbacks_and_a_port_alone_is_every_address() {
    let home = Home::standard();
    let assert_serves = |server: Server, loopback: bool| {
        let port = server.address.rsplit_once(':').unwrap().1.to_owned();
        assert_answers(&format!("127.0.0.1:{port}"));
        if has_ipv6() {
            assert_answers(&format!("[::1]:{port}"));
        }
        // Not a loopback address in the sense of `localhost`, but one of this machine.
        assert_eq!(TcpStream::connect(format!("127.0.0.2:{port}")).is_err(), loopback);
        assert_eq!(server.stop("TERM").code, Some(0));
    };
    for (address, loopback) in [("localhost:0", true), (":0", false)] {
        home.write("lingpai.toml", &format!("listen = {address:?}\n{}", standard()));
        home.run(&["check"]).assert(0);
        assert_serves(home.serve_in(&["serve"], &[]), loopback);
        home.write("lingpai.toml", &format!("listen = \"192.0.2.1:1\"\n{}", standard()));
        assert_serves(home.serve_in(&["serve", "--listen", address], &[]), loopback);
        assert_serves(home.serve_in(&["serve"], &[("LINGPAI_LISTEN", address)]), loopback);
    }
    let reserved = Port::reserve();
    let port = reserved.number;
    for address in [format!("localhost:{port}"), format!(":{port}")] {
        let server = home.serve_in(&["serve", "--listen", &address], &[]);
        assert_eq!(home.run(&["healthcheck", "--at", &address]).assert(0).out, format!("ready: {address}\n"));
        assert_eq!(home.run(&["healthcheck", "--listen", &address]).assert(0).out, format!("ready: {address}\n"));
        let taken = home.run(&["serve", "--listen", &address]);
        let expected = format!("cannot listen on {address}: Address already in use");
        taken.assert_refused(
            2,
            &[&expected, "; stop the process that listens there, or choose another address (--listen)"],
        );
        assert_eq!(server.stop("TERM").code, Some(0));
    }
    let expected = "\"localhost:8080\", \":8080\" (every address)";
    let ran = home.run(&["check", "--listen", "example.com:8080"]);
    assert!(ran.assert(2).err.contains(expected), "{ran:?}");
    home.write("lingpai.toml", &format!("listen = \"example.com:8080\"\n{}", standard()));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:1:10: ", expected]);
}

/// Without a file everybody gets a token: only this machine may ask.
#[test]
fn localhost_is_for_development_and_every_address_is_not() {
    let home = Home::new();
    for command in ["serve", "check"] {
        home.run(&[command, "--listen", ":0"]).assert_refused(2, &[":0 is not a loopback address"]);
        home.run_in(&[command], &[("LINGPAI_LISTEN", "localhost:0,:0")]).assert_refused(2, &[":0 is not a loopback"]);
    }
    let server = home.serve_in(&["serve", "--listen", "localhost:0"], &[]);
    assert_eq!(server.send("POST", "/token", "", "").status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn check_finds_what_cannot_be_opened() {
    let home = Home::standard();
    home.write("file", "precious");
    let unix = |name: &str| format!("unix:{}", home.path(name).display());
    for (address, why) in [
        ("192.0.2.1:8080".to_owned(), "expected an address of this machine"),
        (unix("gone/socket"), "No such file or directory"),
        (unix("file"), "not a socket"),
        (unix("file/socket"), "Not a directory"),
        (unix(&"x".repeat(108)), "the path is longer than 107 bytes"),
    ] {
        home.run(&["check", "--listen", &address]).assert_refused(2, &[&format!("cannot listen on {address}: "), why]);
        home.run(&["serve", "--listen", &address]).assert_refused(2, &[&format!("cannot listen on {address}: ")]);
    }
    home.write("lingpai.toml", &format!("{}[ops]\nlisten = \"192.0.2.1:9464\"", standard()));
    home.run(&["check"]).assert_refused(2, &["cannot listen on 192.0.2.1:9464: "]);
    home.write("lingpai.toml", &standard());
    // What serves, has served, or will be passed by the service manager is no fault, and stays as it is.
    drop(UnixListener::bind(home.path("stale")).unwrap());
    let server = home.serve(&["--listen", &unix("socket")]);
    for address in [server.address.clone(), unix("socket"), unix("stale"), unix("new"), "fd:web".to_owned()] {
        home.run(&["check", "--listen", &address]).assert(0);
    }
    assert!(over_unix(&home.path("socket")).starts_with("HTTP/1.1 200 "));
    assert!(home.path("stale").exists() && !home.path("new").exists());
    assert_eq!(server.stop("TERM").code, Some(0));
}
