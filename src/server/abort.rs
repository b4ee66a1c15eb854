//! How a connection ends whose client does not read.

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A stream that can end without its client.
pub(super) trait Abort {
    /// Makes the kernel drop what the client has not read when the stream is closed. Otherwise the
    /// kernel would keep it, up to megabytes, for as long as the client reads a byte now and then.
    fn abort(&self);
}

impl Abort for TcpStream {
    fn abort(&self) {
        // It fails only where the connection is gone already.
        let _ = self.set_zero_linger();
    }
}

impl Abort for UnixStream {
    /// What a local client has not read is dropped when it ends.
    fn abort(&self) {}
}

impl<S: Abort> Abort for TlsStream<S> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }
}
