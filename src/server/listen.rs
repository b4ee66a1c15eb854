//! Listeners: TCP, Unix sockets, and sockets that the service manager opened.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listenfd::ListenFd;
use poem::Addr;
use poem::web::{LocalAddr, RemoteAddr};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

/// An open address.
#[derive(Debug)]
pub enum Listener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On an IP address, where clients are asked for a certificate.
    Mtls(TcpListener),
    /// On a path, which is deleted with the listener if the listener created it.
    Unix(UnixListener, Option<MadePath>),
}

/// A socket's path, deleted on drop.
#[derive(Debug)]
pub struct MadePath(PathBuf);

impl Drop for MadePath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An accepted connection, with its remote and local address.
pub(super) enum Accepted {
    /// By TCP, and whether a certificate is asked for.
    Tcp(TcpStream, LocalAddr, RemoteAddr, bool),
    Unix(UnixStream, LocalAddr, RemoteAddr),
}

/// Size of the accept queue, which the kernel cuts to `net.core.somaxconn`. The standard library's 128 is less than the
/// number of clients that reconnect after a restart: the kernel then drops their SYNs, and they retry after one second,
/// then two.
const BACKLOG: u32 = 4_096;

/// Size in bytes of the kernel's receive buffer and of its send buffer, for each connection. The kernel doubles it
/// (`socket(7)`). Unset, each buffer grows to some MiB, which count as this process's memory.
const KERNEL_BUFFER: usize = 16 << 10;
/// Maximum bytes of a segment. It binds where packets are larger than Ethernet's: the loopback interface sends
/// 64 KiB at once, which is more than the buffer has, and then waits for an acknowledgement that its peer delays.
const SEGMENT: u32 = 8 << 10;

/// Maximum attempts of `localhost:0` to find a port that is free on both loopback addresses.
const TRIES: usize = 16;
/// Maximum length of a Unix socket's path in bytes (`sun_path` of unix(7), with a NUL at its end).
const LONGEST_PATH: usize = 107;

/// Opens a socket at `address`. `only_v6` says whether an IPv6 socket leaves IPv4 to others.
fn bound(address: SocketAddr, only_v6: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.is_ipv6() {
        // Independent of the system's default (`net.ipv6.bindv6only`).
        set_ipv6_v6only(&socket, only_v6)?;
    }
    // Otherwise a restarted server would wait until its old connections leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn tcp(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    bound(address, only_v6)?.listen(BACKLOG)
}

/// Bounds what the kernel holds for each connection that this listener accepts from now on.
fn bound_buffers(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.set_tcp_mss(SEGMENT)
}

