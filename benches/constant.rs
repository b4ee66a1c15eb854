//! A bare hyper server that answers every request with one recorded answer: what
//! `benches/compare` and `benches/overload` compare lingpai with. No router, no time-outs,
//! no work but what is asked for, and one thread.
//!
//! `constant FILE [sign|verify|both [SHARE]]`, where FILE holds an HTTP/1.1 answer as `curl -i`
//! writes it; with `sign` or `verify` ring makes or checks exactly one ES256 signature
//! for each request, but for a SHARE of them (0 to 1), which get the shortest 503.
//! Prints where it listens: a port of its own on 127.0.0.1.

#![expect(clippy::print_stdout, reason = "says where it listens")]
#![expect(clippy::unwrap_used, reason = "a measurement may fail so")]

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;

use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, DATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, Signature, UnparsedPublicKey,
};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

type Answer = hyper::Response<Full<Bytes>>;

/// As long as what is signed of one of lingpai's access tokens.
const MESSAGE: &[u8] = &[b'x'; 400];

/// What is done for each request.
enum Work {
    Nothing,
    Sign(EcdsaKeyPair, SystemRandom),
    Verify(UnparsedPublicKey<Vec<u8>>, Signature),
    /// A verification, then a signature.
    Both(Box<Self>, Box<Self>),
}

impl Work {
    /// With a new key.
    fn named(name: Option<&str>) -> Option<Self> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap();
        match name {
            None => Some(Self::Nothing),
            Some("sign") => Some(Self::Sign(pair, random)),
            Some("verify") => {
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().to_vec());
                Some(Self::Verify(public, pair.sign(&random, MESSAGE).unwrap()))
            }
            Some("both") => Some(Self::Both(Self::named(Some("verify"))?.into(), Self::named(Some("sign"))?.into())),
            Some(_) => None,
        }
    }

    /// Whether it went well.
    fn done(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Sign(pair, random) => pair.sign(random, MESSAGE).is_ok(),
            Self::Verify(public, signature) => public.verify(MESSAGE, signature.as_ref()).is_ok(),
            Self::Both(first, second) => first.done() && second.done(),
        }
    }
}

const USAGE: &str = "usage: constant FILE [sign|verify|both [SHARE]]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let answer = recorded(&std::fs::read_to_string(arguments.next().ok_or(USAGE)?)?)?;
    let work = Rc::new(Work::named(arguments.next().as_deref()).ok_or(USAGE)?);
    let refused = arguments.next().map_or(Ok(0.0), |share| share.parse())?;
    LocalSet::new().run_until(serve(answer, work, refused)).await
}

async fn serve(answer: Answer, work: Rc<Work>, refused: f64) -> Result<(), Box<dyn Error>> {
    let mut refusal = hyper::Response::new(Full::default());
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let owed = Rc::new(Cell::new(0.0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("constant at http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (answer, refusal, work, owed) = (answer.clone(), refusal.clone(), Rc::clone(&work), Rc::clone(&owed));
        let service = service_fn(move |_| {
            owed.set(owed.get() + refused);
            let answer = if owed.get() >= 1.0 {
                owed.set(owed.get() - 1.0);
                refusal.clone()
            } else {
                let mut answer = answer.clone();
                if !work.done() {
                    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                }
                answer
            };
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The recorded answer, without the two headers that hyper writes itself.
fn recorded(text: &str) -> Result<Answer, Box<dyn Error>> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no empty line after the head")?;
    let mut answer = hyper::Response::builder();
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        if name != CONTENT_LENGTH && name != DATE {
            answer = answer.header(name, value);
        }
    }
    Ok(answer.body(Full::new(Bytes::from(body.to_owned())))?)
}
