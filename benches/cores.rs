//! lingpai on another runtime, for `benches/compare/run runtime`:
//!
//!   cores CONFIG shared    the runtime that it has: all threads take from one queue
//!   cores CONFIG own       a single-threaded runtime for each core, each with a listener of its own (`SO_REUSEPORT`)
//!
//! As many threads as cores may be used. Prints where it listens: a port of its own on 127.0.0.1.

#![expect(clippy::print_stdout, reason = "says where it listens")]
#![expect(clippy::unwrap_used, reason = "a measurement may fail so")]

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use lingpai::app::{self, Listeners};
use lingpai::clock::Clock;
use lingpai::config::{Config, Overrides};
use lingpai::server::{Listener, Transport};
use lingpai::service::State;
use lingpai::telemetry;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let config = Config::load(Some(Path::new(&arguments.next().unwrap())), Overrides::default()).unwrap();
    let is_shared = match arguments.next().unwrap().as_str() {
        "shared" => true,
        "own" => false,
        _ => return println!("usage: cores CONFIG shared|own"),
    };
    let clock = Clock::system();
    let state = app::state(app::snapshot(&config, clock.now()).unwrap(), clock);
    let _logs = telemetry::start(true);
    let serving = (state, app::transport(&config));
    if is_shared {
        let runtime = Builder::new_multi_thread().global_queue_interval(1).enable_all().build().unwrap();
        serve(&runtime, &serving, "127.0.0.1:0".parse().unwrap(), |address| println!("lingpai at http://{address}"));
        return;
    }
    let single = || Builder::new_current_thread().enable_all().build().unwrap();
    let serving = &serving;
    let others = thread::available_parallelism().unwrap().get() - 1;
    thread::scope(|threads| {
        serve(&single(), serving, "127.0.0.1:0".parse().unwrap(), |address| {
            for _ in 0..others {
                threads.spawn(move || serve(&single(), serving, address, |_| ()));
            }
            println!("lingpai at http://{address}");
        });
    });
}

/// Serves on `address` for ever, and says which one it is.
fn serve(
    runtime: &Runtime,
    (state, transport): &(Arc<State>, Transport),
    address: SocketAddr,
    listens: impl FnOnce(SocketAddr),
) {
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1024).unwrap();
        listens(listener.local_addr().unwrap());
        let listeners = Listeners { public: vec![Listener::Tcp(listener)], ops: Vec::new() };
        app::serve(
            Arc::clone(state),
            lingpai::http::RequestIds::new().unwrap(),
            listeners,
            *transport,
            None,
            pending(),
        )
        .await;
    });
}
