//! `X-Forwarded-For` and `Forwarded`, one field a line: nobody but a trusted proxy decides who is said to call.
#![no_main]

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::LazyLock;

use fuzz::Service;
use libfuzzer_sys::fuzz_target;
use poem::http::{HeaderName, HeaderValue, Method};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const TRUSTED: &str = "trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\nforwarded_header";

struct Side {
    field: HeaderName,
    service: Service,
}

static SIDES: LazyLock<[Side; 2]> = LazyLock::new(|| {
    tracing::subscriber::set_global_default(Log).unwrap();
    ["X-Forwarded-For", "Forwarded"].map(|name| Side {
        field: HeaderName::from_bytes(name.as_bytes()).unwrap(),
        service: Service::new(&format!("{TRUSTED} = \"{name}\"")),
    })
});

fuzz_target!(|data: &[u8]| {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    // What HTTP has no form for never gets here, and a head has its limit.
    if lines.len() > 64 || data.len() > 10 << 10 || lines.iter().any(|line| HeaderValue::from_bytes(line).is_err()) {
        return;
    }
    for side in &*SIDES {
        let by_stranger = side.caller("203.0.113.1:1", &lines);
        assert_eq!(by_stranger, "203.0.113.1", "a stranger is believed");
        let by_proxy = side.caller("10.0.0.1:1", &lines);
        let address: IpAddr = by_proxy.parse().unwrap();
        assert_eq!((address.to_string(), address.to_canonical()), (by_proxy.clone(), address));

        let rfc7239 = side.service.snapshot.forwarding.is_rfc7239;
        let (lie, truth) = if rfc7239 {
            (&b"for=198.51.100.1,"[..], &b", for=\"[2001:db8::7]:4711\""[..])
        } else {
            (&b"198.51.100.1,"[..], &b", [2001:db8::7]:4711"[..])
        };
        // What somebody wrote before does not matter, once one who is no proxy has been named.
        if !is_trusted(address) {
            assert_eq!(side.caller("10.0.0.1:1", &[&[lie], &lines[..]].concat()), by_proxy);
            let (first, rest) = lines.split_first().unwrap();
            assert_eq!(side.caller("10.0.0.1:1", &[&[&[lie, first].concat()[..]], rest].concat()), by_proxy);
        }
        // What the last proxy adds does, whatever stands before.
        let (last, rest) = lines.split_last().unwrap();
        assert_eq!(side.caller("10.0.0.1:1", &[rest, &[&[last, truth].concat()]].concat()), "2001:db8::7");
        assert_eq!(side.caller("10.0.0.1:1", &[&lines[..], &[truth]].concat()), "2001:db8::7");
    }
});

fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    }
}

impl Side {
    /// Who calls, as the log has it.
    fn caller(&self, peer: &str, lines: &[&[u8]]) -> String {
        let fields = lines.iter().map(|line| (self.field.clone(), HeaderValue::from_bytes(line).unwrap())).collect();
        assert_eq!(self.service.ask(peer.parse().unwrap(), Method::GET, fields, b"").status, 401);
        ADDRESS.take()
    }
}

thread_local! {
    /// The last one in the log.
    static ADDRESS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Reads the `address` of every line.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Address);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Address;

impl Visit for Address {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "address" {
            ADDRESS.set(value.to_owned());
        }
    }
}
