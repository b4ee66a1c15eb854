//! Which key signs, verifies and is published at each second.

use std::fs;
use std::path::Path;

use lingpai::clients::Registry;
use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg, Key, KeyRing, Plan, Purpose, State};
use tempfile::tempdir;

use super::{EDDSA, ES256, RS256, kids};
use crate::app::{ISSUER, SECRET, START, TestApp, copy_key, load, segment, standard};

#[test]
fn without_a_key_that_signs_now_there_is_no_ring() {
    let now = Timestamp::from_unix(START);
    let refused = |folder: &Path, algorithm| {
        let plan = Plan { algorithms: [algorithm].into(), ..Plan::default() };
        KeyRing::new(keys::load(folder).unwrap(), plan, folder, now).unwrap_err().to_string()
    };
    let folder = tempdir().unwrap();
    let absent = folder.path().join("absent");
    let expected = |folder: &Path, alg: &str| {
        format!("{}: holds no {alg} key that signs now; make one with `lingpai keys new --alg {alg}`", folder.display())
    };
    let said = refused(&absent, Alg::Es256);
    assert!(said.contains("the folder does not exist; put it back, or make one with `lingpai keys new"), "{said}");
    assert_eq!(refused(folder.path(), Alg::Es256), expected(folder.path(), "ES256"));
    copy_key(ES256, &folder.path().join(ES256));
    assert_eq!(refused(folder.path(), Alg::EdDsa), expected(folder.path(), "EdDSA"));
    // One second too early.
    let folder = tempdir().unwrap();
    keys::generate(folder.path(), Alg::Es256, now.plus(1)).unwrap();
    let said = refused(folder.path(), Alg::Es256);
    assert!(said.contains("the first is 2026-06-01T12-00-01Z.es256.pem"), "{said}");
    assert!(said.contains("this machine's clock says 2026-06-01T12:00:00Z"), "{said}");
}

/// Two keys of one algorithm, the second `0` seconds after its own instant.
#[test]
fn what_each_key_does_at_each_second() {
    use State::{Retired, Retiring, Signing, Upcoming};
    let (first, second) = (Timestamp::from_unix(START), Timestamp::from_unix(START + 1_000));
    let folder = tempdir().unwrap();
    let old = keys::generate(folder.path(), Alg::Es256, first).unwrap();
    let new = keys::generate(folder.path(), Alg::Es256, second).unwrap();
    let plan = Plan { access_window: 100, refresh_window: 300, ..Plan::default() };
    let ring = KeyRing::lenient(keys::load(folder.path()).unwrap(), plan.clone());
    // seconds, states, who signs, whether the old key verifies access and refresh tokens
    let table = [
        (-1_001, [Upcoming, Upcoming], None, true, true),
        (-1_000, [Signing, Upcoming], Some(&old), true, true),
        (-1, [Signing, Upcoming], Some(&old), true, true),
        (0, [Retiring, Signing], Some(&new), true, true),
        (99, [Retiring, Signing], Some(&new), true, true),
        (100, [Retiring, Signing], Some(&new), false, true),
        (299, [Retiring, Signing], Some(&new), false, true),
        (300, [Retired, Signing], Some(&new), false, false),
        (1_000_000, [Retired, Signing], Some(&new), false, false),
    ];
    // Backwards too: a clock may be set back, and nothing may be remembered wrongly.
    for (after, states, signer, access, refresh) in table.iter().chain(table.iter().rev()) {
        let now = second.plus(*after);
        let found: Vec<_> = ring.schedule(now).iter().map(|one| one.state).collect();
        assert_eq!(found, states, "{after}");
        assert_eq!(ring.signer(Alg::Es256, now).map(Key::kid), signer.map(Key::kid), "{after}");
        let accepts = |key: &Key, purpose| ring.find(key.header(purpose)).unwrap().accepts(now);
        assert_eq!(accepts(&old, Purpose::Access), *access, "{after}");
        assert_eq!(accepts(&old, Purpose::Refresh), *refresh, "{after}");
        assert!(accepts(&new, Purpose::Access) && accepts(&new, Purpose::Refresh), "{after}");
        // Published is what verifies access tokens.
        let published = if *access { vec![old.jwk(), new.jwk()] } else { vec![new.jwk()] };
        assert_eq!(ring.jwks(now).document().body(), &format!("{{\"keys\":[{}]}}", published.join(",")), "{after}");
        // Every replica has the same tag, however long it has been running.
        let other = KeyRing::lenient(keys::load(folder.path()).unwrap(), plan.clone());
        assert_eq!(ring.jwks(now).document().etag(), other.jwks(now).document().etag());
    }
}

