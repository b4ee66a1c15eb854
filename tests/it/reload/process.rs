//! A real server: intervals, SIGHUP and the service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;

use crate::app::{SECRET, basic, segment, standard};
use crate::home::{Home, LIMIT, RECENT, Server, signal, until};

/// A real server: it sees by itself that files have changed, and at once when it is asked.
#[test]
fn a_server_reloads() {
    let home = Home::standard();
    let fast = standard() + "[reload]\ninterval = \"1s\"\n[ops]\nlisten = \"127.0.0.1:0\"";
    home.write("lingpai.toml", &fast);
    let server = home.serve(&[]);
    assert_eq!(server.create("later", SECRET).status, 401);
    home.write("lingpai.toml", &fast.replace("id = \"orders\"", "id = \"later\""));
    until(|| server.create("later", SECRET).status == 200);

    home.write(
        "lingpai.toml",
        &(standard().replace("id = \"orders\"", "id = \"latest\"") + "[reload]\ninterval = \"1h\""),
    );
    until(|| server.create("latest", SECRET).status == 200);
    // From now on it looks once an hour.
    fs::remove_file(home.path("keys").join(&*RECENT)).unwrap();
    home.write("lingpai.toml", "typo");
    server.signal("HUP");
    until(|| server.log().contains("reload refused") && server.log().contains("lingpai.toml:1:"));
    assert_eq!(server.create("latest", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("\"level\":\"ERROR\""), "{ran:?}");
}

/// What was written in place when it was asked is applied soon after, however long the interval.
#[test]
fn a_server_looks_twice() {
    let home = Home::standard();
    let rare = standard() + "[reload]\ninterval = \"1h\"";
    home.write("lingpai.toml", &rare);
    let server = home.serve(&[]);
    fs::write(home.path("lingpai.toml"), rare.replace("id = \"orders\"", "id = \"later\"")).unwrap();
    server.signal("HUP");
    // Asking it is what notices that it was killed for taking too long.
    until(|| server.create("orders", SECRET).status > 0 && server.log().contains("reload waits"));
    until(|| server.create("later", SECRET).status == 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn the_service_manager_learns_of_a_refusal() {
    let home = Home::standard();
    let rare = standard() + "[reload]\ninterval = \"1h\"";
    home.write("lingpai.toml", &rare);
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let path = home.path("notify").display().to_string();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(said().trim_end(), "READY=1");
    let reload = |config: &str| {
        home.write("lingpai.toml", config);
        server.signal("HUP");
        assert!(said().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        said()
    };
    let refused = reload("typo");
    assert!(refused.starts_with("STATUS=reload refused, the previous state stays in force: configuration: "));
    assert!(refused.contains("lingpai.toml:1:") && refused.ends_with("\nREADY=1\n"), "{refused}");
    let held = reload(rare.split("[[clients]]").next().unwrap());
    assert!(
        held.starts_with("STATUS=configuration: reload held back until ") && held.ends_with("\nREADY=1\n"),
        "{held}"
    );
    assert_eq!(reload(&rare), "STATUS=\nREADY=1\n");
    assert_eq!(reload(&rare), "READY=1\n");
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// A hang-up while it starts is no reason to end, whatever it has read by then.
#[test]
fn a_hangup_during_the_start() {
    let home = Home::standard();
    let client = |at: usize| format!("[[clients]]\nid = \"c{at}\"\nsecrets = [\"sha256:{at:064}\"]\n");
    home.write("lingpai.toml", &(standard() + &(1..5_000).map(client).collect::<String>()));
    let child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let caught = |status: &str| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap_or("0");
        u64::from_str_radix(caught, 16).unwrap() & 1 == 1
    };
    let path = format!("/proc/{}/status", child.id());
    until(|| caught(&fs::read_to_string(&path).unwrap()));
    signal(child.id(), "HUP");
    let server = Server::of(child);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// A pipe in place of the configuration holds up nobody, and the end neither.
#[test]
fn a_configuration_that_is_a_pipe() {
    let home = Home::standard();
    let server = home.serve(&[]);
    fs::remove_file(home.path("lingpai.toml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(home.path("lingpai.toml")).status().unwrap().success());
    server.signal("HUP");
    until(|| server.log().contains("expected a regular file of at most 16 MiB"));
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// Without a file, the folder of keys is looked at all the same, and the client stays.
#[test]
fn development_reloads_keys() {
    let home = Home::new();
    let server = home.serve(&[]);
    let secret = server.line("demo:").split("demo:").nth(1).unwrap()[..47].to_owned();
    home.run(&["keys", "rotate", "--now"]).assert(0);
    let made = home.names("keys").remove(1);
    let kid = home.run(&["keys", "list", "--json"]).json()[1]["kid"].as_str().unwrap().to_owned();
    until(|| {
        let answer = server.send("POST", "/token", &basic("demo", &secret), "");
        assert_eq!(answer.status, 200);
        segment(&answer.text("value"), 0)["kid"] == *kid
    });
    assert!(server.stop("TERM").err.contains("reloaded"), "{made}");
}
