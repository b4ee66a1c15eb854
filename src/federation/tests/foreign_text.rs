//! What an issuer's servers may put into the log.

use super::*;

/// What a server says of itself is cut, and stays on one line.
#[tokio::test]
async fn failures_are_short_lines() {
    let server = Server::start(issuer).await;
    let source = Source { at: At::Discovered(server.url().into()), ..server.source() };
    let uri = format!("{}/keys?\u{2028}{}", server.url(), "x".repeat(3_000));
    let long = "k\n\u{2028}".repeat(2_000);
    for (answer, expected) in [
        (ok("[]"), ": not a JSON Web Key Set"),
        (ok(json!({"keys": []}).to_string()), ": no key that can be used"),
        (ok(keys(&[&long, &long])), ": two keys have the kid"),
    ] {
        let metadata = ok(json!({"issuer": server.url(), "jwks_uri": uri}).to_string());
        server.says(move |path, _| if path.starts_with("/keys") { answer.clone() } else { metadata.clone() });
        let kept = Arc::new(Kept::new("https://issuer.example", source.clone()));
        kept.prepare(None, at(0)).await;
        let said = kept.failure().unwrap();
        assert!(said.contains(&format!("/keys??{}", "x".repeat(100))) && said.contains(expected), "{said}");
        assert!(said.chars().count() <= 1_000 && !said.contains(['\n', '\u{2028}']), "{said}");
    }
}