#[test]
fn the_windows_are_of_the_longest_lifetime() {
    let client = |lifetimes: &str| {
        let digest = lingpai::clients::SecretDigest::of(b"x").written();
        format!("[[clients]]\nid = \"{}\"\nsecrets = [\"{digest}\"]\n{lifetimes}\n", lifetimes.len())
    };
    let longer = client("access_lifetime = \"1h\"\nrefresh_lifetime = \"2d\"");
    let shorter = client("access_lifetime = \"1m\"\nrefresh_lifetime = \"1h\"\n");
    let leeway = "[token]\nleeway = \"60s\"\n";
    for (tables, access, refresh) in [
        (String::new(), 600 + 5, 86_400 + 5),
        (shorter.clone(), 600 + 5, 86_400 + 5),
        (longer.clone() + &shorter, 3_600 + 5, 2 * 86_400 + 5),
        (leeway.to_owned() + &shorter + &longer, 3_600 + 60, 2 * 86_400 + 60),
    ] {
        let folder = tempdir().unwrap();
        let config = load(folder.path(), &format!("issuer = \"{ISSUER}\"\n{tables}")).unwrap();
        let plan = lingpai::app::plan(&config, &Registry::compile(&config).unwrap()).unwrap();
        assert_eq!((plan.access_window, plan.refresh_window), (access, refresh), "{tables}");
    }
}

