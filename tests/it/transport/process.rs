//! How the process ends, and what it leaves to others.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::app::{SECRET, read_answer, standard};
use crate::home::{Home, Server, signal, until, watch};

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
    // A drain is no failure, so the log has no error.
    let draining = ran.err.lines().find(|line| line.contains(r#""cause":"draining""#)).unwrap();
    assert!(draining.contains(r#""level":"INFO""#), "{draining}");
    assert!(!ran.err.contains(r#""level":"ERROR""#), "{ran:?}");
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
