//! What a token costs beyond its signature: `cargo bench --bench token`, one and a
//! half minutes; with `-- --quick`, some seconds; with `--features aws-lc` before
//! that, by AWS-LC.
//!
//! First each step alone, by criterion: time for one operation. Then the three
//! ratios that the project promises: `mint / sign`, at most 1.25, `verify /
//! verify bare`, at most 1.15, and for an assertion that another signed, ES256's
//! `foreign / verify bare`, at most 1.1. Both sides of a ratio take turns in
//! short batches, so that whatever else the machine does falls on both, and the
//! median of the ratios counts. Nothing here fails because it is slow.
//!
//! Bare is the crate that does the cryptography alone, with the same key over the
//! same signing input. `mint` is the pair: an access token and the refresh token
//! beside it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints, and stops when it is wrong")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::Criterion;
use lingpai::clock::Timestamp;
use lingpai::crypto::rand::SystemRandom;
use lingpai::crypto::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use lingpai::crypto::{p256_pair, rsa_length};
use lingpai::foreign::{self, HeaderPolicy, KeySet, MaxAge, Owner, Rules, Unverified};
use lingpai::keys::{Alg, Key, KeyName, KeyRing, Plan};
use lingpai::token::{
    AccessClaims, Audience, Audiences, ClientId, Compact, Dialect, ExtraClaims, Grant, Kind, Pair, RefreshClaims,
    Scope, Session, Subject, Verifying, mint, verify,
};
use pkcs8::SecretDocument;

const ISSUER: &str = "https://tokens.example.com";
/// 2026-06-01T12:00:00Z
const NOW: i64 = 1_780_315_200;
/// Operations of one side before it is the other's turn.
const BATCH: u32 = 32;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .nresamples(10_000)
        .configure_from_args();
    let subjects = Alg::ALL.map(Subjects::new);
    for subject in &subjects {
        subject.steps(&mut criterion);
    }
    criterion.final_summary();
    // Not for one step, chosen by its name, and not under `cargo test --benches`.
    let turns = match std::env::args().skip(1).collect::<Vec<_>>().join(" ").as_str() {
        "--bench" => 1_500,
        "--quick --bench" => 100,
        _ => return,
    };
    println!("medians of ratios, in turns of {BATCH} operations:");
    for subject in &subjects {
        // A signature of RSA takes as long as thirty others.
        subject.ratios(if subject.alg == Alg::Rs256 { turns / 10 } else { turns });
    }
}

/// What is measured for one algorithm.
struct Subjects {
    alg: Alg,
    bare: Bare,
    public: UnparsedPublicKey<Vec<u8>>,
    keys: KeyRing,
    session: Session,
    pair: Pair,
    /// The signing input of the access token, and its bare signature.
    message: String,
    signature: Vec<u8>,
    assertion: Assertion,
}

/// An assertion as clients make it, and its key as they publish it.
struct Assertion {
    token: String,
    /// Its signing input, and its bare signature.
    message: String,
    signature: Vec<u8>,
    keys: KeySet,
}

/// Room for the longest signature here, RSA's with a key of 2048 bits.
type Room = [u8; 256];

enum Bare {
    Es256(EcdsaKeyPair, SystemRandom),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair, SystemRandom),
}

impl Bare {
    fn sign<'r>(&self, message: &str, room: &'r mut Room) -> &'r [u8] {
        let (message, room) = (message.as_bytes(), room.get_mut(..self.length()).unwrap());
        match self {
            Self::Es256(pair, random) => room.copy_from_slice(pair.sign(random, message).unwrap().as_ref()),
            Self::EdDsa(pair) => room.copy_from_slice(pair.sign(message).as_ref()),
            Self::Rs256(pair, random) => pair.sign(&RSA_PKCS1_SHA256, random, message, room).unwrap(),
        }
        room
    }

    fn length(&self) -> usize {
        match self {
            Self::Es256(..) | Self::EdDsa(_) => 64,
            Self::Rs256(pair, _) => rsa_length(pair),
        }
    }
}

