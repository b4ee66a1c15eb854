//! `include`, as commands see it: `client`, `check` and `explain` of clients in files of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use lingpai::clients::SecretDigest;

use crate::app::{SECRET, quiet};
use crate::home::{Home, ended};

/// The standard configuration, which includes `clients.d/*.toml`: there is the client `a`.
fn home() -> Home {
    let home = Home::standard();
    home.write("lingpai.toml", &format!("include = [\"clients.d/*.toml\"]\n{}", quiet()));
    fs::create_dir(home.path("clients.d")).unwrap();
    home.write("clients.d/a.toml", &client("a"));
    home
}

fn client(id: &str) -> String {
    let digest = SecretDigest::of(SECRET.as_bytes()).written();
    format!("# Team {id}\n[[clients]]\nid = {id:?}\nsecrets = [{digest:?}]\nscope = [\"x\"] # all\n")
}

#[test]
fn client_commands_edit_the_file_that_holds_the_client() {
    let home = home();
    let (main, team) = (home.text("lingpai.toml"), client("a"));
    home.run(&["client", "add", "a"]).assert_refused(1, &["clients.d/a.toml: there is already a client \"a\""]);
    let ran = home.run(&["client", "rotate", "a"]);
    let next = ran.assert(0).secret();
    assert!(ran.out.contains("a second secret for a to clients.d/a.toml"), "{}", ran.out);
    let [old, new] = [SECRET, &next].map(|secret| SecretDigest::of(secret.as_bytes()).written());
    assert_eq!(home.text("clients.d/a.toml"), team.replace(&format!("[{old:?}]"), &format!("[{old:?}, {new:?}]")));
    let ran = home.run(&["client", "retire", "a"]);
    assert!(ran.assert(0).out.starts_with("dropped the older secret of a from clients.d/a.toml"), "{}", ran.out);
    assert_eq!(home.text("clients.d/a.toml"), team.replace(&old, &new));
    assert!(home.run(&["client", "list"]).assert(0).out.contains("\na "));
    let ran = home.run(&["client", "remove", "a"]);
    assert!(ran.assert(0).out.starts_with("removed a from clients.d/a.toml"), "{}", ran.out);
    assert_eq!(home.text("clients.d/a.toml"), "# Team a\n");
    home.run(&["client", "remove", "a"]).assert_refused(1, &["there is no client \"a\"; nothing was written"]);
    assert_eq!(home.text("lingpai.toml"), main);
    assert_eq!(home.names("clients.d"), ["a.toml"]);
}

