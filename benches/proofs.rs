//! Asks for tokens with DPoP proofs, each with a key's signature and a `jti` of its own: what `benches/proofs` floods the
//! service with, and how it sees what another client notices of that.
//!
//! `proofs ADDRESS ISSUER AUTHORIZATION CONNECTIONS SECONDS [RATE]`: each connection asks again as soon as it is answered,
//! or RATE times a second. Prints one line of JSON: the answers by status, and the 200s' median and p99 in ms.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement prints, and stops when it is wrong"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Clock;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

const FORM: &str = "grant_type=client_credentials";

/// Milliseconds of each answer, by status.
type Times = BTreeMap<u16, Vec<f64>>;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, issuer, authorization, connections, seconds, rate @ ..] = &*arguments else { panic!("see above") };
    let pause = rate.first().map(|rate| Duration::from_secs_f64(1.0 / rate.parse::<f64>().unwrap()));
    let end = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    let mut all = Times::new();
    thread::scope(|scope| {
        let ask = || Caller::new(address, issuer, authorization).ask_until(end, pause);
        let callers: Vec<_> = (0..connections.parse().unwrap()).map(|_: usize| scope.spawn(ask)).collect();
        for caller in callers {
            for (status, times) in caller.join().unwrap() {
                all.entry(status).or_default().extend(times);
            }
        }
    });
    let counts: BTreeMap<_, _> = all.iter().map(|(status, times)| (status.to_string(), times.len())).collect();
    let good = all.entry(200).or_default();
    good.sort_by(f64::total_cmp);
    let at = |percent: usize| good.get(good.len() * percent / 100).map(|time| (time * 10.0).round() / 10.0);
    println!("{}", json!({"answers": counts, "ms": {"median": at(50), "p99": at(99)}}));
}

/// A connection, and a key.
struct Caller {
    stream: TcpStream,
    pair: EcdsaKeyPair,
    /// The header of its proofs, in base64url.
    header: String,
    /// Where its proofs are for.
    url: String,
    /// The request up to the proof.
    head: String,
    random: SystemRandom,
    clock: Clock,
}

impl Caller {
    fn new(address: &str, issuer: &str, authorization: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref().get(1..).unwrap().split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        let header = URL_SAFE_NO_PAD.encode(json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}).to_string());
        let length = FORM.len();
        let head = format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: {address}\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nDPoP: "
        );
        let stream = TcpStream::connect(address).unwrap();
        let url = format!("{issuer}/oauth2/token");
        Self { stream, pair, header, url, head, random, clock: Clock::system() }
    }

    fn proof(&self) -> String {
        let mut id = [0; 12];
        self.random.fill(&mut id).unwrap();
        let id = URL_SAFE_NO_PAD.encode(id);
        let claims = json!({"jti": id, "htm": "POST", "htu": self.url, "iat": self.clock.now().unix()});
        let message = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn ask_until(mut self, end: Instant, pause: Option<Duration>) -> Times {
        let mut times = Times::new();
        while Instant::now() < end {
            let request = format!("{}{}\r\n\r\n{FORM}", self.head, self.proof());
            let begun = Instant::now();
            self.stream.write_all(request.as_bytes()).unwrap();
            let status = self.status();
            let took = begun.elapsed();
            times.entry(status).or_default().push(took.as_secs_f64() * 1e3);
            if let Some(pause) = pause {
                thread::park_timeout(pause.saturating_sub(took));
            }
        }
        times
    }

    /// Reads an answer. Its status.
    fn status(&mut self) -> u16 {
        let (mut answer, mut buffer) = (String::new(), [0; 4_096]);
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    return head.get(9..12).unwrap().parse().unwrap();
                }
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the connection was closed");
            answer.push_str(std::str::from_utf8(buffer.get(..read).unwrap()).unwrap());
        }
    }
}
