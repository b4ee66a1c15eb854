//! Asks at a rate that does not wait for answers, as many independent callers do: what `benches/overload` loads the
//! service with.
//!
//! `overload ADDRESS METHOD FILE RATE SECONDS`: FILE has one value of Authorization a line; they are used in turn. Each
//! request takes a kept connection that is free, or a new one. An answer counts as good if it is 200 within a second;
//! who waits for longer hangs up. Prints one line: how many requests a second were meant to be sent; were good; got 503;
//! got something else; had no answer in time; found no connection; then median and p99 of the good, and p99 of the 503s,
//! in ms.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints, and stops when it is wrong")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at once: what balancers and pools before one server may well have.
const CONNECTIONS: usize = 8_000;

#[derive(Default)]
struct Seen {
    /// Milliseconds.
    good: Vec<f64>,
    shed: Vec<f64>,
    other: usize,
    silent: usize,
    unsent: usize,
}

struct Callers {
    address: SocketAddr,
    free: RefCell<Vec<TcpStream>>,
    open: RefCell<usize>,
    seen: RefCell<Seen>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, method, file, rate, seconds] = arguments.try_into().unwrap();
    let requests: Vec<Rc<str>> = std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| format!("{method} /token HTTP/1.1\r\nHost: {address}\r\nAuthorization: {line}\r\n\r\n").into())
        .collect();
    let (rate, seconds): (f64, f64) = (rate.parse().unwrap(), seconds.parse().unwrap());
    let callers = Rc::new(Callers {
        address: address.parse().unwrap(),
        free: RefCell::default(),
        open: RefCell::default(),
        seen: RefCell::default(),
    });
    let local = tokio::task::LocalSet::new();
    let asking = Rc::clone(&callers);
    local
        .run_until(async move {
            let begun = Instant::now();
            let mut tick = interval(Duration::from_millis(1));
            let mut texts = requests.iter().cycle();
            let mut sent = 0.0;
            while begun.elapsed().as_secs_f64() < seconds {
                tick.tick().await;
                let due = begun.elapsed().as_secs_f64() * rate;
                while sent < due {
                    sent += 1.0;
                    tokio::task::spawn_local(Rc::clone(&asking).call(Rc::clone(texts.next().unwrap())));
                }
            }
            tokio::time::sleep(PATIENCE).await;
        })
        .await;
    let seen = &mut *callers.seen.borrow_mut();
    let per_second = |count: usize| f64::from(u32::try_from(count).unwrap()) / seconds;
    println!(
        "{rate:.0} {:.0} {:.0} {:.0} {:.0} {:.0} {:.1} {:.1} {:.1}",
        per_second(seen.good.len()),
        per_second(seen.shed.len()),
        per_second(seen.other),
        per_second(seen.silent),
        per_second(seen.unsent),
        quantile(&mut seen.good, 50),
        quantile(&mut seen.good, 99),
        quantile(&mut seen.shed, 99),
    );
}

fn quantile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

impl Callers {
    async fn call(self: Rc<Self>, request: Rc<str>) {
        let begun = Instant::now();
        let free = self.free.borrow_mut().pop();
        if free.is_none() && *self.open.borrow() == CONNECTIONS {
            self.seen.borrow_mut().unsent += 1;
            return;
        }
        *self.open.borrow_mut() += usize::from(free.is_none());
        let answered = timeout(PATIENCE, self.exchange(free, &request)).await;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let seen = &mut *self.seen.borrow_mut();
        match answered {
            Ok(Ok((stream, status))) => {
                self.free.borrow_mut().push(stream);
                match status {
                    200 => seen.good.push(took),
                    503 => seen.shed.push(took),
                    _ => seen.other += 1,
                }
            }
            failed => {
                *self.open.borrow_mut() -= 1;
                match failed {
                    Err(_) => seen.silent += 1,
                    Ok(_) => seen.other += 1,
                }
            }
        }
    }

    /// The connection, and the status of the answer.
    async fn exchange(&self, free: Option<TcpStream>, request: &str) -> std::io::Result<(TcpStream, u16)> {
        let mut stream = match free {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 8 << 10];
        let mut filled = 0;
        loop {
            let read = stream.read(answer.get_mut(filled..).unwrap_or_default()).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some((status, length)) = whole(answer.get(..filled).unwrap_or_default())
                && filled >= length
            {
                return Ok((stream, status));
            }
        }
    }
}

/// Status and length of an answer whose head is there.
fn whole(answer: &[u8]) -> Option<(u16, usize)> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    Some((text.get(9..12)?.parse().ok()?, head + length))
}
