//! Where connections come in, how many, and how a process ends.

mod connections;
mod listen;
mod process;
mod service_manager;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::{SECRET, basic};
use crate::home::{Home, LIMIT};

fn over_unix(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let basic = basic("orders", SECRET);
    write!(stream, "POST /token HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{basic}\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// A shell that becomes lingpai after it has done something.
fn shell(home: &Home, before: &str, arguments: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec {} {arguments}", env!("CARGO_BIN_EXE_lingpai"))]);
    command.env_clear().current_dir(home.path("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
