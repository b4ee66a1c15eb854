//! Where connections come in: TCP, Unix sockets, and sockets that the service
//! manager has opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listenfd::ListenFd;
use poem::Addr;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

/// An open address.
#[derive(Debug)]
pub enum Listener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a path, which goes with the listener where it was made by it.
    Unix(UnixListener, Option<MadePath>),
}

/// A socket's path, deleted in the end.
#[derive(Debug)]
pub struct MadePath(PathBuf);

impl Drop for MadePath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A connection that has come in, from whom, to where.
pub(super) enum Accepted {
    Tcp(TcpStream, LocalAddr, RemoteAddr),
    Unix(UnixStream, LocalAddr, RemoteAddr),
}

/// Connections that may wait to be accepted. The standard library's 128 are fewer than the clients that come back to a
/// server that was restarted: the kernel drops what they send, and they try again after one second, then two.
const BACKLOG: u32 = 1_024;

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Or a restarted server would have to wait for its old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Opens `address`. `inherited` are the sockets that the service manager passed.
    ///
    /// Within a runtime.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open(address: &Listen, inherited: &mut Inherited) -> io::Result<Self> {
        match address {
            Listen::Tcp(address) => tcp(*address).map(Self::Tcp),
            Listen::Unix(path) => {
                remove_stale(path)?;
                Ok(Self::Unix(UnixListener::bind(path)?, Some(MadePath(path.clone()))))
            }
            Listen::Inherited(name) => inherited.take(name),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let local = LocalAddr(stream.local_addr()?.into());
                // An answer is one small write; without this it can wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, local, RemoteAddr(remote.into())))
            }
            Self::Unix(listener, _) => {
                let (stream, remote) = listener.accept().await?;
                let local = Addr::Unix(Arc::new(stream.local_addr()?));
                Ok(Accepted::Unix(stream, LocalAddr(local), RemoteAddr(Addr::Unix(Arc::new(remote)))))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("an address"),
            },
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                write!(f, "unix:{}", path.unwrap_or(Path::new("(inherited)")).display())
            }
        }
    }
}

/// A socket that nobody listens on any more may be replaced; nothing else may.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|status| status.file_type().is_socket());
    let refused = || {
        let error = std::os::unix::net::UnixStream::connect(path).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket && refused() { std::fs::remove_file(path) } else { Ok(()) }
}

/// Sockets that the service manager has opened (`sd_listen_fds(3)`), by name.
pub struct Inherited {
    names: Vec<String>,
    sockets: ListenFd,
}

impl Inherited {
    /// What this process was given. To be asked once.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = sd_notify::listen_fds_with_names().map(|all| all.map(|(_, name)| name).collect());
        Self { names: names.unwrap_or_default(), sockets: ListenFd::from_env() }
    }

    fn take(&mut self, name: &str) -> io::Result<Listener> {
        let missing = || {
            let there = if self.names.is_empty() { "none".to_owned() } else { self.names.join(", ") };
            let message =
                format!("the service manager passed no socket of this name (FileDescriptorName=); passed: {there}");
            io::Error::new(io::ErrorKind::NotFound, message)
        };
        let at = self.names.iter().position(|known| known == name).ok_or_else(missing)?;
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(at) {
            listener.set_nonblocking(true)?;
            return TcpListener::from_std(listener).map(Listener::Tcp);
        }
        match self.sockets.take_unix_listener(at) {
            Ok(Some(listener)) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
            }
            _ => Err(io::Error::other("it is no stream socket that listens, or it was used twice")),
        }
    }
}
