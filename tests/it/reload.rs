//! Reloads: what the files say takes the place of what they said, whole or not at all; and what the operator sees of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use lingpai::clock::Timestamp;
use lingpai::keys::{self, Alg};
use serde_json::{Value, json};

use crate::app::{ISSUER, SECRET, START, TestApp, basic, copy_key, edited, replace, segment, standard, vectors};
use crate::home::{Home, LIMIT, RECENT, Server, signal, until};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const DAY: i64 = 86_400;

impl TestApp {
    fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(name)
    }

    fn write(&self, content: &str) -> &Self {
        replace(&self.folder.path().join("lingpai.toml"), content);
        self
    }

    /// Puts the certificate and the key of this name among the vectors in place.
    fn certify(&self, name: &str) -> &Self {
        for (kind, file) in [("crt", "tls.crt"), ("key", "tls.key")] {
            let pem = fs::read(vectors("tls").join(format!("{name}.{kind}"))).unwrap();
            replace(&self.folder.path().join(file), pem);
        }
        self
    }

    fn warns(&self, part: &str) -> bool {
        self.ready()["warnings"].to_string().contains(part)
    }

    fn ready(&self) -> Value {
        self.operator("/readyz").json()
    }

    fn kid(&self) -> String {
        segment(&self.create("").text("value"), 0)["kid"].as_str().unwrap().to_owned()
    }

    /// Asserts that the files are refused for a reason that says `expected`, that what was in force stays so, and
    /// that all is well when `mend` has been done.
    #[track_caller]
    fn assert_refused(&self, expected: &[&str], mend: impl FnOnce()) {
        let (kid, failures) = (self.kid(), self.metric("lingpai_reload_failures_total"));
        let before = self.ready();
        // It is said and counted once.
        self.look().look();
        let said = self.ready();
        for part in expected {
            assert!(said["reload_error"].as_str().unwrap_or_default().contains(part), "{said}\nwant: {part}");
        }
        assert_eq!(said["keys_digest"], before["keys_digest"]);
        assert_eq!(self.metric("lingpai_reload_failures_total"), failures + 1, "{expected:?}");
        assert_eq!(self.metric("lingpai_last_reload_successful"), 0);
        assert_eq!((self.kid(), self.operator("/readyz").status), (kid, 200));
        assert_eq!(self.send("GET", "/readyz", &[], "").body, r#"{"status":"ok"}"#);
        mend();
        self.look();
        assert_eq!(self.ready()["reload_error"], Value::Null);
        assert_eq!(self.metric("lingpai_last_reload_successful"), 1);
        assert_eq!(self.metric("lingpai_reload_failures_total"), failures + 1, "{expected:?}");
    }
}

