//! The binary as a process: what it prints, writes and answers, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clients::SecretDigest;
use lingpai::clock::Clock;
use lingpai::keys::{self, Alg, Key, KeyName, Purpose};
use serde_json::{Value, json};

use crate::app::{ISSUER, SECRET, UNAUTHORIZED, basic, copy_key, segment, standard, vectors};
use crate::home::{Home, KEY, RECENT, Ran, Server, ended, secret_in, watch};

#[test]
fn init() {
    let home = Home::new();
    let ran = home.run(&["init", "a/b"]);
    ran.assert(0);
    assert_eq!(ran.err, "");
    assert_eq!(home.names("a/b"), ["keys", "lingpai.toml"]);
    let key = home.names("a/b/keys").remove(0);
    let mode = |name: &str| fs::metadata(home.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("a/b/keys"), mode(&format!("a/b/keys/{key}"))), (0o700, 0o600));
    assert_eq!(mode("a/b/lingpai.toml") & 0o022, 0);
    // The first key is dated five minutes back.
    let age = Clock::system().now().since(key.parse::<KeyName>().unwrap().from);
    assert!((300..330).contains(&age), "{age}");

    let (secret, written) = (ran.secret(), home.text("a/b/lingpai.toml"));
    assert!(!written.contains(&secret) && written.contains(&SecretDigest::of(secret.as_bytes()).written()));
    home.run(&["init", "a/b"]).assert_refused(1, &["a/b/lingpai.toml is already there; nothing was written"]);
    assert_eq!((home.text("a/b/lingpai.toml"), home.names("a/b/keys")), (written, vec![key]));

    let server = home.serve(&["--config", "a/b/lingpai.toml"]);
    assert_eq!(server.create("first", &secret).status, 200);
    assert_eq!(server.create("first", &secret.to_uppercase()).status, 401);
    // Nobody else: an anonymous token must be asked for in the file.
    assert_eq!(server.send("POST", "/token", "", "").status, 401);
    assert_eq!(server.stop("TERM").code, Some(0));

    let said = home.run(&["init", "c", "--json"]).json();
    assert_eq!((&said["config"], &said["client_id"]), (&json!("c/lingpai.toml"), &json!("first")));
    assert!(home.path(said["key"].as_str().unwrap()).is_file());
    assert!(said["client_secret"].as_str().unwrap().starts_with("lps_"));
}

#[test]
fn init_writes_all_or_nothing() {
    // The folder's name is taken by a file.
    let home = Home::new();
    home.write("taken", "");
    home.run(&["init", "taken"]).assert_refused(2, &["taken"]);
    assert_eq!(home.names("."), ["taken"]);
    // The folder of keys is not in order.
    fs::create_dir_all(home.path("a/keys")).unwrap();
    home.write("a/keys/x.pem", "");
    home.run(&["init", "a"]).assert_refused(2, &["a/keys/x.pem: expected a name such as"]);
    assert_eq!(home.names("a"), ["keys"]);
}

/// The configuration's name is a link to a file that is not there yet.
#[test]
fn init_beside_a_dangling_link_leaves_no_key() {
    let home = Home::new();
    symlink("elsewhere.toml", home.path("lingpai.toml")).unwrap();
    home.run(&["init"]);
    let whole = home.path("elsewhere.toml").exists();
    assert_eq!(whole, home.path("keys").exists(), "{:?}", home.names("."));
}

#[test]
fn what_init_writes_can_be_served() {
    let home = Home::new();
    home.run(&["init", "--issuer", "https://t.example/a"]).assert(0);
    assert_eq!(home.run(&["check", "--json"]).assert(0).json()["issuer"], "https://t.example/a");
}

#[test]
fn what_init_writes_beside_a_key_of_another_algorithm_can_be_served() {
    let home = Home::new();
    fs::create_dir(home.path("keys")).unwrap();
    let name = KEY.replace("es256", "eddsa");
    copy_key(&name, &home.path("keys").join(&name));
    if home.run(&["init"]).code == Some(0) {
        home.run(&["check"]).assert(0);
    }
}

#[test]
fn what_init_writes_for_an_issuer_with_a_quotation_mark_can_be_read() {
    let home = Home::new();
    if home.run(&["init", "--issuer", "https://t.example/\"x"]).code == Some(0) {
        home.run(&["check"]).assert(0);
    }
}

#[test]
fn development() {
    let home = Home::new();
    let server = home.serve(&[]);
    let demo = secret_in(&server.line("-u 'demo:"));
    server.line("-X PUT");
    let anybody = server.send("POST", "/token", "", "");
    assert_eq!(anybody.status, 200);
    let claims = segment(&anybody.text("value"), 1);
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!("anonymous"), &json!("guest")));
    assert_eq!(claims["iss"], format!("http://{}", server.address));
    let pair = server.create("demo", &demo);
    let refresh = format!("Authorization: Token {}", pair.text("refresh"));
    assert_eq!(server.send("PUT", "/token", &refresh, "").status, 200);
    let kid = segment(&pair.text("value"), 0)["kid"].clone();
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(!ran.err.contains(&demo));

    // The key is kept, the secret is not; and `serve` is what is meant by no command.
    let made = home.names("keys");
    assert_eq!(made.len(), 1);
    let server = home.serve_in(&[], &[("LINGPAI_LISTEN", "127.0.0.1:0")]);
    let next = secret_in(&server.line("-u 'demo:"));
    assert_ne!(next, demo);
    assert_eq!(server.create("demo", &demo).status, 401);
    assert_eq!(segment(&server.create("demo", &next).text("value"), 0)["kid"], kid);
    assert_eq!(server.stop("TERM").code, Some(0));
    assert_eq!((home.names("keys"), home.names(".")), (made, vec!["keys".to_owned()]));
}

