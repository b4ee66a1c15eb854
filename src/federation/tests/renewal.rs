//! When an issuer's keys are fetched, and how long they serve.

use super::*;

/// "One fetch per issuer at a time"; "At most 64 requests wait for an issuer's first fetch; further ones are 503."
#[tokio::test]
async fn many_wait_for_one_fetch() {
    let server = Server::start(issuer).await;
    server.permits.forget_permits(1_000);
    let kept = Arc::new(Kept::new("i", server.source()));
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                kept.prepare(Some("a"), at(0)).await;
                kept.current(at(0)).is_some()
            })
        })
        .collect();
    while server.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // The next one does not wait, and gets no keys.
    kept.prepare(Some("a"), at(0)).await;
    assert!(kept.current(at(0)).is_none());
    // The fetch goes on when the caller that started it hangs up.
    waiting.iter().take(1).for_each(tokio::task::JoinHandle::abort);
    server.permits.add_permits(1_000);
    for one in waiting.into_iter().skip(1) {
        assert!(one.await.unwrap(), "it did not wait");
    }
    assert_eq!((server.asked(), kept.current(at(0)).unwrap().len()), (1, 1));
}

/// "an unknown `kid` fetches again at most once in 30 s".
#[tokio::test]
async fn a_flood_of_unknown_kids() {
    let server = Server::start(issuer).await;
    let kept = Arc::new(Kept::new("i", server.source()));
    kept.prepare(Some("a"), at(0)).await;
    assert_eq!(server.asked(), 1);
    for seconds in 0..30 {
        kept.prepare(Some(&format!("x{seconds}")), at(seconds)).await;
    }
    assert_eq!(server.asked(), 1);
    server.says(|_, _| ok(keys(&["a", "b"])));
    kept.prepare(Some("b"), at(30)).await;
    assert!(kept.current(at(30)).unwrap().has_kid("b"));
    for seconds in 30..60 {
        kept.prepare(Some("y"), at(seconds)).await;
        // Without a `kid` there is nothing unknown to fetch for.
        kept.prepare(None, at(seconds + 30)).await;
    }
    assert_eq!(server.asked(), 2);
    // A clock that is set back does not delay fetches for ever.
    kept.prepare(Some("z"), at(-3_600)).await;
    assert_eq!(server.asked(), 3);
}

/// "a set is fetched again, beside the traffic, when it is older than its `max-age`, held to between 5 minutes and 1 hour".
#[tokio::test]
async fn keys_are_renewed_beside_the_traffic() {
    for (header, until) in [
        ("", 300),
        ("Cache-Control: max-age=1\r\n", 300),
        ("Cache-Control: public, Max-Age=\"600\"\r\n", 600),
        ("Cache-Control: no-cache\r\nCache-Control: max-age=99999999999999999999\r\n", 300),
        ("Cache-Control: max-age=86400\r\n", 3_600),
    ] {
        let server = Server::start(move |_, _| with("200 OK", header, keys(&["a"]))).await;
        let kept = Arc::new(Kept::new("i", server.source()));
        kept.prepare(Some("a"), at(0)).await;
        kept.prepare(Some("a"), at(until - 1)).await;
        assert_eq!(server.asked(), 1, "{header}");
        server.permits.forget_permits(1_000);
        server.says(|_, _| ok(keys(&["a", "b"])));
        for _ in 0..3 {
            // No one waits, and one fetch is enough.
            kept.prepare(Some("a"), at(until)).await;
            assert!(!kept.current(at(until)).unwrap().has_kid("b"));
            tokio::task::yield_now().await;
        }
        server.permits.add_permits(1_000);
        while !kept.current(at(until)).unwrap().has_kid("b") {
            tokio::task::yield_now().await;
        }
        assert_eq!((server.asked(), kept.age(at(until))), (2, Some(0)), "{header}");
    }
}

/// "the last good set serves for a day, after that its tokens are 503".
#[tokio::test]
async fn the_last_good_keys_serve_for_a_day() {
    let server = Server::start(issuer).await;
    let kept = Arc::new(Kept::new("i", server.source()));
    kept.prepare(Some("a"), at(0)).await;
    server.says(|_, _| with("503 Later", "", ""));
    for hour in 1..24 {
        kept.prepare(Some("a"), at(hour * 3_600)).await;
        assert!(kept.current(at(hour * 3_600)).is_some());
        while server.asked() <= usize::try_from(hour).unwrap() || kept.failure().is_none() {
            // The previous fetch may still be running.
            kept.prepare(Some("a"), at(hour * 3_600)).await;
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((kept.age(at(86_399)), kept.current(at(86_399)).is_some()), (Some(86_399), true));
    assert!(kept.current(at(86_400)).is_none());
    assert!(kept.failure().unwrap().contains("status 503"));
    let before = server.asked();
    for seconds in [0, 1, 4] {
        kept.prepare(Some("a"), at(86_400 + seconds)).await;
    }
    assert_eq!(server.asked(), before + 1, "a server that fails is not asked at once again");
    server.says(issuer);
    kept.prepare(Some("a"), at(86_410)).await;
    assert_eq!((kept.current(at(86_410)).is_some(), kept.failure()), (true, None));
}
