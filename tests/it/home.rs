//! The binary in a folder of its own: commands that are run there, and servers.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lingpai::clock::Clock;
use lingpai::keys::{Alg, KeyName};
use serde_json::Value;

use crate::app::{Answer, basic, copy_key, quiet, read_answer, replace};

const LINGPAI: &str = env!("CARGO_BIN_EXE_lingpai");
pub const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
/// The same key in a folder here: dated a day back, for no command believes in a clock that is far off the newest key.
pub static RECENT: LazyLock<String> =
    LazyLock::new(|| KeyName { from: Clock::system().now().plus(-86_400), alg: Alg::Es256 }.to_string());
/// Longer than anything here takes; then the process is killed and its test fails.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A folder in which commands are run, with nothing in their environment.
pub struct Home(tempfile::TempDir);

/// What a process said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With the configuration of most tests, but for what `lingpai check` warns of, and its key.
    pub fn standard() -> Self {
        let home = Self::new();
        home.write("lingpai.toml", &quiet());
        fs::create_dir(home.path("keys")).unwrap();
        copy_key(KEY, &home.path("keys").join(&*RECENT));
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        replace(&self.path(name), content);
        self.path(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in a folder, hidden ones too.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(LINGPAI);
        command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_in(arguments, &[])
    }

    /// Runs it where a file can have so many KiB at most: as on a full disk, a write takes a part.
    pub fn run_limited(&self, kib: u32, arguments: &[&str]) -> Ran {
        let mut command = Command::new("bash");
        let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        command.args(["-c", &limited, "bash", LINGPAI]).args(arguments).env_clear().current_dir(self.0.path());
        ended(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn run_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        ended(self.command(arguments, environment).spawn().unwrap())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(arguments, &[]).stdin(Stdio::piped()).spawn().unwrap();
        let (mut pipe, input) = (child.stdin.take().unwrap(), input.to_vec());
        // It need not read all of it.
        let writing = thread::spawn(move || drop(pipe.write_all(&input)));
        let ran = ended(child);
        writing.join().unwrap();
        ran
    }

    pub fn serve(&self, arguments: &[&str]) -> Server {
        self.serve_in(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat(), &[])
    }

    pub fn serve_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        Server::of(self.command(arguments, environment).spawn().unwrap())
    }
}

impl Ran {
    #[track_caller]
    pub fn assert(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Refused: this code, nothing on standard output, and one line that says all of `expected`.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, expected: &[&str]) {
        self.assert(code);
        assert!(self.out.is_empty(), "{self:?}");
        assert!(self.err.starts_with("lingpai: ") && self.err.lines().count() == 1, "{self:?}");
        for part in expected {
            assert!(self.err.contains(part), "{self:?}\nwant: {part}");
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one secret that was printed.
    pub fn secret(&self) -> String {
        secret_in(&self.out)
    }
}

pub fn secret_in(text: &str) -> String {
    let found: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').collect();
    let secrets: Vec<_> = found.into_iter().filter(|word| word.starts_with("lps_")).collect();
    assert_eq!(secrets.len(), 1, "{text}");
    assert_eq!(secrets[0].len(), 47);
    secrets[0].to_owned()
}

/// Kills `child` if this is not dropped in time.
pub fn watch(child: &Child) -> mpsc::Sender<()> {
    let (alive, dropped) = mpsc::channel();
    let pid = child.id();
    thread::spawn(move || {
        if dropped.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            signal(pid, "KILL");
        }
    });
    alive
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
}

pub fn ended(child: Child) -> Ran {
    let _watchdog = watch(&child);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A process that serves. What it has logged is shown if its test fails.
pub struct Server {
    child: Option<Child>,
    pub address: String,
    lines: mpsc::Receiver<String>,
    errors: Option<JoinHandle<()>>,
    log: Arc<Mutex<String>>,
    _watchdog: mpsc::Sender<()>,
}

impl Server {
    #[track_caller]
    pub fn of(mut child: Child) -> Self {
        let watchdog = watch(&child);
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (to, lines) = mpsc::channel();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let errors = thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                written.lock().unwrap().extend([&line, "\n"]);
            }
        });
        let mut server =
            Self { child: Some(child), address: String::new(), lines, errors: Some(errors), log, _watchdog: watchdog };
        let Ok(first) = server.lines.recv_timeout(LIMIT) else {
            server.child.as_mut().unwrap().wait().unwrap();
            server.errors.take().unwrap().join().unwrap();
            panic!("it did not start: {}", server.log());
        };
        let (_, address) = first.split_once("://").unwrap_or_else(|| panic!("no address in {first}"));
        address.split([',', ' ']).next().unwrap().clone_into(&mut server.address);
        server
    }

    /// The next line of standard output that has `part` in it.
    pub fn line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no line with {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// What it has said on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        read_answer(&mut stream)
    }

    pub fn send(&self, method: &str, target: &str, header: &str, body: &str) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}{length}\r\n{body}");
        self.raw(head.as_bytes())
    }

    /// `POST /token` with HTTP Basic.
    pub fn create(&self, id: &str, secret: &str) -> Answer {
        self.send("POST", "/token", &basic(id, secret), "")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(self, name: &str) -> Ran {
        self.signal(name);
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Ran {
        let code = self.child.take().unwrap().wait().unwrap().code();
        let out = self.lines.iter().map(|line| line + "\n").collect();
        if let Some(errors) = self.errors.take() {
            errors.join().unwrap();
        }
        let err = self.log.lock().unwrap().clone();
        Ran { code, out, err }
    }
}

/// Waits until `done`; the server that is asked is killed if that takes too long.
pub fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if thread::panicking() {
                eprintln!("{}", self.log());
            }
        }
    }
}