#[test]
fn without_a_file_only_this_machine_is_served() {
    let home = Home::new();
    let public = &["is not a loopback address", "lingpai init"];
    for address in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0", "fd:http"] {
        home.run(&["serve", "--listen", address]).assert_refused(2, public);
        home.run_in(&["serve"], &[("LINGPAI_LISTEN", address)]).assert_refused(2, public);
        home.run(&["check", "--listen", address]).assert_refused(2, public);
    }
    home.run(&["--listen", "127.0.0.1:0", "serve", "--listen", "0.0.0.0:0"]).assert_refused(2, public);
    assert!(home.names(".").is_empty(), "keys were made");
}

#[test]
fn what_serve_refuses() {
    let home = Home::new();
    let gone = "there is no such file; `lingpai init` writes one";
    home.run(&["serve", "--config", "gone.toml"]).assert_refused(2, &["gone.toml: ", gone]);
    home.run_in(&["serve"], &[("LINGPAI_CONFIG", "gone.toml")]).assert_refused(2, &["gone.toml: ", gone]);

    let home = Home::standard();
    for (before, after, place) in [
        ("[anonymous]", "[anonymus]", ":5:2: unknown field `anonymus`"),
        ("[token]", "[token]\nleeway = \"1h\"", ":4:10: expected a duration from 0s to 60s"),
        ("\"bills\"", "\"b i l l s\"", ":17:10: expected a scope token"),
        ("[token]", "[token]\nalgorithm = \"HS256\"", ":4:13: expected an algorithm"),
    ] {
        home.write("bad.toml", &standard().replace(before, after));
        for command in ["serve", "check"] {
            home.run(&[command, "--config", "bad.toml"]).assert_refused(2, &[&format!("bad.toml{place}")]);
        }
    }
    fs::rename(home.path("keys"), home.path("away")).unwrap();
    for _ in ["absent", "empty"] {
        home.run(&["serve", "--listen", "127.0.0.1:0"])
            .assert_refused(2, &["keys: holds no ES256", "lingpai keys new"]);
        fs::create_dir_all(home.path("keys")).unwrap();
    }
    assert!(home.names("keys").is_empty(), "a file was there, so no key may be made");

    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let ran = home.run(&["serve", "--keys", "away", "--listen", &address]);
    ran.assert_refused(2, &[&format!("cannot listen on {address}")]);
}

/// A file that cannot be followed is not the same as no file: no file means that
/// anybody gets a token.
#[test]
fn a_dangling_configuration_is_not_development() {
    let home = Home::new();
    symlink("..data/lingpai.toml", home.path("lingpai.toml")).unwrap();
    home.run(&["check"]).assert(2);
    let mut child = home.command(&["serve", "--listen", "127.0.0.1:0"], &[]).spawn().unwrap();
    let mut first = String::new();
    let _watchdog = watch(&child);
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(first, "", "it serves");
}

#[test]
fn flag_before_environment_before_file() {
    let home = Home::standard();
    let file = |issuer: &str| standard().replace(ISSUER, issuer);
    home.write("lingpai.toml", &file("https://default.example"));
    home.write("env.toml", &file("https://file-of-env.example"));
    home.write("flag.toml", &file("https://file-of-flag.example"));
    let issuer = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ran = home.run_in(&[&["check", "--json"], arguments].concat(), environment);
        ran.assert(0).json()["issuer"].as_str().unwrap().to_owned()
    };
    let (config, env) = (("LINGPAI_CONFIG", "env.toml"), ("LINGPAI_ISSUER", "https://env.example"));
    assert_eq!(issuer(&[], &[]), "https://default.example");
    assert_eq!(issuer(&[], &[config]), "https://file-of-env.example");
    assert_eq!(issuer(&["--config", "flag.toml"], &[config]), "https://file-of-flag.example");
    assert_eq!(issuer(&[], &[config, env]), "https://env.example");
    assert_eq!(issuer(&["--issuer", "https://flag.example"], &[config, env]), "https://flag.example");

    // The folder of keys: relative to the file, or to where the command is run.
    fs::create_dir_all(home.path("sub/empty")).unwrap();
    home.write("sub/lingpai.toml", &format!("issuer = \"{ISSUER}\"\n[keys]\npath = \"empty\""));
    let check = |arguments: &[&str], environment: &[(&str, &str)]| {
        home.run_in(&[&["check", "--config", "sub/lingpai.toml"], arguments].concat(), environment)
    };
    check(&[], &[]).assert_refused(2, &["sub/empty: holds no ES256 key"]);
    check(&[], &[("LINGPAI_KEYS", "keys")]).assert(0);
    check(&["--keys", "keys"], &[("LINGPAI_KEYS", "nowhere")]).assert(0);
    check(&["--keys", "nowhere"], &[("LINGPAI_KEYS", "keys")]).assert(2);

    // An address that is not free shows which one was meant.
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    home.write("lingpai.toml", &standard().replace("[token]", &format!("listen = {busy:?}\n[token]")));
    home.run(&["serve"]).assert_refused(2, &[&busy]);
    let free = ("LINGPAI_LISTEN", "127.0.0.1:0");
    assert_eq!(home.serve_in(&["serve"], &[free]).stop("TERM").code, Some(0));
    home.run_in(&["serve", "--listen", &busy], &[free]).assert_refused(2, &[&busy]);
    let flag = ["serve", "--listen", "127.0.0.1:0"];
    assert_eq!(home.serve_in(&flag, &[("LINGPAI_LISTEN", &busy)]).stop("TERM").code, Some(0));
}

