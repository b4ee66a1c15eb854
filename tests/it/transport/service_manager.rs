//! systemd: sockets that it passes (`sd_listen_fds(3)`), and what it is told (`sd_notify(3)`).

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

use super::{over_unix, shell};
use crate::app::SECRET;
use crate::home::{Home, LIMIT, Server};

/// As systemd passes it: descriptor 3, for this process alone, by name.
fn activated(home: &Home, socket: impl Into<OwnedFd>, arguments: &str) -> Command {
    let before = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web";
    let mut command = shell(home, before, arguments);
    command.stdin(Stdio::from(socket.into()));
    command
}

#[test]
fn a_socket_that_the_service_manager_has_opened() {
    let home = Home::standard();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::of(activated(&home, listener, "serve --listen fd:web").spawn().unwrap());
    assert_eq!(server.address, address);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));

    let path = home.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let arguments = "serve --listen fd:web --listen 127.0.0.1:0";
    let server = Server::of(activated(&home, listener, arguments).spawn().unwrap());
    assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.stop("TERM").code, Some(0));
    assert!(path.exists(), "it is the service manager's");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = crate::home::ended(activated(&home, listener, "serve --listen fd:other").spawn().unwrap());
    ran.assert_refused(
        2,
        &["cannot listen on fd:other: the service manager passed no socket of this name", "passed: web"],
    );
    home.run(&["serve", "--listen", "fd:web"]).assert_refused(2, &["passed no socket of this name", "passed: none"]);
}

#[test]
fn the_service_manager_is_told() {
    let home = Home::standard();
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let path = home.path("notify").display().to_string();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(said().trim_end(), "READY=1");
    server.signal("HUP");
    let reloading = said();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(said().trim_end(), "READY=1");
    assert_eq!(server.stop("TERM").code, Some(0));
    assert_eq!(said().trim_end(), "STOPPING=1");
}
