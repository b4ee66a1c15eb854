//! `lingpai healthcheck`
//!
//! For a container that has no shell and no curl: the one program in it asks the server that runs there.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::{Answer, Settings, complain, say};
use crate::app::StartError;
use crate::config::{Config, Listen};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 1 << 20;
const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[derive(Args)]
pub(super) struct Arguments {
    /// Whom to ask, without TLS; then no file is read.
    #[arg(long, value_name = "ADDRESS")]
    at: Option<Listen>,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let address = match &arguments.at {
        Some(address) => address.clone(),
        None => match settings.load() {
            Ok(config) => address(&config)?,
            // Whoever runs goes on with what was loaded before, and must not be ended for what stands there now.
            Err(error) => {
                complain(&format!("warning: {error}"));
                settings.listen.first().cloned().unwrap_or_default()
            }
        },
    };
    let (tell, told) = mpsc::channel();
    let asked = address.clone();
    // It ends with the process if nobody answers.
    thread::spawn(move || tell.send(ask(&asked)));
    let why = match told.recv_timeout(LIMIT) {
        Ok(Ok(status)) if status == "200" => {
            say(&format!("ready: {address}"))?;
            return Ok(true);
        }
        Ok(Ok(status)) => format!("answers {status}"),
        Ok(Err(error)) => format!("cannot be asked: {error}"),
        Err(_) => format!("does not answer within {} s", LIMIT.as_secs()),
    };
    complain(&format!("not ready: {address} {why}"));
    Ok(false)
}

/// Where plain HTTP is spoken: with the operator, or on a Unix socket, or by everybody.
fn address(config: &Config) -> Result<Listen, StartError> {
    let is_plain = config.tls.is_none() && !config.proxy_protocol;
    let ops = config.ops.iter().flat_map(|ops| &ops.listen).filter(|at| !matches!(at, Listen::Inherited(_)));
    let public = config.listen.iter().filter(|at| match at {
        Listen::Unix(_) => true,
        Listen::Tcp(_) | Listen::Localhost(_) | Listen::Everywhere(_) => is_plain,
        Listen::Inherited(_) => false,
    });
    ops.chain(public).next().cloned().ok_or_else(|| {
        StartError::new(
            "no address can be asked: all speak TLS or the PROXY protocol, or are passed sockets; add [ops] with a \
             listen address, or say --at ADDRESS",
        )
    })
}

/// The status of `GET /readyz`, as it is written. 0.0.0.0 and `[::]` are this machine.
fn ask(address: &Listen) -> io::Result<String> {
    match address {
        Listen::Tcp(_) | Listen::Localhost(_) | Listen::Everywhere(_) => {
            exchange(TcpStream::connect(address.sockets().as_slice())?)
        }
        Listen::Unix(path) => exchange(UnixStream::connect(path)?),
        Listen::Inherited(_) => Err(io::Error::other("it is a passed socket")),
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let head = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").filter(|status| status.bytes().all(|digit| digit.is_ascii_digit()));
    status.map(str::to_owned).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
