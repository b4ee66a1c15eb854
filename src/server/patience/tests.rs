//! What a slow client may take its time for, on a clock of its own.

use futures_util::FutureExt as _;
use tokio::io::AsyncWriteExt as _;

use super::super::heads::{FRAMES, SMALL};
use super::*;

impl Abort for tokio::io::DuplexStream {
    fn abort(&self) {}
}

const LIMITS: Limits =
    Limits { head: Duration::from_secs(5), idle: Duration::from_mins(1), answer: Duration::from_secs(30) };

fn shared(open: &Arc<Open>) -> Shared {
    Shared { open: Arc::clone(open), heads: Pool::new(4), caller: Caller::default() }
}

/// Seconds until a read fails.
async fn patience<S: AsyncRead + Unpin>(stream: &mut Patient<S>) -> u64 {
    let begun = Instant::now();
    let read = stream.read(&mut [0; 64]).await;
    assert!(matches!(read, Err(error) if error.kind() == io::ErrorKind::TimedOut));
    begun.elapsed().as_secs()
}

/// Seconds until a read fails after this arrived in `pieces`, a second between.
async fn after(pieces: &[&[u8]]) -> u64 {
    let (mut client, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), piece.len());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    patience(&mut stream).await
}

#[tokio::test(start_paused = true)]
async fn the_first_head_has_five_seconds_whatever_it_is() {
    assert_eq!(after(&[]).await, 5);
    assert_eq!(after(&[b"P"]).await, 4);
    assert_eq!(after(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r"]).await, 3);
    assert_eq!(after(&[b"G"]).await, 4);
    assert_eq!(after(&[b"P", b"O", b"S", b"T"]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn http2_may_be_idle_from_its_start() {
    assert_eq!(after(&[PREFACE]).await, 59);
    assert_eq!(after(&[b"PRI * HTTP/2.0\r\n\r\n", b"SM\r\n\r\n", b"a frame"]).await, 58);
}

#[tokio::test(start_paused = true)]
async fn after_an_answer_it_may_be_idle_but_not_slow() {
    let (mut client, server) = tokio::io::duplex(64);
    let answering = Arc::<Open>::default();
    let mut stream = Patient::new(server, LIMITS, shared(&answering));
    // The timer of this wait goes off while the request is answered.
    assert!(tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await.is_err());
    client.write_all(b"GET").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    let one = answering.one();
    // Its body has a limit elsewhere.
    let read = tokio::time::timeout(Duration::from_mins(10), stream.read(&mut [0; 64])).await;
    assert!(read.is_err());
    drop(one);
    assert_eq!(patience(&mut stream).await, 60);

    let mut stream = Patient::new(stream.stream, LIMITS, shared(&answering));
    client.write_all(b"GET").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    drop(answering.one());
    let one = answering.one();
    assert!(tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await.is_err());
    drop(one);
    assert!(tokio::time::timeout(Duration::from_secs(59), stream.read(&mut [0; 64])).await.is_err());
    client.write_all(b"G").await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();
    assert_eq!(patience(&mut stream).await, 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_seen_to_begin_ends_the_wait_for_a_head() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    for _ in 0..3 {
        client.write_all(b"GET").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        stream.write_all(b"200").await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(patience(&mut stream).await, 50);
}

/// The buffer takes 64 bytes; then nobody reads.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let (_silent, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    let written = tokio::time::timeout(Duration::from_secs(6), stream.write_all(&[0; 65])).await;
    assert!(matches!(written, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut));

    // One that reads slowly is not.
    let (mut client, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    let slow = tokio::spawn(async move {
        let mut taken = [0; 64];
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            client.read_exact(&mut taken).await.unwrap();
        }
    });
    stream.write_all(&[0; 192]).await.unwrap();
    slow.await.unwrap();
}

/// One that takes something each time, but too little, is given up in the end; meanwhile nothing is read.
#[tokio::test(start_paused = true)]
async fn an_answer_has_a_whole_time() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            if client.read_exact(&mut [0; 8]).await.is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    let written = stream.write_all(&[0; 1_000]).await;
    assert!(matches!(written, Err(error) if error.kind() == io::ErrorKind::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_until_all_has_left() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut stream = Patient::new(server, LIMITS, shared(&Arc::default()));
    client.write_all(b"more").await.unwrap();
    assert!(stream.write_all(&[0; 65]).now_or_never().is_none());
    assert!(stream.read(&mut [0; 4]).now_or_never().is_none());
    client.read_exact(&mut [0; 64]).await.unwrap();
    stream.write_all(&[0]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 4);
}

/// hyper reads as much as HTTP/2's preface has first, and then what a small head may have in all. What comes with a
/// request may be the next ones.
#[tokio::test]
async fn requests_sent_ahead_are_no_large_head() {
    let open = Arc::default();
    let (mut client, server) = tokio::io::duplex(SMALL * 5);
    let mut stream = Patient::new(server, LIMITS, Shared { heads: Pool::new(0), ..shared(&open) });
    client.write_all(&vec![0; SMALL * 5]).await.unwrap();
    stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
    let mut piece = [0; SMALL];
    for most in [SMALL - PREFACE.len(), SMALL - 1, SMALL - 1] {
        assert_eq!(stream.read(&mut piece).await.unwrap(), most);
        drop(open.one());
    }
    // Without a request in it, it is one.
    for most in [SMALL - 1, 1] {
        assert_eq!(stream.read(&mut piece).await.unwrap(), most);
    }
    let error = stream.read(&mut piece).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
}

/// HTTP/2 also sends frames that belong to no request, but not without end, and others have their turn meanwhile.
#[tokio::test]
async fn frames_without_requests_are_bounded() {
    let open = Arc::default();
    let (mut client, server) = tokio::io::duplex(4 * FRAMES);
    let mut stream = Patient::new(server, LIMITS, shared(&open));
    client.write_all(PREFACE).await.unwrap();
    stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
    drop(open.one());
    client.write_all(&vec![0; 4 * FRAMES]).await.unwrap();
    // Those of two requests in advance, and of the one that came. What was read with the preface counts too.
    let mut read = vec![0; 3 * FRAMES - PREFACE.len()];
    let mut reading = Box::pin(stream.read_exact(&mut read));
    assert!(reading.as_mut().now_or_never().is_none());
    reading.await.unwrap();
    let mut more = vec![0; 2 * SMALL];
    let error = stream.read_exact(&mut more).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    // Another request allows more.
    drop(open.one());
    assert!(stream.read(&mut more).await.unwrap() > 0);
}

/// HTTP/2 sends frames without a request, and bodies are discarded after the last answer.
#[tokio::test]
async fn what_is_no_head_is_no_large_one() {
    for is_http2 in [true, false] {
        let open = Arc::default();
        let (mut client, server) = tokio::io::duplex(SMALL * 5);
        let mut stream = Patient::new(server, LIMITS, Shared { heads: Pool::new(0), ..shared(&open) });
        if is_http2 {
            client.write_all(PREFACE).await.unwrap();
            stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        } else {
            stream.shutdown().await.unwrap();
        }
        client.write_all(&vec![0; SMALL * 4]).await.unwrap();
        stream.read_exact(&mut vec![0; SMALL * 4]).await.unwrap();
    }
}

/// Of a pool of one, the first connection with a large head takes it until its request has come.
#[tokio::test(start_paused = true)]
async fn large_heads_are_limited() {
    let heads = Pool::new(1);
    let opens = [Arc::<Open>::default(), Arc::default()];
    let mut ends = opens.each_ref().map(|open| {
        let (client, server) = tokio::io::duplex(SMALL * 2);
        (client, Patient::new(server, LIMITS, Shared { heads: Arc::clone(&heads), ..shared(open) }))
    });
    let mut large = vec![0; SMALL * 2];
    for (client, _) in &mut ends {
        client.write_all(&large).await.unwrap();
    }
    let [(_client, first), (_, second)] = &mut ends;
    first.read_exact(&mut large).await.unwrap();
    let read = second.read_exact(&mut large).await;
    assert!(matches!(read, Err(error) if error.kind() == io::ErrorKind::QuotaExceeded));
    assert!(heads.take(Caller::default()).is_none());
    drop(opens[0].one());
    first.write_all(b"the answer").await.unwrap();
    assert!(heads.take(Caller::default()).is_some());
}
