//! `lingpai serve`

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Answer, Settings, complain, say};
use crate::app::{self, Development, Listeners, Loaded, Reloader, StartError};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Issuer};
use crate::files::shown;
use crate::http::RequestIds;
use crate::server::{Listener, Tls, manager};
use crate::service::Snapshot;
use crate::telemetry;

pub(super) fn run(settings: &Settings) -> Answer {
    // Workers look at the shared queue first: under overload it has what overflowed their own, and so has waited longest.
    let runtime = tokio::runtime::Builder::new_multi_thread().global_queue_interval(1).enable_all().build();
    let runtime = runtime.map_err(|error| StartError::with_source(format!("cannot start: {error}"), error))?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: &Settings) -> Answer {
    // Before any file is read, which may take a while: a signal must not kill the process meanwhile.
    let (stop, hangup) = (stop_signal()?, on_signal(SignalKind::hangup())?);
    let clock = Clock::system();
    let Begun { config, listeners, addresses, welcome, loaded } = begin(settings, clock.now())?;
    let ids = RequestIds::new()?;
    let Loaded { snapshot, identity, revocations } = loaded;
    let tls = identity.map(|identity| Arc::new(Tls::new(identity)));
    for warning in snapshot.warnings(clock.now()) {
        complain(&format!("warning: {warning}"));
    }
    let logs = telemetry::start(config.log.access);
    announce(&snapshot, &addresses, clock.now());
    let state = app::state(snapshot, clock);
    if let Some(list) = revocations {
        if let Some(waiting) = &list.waiting {
            complain(&format!("warning: {waiting}"));
        }
        state.revoke(list);
    }
    let transport = app::transport(&config);
    // The configuration itself, which may be large, is not kept. The reloader compares later looks with what it sees
    // now, so it starts before the service reports that it is ready.
    let reloader = Reloader::new(config, settings.overrides(), Arc::clone(&state), tls.clone());
    // A server must not stop because the disk for this line is full.
    if let Err(error) = say(&welcome) {
        complain(&format!("warning: {error}"));
    }
    manager::ready();
    tokio::spawn(async move {
        app::serve(state, ids, listeners, transport, tls, stop).await;
        tracing::info!("stopped");
        drop(logs);
        // The main thread may be blocked on a file system that does not respond.
        std::process::exit(0);
    });
    // This future runs on the main thread, which serves no requests: what it parses and frees there fragments one heap
    // instead of every worker's.
    app::watch(reloader, hangup).await
}

/// What there is before the first request: everything is read, and every address is open.
struct Begun {
    config: Config,
    listeners: Listeners,
    addresses: Vec<String>,
    welcome: String,
    loaded: Loaded,
}

fn begin(settings: &Settings, now: Timestamp) -> Result<Begun, StartError> {
    let config = settings.load()?;
    if config.is_development() {
        return begin_development(settings, config, now);
    }
    // Problems of the settings are reported whether or not the address is free.
    let loaded = app::load(&config, now)?;
    let listeners = Listeners::open(&config)?;
    let (mut addresses, ops) = (names(&listeners.public), names(&listeners.ops).join(" and "));
    if config.tls.is_some() {
        for address in &mut addresses {
            *address = address.replacen("http://", "https://", 1);
        }
    }
    let everywhere = addresses.join(" and ");
    let ops = if ops.is_empty() { ops } else { format!(", for its operator at {ops}") };
    let welcome = format!("lingpai {} at {everywhere}{ops}", env!("CARGO_PKG_VERSION"));
    Ok(Begun { config, listeners, addresses, welcome, loaded })
}

/// The issuer of a development server is where it listens, so that comes first.
fn begin_development(settings: &Settings, config: Config, now: Timestamp) -> Result<Begun, StartError> {
    app::refuse_public_address(&config)?;
    let listeners = Listeners::open(&config)?;
    let addresses = names(&listeners.public);
    let first = addresses.first().ok_or_else(|| StartError::new("there is no address to listen on; set `listen`"))?;
    let here = || Issuer::local(first.strip_prefix("http://").unwrap_or("127.0.0.1"));
    let development = app::development(config, settings.issuer.is_none().then(here), now)?;
    let welcome = welcome(&development, first);
    let loaded = app::load(&development.config, now)?;
    Ok(Begun { config: development.config, listeners, addresses, welcome, loaded })
}

fn names(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().map(Listener::to_string).collect()
}

fn announce(snapshot: &Snapshot, addresses: &[String], now: Timestamp) {
    let signing = snapshot.keys.signer(snapshot.registry.algorithm(), now).map(|key| key.kid().to_string());
    let clients = snapshot.registry.len();
    tracing::info!(listen = addresses.join(" "), issuer = snapshot.issuer, clients, signing, "serving");
}

/// Completes when the process is asked to stop. A second signal stops it at once.
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    let (mut terminate, mut interrupt) = (on_signal(SignalKind::terminate())?, on_signal(SignalKind::interrupt())?);
    let mut asked = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        asked().await;
        tracing::info!("stopping");
        manager::stopping();
        tokio::spawn(async move {
            asked().await;
            std::process::exit(1);
        });
    })
}

fn on_signal(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| StartError::with_source(format!("cannot listen for signals: {error}"), error))
}

/// Prints what a development server offers: its page, a first call, and where to read on.
fn welcome(development: &Development, address: &str) -> String {
    let Development { client, secret, folder, made, .. } = development;
    let made = made.map(|name| format!(", made {name}")).unwrap_or_default();
    let socket = address.strip_prefix("unix:").map(|path| format!("--unix-socket {path} http://localhost"));
    format!(
        "lingpai {version} at {address}, for development: there is no lingpai.toml (keys in {folder}{made})

  curl -sS -u '{client}:{secret}' -X POST {curl}/token

The secret of the client {client} is new at every start. To try every call: {address}/docs
To set it up: lingpai init",
        version = env!("CARGO_PKG_VERSION"),
        folder = shown(folder),
        secret = secret.reveal(),
        curl = socket.as_deref().unwrap_or(address),
    )
}