#[test]
fn client_add_writes_to_the_file_that_is_named() {
    let home = home();
    let main = home.text("lingpai.toml");
    home.run(&["client", "add", "b", "--file", "clients.d/a.toml"]).assert(0);
    assert!(home.text("clients.d/a.toml").starts_with(&(client("a") + "\n[[clients]]\nid = \"b\"\nsecrets")));
    // One that is not there yet. It belongs to the folder's owner, and may be read by those who may read the main one.
    let ran = home.run(&["client", "add", "c", "--scope", "y", "--file", "./clients.d/../clients.d/c.toml"]);
    let secret = ran.assert(0).secret();
    assert!(ran.out.starts_with("added c to clients.d/c.toml; "), "{}", ran.out);
    let digest = SecretDigest::of(secret.as_bytes()).written();
    let expected = format!("[[clients]]\nid = \"c\"\nsecrets = [\"{digest}\"]\nscope = [\"y\"]\n");
    assert_eq!(home.text("clients.d/c.toml"), expected);
    let mode = |name: &str| fs::metadata(home.path(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("clients.d/c.toml"), mode("lingpai.toml"));
    assert_eq!(home.text("lingpai.toml"), main);
    // The main file, by its name and without one.
    home.run(&["client", "add", "d", "--file", "lingpai.toml"]).assert(0);
    home.run(&["client", "add", "e"]).assert(0);
    assert!(home.text("lingpai.toml").starts_with(main.trim_end()));
    let server = home.serve(&[]);
    assert_eq!(
        [("c", secret.as_str()), ("a", SECRET)].map(|(id, secret)| server.create(id, secret).status),
        [200, 200]
    );
    server.stop("TERM");
    // A link stays one.
    symlink("../elsewhere.toml", home.path("clients.d/link.toml")).unwrap();
    home.write("elsewhere.toml", "");
    home.run(&["client", "add", "f", "--file", "clients.d/link.toml"]).assert(0);
    assert!(home.text("elsewhere.toml").contains("id = \"f\""));
    assert!(fs::symlink_metadata(home.path("clients.d/link.toml")).unwrap().is_symlink());
    home.run(&["check"]).assert(0);
}

#[test]
fn client_add_names_keys_from_the_file_that_it_writes_to() {
    let home = home();
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    home.write("clients.d/keys.json", set);
    home.run(&["client", "add", "s", "--jwks", "clients.d/keys.json", "--file", "clients.d/s.toml"]).assert(0);
    assert_eq!(home.text("clients.d/s.toml"), "[[clients]]\nid = \"s\"\njwks = \"keys.json\"\n");
    home.run(&["check"]).assert(0);
}

#[test]
fn client_add_refuses_a_file_that_is_not_included() {
    let home = home();
    for file in ["clients.d/c.txt", "clients.d/.c.toml", "c.toml", "keys/c.toml", "clients.d"] {
        let ran = home.run(&["client", "add", "c", "--file", file]);
        ran.assert_refused(2, &[&format!("{file}: lingpai.toml does not include this file; add a path that does")]);
    }
    let nowhere = home.run(&["client", "add", "c", "--file", "none/c.toml"]);
    nowhere.assert_refused(2, &["none: there is no such folder; make it first"]);
    home.run(&["client", "add", "c", "--scope", "a b", "--file", "clients.d/c.toml"])
        .assert_refused(2, &["nothing was written: expected a scope token"]);
    assert_eq!(home.names("clients.d"), ["a.toml"]);
    assert_eq!(home.names("."), ["clients.d", "keys", "lingpai.toml"]);
}

/// Whoever comes second adds to what the first one wrote, or is told that there is such a client.
#[test]
fn several_add_at_once() {
    let home = home();
    let at_once = |files: &dyn Fn(usize) -> (String, String)| {
        let add = |number| {
            let (id, file) = files(number);
            home.command(&["client", "add", &id, "--file", &file], &[]).spawn().unwrap()
        };
        let running: Vec<_> = (0..6).map(add).collect();
        running.into_iter().map(|child| ended(child).code).filter(|code| *code == Some(0)).count()
    };
    assert_eq!(at_once(&|number| (format!("b{number}"), "clients.d/b.toml".to_owned())), 6);
    assert_eq!(home.text("clients.d/b.toml").matches("[[clients]]").count(), 6);
    assert_eq!(at_once(&|number| ("c".to_owned(), format!("clients.d/c{number}.toml"))), 1);
    home.run(&["check"]).assert(0);
    assert_eq!(home.names("clients.d").len(), 3);
}

/// Every problem of every file, each with its own place.
#[test]
fn check_names_the_problems_of_all_files() {
    let home = home();
    home.write("clients.d/b.toml", &(client("b").replace("\"x\"", "1") + &client("c").replace("\"x\"", "2")));
    home.write("clients.d/c.toml", "[token]\nleeway = \"1s\"\n");
    home.write(
        "lingpai.toml",
        &home.text("lingpai.toml").replace("[\"clients.d/*.toml\"]", "[\"clients.d/*.toml\", \"none.toml\"]"),
    );
    let ran = home.run(&["check"]);
    ran.assert(2);
    let said: Vec<_> = ran.err.lines().collect();
    for expected in [
        "lingpai: lingpai.toml:1:32: none.toml: there is no such file",
        "lingpai: clients.d/c.toml:1:2: an included file holds only [[clients]] and [[issuers]]; move `token`",
        "lingpai: clients.d/b.toml:5:10: invalid type: integer `1`",
        "lingpai: clients.d/b.toml:10:10: invalid type: integer `2`",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{}\nwant: {expected}", ran.err);
    }
    assert_eq!(said.len(), 4, "{}", ran.err);
}

/// A broken issuer does not hide another, and a client that a rule names is not removed.
#[test]
fn issuers_in_files_of_their_own() {
    let home = home();
    let issuer = |name: &str, client: &str| {
        format!(
            "[[issuers]]\nissuer = \"https://{name}.example\"\njwks_uri = \"https://{name}.example/keys\"\n\
             [[issuers.rules]]\nmatch = {{ sub = \"x\" }}\nclient = \"{client}\"\n"
        )
    };
    home.write("clients.d/b.toml", &(client("b") + &issuer("one", "b") + &issuer("two", "b")));
    home.run(&["check"]).assert(0);
    home.run(&["client", "remove", "b"])
        .assert_refused(1, &["clients.d/b.toml:11:10: this rule names the client \"b\"; remove the rule first"]);
    home.run(&["client", "add", "c", "--file", "clients.d/b.toml"]).assert(0);
    home.run(&["client", "remove", "c"]).assert(0);
    home.write("clients.d/c.toml", &(issuer("three", "orders") + &issuer("four", "nobody") + &issuer("one", "b")));
    let ran = home.run(&["check"]);
    ran.assert(2);
    let said: Vec<_> = ran.err.lines().collect();
    for expected in [
        "lingpai: clients.d/c.toml:6:10: the client \"orders\" is in another file",
        "lingpai: clients.d/c.toml:12:10: there is no client \"nobody\"",
        "lingpai: clients.d/c.toml:18:10: the client \"b\" is in another file",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{}\nwant: {expected}", ran.err);
    }
    assert_eq!(said.len(), 3, "{}", ran.err);
}

#[test]
fn check_compares_whole_configurations() {
    let home = home();
    let digest = |config: &str| {
        let ran = home.run(&["check", "--json", "--config", config, "--running", "lingpai.toml"]);
        let said = ran.assert(0).json();
        (said["clients"].as_u64().unwrap(), said["configuration_digest"].clone())
    };
    home.write("whole.toml", &(quiet() + &client("a")));
    assert_eq!(digest("lingpai.toml"), digest("whole.toml"));
    assert_eq!(digest("lingpai.toml").0, 3);
    home.write("less.toml", &quiet());
    let ran = home.run(&["check", "--config", "less.toml", "--running", "lingpai.toml"]);
    assert_eq!(
        ran.assert(0).err,
        "lingpai: warning: no longer configured, so their tokens are refused at once: client a\n"
    );
}

#[test]
fn explain_names_the_line_of_the_included_file() {
    let home = home();
    let ran = home.run(&["explain", "a", "--scope", "x"]);
    assert!(ran.assert(0).out.contains("(clients.d/a.toml:5:10)"), "{}", ran.out);
    let ran = home.run(&["explain", "orders", "--subject", "a"]);
    assert!(
        ran.assert(1).out.contains("the id of another client, which patterns never allow (clients.d/a.toml:3:6)"),
        "{}",
        ran.out
    );
}

/// The name of a file may belong to somebody who may not say more in the operator's terminal.
#[test]
fn a_line_break_in_a_file_s_name_begins_no_line() {
    let home = home();
    let (name, shown) =
        ("clients.d/b\ngranted scope everything\n.toml", "clients.d/b\\ngranted scope everything\\n.toml");
    home.write(name, &client("b"));
    let ran = home.run(&["explain", "b", "--scope", "x"]);
    assert!(ran.assert(0).out.contains(&format!("({shown}:5:10)")), "{}", ran.out);
    for command in [&["client", "rotate", "b"][..], &["client", "retire", "b"], &["client", "remove", "b"]] {
        let ran = home.run(command);
        assert!(ran.assert(0).out.contains(shown) && !ran.out.contains("\ngranted"), "{}", ran.out);
    }
}
