//! What the operator sees: warnings, digests, pages.

use std::fs;

use serde_json::{Value, json};

use super::{DAY, KEY};
use crate::app::{ISSUER, TestApp, edited, standard};

/// A server warns where the command line refuses: it would help nobody to stay behind.
#[test]
fn what_breaks_something_is_warned_of() {
    let app = &TestApp::start();
    app.add_key(-7);
    app.look();
    let said = app.ready()["warnings"].to_string();
    for part in ["is new and signs at once, and verifiers", "has signed for 7 s after its successor's instant, because"]
    {
        assert!(said.contains(part), "{said}");
    }

    let app = TestApp::start();
    let warned = |expected: &str| {
        let said = app.look().ready();
        assert!(said["warnings"].to_string().contains(expected), "{said}");
        assert_eq!((&said["reload_error"], app.metric("lingpai_warnings")), (&Value::Null, 1));
    };
    app.add_key(200);
    warned("is new and signs in 200 s, and verifiers may keep the keys without it for 300 s");
    // It is over when every verifier has the new keys.
    app.at(299).look();
    assert_eq!(app.metric("lingpai_warnings"), 1);
    app.at(300).look();
    assert_eq!((app.metric("lingpai_warnings"), &app.ready()["warnings"]), (0, &json!([])));
    app.write(&edited("[token]", "[token]\nrefresh_lifetime = \"1h\""));
    warned("the refresh lifetime is lowered while refresh tokens of 2026-01-01T00-00-00Z.es256.pem live until");
    app.write(&standard()).look();
    fs::remove_file(app.key(KEY)).unwrap();
    warned("2026-01-01T00-00-00Z.es256.pem is gone, and tokens that it signed last until 2026-06-02T12:03:25Z");
}

/// A revocation may make an older key sign again; that it does is said.
#[test]
fn a_revocation_that_hands_back_is_warned_of() {
    let app = TestApp::start();
    let new = app.add_key(-59);
    app.look();
    app.write(&format!("{}\n[keys]\nrevoked = [{new:?}]", standard())).look();
    assert_ne!(app.kid(), new);
    let warnings = app.ready()["warnings"].to_string();
    assert!(warnings.contains("2026-01-01T00-00-00Z.es256.pem signs again in its place"), "{warnings}");

    // A key that has signed does not sign once more under a later name, without a word.
    let app = TestApp::start();
    app.add_key(-59);
    app.look();
    fs::rename(app.key(KEY), app.key("2026-07-01T00-00-00Z.es256.pem")).unwrap();
    let warnings = app.look().ready()["warnings"].to_string();
    assert!(warnings.contains("has signed and is renamed 2026-07-01T00-00-00Z.es256.pem"), "{warnings}");
}

/// Replicas agree where they issue and accept the same, wherever they listen and whatever their secrets are.
#[test]
fn digests() {
    let of = |config: &str, keys: &[&str]| {
        let app = TestApp::with(config, keys);
        let ready = app.ready();
        let digests = ["keys_digest", "configuration_digest"].map(|name| ready[name].as_str().unwrap().to_owned());
        for digest in &digests {
            assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
        }
        let metric = app.metric("lingpai_keys_digest");
        assert_eq!(metric, i64::from_str_radix(&digests[0][..12], 16).unwrap());
        digests
    };
    let eddsa = "2026-01-01T00-00-00Z.eddsa.pem";
    let standard_digests = of(&standard(), &[KEY]);
    let other_secret = standard().replace("secrets = [\"sha256:", "secrets = [\"sha256:0");
    let other_secret =
        other_secret.lines().map(|line| match line.strip_suffix("\"]").filter(|l| l.contains("sha256:0")) {
            Some(longer) => format!("{}\"]\n", &longer[..longer.len() - 1]),
            None => format!("{line}\n"),
        });
    for same in [
        standard() + "# a remark\n[ops]\nlisten = \"127.0.0.1:0\"\n[reload]\ninterval = \"9s\"",
        edited("[token]", "listen = \"127.0.0.1:0\"\n[token]"),
        other_secret.collect(),
    ] {
        assert_eq!(of(&same, &[KEY]), standard_digests, "{same}");
    }
    for (from, to) in [
        (ISSUER, "https://other.example"),
        ("[token]", "[token]\nleeway = \"6s\""),
        ("[token]", "[keys]\njwks_max_age = \"6m\"\n[token]"),
        ("[token]", "[token]\naccess_lifetime = \"9m\""),
        ("[token]", "[limits]\nfailures = 9\n[token]"),
        ("[token]", "[cors]\norigins = [\"https://a.example\"]\n[token]"),
        ("[token]", "trusted_proxies = [\"10.0.0.0/8\"]\n[token]"),
        ("id = \"billing\"", "id = \"billing\"\nrate = 9"),
        // It counts for keys, though no client may have it.
        (
            "[anonymous]\nscope = [\"guest\"]\n[[clients]]",
            "refresh_lifetime = \"3d\"\n[[clients]]\nrefresh_lifetime = \"1d\"",
        ),
        ("[\"bills\"]", "[\"bills\", \"more\"]"),
        ("\"robot\"", "\"robots\""),
        ("id = \"billing\"", "id = \"billings\""),
        ("[anonymous]\nscope = [\"guest\"]", ""),
        ("id = \"billing\"", "id = \"billing\"\nnot_before = \"2026-01-01T00:00:00Z\""),
        ("https://stock", "https://stocks"),
        ("\"groups\"", "\"group\""),
    ] {
        let [keys, configuration] = of(&edited(from, to), &[KEY]);
        assert_eq!(keys, standard_digests[0]);
        assert_ne!(configuration, standard_digests[1], "{to}");
    }
    let [keys, configuration] = of(&standard(), &[KEY, eddsa]);
    assert_ne!(keys, standard_digests[0]);
    assert_eq!(configuration, standard_digests[1]);
}

#[test]
fn the_operators_pages() {
    let app = TestApp::start();
    let health = app.operator("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
    let metrics = app.operator("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    assert_eq!(app.metric("lingpai_keys{state=\"signing\"}"), 1);
    let ready = app.operator("/readyz");
    assert_eq!((ready.status, ready.header("content-type")), (200, Some("application/json")));
    assert!(!ready.body.contains("sha256:") && !ready.body.contains("PRIVATE"), "{ready:?}");
    // Before the first key nothing signs.
    app.at(-200 * DAY);
    let ready = app.operator("/readyz");
    assert_eq!((ready.status, ready.json()["keys"][0]["state"].clone()), (503, json!("upcoming")));
    app.at(0);

    app.operator("/token").assert_error(404, "NotFound", "there is nothing at this path");
    app.send("GET", "/metrics", &[], "").assert_error(404, "NotFound", "there is nothing at this path");
}