/// Whether `error` means that this machine has no IPv6.
fn lacks_ipv6(error: &io::Error) -> bool {
    let unsupported = Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

/// Opens both loopback addresses on one port; 127.0.0.1 alone without IPv6.
fn localhost(port: u16) -> io::Result<Vec<TcpListener>> {
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        let v4 = tcp((Ipv4Addr::LOCALHOST, port).into(), false)?;
        tries -= 1;
        match tcp((Ipv6Addr::LOCALHOST, v4.local_addr()?.port()).into(), true) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if lacks_ipv6(&error) => return Ok(vec![v4]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens every address: with one IPv6 socket, which accepts IPv4 too, or with an IPv4 socket without IPv6.
fn everywhere(port: u16) -> io::Result<TcpSocket> {
    match bound((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if lacks_ipv6(&error) => bound((Ipv4Addr::UNSPECIFIED, port).into(), false),
        opened => opened,
    }
}

/// Checks whether `address` could be opened, without accepting connections. An address in use is
/// no error.
///
/// # Errors
/// Why it could not be opened.
pub fn can_open(address: &Listen, only_v6: bool) -> io::Result<()> {
    let bindable = match address {
        Listen::Tcp(address) => bound(*address, only_v6).map(drop),
        Listen::Localhost(port) => bound((Ipv4Addr::LOCALHOST, *port).into(), false).map(drop),
        Listen::Everywhere(port) => everywhere(*port).map(drop),
        Listen::Unix(path) => return has_room_for(path),
        // Only the service manager knows it.
        Listen::Inherited(_) => return Ok(()),
    };
    match bindable {
        // Perhaps by the running server.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bindable => bindable,
    }
}

/// Whether `path` is a socket, or one can be created there.
fn has_room_for(path: &Path) -> io::Result<()> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(io::Error::other(format!("the path is longer than {LONGEST_PATH} bytes")));
    }
    match std::fs::symlink_metadata(path) {
        Ok(status) if !status.file_type().is_socket() => {
            return Err(io::Error::other("something that is not a socket exists at this path"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = path.parent().unwrap_or(path);
    if !std::fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

impl Listener {
    /// Opens `address`, which may need two sockets. `inherited` are the sockets that the service
    /// manager passed; at `[::]:port` it takes IPv4 connections too unless `only_v6`.
    ///
    /// Within a runtime.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open(address: &Listen, only_v6: bool, inherited: &mut Inherited) -> io::Result<Vec<Self>> {
        let listeners = match address {
            Listen::Tcp(address) => vec![Self::Tcp(tcp(*address, only_v6)?)],
            Listen::Localhost(port) => localhost(*port)?.into_iter().map(Self::Tcp).collect(),
            Listen::Everywhere(port) => vec![Self::Tcp(everywhere(*port)?.listen(BACKLOG)?)],
            Listen::Unix(path) => {
                remove_stale(path)?;
                vec![Self::Unix(UnixListener::bind(path)?, Some(MadePath(path.clone())))]
            }
            Listen::Inherited(name) => vec![inherited.take(name)?],
        };
        for listener in &listeners {
            if let Self::Tcp(listener) = listener
                && let Err(error) = bound_buffers(listener)
            {
                tracing::warn!(%error, "cannot bound the kernel's buffers of a connection");
            }
        }
        Ok(listeners)
    }

    /// The same, where clients are asked for a certificate. A Unix socket speaks no TLS, so no one is asked.
    #[must_use]
    pub fn asking(self) -> Self {
        match self {
            Self::Tcp(listener) => Self::Mtls(listener),
            other => other,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) | Self::Mtls(listener) => {
                let (stream, remote) = listener.accept().await?;
                let local = LocalAddr(stream.local_addr()?.into());
                // An answer is one small write, which Nagle's algorithm could delay.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, local, RemoteAddr(remote.into()), matches!(self, Self::Mtls(_))))
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
            Self::Tcp(listener) | Self::Mtls(listener) => match listener.local_addr() {
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

/// Deletes a stale socket, on which nothing listens any more; anything else stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|status| status.file_type().is_socket());
    let refused = || {
        let error = std::os::unix::net::UnixStream::connect(path).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket && refused() { std::fs::remove_file(path) } else { Ok(()) }
}

/// Sockets that the service manager opened (`sd_listen_fds(3)`), by name.
pub struct Inherited {
    names: io::Result<Vec<String>>,
    sockets: ListenFd,
}

impl Inherited {
    /// Takes the sockets that this process was given. Call it once.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = sd_notify::listen_fds_with_names().map(|all| all.map(|(_, name)| name).collect());
        Self { names, sockets: ListenFd::from_env() }
    }

    fn take(&mut self, name: &str) -> io::Result<Listener> {
        let names = self.names.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let missing = || {
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message =
                format!("the service manager passed no socket of this name (FileDescriptorName=); passed: {there}");
            io::Error::new(io::ErrorKind::NotFound, message)
        };
        let at = names.iter().position(|known| known == name).ok_or_else(missing)?;
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(at) {
            listener.set_nonblocking(true)?;
            return TcpListener::from_std(listener).map(Listener::Tcp);
        }
        match self.sockets.take_unix_listener(at) {
            Ok(Some(listener)) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
            }
            _ => Err(io::Error::other("it is not a listening stream socket, or it was used twice")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_has_its_listeners_bounds() {
        let address = Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let listeners = Listener::open(&address, false, &mut Inherited::from_environment()).unwrap();
        let [Listener::Tcp(listener)] = &listeners[..] else { panic!("{listeners:?}") };
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let Ok(Accepted::Tcp(stream, ..)) = listeners[0].accept().await else { panic!("no connection") };
        let socket = SockRef::from(&stream);
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * KERNEL_BUFFER);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * KERNEL_BUFFER);
        assert!(socket.tcp_mss().unwrap() <= SEGMENT);
    }
}
