//! The addresses of a configuration, and the sockets opened on them.

use std::io;

use super::error::StartError;
use crate::config::{Config, Listen};
use crate::server::{Inherited, Listener};

/// Returns every address to open.
pub(super) fn addresses(config: &Config) -> impl Iterator<Item = &Listen> {
    config.listen.iter().chain(config.ops.iter().flat_map(|ops| &ops.listen)).chain(mtls(config))
}

/// Returns the addresses where clients are asked for a certificate.
fn mtls(config: &Config) -> impl Iterator<Item = &Listen> {
    config.mtls.iter().flat_map(|mtls| &mtls.listen).flatten()
}

/// Refuses addresses that cannot be open at the same time, and those where no certificate can be shown or requested.
pub(super) fn distinct(config: &Config) -> Result<(), StartError> {
    if config.tls.is_none() && mtls(config).next().is_some() {
        return Err(StartError::new("`mtls.listen` has no certificate to show; add [tls]"));
    }
    if let Some(path) = mtls(config).find(|address| matches!(address, Listen::Unix(_))) {
        return Err(StartError::new(format!("{path} speaks no TLS; expected an IP address in `mtls.listen`")));
    }
    let mut seen: Vec<&Listen> = Vec::new();
    for address in addresses(config) {
        match seen.iter().find(|other| address.overlaps(other)) {
            Some(other) if *other == address => {
                return Err(StartError::new(format!(
                    "{address} appears twice in `listen`, `ops.listen` and `mtls.listen`"
                )));
            }
            Some(other) => {
                let message = format!(
                    "{other} and {address} overlap in `listen`, `ops.listen` and `mtls.listen`; expected one of them"
                );
                return Err(StartError::new(message));
            }
            None => seen.push(address),
        }
    }
    Ok(())
}

/// Whether `address` is an IPv6 address and an IPv4 address has the same port.
pub(super) fn leaves_ipv4(address: &Listen, config: &Config) -> bool {
    addresses(config).any(|other| address.leaves_ipv4_to(other))
}

pub(super) fn cannot_listen(address: &Listen, error: io::Error) -> StartError {
    let hint = match (address, error.kind()) {
        (Listen::Unix(_) | Listen::Inherited(_), _) => "",
        (_, io::ErrorKind::AddrNotAvailable) => "; expected an address of this machine",
        (_, io::ErrorKind::AddrInUse) => "; stop the process that listens there, or choose another address (--listen)",
        (_, io::ErrorKind::PermissionDenied) => {
            "; expected a port from 1024, a socket of systemd (fd:name), or the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    };
    StartError::with_source(format!("cannot listen on {address}: {error}{hint}"), error)
}

/// What the service accepts connections on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The public listeners.
    pub public: Vec<Listener>,
    /// The operator's listeners.
    pub ops: Vec<Listener>,
}

impl Listeners {
    /// Opens every address of `config`, within a runtime.
    ///
    /// # Errors
    /// The first address that cannot be opened.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        distinct(config)?;
        let mut inherited = Inherited::from_environment();
        let mut listeners = Self::default();
        let mut open = |address| {
            let opened = Listener::open(address, leaves_ipv4(address, config), &mut inherited);
            opened.map_err(|error| cannot_listen(address, error))
        };
        for address in config.ops.iter().flat_map(|ops| &ops.listen) {
            listeners.ops.extend(open(address)?);
        }
        for address in &config.listen {
            listeners.public.extend(open(address)?);
        }
        for address in mtls(config) {
            listeners.public.extend(open(address)?.into_iter().map(Listener::asking));
        }
        Ok(listeners)
    }
}
