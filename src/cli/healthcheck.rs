//! `lingpai healthcheck`
//!
//! For containers without a shell or curl: the only program in them asks the server that runs there. With `[tls]` it
//! uses https and accepts any certificate: it sends no secret, and it asks its own machine.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{Answer, Settings, complain, say};
use crate::app::StartError;
use crate::config::{Config, Listen};
use crate::fetch;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 1 << 20;
const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[derive(Args)]
pub(super) struct Arguments {
    /// The address to ask, without TLS; no file is read then.
    #[arg(long, value_name = "ADDRESS")]
    at: Option<Listen>,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let (address, is_tls) = match &arguments.at {
        Some(address) => (address.clone(), false),
        None => match settings.load() {
            Ok(config) => address(&config)?,
            // The server keeps what it loaded before. It must not be killed for what the file says now.
            Err(error) => {
                complain(&format!("warning: {error}"));
                (settings.listen.first().cloned().unwrap_or_default(), false)
            }
        },
    };
    let (tell, told) = mpsc::channel();
    let asked = address.clone();
    // The thread ends with the process if no answer comes.
    thread::spawn(move || tell.send(ask(&asked, is_tls)));
    let why = match told.recv_timeout(LIMIT) {
        Ok(Ok(status)) if status == "200" => {
            say(&format!("ready: {address}"))?;
            return Ok(true);
        }
        Ok(Ok(status)) => format!("answers {status}"),
        Ok(Err(error)) => format!("cannot be reached: {error}"),
        Err(_) => format!("does not answer within {} s", LIMIT.as_secs()),
    };
    complain(&format!("not ready: {address} {why}"));
    Ok(false)
}

/// Returns where to ask, and whether with TLS: the ops listener, a Unix socket, or an address without PROXY protocol.
fn address(config: &Config) -> Result<(Listen, bool), StartError> {
    let ops = config.ops.iter().flat_map(|ops| &ops.listen).filter(|at| !matches!(at, Listen::Inherited(_)));
    let ops = ops.map(|at| (at.clone(), false));
    let public = config.listen.iter().filter_map(|at| match at {
        Listen::Unix(_) => Some((at.clone(), false)),
        Listen::Tcp(_) | Listen::Localhost(_) | Listen::Everywhere(_) => {
            (!config.proxy_protocol).then(|| (at.clone(), config.tls.is_some()))
        }
        Listen::Inherited(_) => None,
    });
    ops.chain(public).next().ok_or_else(|| {
        StartError::new(
            "no address can be asked: all speak the PROXY protocol, or are passed sockets; add [ops] with a listen \
             address, or say --at ADDRESS",
        )
    })
}

/// Returns the status of `GET /readyz`, as written. 0.0.0.0 and `[::]` mean this machine.
fn ask(address: &Listen, is_tls: bool) -> io::Result<String> {
    match address {
        Listen::Tcp(_) | Listen::Localhost(_) | Listen::Everywhere(_) => {
            let stream = TcpStream::connect(address.sockets().as_slice())?;
            if !is_tls {
                return exchange(stream);
            }
            let config = Arc::new(fetch::unverified().map_err(io::Error::other)?);
            let name = ServerName::from(stream.peer_addr()?.ip());
            exchange(StreamOwned::new(ClientConnection::new(config, name).map_err(io::Error::other)?, stream))
        }
        Listen::Unix(path) => exchange(UnixStream::connect(path)?),
        Listen::Inherited(_) => Err(io::Error::other("the service manager opened that socket; give its address")),
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        // TLS that ends without a close_notify alert.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let head = answer.first_chunk::<12>().and_then(|head| std::str::from_utf8(head).ok());
    let status = head.and_then(|head| head.strip_prefix("HTTP/1.1 "));
    let status = status.filter(|status| status.bytes().all(|digit| digit.is_ascii_digit()));
    status.map(str::to_owned).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
