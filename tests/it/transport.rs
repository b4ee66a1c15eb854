//! Where connections come in, how many, and how a process ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::{SECRET, TestApp, answers, basic, read_answer, standard};
use crate::home::{Home, LIMIT, Server, signal, until, watch};

fn over_unix(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let basic = basic("orders", SECRET);
    write!(stream, "POST /token HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{basic}\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

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

/// As systemd passes it: descriptor 3, for this process alone, by name.
fn activated(home: &Home, socket: impl Into<OwnedFd>, arguments: &str) -> Command {
    let before = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web";
    let mut command = shell(home, before, arguments);
    command.stdin(Stdio::from(socket.into()));
    command
}

/// A shell that becomes lingpai after it has done something.
fn shell(home: &Home, before: &str, arguments: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec {} {arguments}", env!("CARGO_BIN_EXE_lingpai"))]);
    command.env_clear().current_dir(home.path("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_socket_that_the_service_manager_has_opened() {
    let home = Home::standard();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::of(activated(&home, listener, "serve --listen fd:web").spawn().unwrap());
    assert_eq!(server.address, address);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));

    let path = home.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let arguments = "serve --listen fd:web --listen 127.0.0.1:0";
    let server = Server::of(activated(&home, listener, arguments).spawn().unwrap());
    assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.stop("TERM").code, Some(0));
    assert!(path.exists(), "it is the service manager's");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = crate::home::ended(activated(&home, listener, "serve --listen fd:other").spawn().unwrap());
    ran.assert_refused(
        2,
        &["cannot listen on fd:other: the service manager passed no socket of this name", "passed: web"],
    );
    home.run(&["serve", "--listen", "fd:web"]).assert_refused(2, &["passed no socket of this name", "passed: none"]);
}

#[test]
fn the_service_manager_is_told() {
    let home = Home::standard();
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let path = home.path("notify").display().to_string();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(said().trim_end(), "READY=1");
    server.signal("HUP");
    let reloading = said();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(said().trim_end(), "READY=1");
    assert_eq!(server.stop("TERM").code, Some(0));
    assert_eq!(said().trim_end(), "STOPPING=1");
}

#[test]
fn a_lame_duck_serves_on_but_is_not_ready() {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[drain]\nlame_duck = \"3s\"\n[ops]\nlisten = \"127.0.0.1:0\""));
    let server = home.serve(&[]);
    // A kept connection has one more answer, which says that it was the last.
    let kept = server.connect();
    let ask = |mut stream: &TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        crate::app::read_answer(&mut stream.try_clone().unwrap())
    };
    assert_eq!(ask(&kept).header("connection"), None);
    server.signal("TERM");
    until(|| server.send("GET", "/readyz", "", "").status == 503);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(ask(&kept).header("connection"), Some("close"));
    // A half-sent head holds up nothing.
    let mut half = server.connect();
    half.write_all(b"GET /token HTTP/1.1\r\nHost:").unwrap();
    let ran = server.wait();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn asked_twice_it_ends_at_once() {
    for (first, second) in [("INT", "INT"), ("TERM", "TERM"), ("TERM", "INT")] {
        let home = Home::standard();
        home.write("lingpai.toml", &(standard() + "[drain]\nlame_duck = \"600s\""));
        let server = home.serve(&[]);
        server.signal(first);
        until(|| server.send("GET", "/readyz", "", "").status == 503);
        assert_eq!(server.stop(second).code, Some(1));
    }
}

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
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert!(ran.code == Some(0) && !ran.err.contains("cannot accept a connection"), "{ran:?}");
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

/// A port on which nobody listens, outside of those that the kernel gives to clients.
fn free_port() -> u16 {
    let ports = (20_000..30_000).cycle().skip(std::process::id() as usize % 10_000);
    ports.take(10_000).find(|port| TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).is_ok()).unwrap()
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
    let port = free_port();
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
    let port = free_port();
    for address in [format!("localhost:{port}"), format!(":{port}")] {
        let server = home.serve_in(&["serve", "--listen", &address], &[]);
        assert_eq!(home.run(&["healthcheck", "--at", &address]).assert(0).out, format!("ready: {address}\n"));
        assert_eq!(home.run(&["healthcheck", "--listen", &address]).assert(0).out, format!("ready: {address}\n"));
        let taken = home.run(&["serve", "--listen", &address]);
        taken.assert_refused(2, &[&format!("cannot listen on {address}: Address already in use")]);
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

/// What the log could not be rid of at the end is counted, wherever there is room to say so.
#[test]
fn a_log_that_stands_still_is_no_reason_to_stay() {
    const REQUESTS: usize = 2_000;
    let home = Home::standard();
    let mut child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let _watchdog = watch(&child);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let address = first.trim_end().split_once("http://").unwrap().1;
    let mut stream = TcpStream::connect(address).unwrap();
    for number in 1..=REQUESTS {
        let last = if number == REQUESTS { "Connection: close\r\n" } else { "" };
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{last}\r\n").as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let word = |line: &str| -> Option<usize> {
        let number = line.strip_prefix("lingpai: up to ")?.split_once(" lines of the log were lost: ")?.0;
        number.parse().ok()
    };
    let words: Vec<_> = said.lines().chain(log.lines()).filter_map(word).collect();
    let written = log.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
    let [lost] = words[..] else { panic!("{words:?}, {written} lines") };
    // Those of the requests, and some that say that it served and was asked to stop. What was being
    // written, 16 KiB, may have got through in part.
    assert!(lost > 0 && (REQUESTS..REQUESTS + 200).contains(&(lost + written)), "{lost} and {written}");

    // Where all is read, nothing is said.
    let ran = home.serve(&[]).stop("TERM");
    assert!(!ran.out.contains("of the log") && !ran.err.contains("of the log"), "{ran:?}");
}

/// Private keys are in its memory: no core dump has them, and no file that it makes is for others.
#[test]
fn it_keeps_to_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::standard();
    let path = home.path("socket");
    let before = format!("ulimit -c unlimited; umask 0; exec {} \"$@\"", env!("CARGO_BIN_EXE_lingpai"));
    let mut command = Command::new("sh");
    command.args(["-c", &before, "sh", "serve", "--listen", "127.0.0.1:0"]).env_clear().current_dir(home.path("."));
    command.args(["--listen", &format!("unix:{}", path.display())]);
    let server =
        Server::of(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
    assert_eq!(server.stop("TERM").code, Some(0));
}