#[test]
fn what_a_reload_applies() {
    let app = TestApp::start();
    let (token, reloads) = (app.create("").text("value"), app.metric("lingpai_reloads_total"));
    app.look();
    assert_eq!(app.metric("lingpai_reloads_total"), reloads, "nothing has changed");

    app.write(&edited("[\"orders:read\", \"orders:write\"]", "[\"orders:read\"]")).look();
    assert_eq!(app.metric("lingpai_reloads_total"), reloads + 1);
    app.create(r#"{"scope":["orders:write"]}"#).assert_error(403, "Forbidden", "the scope orders:write is not allowed");
    assert_eq!(app.inspect(&token, "?scope=orders:write").status, 200, "it was given before");

    app.write(&edited("[token]", "[keys]\njwks_max_age = \"7m\"\n[token]\naccess_lifetime = \"1m\"")).look();
    let jwks = app.send("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(jwks.header("cache-control"), Some("public, max-age=420"));
    assert_eq!(app.create("").text("expire"), "2026-06-01T12:01:00.000Z");

    app.write(&edited("[anonymous]\nscope = [\"guest\"]\n", "")).look();
    assert_eq!(app.send("POST", "/token", &[], "").status, 401);
    app.write(&edited("id = \"billing\"", "id = \"invoices\"")).look();
    assert_eq!((app.create_as("billing", SECRET, "").status, app.create_as("invoices", SECRET, "").status), (401, 200));

    // A key, and then its revocation.
    let new = app.add_key(400);
    app.look();
    assert_eq!(app.at(399).kid(), app.at(0).kid());
    assert_eq!(app.at(400).kid(), new);
    app.write(&format!("{}\n[keys]\nrevoked = [{new:?}]", standard())).look();
    assert_ne!(app.kid(), new);
    assert_eq!(app.ready()["keys"][1]["state"], "revoked");
}

#[test]
fn what_only_a_restart_changes() {
    let app = TestApp::start();
    let token = app.create("").text("value");
    fs::create_dir(app.folder.path().join("others")).unwrap();
    let changed = edited(
        &format!("issuer = \"{ISSUER}\""),
        "issuer = \"https://other.example\"\nlisten = \"127.0.0.1:1\"\nproxy_protocol = true",
    );
    app.write(&(changed + "[keys]\npath = \"others\"\n[ops]\nlisten = \"127.0.0.1:2\"\n[drain]\nlimit = \"9s\"\n[limits]\nconnections = 9\n\
        [tls]\ncert = \"a\"\nkey = \"b\"")).look();
    let said = app.ready();
    let warnings: Vec<_> = said["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for what in ["issuer", "listen", "ops.listen", "drain", "limits.connections", "proxy_protocol", "tls", "keys.path"]
    {
        let expected = format!("restart needed: `{what}` has changed, and the old value is in force");
        assert!(warnings.contains(&expected.as_str()), "{what} in {warnings:?}");
    }
    assert_eq!((said["reload_error"].clone(), app.metric("lingpai_warnings")), (Value::Null, 8));
    assert_eq!(segment(&app.create("").text("value"), 1)["iss"], ISSUER);
    assert_eq!(app.inspect(&token, "").status, 200);
    // The default audience is the issuer that is in force.
    assert_eq!(segment(&app.create_as("billing", SECRET, "").text("value"), 1)["aud"], "https://api.example.com");
    app.write(&standard()).look();
    assert_eq!(app.ready()["warnings"], json!([]));
}

#[test]
fn a_bad_configuration_is_refused() {
    let app = TestApp::start();
    let unknown = edited("[anonymous]", "[anonymous]\nscopes = []");
    for (content, expected) in [
        (String::new(), "`issuer` is missing"),
        (unknown, "lingpai.toml:6:1: unknown field `scopes`"),
        (standard()[..standard().len() / 2].to_owned(), "lingpai.toml:"),
        (standard().replace("[token]", "[token]\nalgorithm = \"EdDSA\""), "holds no EdDSA key"),
        (edited("scope = [\"bills\"]", "scope = [\"bi lls\"]"), "lingpai.toml:17:10: expected a scope token"),
        ("\0".to_owned(), "lingpai.toml:1:"),
    ] {
        app.write(&content).assert_refused(&["lingpai.toml", expected][1..], || {
            app.write(&standard());
        });
    }
    fs::remove_file(app.folder.path().join("lingpai.toml")).unwrap();
    app.assert_refused(&["lingpai.toml: there is no such file"], || {
        app.write(&standard());
    });
}

#[test]
fn a_bad_key_is_refused() {
    let app = TestApp::start();
    let good = fs::read(vectors("keys").join("2026-01-01T00-00-00Z.eddsa.pem")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let made = keys::generate(elsewhere.path(), Alg::Es256, Timestamp::from_unix(START)).unwrap();
    let another_es256 = fs::read(elsewhere.path().join(made.name().to_string())).unwrap();
    for (name, content, mode, expected) in [
        ("2026-07-01T00-00-00Z.es256.pem", &b"garbage"[..], 0o600, "is not PEM"),
        ("2026-07-01T00-00-00Z.eddsa.pem", &good[..good.len() / 2], 0o600, "is cut off"),
        ("2026-07-01T00-00-00Z.eddsa.pem", &good, 0o644, "has mode 0644"),
        ("next.pem", &good, 0o600, "expected a name such as"),
        ("2026-06-01T11-58-59Z.eddsa.pem", &good, 0o600, "is new, and dated more than 60 s back"),
        ("2020-06-01T11-58-59Z.eddsa.pem", &good, 0o600, "is new, and dated"),
        // It would be retired already.
        ("2020-06-01T11-58-59Z.es256.pem", &another_es256, 0o600, "is new, and dated"),
    ] {
        let path = app.key(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        app.assert_refused(&[name, expected], || fs::remove_file(&path).unwrap());
    }
    let dangling = app.key("2026-07-01T00-00-00Z.es256.pem");
    symlink("nowhere", &dangling).unwrap();
    app.assert_refused(&["2026-07-01T00-00-00Z.es256.pem: cannot be opened"], || fs::remove_file(&dangling).unwrap());
    copy_key(KEY, &app.key("2026-07-01T00-00-00Z.es256.pem"));
    app.assert_refused(&["holds the same key as"], || fs::remove_file(&dangling).unwrap());

    // What signs is gone: all of it, or the newest of two.
    fs::rename(app.key(""), app.folder.path().join("away")).unwrap();
    app.assert_refused(&["holds no ES256 key"], || {
        fs::rename(app.folder.path().join("away"), app.key("")).unwrap();
    });
    let new = app.add_key(-59);
    app.look();
    assert_eq!(app.kid(), new);
    let path = app.key("2026-06-01T11-59-01Z.es256.pem");
    fs::rename(&path, app.folder.path().join("away")).unwrap();
    app.assert_refused(&["would sign again", &new, KEY], || {
        fs::rename(app.folder.path().join("away"), &path).unwrap();
    });
    // Unless it was stolen.
    fs::remove_file(&path).unwrap();
    app.write(&format!("{}\n[keys]\nrevoked = [{new:?}]", standard())).look();
    assert_eq!(app.ready()["reload_error"], Value::Null);
    assert_ne!(app.kid(), new);
}

/// Some of what is refused becomes good without a change of the files, as time goes by.
#[test]
fn a_refusal_is_not_for_ever() {
    let app = TestApp::start();
    let eddsa = standard().replace("[token]", "[token]\nalgorithm = \"EdDSA\"");
    keys::generate(&app.key(""), Alg::EdDsa, Timestamp::from_unix(START + 100)).unwrap();
    app.write(&eddsa).look();
    assert!(app.ready()["reload_error"].as_str().unwrap().contains("holds no EdDSA key"));
    // It says what time it is, and is counted once all the same.
    app.at(99).look();
    assert!(app.ready()["reload_error"].as_str().unwrap().contains("2026-06-01T12:01:39Z"));
    assert_eq!(app.metric("lingpai_reload_failures_total"), 1);
    app.at(100).look();
    assert_eq!(app.ready()["reload_error"], Value::Null);
    assert_eq!(segment(&app.create("").text("value"), 0)["alg"], "EdDSA");
}

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

/// What the messages advise is what a server then applies.
#[test]
fn what_was_lost_is_put_back() {
    let app = TestApp::start();
    app.add_key(-59);
    app.look();
    // A retiring key that is put back is no new one.
    let away = app.folder.path().join("away");
    fs::rename(app.key(KEY), &away).unwrap();
    assert!(app.look().ready()["warnings"].to_string().contains("is gone, and tokens"));
    fs::rename(&away, app.key(KEY)).unwrap();
    assert_eq!((&app.look().ready()["reload_error"], &app.ready()["warnings"]), (&Value::Null, &json!([])));

    // A folder that was lost whole is made anew, with a first key that is dated back.
    fs::rename(app.key(""), &away).unwrap();
    assert!(app.look().ready()["reload_error"].as_str().unwrap().contains("put it back, or make one with"));
    let first = app.add_key(-300);
    assert_eq!((&app.look().ready()["reload_error"], app.kid()), (&Value::Null, first));
    assert!(app.ready()["warnings"].to_string().contains("is gone, and tokens"));
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

/// What has retired is not kept, comes back when lifetimes grow or the clock is put back, and is never a new key.
#[test]
fn retired_keys() {
    let app = TestApp::start();
    app.add_key(1_000);
    app.look();
    let old = app.create("").text("value");
    let states = |app: &TestApp| {
        let keys = app.look().ready()["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&app), ["signing", "upcoming"]);
    let digest = app.ready()["keys_digest"].clone();
    app.at(1_000 + DAY + 4);
    assert_eq!(states(&app), ["retiring", "signing"]);
    app.at(1_000 + DAY + 5);
    assert_eq!(app.ready()["keys"][0]["state"], "retired");
    assert_eq!((states(&app), app.metric("lingpai_keys{state=\"retired\"}")), (vec!["signing".to_owned()], 0));
    assert_eq!(app.ready()["keys_digest"], digest, "the files are the same");

    app.write(&edited("[token]", "[token]\nrefresh_lifetime = \"3d\"")).look();
    assert_eq!(
        (states(&app), &app.ready()["reload_error"]),
        (vec!["retiring".to_owned(), "signing".to_owned()], &Value::Null)
    );
    app.write(&standard());
    assert_eq!(states(&app), ["signing"]);
    app.at(10);
    assert_eq!(states(&app), ["signing", "upcoming"]);
    assert_eq!(app.inspect(&old, "").status, 200);
}

/// As kubelet does it: names are links into a folder that is swapped by one rename.
#[test]
fn a_secret_volume_is_swapped() {
    let app = TestApp::start();
    let folder = app.key("");
    let version = |name: &str, from: i64| {
        fs::create_dir(folder.join(name)).unwrap();
        copy_key(KEY, &folder.join(name).join(KEY));
        let key = keys::generate(&folder.join(name), Alg::Es256, Timestamp::from_unix(START + from)).unwrap();
        let file = key.name().to_string();
        fs::set_permissions(folder.join(name).join(&file), fs::Permissions::from_mode(0o440)).unwrap();
        symlink(format!("..data/{file}"), folder.join(&file)).unwrap();
        (key.kid().to_string(), folder.join(file))
    };
    fs::remove_file(folder.join(KEY)).unwrap();
    symlink("..one", folder.join("..data")).unwrap();
    symlink(format!("..data/{KEY}"), folder.join(KEY)).unwrap();
    let (first, link) = version("..one", 400);
    app.look();
    assert_eq!(app.ready()["keys"][1]["kid"], *first);

    fs::remove_file(link).unwrap();
    let (second, _) = version("..two", 500);
    symlink("..two", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    app.look();
    assert_eq!((&app.ready()["keys"][1]["kid"], &app.ready()["reload_error"]), (&json!(second), &Value::Null));
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

/// Each prefix that ends between two lines, most of which are valid, is on the disk for a look.
#[test]
fn a_file_that_is_being_written_is_not_applied() {
    let app = TestApp::start();
    let stolen = app.add_key(-59);
    let token = app.look().create("").text("value");
    let with = |config: String| format!("{config}[keys]\nrevoked = [{stolen:?}]\n");
    let mut configs = [with(standard()), with(edited("id = \"billing\"", "id = \"invoices\""))];
    app.write(&configs[0]).look();
    let path = app.folder.path().join("lingpai.toml");
    let all = |app: &TestApp| {
        let statuses = ["orders", "billing", "invoices"].map(|id| app.create_as(id, SECRET, "").status);
        let ready = app.ready();
        (statuses, app.inspect(&token, "").status, ready["configuration_digest"].clone(), ready["reload_error"].clone())
    };
    // As cp onto the file does it; and vim, git, and mv from another file system.
    for anew in [false, true] {
        let before = all(&app);
        assert_eq!((before.1, &before.3), (401, &Value::Null));
        if anew {
            fs::remove_file(&path).unwrap();
        }
        let mut file = File::create(&path).unwrap();
        for (number, line) in configs[1].split_inclusive('\n').enumerate() {
            file.write_all(line.as_bytes()).unwrap();
            if number % 2 == 0 {
                app.look()
            } else {
                app.ask()
            };
            assert_eq!(all(&app), before, "after line {number}");
            assert!(app.warns("lingpai.toml: was written in place"));
        }
        let whole = all(app.look());
        assert_ne!((&whole.2, whole.0), (&before.2, before.0));
        assert_eq!((whole.1, &whole.3, &app.ready()["warnings"]), (401, &Value::Null, &json!([])));
        configs.swap(0, 1);
    }
}

#[test]
fn what_was_written_in_place_is_not_applied_on_request() {
    let app = TestApp::start();
    let path = app.folder.path().join("lingpai.toml");
    let is_there = |id: &str| app.create_as(id, SECRET, "").status == 200;
    let with = |id: &str| edited("id = \"billing\"", &format!("id = {id:?}"));
    app.write(&with("renamed")).ask();
    assert!(is_there("renamed"));
    fs::write(&path, with("in-place")).unwrap();
    app.ask().ask();
    assert!(is_there("renamed") && app.warns("rename files into place to apply them at once"));
    app.look();
    assert!(is_there("in-place"));
    // Unless it has been the same for longer than an interval.
    fs::write(&path, with("asked-twice")).unwrap();
    app.ask().at(2).ask();
    assert!(is_there("in-place"));
    app.at(3).ask();
    assert!(is_there("asked-twice"));

    // A key that is half there is none that is wrong.
    let pem = fs::read(vectors("keys").join("2026-01-01T00-00-00Z.eddsa.pem")).unwrap();
    let key = app.key("2026-07-01T00-00-00Z.eddsa.pem");
    let mut file = File::create(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for chunk in pem.chunks(40) {
        file.write_all(chunk).unwrap();
        app.look();
    }
    assert_eq!((app.ready()["keys"].as_array().unwrap().len(), app.metric("lingpai_reload_failures_total")), (1, 0));
    assert_eq!(app.look().ready()["keys"].as_array().unwrap().len(), 2);
}

/// A list of clients or of revoked keys that is gone is perhaps still to come.
#[test]
fn what_looks_like_half_of_a_change_waits_for_a_minute() {
    let app = TestApp::start();
    let standard = standard();
    let nobody = standard.split("[[clients]]").next().unwrap();
    let is_there = |app: &TestApp| app.create("").status == 200;
    let reloads = app.metric("lingpai_reloads_total");
    assert!(is_there(app.write(nobody).look()));
    assert!(app.warns("configuration: reload held back until 2026-06-01T12:01:00Z"), "{}", app.ready());
    assert!(app.warns("it removes every client (2 of 2)"));
    let metrics = ["lingpai_warnings", "lingpai_reload_failures_total", "lingpai_last_reload_successful"];
    assert_eq!(metrics.map(|name| app.metric(name)), [1, 0, 1]);
    assert!(is_there(app.at(59).look().ask()));
    assert_eq!(app.metric("lingpai_reloads_total"), reloads);
    assert!(!is_there(app.at(60).look()));
    assert_eq!(app.ready()["warnings"], json!([]));

    // The rest comes; or more of a change, and the minute begins anew; or the clock is put back.
    assert!(is_there(app.write(&standard).look()));
    assert!(is_there(app.write(nobody).look()) && app.warns("held back"));
    assert!(is_there(app.at(100).write(&format!("{nobody}# more\n")).look().at(159).look()));
    assert!(is_there(app.write(&standard).look()));
    assert_eq!(app.ready()["warnings"], json!([]));
    assert!(is_there(app.write(nobody).look().at(-1_000).look()));
    assert!(is_there(app.at(-941).look()) && !is_there(app.at(-940).look()));
    // Where there was no client, none is missed. And a start needs no minute.
    app.write(&format!("{nobody}# still none\n")).look();
    assert_eq!(app.ready()["warnings"], json!([]));
    assert_eq!(TestApp::with(nobody, &[KEY]).create("").status, 401);
}

#[test]
fn a_revocation_that_is_dropped_waits_for_a_minute() {
    let app = TestApp::start();
    let stolen = app.add_key(-59);
    let token = app.look().create("").text("value");
    let revoked = format!("{}\n[keys]\nrevoked = [{stolen:?}]", standard());
    let status = |app: &TestApp| app.inspect(&token, "").status;
    assert_eq!(status(app.write(&revoked).look()), 401);
    assert_eq!(status(app.write(&standard()).look()), 401);
    assert!(app.warns(&format!("it takes {stolen} out of `revoked`, and the key is still in the folder")));
    assert_eq!((status(app.at(59).look()), status(app.at(60).look())), (401, 200));
    assert!(!app.warns("held back"));
    // A key that is gone with its line is no danger.
    app.write(&revoked).look();
    app.write(&standard()).look();
    assert!(app.warns("held back"));
    fs::remove_file(app.key("2026-06-01T11-59-01Z.es256.pem")).unwrap();
    assert!(!app.look().warns("held back"));
    assert_eq!((app.ready()["keys"].as_array().unwrap().len(), status(&app)), (1, 401));
}

/// What is wrong with the certificate holds back no client's removal, and the reverse.
#[test]
fn each_part_is_refused_by_itself() {
    let failed = |app: &TestApp, part: &str| app.metric(&format!("lingpai_reload_failures_total{{part={part:?}}}"));
    let with_tls = |config: &str| format!("{config}[tls]\ncert = \"tls.crt\"\nkey = \"tls.key\"\n");
    let app = TestApp::with(&with_tls(&standard()), &[KEY]);
    let shown = || app.tls.as_ref().unwrap().files();
    let (first, error) = (shown(), || app.ready()["reload_error"].as_str().unwrap_or_default().to_owned());

    // It expires while it is in force; and a client is removed, whose secret leaked.
    app.at(DAY).look();
    assert!(
        error().starts_with("tls: ") && error().contains("tls.crt: expired at 2026-06-02T00:00:00Z"),
        "{}",
        error()
    );
    app.write(&with_tls(&edited("id = \"billing\"", "id = \"invoices\""))).look().ask();
    assert_eq!((app.create_as("billing", SECRET, "").status, app.create_as("invoices", SECRET, "").status), (401, 200));
    assert!(error().starts_with("tls: ") && shown() == first);
    // It is said once, and again on request.
    assert_eq!((failed(&app, "tls"), failed(&app, "configuration")), (2, 0));
    assert_eq!(app.metric("lingpai_last_reload_successful"), 0);

    // A certificate is renewed while the configuration is wrong.
    app.write("typo").certify("second").look();
    assert!(error().starts_with("configuration: ") && error().contains("lingpai.toml:1:"), "{}", error());
    assert!(!error().contains("tls:") && shown() != first);
    let second = shown();
    fs::write(app.folder.path().join("tls.key"), "half a").unwrap();
    app.look();
    assert!(!error().contains("tls:") && app.warns("tls.key: was written in place"));
    app.look();
    assert!(error().contains("lingpai.toml:1:") && error().contains("; tls: ") && shown() == second, "{}", error());
    assert_eq!((failed(&app, "tls"), failed(&app, "configuration")), (3, 1));
    app.certify("second").look();
    assert!(error().starts_with("configuration: ") && !error().contains("tls:"));
    app.write(&with_tls(&standard())).look();
    assert_eq!((app.ready()["reload_error"].clone(), app.metric("lingpai_last_reload_successful")), (Value::Null, 1));
}

/// A real server: it sees by itself that files have changed, and at once when it is asked.
#[test]
fn a_server_reloads() {
    let home = Home::standard();
    let fast = standard() + "[reload]\ninterval = \"1s\"\n[ops]\nlisten = \"127.0.0.1:0\"";
    home.write("lingpai.toml", &fast);
    let server = home.serve(&[]);
    assert_eq!(server.create("later", SECRET).status, 401);
    home.write("lingpai.toml", &fast.replace("id = \"orders\"", "id = \"later\""));
    until(|| server.create("later", SECRET).status == 200);

    home.write(
        "lingpai.toml",
        &(standard().replace("id = \"orders\"", "id = \"latest\"") + "[reload]\ninterval = \"1h\""),
    );
    until(|| server.create("latest", SECRET).status == 200);
    // From now on it looks once an hour.
    fs::remove_file(home.path("keys").join(&*RECENT)).unwrap();
    home.write("lingpai.toml", "typo");
    server.signal("HUP");
    until(|| server.log().contains("reload refused") && server.log().contains("lingpai.toml:1:"));
    assert_eq!(server.create("latest", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("\"level\":\"ERROR\""), "{ran:?}");
}

/// What was written in place when it was asked is applied soon after, however long the interval.
#[test]
fn a_server_looks_twice() {
    let home = Home::standard();
    let rare = standard() + "[reload]\ninterval = \"1h\"";
    home.write("lingpai.toml", &rare);
    let server = home.serve(&[]);
    fs::write(home.path("lingpai.toml"), rare.replace("id = \"orders\"", "id = \"later\"")).unwrap();
    server.signal("HUP");
    // Asking it is what notices that it was killed for taking too long.
    until(|| server.create("orders", SECRET).status > 0 && server.log().contains("reload waits"));
    until(|| server.create("later", SECRET).status == 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn the_service_manager_learns_of_a_refusal() {
    let home = Home::standard();
    let rare = standard() + "[reload]\ninterval = \"1h\"";
    home.write("lingpai.toml", &rare);
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let path = home.path("notify").display().to_string();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(said().trim_end(), "READY=1");
    let reload = |config: &str| {
        home.write("lingpai.toml", config);
        server.signal("HUP");
        assert!(said().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        said()
    };
    let refused = reload("typo");
    assert!(refused.starts_with("STATUS=reload refused, the previous state stays in force: configuration: "));
    assert!(refused.contains("lingpai.toml:1:") && refused.ends_with("\nREADY=1\n"), "{refused}");
    let held = reload(rare.split("[[clients]]").next().unwrap());
    assert!(
        held.starts_with("STATUS=configuration: reload held back until ") && held.ends_with("\nREADY=1\n"),
        "{held}"
    );
    assert_eq!(reload(&rare), "STATUS=\nREADY=1\n");
    assert_eq!(reload(&rare), "READY=1\n");
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// A hang-up while it starts is no reason to end, whatever it has read by then.
#[test]
fn a_hangup_during_the_start() {
    let home = Home::standard();
    let client = |at: usize| format!("[[clients]]\nid = \"c{at}\"\nsecrets = [\"sha256:{at:064}\"]\n");
    home.write("lingpai.toml", &(standard() + &(1..5_000).map(client).collect::<String>()));
    let child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let caught = |status: &str| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap_or("0");
        u64::from_str_radix(caught, 16).unwrap() & 1 == 1
    };
    let path = format!("/proc/{}/status", child.id());
    until(|| caught(&fs::read_to_string(&path).unwrap()));
    signal(child.id(), "HUP");
    let server = Server::of(child);
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// A pipe in place of the configuration holds up nobody, and the end neither.
#[test]
fn a_configuration_that_is_a_pipe() {
    let home = Home::standard();
    let server = home.serve(&[]);
    fs::remove_file(home.path("lingpai.toml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(home.path("lingpai.toml")).status().unwrap().success());
    server.signal("HUP");
    until(|| server.log().contains("expected a regular file of at most 16 MiB"));
    assert_eq!(server.stop("TERM").code, Some(0));
}

/// Without a file, the folder of keys is looked at all the same, and the client stays.
#[test]
fn development_reloads_keys() {
    let home = Home::new();
    let server = home.serve(&[]);
    let secret = server.line("demo:").split("demo:").nth(1).unwrap()[..47].to_owned();
    home.run(&["keys", "rotate", "--now"]).assert(0);
    let made = home.names("keys").remove(1);
    let kid = home.run(&["keys", "list", "--json"]).json()[1]["kid"].as_str().unwrap().to_owned();
    until(|| {
        let answer = server.send("POST", "/token", &basic("demo", &secret), "");
        assert_eq!(answer.status, 200);
        segment(&answer.text("value"), 0)["kid"] == *kid
    });
    assert!(server.stop("TERM").err.contains("reloaded"), "{made}");
}
