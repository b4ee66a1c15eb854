//! Failed authentications by assertion are counted and limited as wrong secrets are.

use crate::app::{Answer, SECRET, TestApp, basic, standard};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `limits.failures`: "client authentications of one address that may fail". A right secret is heard all the same.
#[test]
fn a_failed_assertion_counts() {
    let config = standard() + "[limits]\nfailures = 3\n";
    // Of an unknown client, and none at all.
    let unknown = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJub2JvZHkifQ.AAAA";
    for assertion in [unknown, "a.b.c", "x"] {
        let app = TestApp::with(&config, &["2026-01-01T00-00-00Z.es256.pem"]);
        let form = |headers: &[&str], more: &str| -> Answer {
            let body = format!("grant_type=client_credentials{more}");
            app.send("POST", "/oauth2/token", &[&[FORM], headers].concat(), &body)
        };
        let guess = || form(&[], &format!("&client_assertion_type={JWT_BEARER}&client_assertion={assertion}"));
        // One more may fail each second, and on a busy machine that second may come at any time.
        let until_limited = || (0..100).map(|_| guess()).find(|answer| answer.status == 429).unwrap();
        assert_eq!(guess().status, 401, "{assertion}");
        let limited = until_limited();
        assert_eq!(limited.json()["error"], "temporarily_unavailable");
        assert!(limited.header("retry-after").is_some(), "{limited:?}");
        // The limit is the address's, whatever the method: a limit of its own would let three pass.
        let by_secret = || (until_limited(), form(&[&basic("orders", "wrong")], "")).1.status;
        assert!((0..3).any(|_| by_secret() == 429), "{assertion}");
        assert_eq!(form(&[&basic("orders", SECRET)], "").status, 200);
    }
}