/// Kubernetes puts variables beside every service of this name.
#[test]
fn other_variables_are_ignored() {
    let home = Home::standard();
    let environment = [
        ("LINGPAI_PORT", "tcp://10.0.0.1:80"),
        ("LINGPAI_SERVICE_HOST", "10.0.0.1"),
        ("LINGPAI_JSON", "maybe"),
        ("LINGPAI_TOKEN", "x"),
        ("LINGPAI_LEEWAY", "1h"),
        ("RUST_LOG", "trace"),
    ];
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &environment);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(!ran.err.contains("TRACE") && !ran.err.contains("DEBUG"), "{}", ran.err);
}

#[test]
fn every_address_is_served() {
    let home = Home::standard();
    home.write("two.toml", &standard().replace("[token]", "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n[token]"));
    let server = home.serve_in(&["serve", "--config", "two.toml"], &[]);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    let first: Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert_eq!(first["listen"].as_str().unwrap().split(' ').count(), 2, "{first}");
}

/// One client stopped within the head, one within the body, and one says nothing.
#[test]
fn it_ends_in_bounded_time_whatever_its_clients_do() {
    let server = Home::standard().serve(&[]);
    let body = "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let open = ["POST /token HT", body, ""].map(|begun| {
        let mut stream = server.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        stream
    });
    // An answer on a later connection shows that those were accepted.
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    drop(open);
}

#[test]
fn an_interrupt_ends_it_too() {
    let server = Home::standard().serve(&[]);
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("INT");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_hangup_does_not_end_it() {
    let server = Home::standard().serve(&[]);
    server.signal("HUP");
    assert_eq!(server.create("orders", SECRET).status, 200);
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Adds a client to `before`, and asserts that all of it still stands before what was added.
#[track_caller]
fn assert_appended(before: &str) {
    let home = Home::standard();
    let path = home.write("lingpai.toml", before);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let lists = ["--scope", "a", "--scope", "b", "--subject", "user:*", "--claim", "t"];
    let ran = home.run(&[&["client", "add", "shop"], &lists[..]].concat());
    let (secret, after) = (ran.assert(0).secret(), home.text("lingpai.toml"));
    let digest = SecretDigest::of(secret.as_bytes()).written();
    assert!(!after.contains(&secret), "{after}");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(home.names("."), ["keys", "lingpai.toml"]);
    home.run(&["check"]).assert(0);
    let kept = after.strip_prefix(before.trim_end());
    let appended = kept.unwrap_or_else(|| panic!("{before:?}\nbecame\n{after:?}"));
    let added = format!(
        "[[clients]]\nid = \"shop\"\nsecrets = [\"{digest}\"]\nscope = [\"a\", \"b\"]\nsubjects = [\"user:*\"]\nclaims = [\"t\"]\n"
    );
    assert_eq!(appended.trim_start(), added);
}

#[test]
fn client_add_keeps_the_file() {
    assert_appended(&standard());
    assert_appended(standard().trim_end());
    assert_appended(&format!("issuer = '{ISSUER}' # no client yet\n"));
    let commented = standard().replace("[anonymous]", "  # guests\n[ anonymous ]  # why\t\n");
    assert_appended(&format!("# first line\n\n{}", commented.replace("\"bills\"", "\n  \"bills\", # all\n")));
}

#[test]
fn client_add_comes_after_the_last_comment() {
    assert_appended(&(standard() + "\n# the last word\n"));
}

#[test]
fn client_add_comes_after_the_last_table() {
    assert_appended(&(standard() + "[reload]\ninterval = \"3s\" # after the clients\n"));
}

#[test]
fn client_add_keeps_the_ends_of_lines() {
    let home = Home::standard();
    let before = standard().replace('\n', "\r\n");
    home.write("lingpai.toml", &before);
    home.run(&["client", "add", "shop"]).assert(0);
    assert!(home.text("lingpai.toml").starts_with(before.trim_end()), "{:?}", home.text("lingpai.toml"));
}

#[test]
fn client_add_works_after_a_restart() {
    let home = Home::standard();
    let ran = home.run(&["client", "add", "shop", "--scope", "a", "--audience", "https://a.example", "--json"]);
    let said = ran.assert(0).json();
    assert_eq!(said["client_id"], "shop");
    let server = home.serve(&[]);
    let answer = server.create("shop", said["client_secret"].as_str().unwrap());
    let claims = segment(&answer.text("value"), 1);
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("a"), &json!("https://a.example")));
    assert_eq!(server.create("orders", SECRET).status, 200);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn client_add_refuses() {
    let home = Home::standard();
    let link = home.path("elsewhere.toml");
    fs::rename(home.path("lingpai.toml"), &link).unwrap();
    symlink("elsewhere.toml", home.path("lingpai.toml")).unwrap();
    for (arguments, code, expected) in [
        (&["orders"][..], 1, "there is a client \"orders\" already; nothing was written"),
        (&["anonymous"], 2, "the id `anonymous` is reserved"),
        (&["a b"], 2, "expected a client id: 1 to 64 characters"),
        (&[""], 2, "expected a client id"),
        (&["shop", "--scope", "a b"], 2, "expected a scope token"),
        (&["shop", "--scope", ""], 2, "expected a scope token"),
        (&["shop", "--audience", ""], 2, "expected an audience"),
        (&["shop", "--subject", "us*er"], 2, "expected a subject such as"),
        (&["shop", "--claim", "iss"], 2, "`iss` is a reserved claim"),
    ] {
        home.run(&[&["client", "add"], arguments].concat()).assert_refused(code, &[expected]);
        assert_eq!(home.text("lingpai.toml"), standard(), "{arguments:?}");
        assert_eq!(home.names("."), ["elsewhere.toml", "keys", "lingpai.toml"], "{arguments:?}");
    }
    // What is wrong already is said with its own place, and is not made worse.
    home.write("elsewhere.toml", &standard().replace("\"bills\"", "\"\""));
    home.run(&["client", "add", "shop"]).assert_refused(2, &["lingpai.toml:17:10: expected a scope token"]);
    home.write("elsewhere.toml", &standard());
    // The link stays a link, and the file behind it has the client.
    home.run(&["client", "add", "shop"]).assert(0);
    assert_eq!(fs::read_link(home.path("lingpai.toml")).unwrap(), Path::new("elsewhere.toml"));
    assert!(home.text("elsewhere.toml").contains("id = \"shop\""));
    assert_eq!(home.names("."), ["elsewhere.toml", "keys", "lingpai.toml"]);

    Home::new().run(&["client", "add", "shop"]).assert_refused(2, &["no configuration file", "lingpai init"]);
}

/// Run by root, it must not take the file away from the service's own user.
#[test]
fn client_add_keeps_the_owner() {
    let home = Home::standard();
    let path = home.path("lingpai.toml");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(12_345), Some(12_345)).is_err() {
        return;
    }
    home.run(&["client", "add", "shop"]).assert(0);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid()), (12_345, 12_345));
}