impl Subjects {
    fn new(alg: Alg) -> Self {
        let name = format!("2026-01-01T00-00-00Z.{}.pem", alg.file_word());
        let file = format!("{}/tests/vectors/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        let pem = std::fs::read_to_string(file).unwrap();
        let (_, der) = SecretDocument::from_pem(&pem).unwrap();
        let (der, random) = (der.as_bytes(), SystemRandom::new());
        let (bare, public) = match alg {
            Alg::Es256 => {
                let pair = p256_pair(der).unwrap();
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED as _, pair.public_key().as_ref().to_vec());
                (Bare::Es256(pair, random), public)
            }
            Alg::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap();
                let public = UnparsedPublicKey::new(&ED25519 as _, pair.public_key().as_ref().to_vec());
                (Bare::EdDsa(pair), public)
            }
            Alg::Rs256 => {
                let (pair, kind) = (RsaKeyPair::from_pkcs8(der).unwrap(), &RSA_PKCS1_2048_8192_SHA256);
                let public = UnparsedPublicKey::new(kind as _, pair.public_key().as_ref().to_vec());
                (Bare::Rs256(pair, random), public)
            }
        };
        let key = Key::from_pem(name.parse::<KeyName>().unwrap(), &pem).unwrap();
        let keys = KeyRing::lenient(vec![key], Plan::default());
        let session = session();
        let pair = new_pair(&keys, alg, &session);
        let (message, _) = pair.access.rsplit_once('.').unwrap();
        let (message, signature) = (message.to_owned(), bare.sign(message, &mut [0; _]).to_vec());
        let assertion = Assertion::new(alg, &bare, &keys);
        Self { alg, bare, public, keys, session, pair, message, signature, assertion }
    }

    fn sign_bare(&self) {
        black_box(self.bare.sign(black_box(&self.message), &mut [0; _]));
    }

    fn mint(&self) {
        black_box(new_pair(&self.keys, self.alg, black_box(&self.session)));
    }

    fn verify_bare(&self) {
        self.public.verify(black_box(self.message.as_bytes()), &self.signature).unwrap();
    }

    fn verify<K: Kind>(&self, token: &str) {
        let with = Verifying { issuer: ISSUER, leeway: 60, now: Timestamp::from_unix(NOW) };
        black_box(verify::<K>(Compact::parse(black_box(token)).unwrap(), &self.keys, with).unwrap());
    }

    fn verify_access(&self) {
        self.verify::<AccessClaims>(&self.pair.access);
    }

    fn verify_refresh(&self) {
        self.verify::<RefreshClaims>(&self.pair.refresh);
    }

    fn verify_foreign_bare(&self) {
        self.public.verify(black_box(self.assertion.message.as_bytes()), &self.assertion.signature).unwrap();
    }

    fn verify_foreign(&self) {
        let rules = Rules {
            issuer: Some("orders"),
            audiences: &[ISSUER],
            max_age: MaxAge::FromNow(3_600),
            leeway: 5,
            now: Timestamp::from_unix(NOW),
        };
        let token = Unverified::parse(black_box(&self.assertion.token), HeaderPolicy::CLIENT).unwrap();
        black_box(foreign::verify(token, &self.assertion.keys, rules).unwrap());
    }

    fn steps(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(self.alg.name());
        group.bench_function("sign bare", |b| b.iter(|| self.sign_bare()));
        group.bench_function("mint", |b| b.iter(|| self.mint()));
        group.bench_function("verify bare", |b| b.iter(|| self.verify_bare()));
        group.bench_function("verify access", |b| b.iter(|| self.verify_access()));
        group.bench_function("verify refresh", |b| b.iter(|| self.verify_refresh()));
        group.bench_function("verify foreign", |b| b.iter(|| self.verify_foreign()));
        group.finish();
    }

    fn ratios(&self, turns: usize) {
        self.ratio("mint / sign bare", 1.25, turns, || self.sign_bare(), || self.mint());
        self.ratio("verify / verify bare", 1.15, turns, || self.verify_bare(), || self.verify_access());
        self.ratio("foreign / verify bare", 1.1, turns, || self.verify_foreign_bare(), || self.verify_foreign());
    }

    fn ratio(&self, what: &str, goal: f64, turns: usize, bare: impl Fn(), whole: impl Fn()) {
        let (mut bares, mut wholes, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..turns {
            let (bare, whole) = if turn % 2 == 0 {
                let first = micros(&bare);
                (first, micros(&whole))
            } else {
                let first = micros(&whole);
                (micros(&bare), first)
            };
            bares.push(bare);
            wholes.push(whole);
            ratios.push(whole / bare);
        }
        let (bare, whole, ratio) = (median(bares), median(wholes), median(ratios));
        let name = self.alg.name();
        println!("{name:5}  {what:21}  {ratio:.3}  (goal {goal}; {whole:.2} / {bare:.2} µs)");
    }
}

impl Assertion {
    fn new(alg: Alg, bare: &Bare, keys: &KeyRing) -> Self {
        let keys = KeySet::parse(keys.jwks(Timestamp::from_unix(NOW)).document().body(), Owner::Client).unwrap();
        let header = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, alg.name());
        let payload = format!(
            r#"{{"iss":"orders","sub":"orders","aud":"{ISSUER}","exp":{},"iat":{NOW},"jti":"0b51a1f6-6f0c-4b6f-9d0e-9f6b8f6f6f6f"}}"#,
            NOW + 300
        );
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = bare.sign(&message, &mut [0; _]).to_vec();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature));
        Self { token, message, signature, keys }
    }
}

fn session() -> Session {
    let client = ClientId::parse("orders-frontend").unwrap();
    let scope = Scope::parse("orders:read orders:write").unwrap();
    let now = Timestamp::from_unix(NOW);
    Session {
        id: None,
        dialect: Dialect::Native,
        subject: Subject::from(&client),
        client,
        scope,
        audience: Audiences::collect(Audience::parse("https://orders.example.com")).unwrap(),
        claims: ExtraClaims::default(),
        lifetime: None,
        sender: None,
        start: now,
        end: now.plus(30 * 86_400),
        actor: None,
    }
}

fn new_pair(keys: &KeyRing, alg: Alg, session: &Session) -> Pair {
    mint(keys, ISSUER, session, &Grant::whole(session, alg, 600, 86_400), Timestamp::from_unix(NOW)).unwrap()
}

/// Microseconds for one operation, of a batch.
fn micros(operation: impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..BATCH {
        operation();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