/// The kid in a token's header.
fn kid_of(token: &str) -> String {
    segment(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn published(app: &TestApp) -> (Vec<String>, String) {
    let answer = app.send("GET", "/.well-known/jwks.json", &[], "");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    let kids = keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    (kids, answer.header("etag").unwrap().to_owned())
}

#[test]
fn a_switch_under_load() {
    let app = TestApp::start();
    let old = kids(&app.folder.path().join("keys"));
    let new = keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(START + 1_000)).unwrap();
    let both = [old.clone(), vec![new.kid().to_string()]].concat();
    app.reconfigure(&standard());

    let last = app.at(999).create("");
    let (last, last_refresh) = (last.text("value"), last.text("refresh"));
    assert_eq!((kid_of(&last), kid_of(&last_refresh)), (old[0].clone(), old[0].clone()));
    let first = app.at(1_000).create("").text("value");
    assert_eq!(kid_of(&first), both[1]);
    // A replica whose clock is behind.
    assert_eq!(app.at(999).inspect(&first, "").status, 200);
    assert_eq!(app.at(995).inspect(&first, "").status, 200);
    app.at(994).inspect(&first, "").assert_invalid_token(Some("the token is not yet valid"));
    // To its very last second.
    assert_eq!(app.at(999 + 604).inspect(&last, "").status, 200);
    app.at(999 + 605).inspect(&last, "").assert_invalid_token(Some("the token has expired"));

    let (kids, tag) = published(app.at(0));
    assert_eq!(kids, both);
    assert_eq!(published(app.at(1_604)), (both.clone(), tag.clone()));
    let (kids, later) = published(app.at(1_605));
    assert_eq!(kids, both[1..]);
    assert_ne!(tag, later);
    assert_eq!(published(app.at(1_604)), (both.clone(), tag));

    let renewed = app.at(999 + 86_404).refresh(&last_refresh, "");
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(kid_of(&renewed.text("refresh")), both[1]);
    app.at(999 + 86_405).refresh(&last_refresh, "").assert_invalid_token(Some("the token has expired"));
    // The key's own end comes before anything in the token is read.
    app.at(1_000 + 86_405).refresh(&last_refresh, "").assert_invalid_token(None);
}

#[test]
fn keys_of_several_algorithms_live_together() {
    let app = TestApp::with(&standard(), &[ES256, EDDSA, RS256]);
    let mut tokens = Vec::new();
    for alg in ["ES256", "EdDSA", "RS256"] {
        app.reconfigure(&standard().replace("[token]", &format!("[token]\nalgorithm = \"{alg}\"")));
        let answer = app.create("");
        assert_eq!(segment(&answer.text("value"), 0)["alg"], alg);
        assert_eq!(segment(&answer.text("refresh"), 0)["alg"], "HS256");
        tokens.push((answer.text("value"), answer.text("refresh")));
        for (access, refresh) in &tokens {
            assert_eq!(app.inspect(access, "").status, 200, "{alg}");
            assert_eq!(app.refresh(refresh, "").status, 200, "{alg}");
        }
    }
    assert_eq!(published(&app).0.len(), 3);
}

/// A relying party that knows only RS256 is served beside others.
#[test]
fn a_client_has_an_algorithm_of_its_own() {
    let own = standard().replace("id = \"billing\"", "id = \"billing\"\nalgorithm = \"RS256\"");
    let app = TestApp::with(&own, &[ES256, RS256]);
    let alg = |answer: &crate::app::Answer| segment(&answer.text("value"), 0)["alg"].clone();
    let billing = app.create_as("billing", SECRET, "");
    assert_eq!((alg(&app.create("")), alg(&billing)), ("ES256".into(), "RS256".into()));
    assert_eq!(app.inspect(&billing.text("value"), "").status, 200);
    // A refresh looks at the client again.
    assert_eq!(alg(&app.refresh(&billing.text("refresh"), "")), "RS256");
    app.reconfigure(&standard());
    assert_eq!(alg(&app.refresh(&billing.text("refresh"), "")), "ES256");
    assert_eq!(app.inspect(&billing.text("value"), "").status, 200);

    // Without a key of every algorithm in use nothing starts.
    fs::remove_file(app.folder.path().join("keys").join(RS256)).unwrap();
    let config = load(app.folder.path(), &own).unwrap();
    let said = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(said.contains("holds no RS256 key") && said.contains("`lingpai keys import FILE`"), "{said}");
    let wrong = load(app.folder.path(), &own.replace("RS256", "none")).unwrap();
    let said = lingpai::app::snapshot(&wrong, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(said.contains("lingpai.toml:16:13: expected an algorithm"), "{said}");
}

/// "sorted by instant, then by `alg` as bytes"
#[test]
fn the_order_of_the_published_keys() {
    let app = TestApp::with(&standard(), &[RS256, EDDSA, ES256]);
    keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(START + 9)).unwrap();
    keys::generate(&app.folder.path().join("keys"), Alg::Es256, Timestamp::from_unix(1)).unwrap();
    // So late that the first of them, which was replaced on 2026-01-01, is gone.
    app.reconfigure(&standard());
    let answer = app.send("GET", "/.well-known/jwks.json", &[], "").json();
    let algs: Vec<_> = answer["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(algs, ["ES256", "EdDSA", "RS256", "ES256"]);
}

#[test]
fn a_revoked_key_counts_as_absent() {
    let app = TestApp::start();
    let folder = app.folder.path().join("keys");
    let old = kids(&folder).remove(0);
    let new = keys::generate(&folder, Alg::Es256, Timestamp::from_unix(START - 100)).unwrap().kid().to_string();
    keys::generate(&folder, Alg::Es256, Timestamp::from_unix(START + 100)).unwrap();
    let revoking = |kids: &[&str]| format!("{}\n[keys]\nrevoked = {kids:?}\n", standard());

    app.reconfigure(&standard());
    let stolen = app.create("");
    assert_eq!(kid_of(&stolen.text("value")), new);
    app.reconfigure(&revoking(&[&new]));
    app.inspect(&stolen.text("value"), "").assert_invalid_token(None);
    app.refresh(&stolen.text("refresh"), "").assert_invalid_token(None);
    assert!(!published(&app).0.contains(&new));
    // The older key was retiring; now it signs again, and is published for as long.
    let answer = app.create("");
    assert_eq!(kid_of(&answer.text("value")), old);
    assert!(published(app.at(99)).0.contains(&old));
    assert_eq!(app.at(99).inspect(&answer.text("value"), "").status, 200);

    let config = load(app.folder.path(), &revoking(&[&new])).unwrap();
    let snapshot = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap();
    let states: Vec<_> = snapshot.keys.schedule(Timestamp::from_unix(START)).iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Signing, State::Revoked, State::Upcoming]);

    // An upcoming key is left, but nothing that signs now.
    let config = load(app.folder.path(), &revoking(&[&new, &old])).unwrap();
    let said = lingpai::app::snapshot(&config, Timestamp::from_unix(START)).unwrap_err().to_string();
    assert!(
        said.contains("`revoked` lists every ES256 key") && said.contains("`lingpai keys new --alg ES256` first"),
        "{said}"
    );
    assert!(lingpai::app::snapshot(&config, Timestamp::from_unix(START + 100)).is_ok());
}
