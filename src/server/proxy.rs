//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a load
//! balancer that passes bytes on says first from whom they come.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header that is read, in bytes: room for what balancers add to it.
const LONGEST: usize = 2_048;
/// A header comes in one piece. Where it does not, this is how often the rest is looked for.
const PAUSE: Duration = Duration::from_millis(5);

/// Reads the header that `stream` begins with, and nothing after it: from whom the
/// connection comes; None where the balancer itself asks, to see whether we live.
///
/// # Errors
/// A connection that begins with something else, or ends.
pub(super) async fn announced(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut buffer = [0; LONGEST];
    loop {
        let length = stream.peek(&mut buffer).await?;
        let begun = buffer.get(..length).unwrap_or_default();
        let header = HeaderResult::parse(begun);
        if header.is_complete() {
            let (used, source) = read(&header).ok_or(io::ErrorKind::InvalidData)?;
            let whole = buffer.get_mut(..used).ok_or(io::ErrorKind::InvalidData)?;
            stream.read_exact(whole).await?;
            return Ok(source);
        }
        if length == 0 || length == LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The header's length, and the source that it names.
fn read(header: &HeaderResult<'_>) -> Option<(usize, Option<SocketAddr>)> {
    match header {
        HeaderResult::V1(header) => {
            // The parser is content with a line feed after the last word.
            let header = header.as_ref().ok().filter(|header| header.header.ends_with("\r\n"))?;
            let source = match header.addresses {
                v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v1::Addresses::Unknown => None,
            };
            Some((header.header.len(), source))
        }
        HeaderResult::V2(header) => {
            let header = header.as_ref().ok()?;
            let source = match header.addresses {
                v2::Addresses::IPv4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                v2::Addresses::IPv6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
                _ => None,
            };
            Some((header.header.len(), source.filter(|_| header.command == v2::Command::Proxy)))
        }
    }
}