/// A token of the standard key with these claims changed.
fn forged(changes: &Value) -> String {
    let pem = fs::read_to_string(crate::app::vectors("keys").join(KEY)).unwrap();
    let key = Key::from_pem(KEY.parse().unwrap(), &pem).unwrap();
    let now = Clock::system().now().unix();
    let mut claims = json!({
        "iss": ISSUER, "sub": "orders", "aud": "https://orders.example.com", "exp": now + 600, "iat": now,
        "jti": "AAAAAAAAAAAAAAAAAAAAAA", "client_id": "orders", "scope": "orders:read",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let message = format!("{}.{}", key.header(Purpose::Access), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = key.sign(Purpose::Access, message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn token_inspect() {
    let home = Home::standard();
    let server = home.serve(&[]);
    let pair = server.create("orders", SECRET);
    home.write("jwks.json", &server.send("GET", "/.well-known/jwks.json", "", "").body);
    assert_eq!(server.stop("TERM").code, Some(0));
    let (value, refresh) = (pair.text("value"), pair.text("refresh"));
    home.write("token", &format!("  {value}\r\n"));
    let inspect = |arguments: &[&str], input: &str| {
        home.run_with_input(&[&["token", "inspect"], arguments].concat(), input.as_bytes())
    };
    for (arguments, input) in [
        (&[][..], value.as_str()),
        (&[], &format!("{value}\n")),
        (&["-"], &value),
        (&["token"], ""),
        (&[], &refresh),
        (&["--jwks", "jwks.json"], &value),
    ] {
        let ran = inspect(arguments, input);
        assert!(ran.assert(0).out.ends_with("\nvalid\n"), "{ran:?}");
        assert!(ran.out.contains("issued ") && ran.out.contains("expires "), "{ran:?}");
    }
    // Without its folder and file, by the published keys alone.
    let jwks = home.path("jwks.json");
    let alone = Home::new();
    alone.run_with_input(&["token", "inspect", "--jwks", jwks.to_str().unwrap()], value.as_bytes()).assert(0);

    let said = inspect(&["--json"], &value).assert(0).json();
    assert_eq!(
        (&said["valid"], &said["problem"], &said["claims"]["sub"]),
        (&json!(true), &Value::Null, &json!("orders"))
    );
    assert_eq!(said["header"]["typ"], "at+jwt");
    for (token, problem) in [
        (value.replace('.', ".e30").replacen(".e30", ".", 1), "the signature is wrong"),
        (forged(&json!({"exp": 1_700_000_600, "iat": 1_700_000_000})), "it has expired"),
        (forged(&json!({"iat": 4_000_000_000_u64, "exp": 4_000_000_600_u64})), "it is not yet valid"),
        (forged(&json!({"iss": "https://other.example"})), "iss is not https://tokens.example.com"),
        (forged(&json!({"scope": 7})), "its claims have another shape"),
    ] {
        for arguments in [&[][..], &["--jwks", "jwks.json"]] {
            let ran = inspect(arguments, &token);
            assert!(ran.assert(1).out.contains("NOT VALID: ") && ran.out.contains(problem), "{ran:?}\nwant: {problem}");
        }
        assert_eq!(inspect(&["--json"], &token).assert(1).json()["valid"], false);
    }
    let ran = inspect(&["--jwks", "jwks.json"], &refresh);
    assert!(ran.assert(1).out.contains("typ at+jwt"), "{ran:?}");
    fs::remove_file(home.path("keys").join(&*RECENT)).unwrap();
    assert!(inspect(&[], &value).assert(1).out.contains("no key here writes this header"));
}

#[test]
fn token_inspect_refuses() {
    let home = Home::standard();
    let token = forged(&json!({}));
    // On the command line every user of the machine can read it.
    let ran = home.run(&["token", "inspect", &token]);
    ran.assert_refused(2, &["standard input"]);
    assert!(!ran.err.contains(&token[..40]), "{ran:?}");
    home.run(&["token", "inspect", "gone"]).assert_refused(2, &["gone: cannot be read"]);
    home.run_with_input(&["token", "inspect", "--jwks", "gone"], token.as_bytes()).assert_refused(2, &["gone: "]);

    for garbage in ["", "\n", "a", "a.b.c", "..", "eyJ9.eyJ9.", "{\"value\":\"x\"}", &"A".repeat(10 << 20)] {
        let ran = home.run_with_input(&["token", "inspect"], garbage.as_bytes());
        ran.assert_refused(1, &["this is not a token"]);
    }
    let ran = home.run_with_input(&["token", "inspect"], (token + &"A".repeat(10 << 20)).as_bytes());
    assert!(ran.assert(1).out.contains("longer than 8192 bytes"), "{ran:?}");
}

/// "exit code 0, 1 (the answer is no) or 2 (usage or configuration)"
#[test]
fn bytes_that_are_no_text_are_no_token() {
    Home::standard().run_with_input(&["token", "inspect"], b"\xff\xfe\x00").assert(1);
}

#[test]
fn check() {
    let home = Home::standard();
    let ran = home.run(&["check"]);
    assert_eq!(ran.assert(0).err, "");
    assert_eq!(ran.out, format!("good: issuer {ISSUER}, 2 clients and 1 key, signing with {}\n", *RECENT));
    let said = home.run(&["check", "--json"]).assert(0).json();
    let expected = json!({"issuer": ISSUER, "clients": 2, "keys": 1, "signing": *RECENT, "warnings": [], "breaks": []});
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&said[member], value, "{member}");
    }
    for digest in ["keys_digest", "configuration_digest"] {
        assert_eq!(said[digest].as_str().unwrap().len(), 64, "{said}");
    }

    home.write("lingpai.toml", &standard().replace("[token]", "[token]\nsession_lifetime = \"1h\""));
    let ran = home.run(&["check"]);
    assert!(ran.assert(0).err.starts_with("lingpai: warning: refresh_lifetime is longer"), "{ran:?}");
    assert_eq!(home.run(&["check", "--json"]).assert(0).json()["warnings"].as_array().unwrap().len(), 1);
    let server = home.serve(&[]);
    assert!(server.stop("TERM").err.starts_with("lingpai: warning: refresh_lifetime is longer"));
}

/// "everything that `serve` would refuse or warn about": no more, and no less.
#[test]
fn check_accepts_what_serve_does() {
    let home = Home::new();
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0", "--keys", "others"], &[]);
    assert_eq!(server.stop("TERM").code, Some(0));
    home.run(&["check"]).assert(0);
}

/// What stands in a name or a file moves no cursor, and forges no line.
#[test]
fn messages_are_one_visible_line() {
    let home = Home::standard();
    home.write("keys/\u{1b}[2J\nlingpai: good.pem", "");
    home.run(&["check"]).assert_refused(2, &["keys/\\u001b[2J\\nlingpai: good.pem: expected a name"]);
    let home = Home::standard();
    home.write("lingpai.toml", "\"\\u001b[2Jx\\ny\" = 1");
    home.run(&["check"]).assert_refused(2, &["unknown field `\\u001b[2Jx\\ny`"]);
}

#[test]
fn openapi_version_and_usage() {
    let home = Home::new();
    let document = home.run(&["openapi"]).assert(0).json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/token") && paths.contains_key("/.well-known/jwks.json"));
    let yaml = home.run(&["openapi", "--yaml"]);
    assert_eq!(yaml.assert(0).err, "");
    for path in paths.keys() {
        assert!(yaml.out.contains(&format!("\n  {path}:\n")), "{path}");
    }
    assert!(yaml.out.starts_with("openapi: 3.") && !yaml.out.contains('\t'));
    assert_eq!(home.run(&["--version"]).assert(0).out, format!("lingpai {}\n", env!("CARGO_PKG_VERSION")));
    home.run(&["--help"]).assert(0);
    for wrong in [
        &["nonsense"][..],
        &["serve", "--nonsense"],
        &["serve", "--listen", "example.com:80"],
        &["serve", "--issuer", "http://public.example"],
        &["keys"],
        &["client", "add"],
        &["token", "inspect", "a", "b"],
        &["--config"],
    ] {
        let ran = home.run(wrong);
        assert!(ran.assert(2).out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    }
    assert!(home.names(".").is_empty());
}

#[test]
fn completions_and_manual_pages() {
    let home = Home::new();
    for (shell, part) in
        [("bash", "complete -F _lingpai"), ("zsh", "#compdef lingpai"), ("fish", "complete -c lingpai")]
    {
        let script = home.run(&["completions", shell]);
        assert!(script.assert(0).out.contains(part) && script.out.contains("rotate"), "{shell}");
    }
    home.run(&["completions", "nosh"]).assert(2);
    for (arguments, parts) in [
        (&["man"][..], ["lingpai \\- A stateless signed", "lingpai\\-keys(1)"]),
        (&["man", "keys", "rotate"], ["lingpai\\-keys\\-rotate \\- Schedule", "\\-\\-in"]),
        (&["man", "keys", "export"], ["lingpai\\-keys\\-export \\- Print the public", "\\-\\-out"]),
    ] {
        let page = home.run(arguments);
        assert!(page.assert(0).out.contains(".TH lingpai"), "{page:?}");
        for part in parts {
            assert!(page.out.contains(part), "{part} is not in {}", page.out);
        }
    }
    home.run(&["man", "nonsense"]).assert_refused(1, &["there is no command \"nonsense\""]);
    assert!(home.names(".").is_empty());
}

/// `lingpai openapi | head -1` is a usual thing to write.
#[test]
fn nobody_reading_is_no_panic() {
    let home = Home::standard();
    for arguments in [&["openapi"][..], &["keys", "list"], &["check"], &["--help"], &["--version"]] {
        let mut child = home.command(arguments, &[]).spawn().unwrap();
        drop(child.stdout.take());
        let ran = ended(child);
        assert!(!ran.err.contains("panicked") && ran.code != Some(101), "{arguments:?} {ran:?}");
    }
}

/// A full disk is not success: one line says so. `--help` is clap's own.
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let home = Home::standard();
    let token = forged(&json!({}));
    home.write("token", &token);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let ready = std::thread::spawn(move || {
        let (mut stream, _) = busy.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    });
    for arguments in [
        &["openapi"][..],
        &["openapi", "--yaml"],
        &["completions", "bash"],
        &["man"],
        &["check"],
        &["check", "--json"],
        &["keys", "list"],
        &["keys", "list", "--json"],
        &["keys", "export", "--public"],
        &["keys", "export", "--public", "--json"],
        &["keys", "export", "--public", "--out", "out"],
        &["keys", "prune"],
        &["keys", "prune", "--json"],
        &["keys", "rotate"],
        &["keys", "rotate", "--json"],
        &["keys", "new", "--alg", "EdDSA"],
        &["token", "inspect", "token"],
        &["token", "inspect", "token", "--json"],
        &["client", "add", "shop"],
        &["init", "a"],
        &["healthcheck", "--at", &address],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = ended(home.command(arguments, &[]).stdout(full).spawn().unwrap());
        assert_eq!(ran.code, Some(2), "{arguments:?} {ran:?}");
        assert!(ran.err.starts_with("lingpai: ") && ran.err.lines().count() == 1, "{arguments:?} {ran:?}");
        assert!(ran.err.contains("No space left on device"), "{arguments:?} {ran:?}");
    }
    ready.join().unwrap();
}

/// A reader that has seen enough changes nothing: `lingpai keys list | head -1` ends as it would.
#[test]
fn a_closed_pipe_is_silent() {
    let home = Home::standard();
    home.write("token", &forged(&json!({"exp": 1_700_000_600, "iat": 1_700_000_000})));
    for (arguments, code) in [
        (&["openapi"][..], 0),
        (&["completions", "zsh"], 0),
        (&["man"], 0),
        (&["check"], 0),
        (&["keys", "list"], 0),
        (&["keys", "export", "--public"], 0),
        (&["token", "inspect", "token"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = ended(home.command(arguments, &[]).stdout(writer).spawn().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{arguments:?}");
    }
}

/// Compose and shells write a variable that is not set as an empty one.
#[test]
fn an_empty_variable_is_absent() {
    let home = Home::standard();
    let empty = ["CONFIG", "ISSUER", "KEYS", "LISTEN"].map(|name| (format!("LINGPAI_{name}"), ""));
    let empty = empty.each_ref().map(|(name, value)| (name.as_str(), *value));
    assert_eq!(home.run_in(&["check", "--json"], &empty).assert(0).json()["issuer"], ISSUER);
    let server = home.serve_in(&["serve", "--listen", "127.0.0.1:0"], &empty);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn a_bad_variable_is_named_in_one_line() {
    let home = Home::standard();
    for (name, value, expected) in [
        (
            "LINGPAI_ISSUER",
            "http://canary.example",
            "the issuer is http on a host that is not loopback; expected an https",
        ),
        ("LINGPAI_LISTEN", "canary", "expected an address: "),
        ("LINGPAI_LISTEN", "127.0.0.1:0,,", "expected an address: "),
    ] {
        for command in ["check", "serve"] {
            let ran = home.run_in(&[command], &[(name, value)]);
            ran.assert_refused(2, &[&format!("lingpai: {name}: {expected}")]);
            assert!(!ran.err.contains("canary"), "{ran:?}");
        }
        // A flag wins, whatever stands there.
        let flags = ["check", "--issuer", ISSUER, "--listen", "127.0.0.1:0"];
        home.run_in(&flags, &[(name, value)]).assert(0);
    }
    let mut command = home.command(&["check"], &[]);
    command.env("LINGPAI_ISSUER", std::ffi::OsStr::from_bytes(b"\xff"));
    ended(command.spawn().unwrap()).assert_refused(2, &["LINGPAI_ISSUER: is not UTF-8 text"]);
}

/// The configuration of most tests with this certificate and this key, and what `check` says of it.
fn check_tls(cert: &[u8], key: &[u8], mode: u32) -> Ran {
    let home = Home::standard();
    home.write("lingpai.toml", &(standard() + "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"));
    fs::write(home.path("cert.pem"), cert).unwrap();
    fs::write(home.path("key.pem"), key).unwrap();
    fs::set_permissions(home.path("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
    home.run(&["check"])
}

fn tls(name: &str) -> Vec<u8> {
    fs::read(vectors("tls").join(name)).unwrap()
}

/// Each cause is called what it is.
#[test]
fn what_is_wrong_with_a_certificate_or_its_key() {
    let key = tls("key.pem");
    assert_eq!(check_tls(&tls("v3.crt"), &key, 0o600).assert(0).err, "");
    let cut = &key[..100];
    for (cert, key, expected) in [
        ("v1.crt", &key[..], "cert.pem: is not an X.509 certificate of version 3, and TLS clients refuse others"),
        ("v3.crt", &tls("other.pem"), "key.pem: is not the key of the certificate in cert.pem"),
        ("v3.crt", &tls("encrypted.pem"), "key.pem: is encrypted; decrypt it with `openssl pkey"),
        ("v3.crt", &tls("encrypted-sec1.pem"), "key.pem: is encrypted; decrypt it with `openssl pkey"),
        ("v3.crt", cut, "key.pem: is cut off"),
        ("v3.crt", &tls("v3.crt"), "key.pem: holds no private key in PEM"),
        ("key.pem", &key, "cert.pem: holds no certificate"),
    ] {
        check_tls(&tls(cert), key, 0o600).assert_refused(2, &[expected]);
    }
}

#[test]
fn a_tls_key_that_others_can_read_is_warned_of() {
    for mode in [0o600, 0o640, 0o400] {
        assert_eq!(check_tls(&tls("v3.crt"), &tls("key.pem"), mode).assert(0).err, "");
    }
    for mode in [0o644, 0o660, 0o604] {
        let ran = check_tls(&tls("v3.crt"), &tls("key.pem"), mode);
        let expected = format!("lingpai: warning: key.pem: has mode {mode:04o}, so others can read or change it");
        assert!(ran.assert(0).err.starts_with(&expected) && ran.err.lines().count() == 1, "{ran:?}");
    }
}

/// RFC 7468 §3, for TLS as for signing keys.
#[test]
fn tls_files_in_any_lax_form() {
    let text = |name| String::from_utf8(tls(name)).unwrap();
    let changes: [fn(String) -> String; 4] = [
        |pem| format!("\u{feff}{pem}"),
        |pem| format!("Bag Attributes\n{}", pem.replace('\n', " \t\r\n")),
        |pem| pem.replace('\n', "\n\n"),
        |pem| pem.trim_end().to_owned(),
    ];
    for change in changes {
        let (cert, key) = (change(text("v3.crt")), change(text("key.pem")));
        assert_eq!(check_tls(cert.as_bytes(), key.as_bytes(), 0o600).assert(0).err, "");
    }
}

/// Requests with a word that must not be seen again, in every place where a
/// secret or a token may stand or be put by mistake.
fn with_canaries(value: &str, refresh: &str) -> Vec<String> {
    const C: &str = "CANARY-0123456789";
    let post = |headers: &str, body: &str| {
        format!("POST /token HTTP/1.1\r\nHost: a\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let json = "Content-Type: application/json";
    let get = |target: &str, header: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    let mut all = vec![
        post(&basic("orders", C), ""),
        post(&basic(C, SECRET), ""),
        post(&format!("Authorization: Basic {C}"), ""),
        post(&format!("Authorization: {C}"), ""),
        post(json, &format!(r#"{{"client_id":"orders","client_secret":"{C}"}}"#)),
        post(json, &format!(r#"{{"client_id":"{C}","client_secret":"{SECRET}"}}"#)),
        post(json, &format!(r#"{{"client_secret":"{SECRET}{C}"}}"#)),
        post(json, &format!(r#"{{"{C}":"{C}"}}"#)),
        post(json, &format!(r#"{{"scope":["{C}"]}}"#)),
        post(json, &format!(r#"{{"scope":"{C}"}}"#)),
        post(json, &format!("{C} {{")),
        post(&format!("Content-Type: {C}/{C}"), C),
        post(&format!("Content-Encoding: {C}\r\n{json}"), C),
        post(&format!("{}\r\n{json}", basic("orders", SECRET)), &format!(r#"{{"claims":{{"tenant":null,"{C}":1}}}}"#)),
        post(&format!("{}\r\n{json}", basic("orders", SECRET)), &format!(r#"{{"subject":"lps_{C}"}}"#)),
        // An id of another form is not kept, and so is not repeated.
        post(&format!("X-Request-Id: {C}+{C}"), "{"),
        post(&format!("X-Request-Id: {C}{}", "x".repeat(64)), "{"),
        get(&format!("/{C}"), "A: b"),
        get(&format!("/token/{C}"), "A: b"),
        get(&format!("/token?{C}={C}"), &format!("Authorization: Token {value}")),
        get(&format!("/{C}?access_token={C}"), "A: b"),
        get("/token", &format!("Cookie: {C}")),
        format!("{C} /{C} HTTP/1.1\r\nHost: {C}\r\n\r\n"),
        format!("GET /token HTTP/1.1\r\nHost: {C}\r\n{C} {C}\r\n\r\n"),
        format!("{C}\r\n\r\n"),
    ];
    for token in [value, refresh, &format!("{value}{C}"), &format!("{C}.{C}.{C}"), C] {
        for scheme in ["Token", "Bearer", "Basic", "Other"] {
            all.push(get("/token", &format!("Authorization: {scheme} {token}")));
            all.push(get("/token", &format!("Authorization: {scheme} {token}")).replacen("GET", "PUT", 1));
        }
        for name in ["access_token", "token", "refresh", "client_secret"] {
            all.push(get(&format!("/token?{name}={token}"), "A: b"));
        }
        all.push(post(json, &format!("{{\"token\":\"{token}\"}}")));
        all.push(get(&format!("/{token}"), "A: b"));
    }
    all
}

/// Asserts that nothing of `server`'s output after its first line has one of `words`.
#[track_caller]
fn assert_silent(server: Server, words: &[&str], least: usize) {
    let ran = server.stop("TERM");
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.matches("\"refused\"").count() >= least, "too little was logged:\n{}", ran.err);
    for line in ran.out.lines().chain(ran.err.lines()) {
        assert!(!words.iter().any(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn no_secret_and_no_token_is_printed_or_logged() {
    let server = Home::standard().serve(&[]);
    let pair = server.create("orders", SECRET);
    let (value, refresh) = (pair.text("value"), pair.text("refresh"));
    let requests = with_canaries(&value, &refresh);
    for request in requests {
        let mut stream = server.connect();
        stream.write_all(request.replacen("Host:", "Connection: close\r\nHost:", 1).as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // The 401 is the same for all of them.
    assert_eq!(server.create("orders", "CANARY").body, UNAUTHORIZED);
    let parts: Vec<_> = value.split('.').chain(refresh.split('.')).collect();
    assert_silent(server, &[&["CANARY", SECRET, "lps_"], &parts[..]].concat(), 20);
}

/// "internals go to the log, under the request's id"
#[test]
fn every_refusal_is_logged_under_its_id() {
    let server = Home::standard().serve(&[]);
    let body = "{\"scope\":[\"x\"]}";
    let basic = basic("orders", SECRET);
    let cases = [
        ("a-404", "GET /nowhere", "", "", 404),
        ("a-405", "POST /healthz", "", "", 405),
        ("a-400", "GET /token?access_token=x", "", "", 400),
        ("b-400", "POST /token", "Content-Type: application/json\r\n", "{", 400),
        ("a-401", "POST /token", "Authorization: Basic x\r\n", "", 401),
        ("b-401", "GET /token", "Authorization: Token x\r\n", "", 401),
        ("a-403", "POST /token", &format!("{basic}\r\nContent-Type: application/json\r\n"), body, 403),
    ];
    for (id, line, headers, body, status) in cases {
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = server.raw(head.as_bytes());
        assert_eq!((answer.status, answer.header("x-request-id")), (status, Some(id)), "{answer:?}");
    }
    let ran = server.stop("TERM");
    let logged: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let silent: Vec<_> = cases.iter().filter(|case| !logged.iter().any(|line| line["request_id"] == case.0)).collect();
    assert!(silent.is_empty(), "not logged: {silent:?}\n{}", ran.err);
}

/// What a caller puts in place of the method is a caller's word too.
#[test]
fn no_invented_method_is_logged() {
    let server = Home::standard().serve(&[]);
    assert_eq!(server.send("CANARY-0123456789", "/token", "", "").status, 405);
    let (long, padding) = (format!("/CANARY/{}", "a".repeat(9_000)), format!("X: {}", "a".repeat(17_000)));
    assert_eq!(server.send("GET", &long, "", "").status, 414);
    assert_eq!(server.send("CANARY-0123456789", "/CANARY", &padding, "").status, 431);
    assert_silent(server, &["CANARY"], 3);
}

#[test]
fn a_generated_folder_is_read_by_every_command() {
    let home = Home::new();
    home.write("lingpai.toml", &standard());
    keys::generate(&home.path("keys"), Alg::Es256, Clock::system().now().plus(-1)).unwrap();
    home.run(&["check"]).assert(0);
}
