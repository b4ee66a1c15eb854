//! The PROXY protocol: a connection begins with these bytes, and a request follows them. Who announces somebody by a
//! whole header is believed, and who begins with anything else is not answered.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lingpai::server::{self, Capacity, Listener, Transport};
use poem::endpoint::make_sync;
use poem::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// What no header here may be longer than.
const LONGEST: usize = 2_048;

/// How long to wait for an answer that must come, and for one that must not. The first may take long on a busy machine. For
/// the second a moment will do: the server hangs up at once on what is no header, and gives half a header five seconds.
const PATIENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_millis(20)];

/// A server that says from whom it was asked.
static SERVER: LazyLock<(Runtime, SocketAddr)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let transport = Transport {
        capacity: Capacity { connections: 1_000, requests: 1_000, large_heads: 1_000 },
        connections_per_address: None,
        lame_duck: Duration::ZERO,
        drain: Duration::ZERO,
        proxy_protocol: true,
    };
    let endpoint = make_sync(|request: Request| Response::builder().body(format!("<{}>", request.remote_addr())));
    let listeners = vec![Listener::Tcp(listener)];
    runtime.spawn(server::serve(listeners, endpoint, None, transport, None, std::future::pending()));
    (runtime, address)
});

fuzz_target!(|data: &[u8]| {
    let (runtime, address) = &*SERVER;
    let all = [data, REQUEST].concat();
    // A header may reach into the request.
    let announced = announced(&all);
    let patience = PATIENCE[usize::from(announced.is_none())];
    let (peer, said) = runtime.block_on(ask(*address, &all, patience));
    let said = String::from_utf8_lossy(&said);
    let answered = said.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    if let Some((remote, _)) = answered {
        let Some((_, source)) = announced else { panic!("{remote} was believed without a header") };
        assert_eq!(remote, format!("socket://{}", source.unwrap_or(peer)));
    } else if let Some((length, _)) = announced {
        assert!(length != data.len() || length > LONGEST, "a whole header was not believed: {said:?}");
    }
});

/// The client's address, and all that the server says up to its first body.
async fn ask(address: SocketAddr, bytes: &[u8], patience: Duration) -> (SocketAddr, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It leaves no trace that would take its port away from others.
    stream.set_zero_linger().unwrap();
    let peer = stream.local_addr().unwrap();
    let (mut said, mut chunk) = (Vec::new(), [0; 4_096]);
    // The server may have hung up by now.
    let _ = stream.write_all(bytes).await;
    while !said.contains(&b'>') {
        match tokio::time::timeout(patience, stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(length)) => said.extend_from_slice(&chunk[..length]),
        }
    }
    (peer, said)
}

/// The header that `data` begins with (haproxy.org, proxy-protocol.txt): its length, and the source that it names.
fn announced(data: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    if data.starts_with(b"PROXY ") { announced_in_text(data) } else { announced_in_binary(data) }
}

fn announced_in_text(data: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    // A line feed alone ends no line, and is not a part of one.
    let end = data.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    if end > 105 || !data[end..].starts_with(b"\r\n") {
        return None;
    }
    let line = std::str::from_utf8(&data[..end]).ok()?;
    let words: Vec<_> = line.split(' ').collect();
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| text == "0" || !text.starts_with('0'));
    let source = match words[..] {
        // As many words as the others have.
        ["PROXY", "UNKNOWN", ..] if words.len() <= 6 => None,
        ["PROXY", "TCP4", source, destination, from, to] => {
            let (source, _) = (source.parse::<Ipv4Addr>().ok()?, destination.parse::<Ipv4Addr>().ok()?);
            Some((source, port(from).filter(|_| port(to).is_some())?).into())
        }
        ["PROXY", "TCP6", source, destination, from, to] => {
            let (source, _) = (source.parse::<Ipv6Addr>().ok()?, destination.parse::<Ipv6Addr>().ok()?);
            Some((source, port(from).filter(|_| port(to).is_some())?).into())
        }
        _ => return None,
    };
    Some((end + 2, source))
}

fn announced_in_binary(data: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let rest = data.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let [command, family, high, low, rest @ ..] = rest else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let block = rest.get(..length)?;
    let needed = match family {
        0x00..=0x02 => 0,
        0x10..=0x12 => 12,
        0x20..=0x22 => 36,
        0x30..=0x32 => 216,
        _ => return None,
    };
    if length < needed {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let source = match (command, needed) {
        (0x21, 12) => Some((<[u8; 4]>::try_from(&block[..4]).ok()?, port(8)).into()),
        (0x21, 36) => Some((<[u8; 16]>::try_from(&block[..16]).ok()?, port(32)).into()),
        (0x20 | 0x21, _) => None,
        _ => return None,
    };
    Some((data.len() - rest.len() + length, source))
}
