//! What each door costs beside the native one, or beside bare signatures: `cargo bench --bench doors`, some seconds.
//!
//! The handlers answer without a socket, as in `benches/instructions`. Measured is the CPU time of this thread alone.
//! Both sides of a row take turns in batches, so that whatever else the machine does falls on both, and the median of the
//! ratios counts. What others sign is signed beforehand, anew for each operation. Nothing here fails because it is slow.
//!
//! "verify" is the check of the same signature by the crate that does the cryptography, and nothing else; "mint" makes an
//! access token. A known token was inspected before. 50 issuers have 10 rules each, and the last one of all matches.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement prints, and stops when it is wrong"
)]

mod others;
mod service;

use std::hint::black_box;

use poem::Request;
use rustix::time::{ClockId, clock_gettime};

use others::Signed;
use service::{
    Service, Trusting, client_credentials, client_credentials_for_scope, get, introspection, post, post_for_scope,
};

/// How many batches of each side.
const TURNS: usize = 101;
/// Operations of one side before it is the other's turn.
const BATCH: u32 = 50;

/// What is timed, of one operation or a part of it.
#[expect(clippy::large_enum_variant, reason = "a box would be freed within the time")]
enum Step<'s> {
    Answer(&'s Service, Request),
    Verify(&'s Service, Signed),
    Mint(&'s Service),
    MintPair(&'s Service),
}

/// What one operation of a side is, ready to be done.
type Prepare<'s> = Box<dyn Fn() -> Vec<Step<'s>> + 's>;

struct Row<'s> {
    ours: (&'static str, Prepare<'s>),
    beside: (&'static str, Prepare<'s>),
    /// Maximum of the ratio.
    goal: f64,
}

fn main() {
    // Not under `cargo test --benches`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let [nobody, one, many] = [Trusting::NOBODY, Trusting::ONE, Trusting::MANY].map(Service::new);
    println!("{:34}{:>8}   {:34}{:>8}{:>8}  goal", "request", "CPU µs", "beside", "CPU µs", "ratio");
    for row in native(&nobody).into_iter().chain(signed(&nobody, &one)).chain(trusting(&nobody, &one, &many)) {
        row.measure();
    }
}

/// Beside the same of the native dialect.
fn native(service: &Service) -> [Row<'_>; 4] {
    let token = service.mint().access;
    let (for_get, for_introspection) = (token.clone(), token);
    [
        Row {
            ours: ("client credentials", asking(service, |_| client_credentials())),
            beside: ("POST /token", asking(service, |_| post())),
            goal: 0.95,
        },
        Row {
            ours: ("client credentials for a scope", asking(service, |_| client_credentials_for_scope())),
            beside: ("POST /token for a scope", asking(service, |_| post_for_scope())),
            goal: 0.95,
        },
        Row {
            ours: ("mint", Box::new(move || vec![Step::Mint(service)])),
            beside: ("mint a pair", Box::new(move || vec![Step::MintPair(service)])),
            goal: 1.0,
        },
        Row {
            // A rate of at least 0.85.
            ours: ("introspection of a known token", asking(service, move |_| introspection(&for_introspection))),
            beside: ("GET /token, known", asking(service, move |_| get(&for_get))),
            goal: 1.18,
        },
    ]
}

/// Beside the signatures that it takes at least.
fn signed<'s>(service: &'s Service, trusting: &'s Service) -> [Row<'s>; 4] {
    let verify = move |token: String| Step::Verify(service, Signed::from(&*token));
    let verify_identity = move || Step::Verify(trusting, Signed::from(&*trusting.identity()));
    let native = move || Step::Answer(service, post());
    [
        Row {
            ours: ("private_key_jwt", asking(service, Service::private_key_jwt)),
            beside: ("verify, mint", Box::new(move || vec![verify(service.assertion()), Step::Mint(service)])),
            goal: 1.1,
        },
        Row {
            ours: ("federated identity", asking(trusting, Service::federated)),
            beside: ("verify, POST /token", Box::new(move || vec![verify_identity(), native()])),
            goal: 1.15,
        },
        Row {
            ours: ("client credentials with a proof", asking(service, Service::dpop_issue)),
            beside: ("verify, POST /token", Box::new(move || vec![verify(service.proof(None)), native()])),
            goal: 1.15,
        },
        Row {
            ours: ("GET /token with a proof, known", asking(service, Service::dpop_get)),
            beside: ("verify", Box::new(move || vec![verify(service.proof(Some("a token")))])),
            goal: 1.15,
        },
    ]
}

/// Beside the same where fewer issuers are trusted.
fn trusting<'s>(nobody: &'s Service, one: &'s Service, many: &'s Service) -> [Row<'s>; 3] {
    [
        Row {
            ours: ("POST /token, 50 issuers", asking(many, |_| post())),
            beside: ("no issuer", asking(nobody, |_| post())),
            goal: 1.01,
        },
        Row {
            ours: ("private_key_jwt, 50 issuers", asking(many, Service::private_key_jwt)),
            beside: ("no issuer", asking(nobody, Service::private_key_jwt)),
            goal: 1.01,
        },
        Row {
            ours: ("federated identity, 50 issuers", asking(many, Service::federated)),
            beside: ("1 issuer with 1 rule", asking(one, Service::federated)),
            goal: 1.01,
        },
    ]
}

fn asking<'s>(service: &'s Service, request: impl Fn(&Service) -> Request + 's) -> Prepare<'s> {
    Box::new(move || vec![Step::Answer(service, request(service))])
}

impl Row<'_> {
    fn measure(&self) {
        let (mut ours, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..=TURNS {
            let (one, other) = if turn % 2 == 0 {
                let first = micros(&self.ours.1);
                (first, micros(&self.beside.1))
            } else {
                let first = micros(&self.beside.1);
                (micros(&self.ours.1), first)
            };
            // The first time warms up.
            if turn > 0 {
                ours.push(one);
                others.push(other);
                ratios.push(one / other);
            }
        }
        let (one, other, ratio) = (median(ours), median(others), median(ratios));
        let reached = if ratio <= self.goal { "yes" } else { "no" };
        println!(
            "{:34}{one:8.1}   {:34}{other:8.1}{ratio:8.3}  at most {}: {reached}",
            self.ours.0, self.beside.0, self.goal
        );
    }
}

/// Microseconds of CPU for one operation, of a batch that is prepared first.
fn micros(prepare: &Prepare<'_>) -> f64 {
    let steps: Vec<_> = (0..BATCH).flat_map(|_| prepare()).collect();
    let start = cpu_micros();
    for step in steps {
        match step {
            Step::Answer(service, request) => drop(black_box(service.answer(request))),
            Step::Verify(service, token) => service.signer.verify(&token),
            Step::Mint(service) => drop(black_box(service.mint_access())),
            Step::MintPair(service) => drop(black_box(service.mint())),
        }
    }
    (cpu_micros() - start) / f64::from(BATCH)
}

/// What this thread has taken of the processor.
fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "some minutes in nanoseconds fit")]
    let nanos = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    nanos / 1_000.0
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
