//! A bare hyper server that answers every request with one recorded answer: what
//! `benches/load` compares lingpai with. No router, no time-outs, no work.
//!
//! `constant FILE`, where FILE holds an HTTP/1.1 answer as `curl -i` writes it.
//! Prints where it listens: a port of its own on 127.0.0.1.

#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::convert::Infallible;
use std::error::Error;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, DATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Answer = hyper::Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: constant FILE")?;
    let answer = recorded(&std::fs::read_to_string(file)?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("constant at http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service = service_fn(move |_| {
            let answer = answer.clone();
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
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
