//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a load
//! balancer first sends the address of the client whose bytes it forwards.
//!
//! Only the bytes of the header are read from the socket. What follows stays there for TLS or HTTP,
//! and the next peek waits for new bytes.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Maximum length of a header in bytes, with room for what balancers add.
const LONGEST: usize = 2_048;
/// Maximum length of a header of version 1, in bytes.
const LONGEST_V1: usize = 107;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = v2::PROTOCOL_PREFIX;
/// Length of the fixed part of a version 2 header, which gives the length of the rest.
const FIXED: usize = 16;

/// Reads the header at the beginning of `stream`, and nothing after it. Returns the address of the
/// client, or None for the balancer's own health checks.
///
/// # Errors
/// The connection begins with something else, or ends early.
pub(super) async fn announced(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    // On the heap: otherwise the connection would hold the memory until it closes.
    let mut buffer = vec![0; LONGEST];
    let mut taken = 0;
    loop {
        let (_, ahead) = buffer.split_at_mut(taken);
        let seen = taken + stream.peek(ahead).await?;
        if seen == taken {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = end(buffer.split_at(seen).0)?;
        let until = end.unwrap_or(seen).min(seen);
        stream.read_exact(buffer.split_at_mut(until).0.split_at_mut(taken).1).await?;
        taken = until;
        if end == Some(taken) {
            let header = HeaderResult::parse(buffer.split_at(taken).0);
            return source(&header);
        }
    }
}

/// Returns where the header at the beginning of `bytes` ends, if that is known yet.
fn end(bytes: &[u8]) -> io::Result<Option<usize>> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(one, other)| one == other);
    let (end, longest) = if begins(V1) {
        (bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1), LONGEST_V1)
    } else if begins(V2) {
        let length = bytes.get(..FIXED).and_then(|fixed| fixed.last_chunk());
        (length.map(|length| FIXED + usize::from(u16::from_be_bytes(*length))), LONGEST)
    } else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    match end {
        Some(end) if end > longest => Err(io::ErrorKind::InvalidData.into()),
        None if bytes.len() >= longest => Err(io::ErrorKind::InvalidData.into()),
        end => Ok(end),
    }
}

/// Returns the source that the header names, if it names one.
fn source(header: &HeaderResult<'_>) -> io::Result<Option<SocketAddr>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    match header {
        HeaderResult::V1(header) => {
            // The parser accepts a bare line feed after the last word.
            let header = header.as_ref().ok().filter(|header| header.header.ends_with("\r\n"));
            Ok(match header.ok_or_else(malformed)?.addresses {
                v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v1::Addresses::Unknown => None,
            })
        }
        HeaderResult::V2(header) => {
            let header = header.as_ref().map_err(|_| malformed())?;
            let source = match header.addresses {
                v2::Addresses::IPv4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v2::Addresses::IPv6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                _ => None,
            };
            Ok(source.filter(|_| header.command == v2::Command::Proxy))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const TCP4: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 80\r\n";
    const HTTP: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Version 2, for TCP over IPv4, with `more` bytes that mean nothing to us (a NOOP TLV).
    fn v2_header(more: u16) -> Vec<u8> {
        let mut header = [V2, &[0x21, 0x11]].concat();
        header.extend_from_slice(&(12 + more).to_be_bytes());
        header.extend_from_slice(&[192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0x88, 0, 80]);
        if let Some(value) = more.checked_sub(3) {
            header.push(4);
            header.extend_from_slice(&value.to_be_bytes());
            header.resize(header.len() + usize::from(value), 0);
        }
        header
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn heard(bytes: &[u8]) -> io::Result<Option<SocketAddr>> {
        let (mut client, mut server) = pair().await;
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        announced(&mut server).await
    }

    #[tokio::test]
    async fn what_follows_the_header_stays() {
        let source = Some("192.0.2.1:5000".parse().unwrap());
        for (header, source) in [
            (TCP4.to_vec(), source),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2_header(0), source),
            (v2_header(2_000), source),
        ] {
            let (mut client, mut server) = pair().await;
            client.write_all(&[&header, HTTP].concat()).await.unwrap();
            assert_eq!(announced(&mut server).await.unwrap(), source);
            let mut rest = vec![0; HTTP.len()];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(rest, HTTP);
        }
    }

    /// A header comes byte by byte: one look for each, and none while nothing comes.
    #[tokio::test(start_paused = true)]
    async fn half_a_header_costs_nothing() {
        for header in [TCP4.to_vec(), v2_header(0)] {
            let (mut client, mut server) = pair().await;
            // In a task of its own, which is polled only when it was woken.
            let hearing = tokio::spawn(async move {
                let (mut looks, mut hearing) = (0, Box::pin(announced(&mut server)));
                let heard = poll_fn(|context| {
                    looks += 1;
                    hearing.as_mut().poll(context)
                });
                (heard.await, looks)
            });
            for byte in &header {
                client.write_all(&[*byte]).await.unwrap();
                // The clock stands still, and jumps to the end of this when there is nothing else to do.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let (heard, looks) = hearing.await.unwrap();
            assert_eq!(heard.unwrap(), Some("192.0.2.1:5000".parse().unwrap()));
            assert!(looks <= 2 * header.len(), "{looks} looks for {} bytes", header.len());
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [V1, &[b'x'; LONGEST_V1]].concat();
        let too_long = [b"PROXY UNKNOWN ", &[b'x'; LONGEST_V1][..], b"\r\n"].concat();
        for wrong in [
            &b""[..],
            b"\r",
            b"PROX",
            HTTP,
            b"proxy TCP4 192.0.2.1 198.51.100.1 5000 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 80\n",
            b"PROXY TCP4 192.0.2.1\r\n",
            &TCP4[..20],
            &v2_header(0)[..20],
            &v2_header(2_048),
            &long,
            &too_long,
        ] {
            assert!(heard(wrong).await.is_err(), "{}", wrong.escape_ascii());
        }
    }
}
