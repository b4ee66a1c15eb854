//! `X-Forwarded-For` and `Forwarded`, one field a line: nobody but a trusted proxy decides who is said to call, and a
//! second parser that works another way reads the same.
#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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
        assert_eq!(by_proxy, expected(&lines, side.service.snapshot.forwarding.is_rfc7239), "another reader differs");
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

/// Who calls the proxy 10.0.0.1 that sends these lines: read by a parser that only goes forwards, and tries every comma
/// as the beginning of the last element until one gives a whole element. Slower than the service's, and as the grammar.
fn expected(lines: &[&[u8]], is_rfc7239: bool) -> String {
    let read = if is_rfc7239 { for_of_element } else { node };
    let mut caller: IpAddr = [10, 0, 0, 1].into();
    let mut lines: Vec<&[u8]> = lines.to_vec();
    while let Some(line) = lines.pop() {
        let starts = (0..=line.len()).rev().filter(|start| *start == 0 || line[start - 1] == b',');
        let mut elements = starts.map(|start| (start, trim(&line[start..])));
        let Some((start, element)) =
            elements.find(|(_, element)| !is_rfc7239 || element.is_empty() || is_element(element))
        else {
            return caller.to_string();
        };
        // What stands before it comes next.
        if start > 0 {
            lines.push(&line[..start - 1]);
        }
        if element.is_empty() {
            continue;
        }
        let Some(named) = read(element) else { return caller.to_string() };
        caller = named;
        if !is_trusted(caller) {
            break;
        }
    }
    caller.to_string()
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Where in an element a byte stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Before a pair, or after its semicolon.
    Between,
    Name,
    /// After the equals sign.
    Start,
    Bare,
    Quoted,
    Escape,
    /// After a pair, before its semicolon.
    Done,
}

/// What an element becomes, a byte at a time: its pairs, or None if it is malformed.
fn pairs(element: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut place = Place::Between;
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for &byte in element {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_bare = is_token || matches!(byte, b':' | b'[' | b']');
        let is_blank = matches!(byte, b' ' | b'\t');
        place = match (place, byte) {
            (Place::Between | Place::Bare | Place::Done, b';') => Place::Between,
            (Place::Between, _) if is_blank => Place::Between,
            (Place::Between, _) if is_token => {
                pairs.push((vec![byte], Vec::new()));
                Place::Name
            }
            (Place::Name, b'=') => Place::Start,
            (Place::Name, _) if is_token => {
                pairs.last_mut()?.0.push(byte);
                Place::Name
            }
            (Place::Start, b'"') => Place::Quoted,
            (Place::Start | Place::Bare, _) if is_bare => {
                pairs.last_mut()?.1.push(byte);
                Place::Bare
            }
            (Place::Quoted, b'"') => Place::Done,
            (Place::Quoted, b'\\') => Place::Escape,
            (Place::Quoted | Place::Escape, _) => {
                pairs.last_mut()?.1.push(byte);
                Place::Quoted
            }
            (Place::Bare | Place::Done, _) if is_blank => Place::Done,
            _ => return None,
        };
    }
    matches!(place, Place::Between | Place::Bare | Place::Done).then_some(pairs)
}

fn is_element(element: &[u8]) -> bool {
    pairs(element).is_some()
}

fn for_of_element(element: &[u8]) -> Option<IpAddr> {
    let pairs = pairs(element)?;
    let nodes: Vec<_> = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"for")).collect();
    if let [(_, value)] = nodes[..] { node(value) } else { None }
}

/// An address; or one of IPv6 in brackets, with or without a port; or one of IPv4 with a port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = String::from_utf8(text.to_vec()).ok()?;
    let is_port = |port: &str| match port.as_bytes() {
        [b'_', name @ ..] => !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)),
        digits => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let host = match text.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => &text,
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(|address| IpAddr::from(address).to_canonical()),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

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
