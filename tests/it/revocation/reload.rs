//! How a changed list takes effect, waits, or is refused.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};

use serde_json::Value;

use super::{
    KEY, LATER, RANDOM, append, failures, goes_on, is_good, jti, list, listed, pair, refusal, service, sid, warnings,
};
use crate::app::{TestApp, replace, standard};
use crate::home::Home;

/// "Complete lines count at the next look; a last line without a newline waits."
#[test]
fn half_a_line_waits() {
    let app = service();
    let (access, refresh) = pair(&app.create(""));
    let line = format!("session {} {LATER}\n", sid(&access).unwrap());
    append(&app, "# half of\n");
    for cut in [1, 20, line.len() - 1] {
        let file = app.folder.path().join("revoked");
        fs::write(&file, format!("# half of\n{}", &line[..cut])).unwrap();
        app.look();
        assert!(is_good(&app, &access) && goes_on(&app, &refresh), "{cut}");
        assert_eq!(refusal(&app), "");
        assert!(warnings(&app).contains("line 2 has no newline"), "{}", warnings(&app));
    }
    append(&app, "\n");
    app.look();
    assert!(!is_good(&app, &access) && !goes_on(&app, &refresh));
    assert!(!warnings(&app).contains("newline"));
}

/// "A list that lost lines whose `<until>` is ahead ... keeps the old one for a minute, warns and counts."
#[test]
fn what_lost_lines_waits_for_a_minute() {
    let app = service();
    let (access, _) = pair(&app.create(r#"{"lifetime":600}"#));
    let (other, _) = pair(&app.create(r#"{"lifetime":600}"#));
    let line = |token: &str| format!("jti {} {LATER}\n", jti(token));
    list(&app, &line(&access));
    // As a copy in place does: shorter first, then all of it.
    fs::write(app.folder.path().join("revoked"), "").unwrap();
    app.at(10).look();
    assert!(!is_good(&app, &access));
    assert!(warnings(&app).contains("1 entries that still matter are gone: held back until 2026-06-01T12:01:10Z"));
    assert_eq!(failures(&app), 1);
    append(&app, &line(&access));
    append(&app, &line(&other));
    app.at(12).look();
    assert!(!is_good(&app, &access) && !is_good(&app, &other));
    assert!(!warnings(&app).contains("held back"));

    // Meant; and what is appended meanwhile does not begin the minute anew.
    fs::write(app.folder.path().join("revoked"), line(&other)).unwrap();
    app.at(20).look();
    append(&app, "# more\n");
    app.at(50).look();
    app.at(79).look();
    assert!(!is_good(&app, &access));
    app.at(80).look();
    assert!(is_good(&app, &access) && !is_good(&app, &other));
    assert_eq!(failures(&app), 2);
    // What ended anyway is no loss.
    list(&app, &format!("{}jti {RANDOM} 2026-06-01T12:01:00Z\n", line(&other)));
    list(&app, &line(&other));
    assert_eq!(app.metric("lingpai_revocations{kind=\"jti\"}"), 1);
}

/// "Complete lines count at the next look", also of a list that lost others, which "keeps the old one for a minute".
#[test]
fn what_is_added_does_not_wait() {
    let app = service();
    let tokens: Vec<_> = (0..4).map(|_| pair(&app.create(r#"{"lifetime":600}"#)).0).collect();
    let lines: Vec<_> = tokens.iter().map(|token| format!("jti {} {LATER}\n", jti(token))).collect();
    let good = || tokens.iter().map(|token| is_good(&app, token)).collect::<Vec<_>>();
    list(&app, &lines[0]);
    let digest = || app.operator("/readyz").json()["revocations_digest"].clone();
    let before = digest();
    app.at(10);
    list(&app, &lines[1]);
    assert_eq!(good(), [false, false, true, true]);
    assert_ne!(digest(), before);
    assert!(warnings(&app).contains("1 entries that still matter are gone: held back until 2026-06-01T12:01:10Z"));
    // Neither does what is added meanwhile; what is lost meanwhile has a minute of its own.
    app.at(30);
    list(&app, &lines[2]);
    assert_eq!(good(), [false, false, false, true]);
    app.at(89).look();
    assert_eq!((good(), failures(&app)), (vec![false, false, false, true], 1));
    app.at(90).look();
    assert_eq!(good(), [true, true, false, true]);
    assert!(!warnings(&app).contains("held back"));
    // The copy ends: all of it is there, and nothing waits.
    list(&app, &lines[3]);
    list(&app, &(lines[2].clone() + &lines[3]));
    assert_eq!(good(), [true, true, false, false]);
    assert!(!warnings(&app).contains("held back"));
}

/// The files of before are no longer what is in force, if they come back while lines count that they lack.
#[test]
fn a_list_that_is_swapped_and_comes_back() {
    let app = service();
    let tokens: Vec<_> = (0..2).map(|_| pair(&app.create(r#"{"lifetime":600}"#)).0).collect();
    let path = |name: &str| app.folder.path().join(name);
    for (name, token) in ["a", "b"].iter().zip(&tokens) {
        fs::write(path(name), format!("jti {} {LATER}\n", jti(token))).unwrap();
    }
    let swap = |name: &str| {
        fs::remove_file(path("revoked")).unwrap();
        symlink(name, path("revoked")).unwrap();
        app.look();
        tokens.iter().map(|token| is_good(&app, token)).collect::<Vec<_>>()
    };
    assert_eq!(swap("a"), [false, true]);
    app.at(10);
    assert_eq!(swap("b"), [false, false]);
    app.at(12);
    assert_eq!(swap("a"), [false, false]);
    // What was lost last has its minute, too.
    assert!(warnings(&app).contains("held back until 2026-06-01T12:01:12Z"), "{}", warnings(&app));
    app.at(71);
    assert_eq!(swap("a"), [false, false]);
    app.at(72);
    assert_eq!(swap("a"), [false, true]);
    assert!(!warnings(&app).contains("held back"));
}

/// A copy that begins while a line is already held back loses no token.
#[test]
fn a_list_that_is_cut_short_near_the_end_of_the_minute() {
    let app = service();
    let tokens: Vec<_> = (0..3).map(|_| pair(&app.create(r#"{"lifetime":600}"#)).0).collect();
    let lines: Vec<_> = tokens.iter().map(|token| format!("jti {} {LATER}\n", jti(token))).collect();
    let good = |second: i64, lines: &[String]| {
        app.at(second);
        list(&app, &lines.concat());
        tokens.iter().map(|token| is_good(&app, token)).collect::<Vec<_>>()
    };
    assert_eq!(good(10, &lines), [false, false, false]);
    assert_eq!(good(20, &lines[1..]), [false, false, false]);
    assert_eq!(good(77, &[]), [false, false, false]);
    assert_eq!(good(82, &lines[1..2]), [false, false, false]);
    assert_eq!(good(84, &lines[1..]), [false, false, false]);
    assert_eq!(good(136, &lines[1..]), [false, false, false]);
    assert_eq!(good(137, &lines[1..]), [true, false, false]);
}

/// "or vanished, keeps the old one for a minute, warns and counts."
#[test]
fn a_list_that_vanished() {
    let app = service();
    let (access, _) = pair(&app.create(""));
    let line = format!("jti {} {LATER}\n", jti(&access));
    list(&app, &line);
    fs::remove_file(app.folder.path().join("revoked")).unwrap();
    app.at(10).look();
    assert!(!is_good(&app, &access));
    assert!(warnings(&app).contains("the revocation list is gone"), "{}", warnings(&app));
    app.at(69).look();
    assert!(!is_good(&app, &access));
    assert_eq!(failures(&app), 1);
    // It is back, and nothing had happened.
    list(&app, &line);
    assert!(!is_good(&app, &access));
    fs::remove_file(app.folder.path().join("revoked")).unwrap();
    app.at(100).look();
    app.at(160).look();
    assert!(is_good(&app, &access));
    assert!(refusal(&app).contains("there is no such revocation list; an empty file is an empty list"));
    app.at(170).look();
    assert_eq!(failures(&app), 3);
    list(&app, &line);
    assert!(!is_good(&app, &access));
    assert_eq!(refusal(&app), "");
}

/// "anything else is refused with file and line, and the old list stays": all or nothing.
#[test]
fn what_is_no_list_is_refused_and_the_old_stays() {
    let app = service();
    let (access, _) = pair(&app.create(""));
    let (other, _) = pair(&app.create(""));
    let (good, more) = (format!("jti {} {LATER}\n", jti(&access)), format!("jti {} {LATER}\n", jti(&other)));
    list(&app, &good);
    let utf16: String = good.chars().flat_map(|c| [c, '\0']).collect();
    for (count, (bad, says)) in [
        ("jti x 2026-07-01T00:00:00Z\n".to_owned(), "line 3: expected a token's id"),
        ("session 1.x 2026-07-01T00:00:00Z\n".into(), "line 3: expected a session's id"),
        ("user x\n".into(), "line 3: expected a line that begins with jti, session, client or subject"),
        (format!("# hides\r{good}"), "line 3: expected no control character"),
        (format!("\0\0\0{good}"), "line 3: expected no control character"),
        (utf16, "line 3: expected no control character"),
        (format!("\u{feff}{good}"), "line 3: expected a line that begins with"),
        (format!("# {}\n", "x".repeat(1_023)), "line 3: expected a line of at most 1024 bytes"),
        ("x".repeat(1_025), "line 3: expected a line of at most 1024 bytes"),
        (format!("jti {RANDOM} 12026-07-01T00:00:00Z\n"), "line 3: expected an instant"),
    ]
    .into_iter()
    .enumerate()
    {
        list(&app, &format!("{good}{more}{bad}"));
        assert!(refusal(&app).contains(&format!("/revoked: {says}")), "{}\nwant: {says}", refusal(&app));
        assert!(!is_good(&app, &access) && is_good(&app, &other), "{bad:?}");
        // The same refusal is said once.
        app.look();
        let known = i64::try_from(count).unwrap();
        assert!((1..=known + 1).contains(&failures(&app)), "{bad:?}");
    }
    fs::write(app.folder.path().join("revoked"), b"# \xff\n").unwrap();
    app.look();
    assert!(refusal(&app).contains("line 1: expected UTF-8 text"));
    // A gigabyte of nothing is not read.
    File::create(app.folder.path().join("revoked")).unwrap().set_len(1 << 30).unwrap();
    app.look();
    assert!(refusal(&app).contains("expected at most 256 MiB in all"));
    File::create(app.folder.path().join("revoked")).unwrap().set_len(1 << 27).unwrap();
    app.look();
    assert!(refusal(&app).contains("line 1: expected a line of at most 1024 bytes"), "{}", refusal(&app));
    // Nothing that would wait for a writer.
    fs::remove_file(app.folder.path().join("revoked")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(app.folder.path().join("revoked")).status().unwrap().success());
    app.look();
    assert!(refusal(&app).contains("is not a regular file"));
    assert!(!is_good(&app, &access) && is_good(&app, &other));
    fs::remove_file(app.folder.path().join("revoked")).unwrap();
    list(&app, &format!("{good}{more}"));
    assert_eq!(refusal(&app), "");
    assert!(!is_good(&app, &access) && !is_good(&app, &other));
}

/// "Comments and blank lines are allowed"; so are a BOM at a file's start and the ends of lines that Windows writes, and
/// instants a hundred years ahead.
#[test]
fn what_editors_write() {
    let app = service();
    let tokens: Vec<_> = (0..3).map(|_| pair(&app.create("")).0).collect();
    let ids: Vec<_> = tokens.iter().map(|token| jti(token)).collect();
    list(
        &app,
        &format!(
            "\u{feff}# 名 of whom\r\n\r\n  jti\t{}  2126-06-01T12:00:00Z\r\n\n \njti {} {LATER}\n\t# x\njti {} {LATER}\r\n",
            ids[0], ids[1], ids[2]
        ),
    );
    assert_eq!(refusal(&app), "");
    assert!(tokens.iter().all(|token| !is_good(&app, token)));
    // An entry counts as long as it stands in the file, whatever its instant.
    list(&app, &format!("jti {} 1970-01-01T00:00:00Z\njti {} {LATER}\njti {} {LATER}\n", ids[0], ids[1], ids[2]));
    assert!(!is_good(&app, &tokens[0]));
}

/// "A file, or a folder of files."
#[test]
fn a_folder_of_files() {
    let app = TestApp::with_files(&listed(), &[KEY], &[("revoked", Vec::new())]);
    let folder = app.folder.path().join("revoked");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let (access, _) = pair(&app.create(""));
    let (other, _) = pair(&app.create(""));
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    // As Kubernetes mounts a ConfigMap.
    fs::create_dir(folder.join("..1")).unwrap();
    write("..1/revoked", &format!("jti {} {LATER}\n", jti(&access)));
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/revoked", folder.join("revoked")).unwrap();
    write("b", &format!("jti {} {LATER}\n", jti(&other)));
    write(".hidden", "no list");
    app.look();
    assert_eq!(refusal(&app), "");
    assert!(!is_good(&app, &access) && !is_good(&app, &other));
    assert_eq!(app.metric("lingpai_revocations"), 2);
    let newest = fs::metadata(folder.join("b")).unwrap().mtime();
    assert!(app.metric("lingpai_revocations_newest_timestamp_seconds") >= newest);
    // Of two files that disagree the later instant counts, whichever it is in.
    for (one, two) in
        [("2026-06-01T11:00:00Z", "2026-06-01T13:00:00Z"), ("2026-06-01T13:00:00Z", "2026-06-01T11:00:00Z")]
    {
        let token = pair(&app.create(r#"{"subject":"user:9"}"#)).0;
        write("a", &format!("subject user:9 before {one}\n"));
        write("z", &format!("subject user:9 before {two}\n"));
        app.look();
        assert!(!is_good(&app, &token));
    }
    write("z", "x\n");
    app.look();
    assert!(refusal(&app).contains("/revoked/z: line 1: "));
    fs::remove_file(folder.join("z")).unwrap();
    // A file that is gone has lost its lines.
    fs::remove_file(folder.join("b")).unwrap();
    app.look();
    assert!(!is_good(&app, &other) && warnings(&app).contains("1 entries that still matter are gone"));
    fs::create_dir(folder.join("sub")).unwrap();
    app.look();
    assert!(refusal(&app).contains("/revoked/sub: is not a regular file"));
    fs::remove_dir(folder.join("sub")).unwrap();
    symlink("nowhere", folder.join("link")).unwrap();
    app.look();
    assert!(refusal(&app).contains("/revoked/link: cannot be read"));
}

/// "An absent or bad list at the start is exit 2; an empty file is an empty list." A changed path waits for a restart.
#[test]
fn the_start_is_strict() {
    let home = Home::standard();
    let config = home.text("lingpai.toml").replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1);
    home.write("lingpai.toml", &config);
    let refused = |says: &str| {
        home.run(&["serve", "--listen", "127.0.0.1:0"]).assert_refused(2, &["revoked", says]);
        home.run(&["check"]).assert_refused(2, &["revoked", says]);
    };
    refused("there is no such revocation list; an empty file is an empty list");
    home.write("revoked", "# fine\nx\n");
    refused("line 2: expected a line that begins with jti, session, client or subject");
    fs::remove_file(home.path("revoked")).unwrap();
    fs::create_dir_all(home.path("revoked/sub")).unwrap();
    refused("is not a regular file");
    fs::remove_dir_all(home.path("revoked")).unwrap();
    home.write("revoked", "");
    home.run(&["check"]).assert(0);
    home.write("revoked", "# half");
    let ran = home.run(&["check"]);
    assert!(ran.assert(0).err.contains("warning: ") && ran.err.contains("line 1 has no newline"), "{ran:?}");
    home.write("lingpai.toml", &config.replace("path = \"revoked\"", "publish = false"));
    home.run(&["check"]).assert_refused(2, &["missing field `path`"]);
}

#[test]
fn a_changed_path_waits_for_a_restart() {
    let app = service();
    let (access, _) = pair(&app.create(""));
    replace(&app.folder.path().join("other"), format!("jti {} {LATER}\n", jti(&access)));
    for change in [listed().replace("\"revoked\"", "\"other\""), standard()] {
        replace(&app.folder.path().join("lingpai.toml"), change);
        app.look();
        assert!(is_good(&app, &access));
        assert!(warnings(&app).contains("restart needed: `revocations.path` has changed"));
        assert!(sid(&pair(&app.create("")).0).is_some());
    }
}

/// Digests and counts, for the operator.
#[test]
fn what_the_operator_sees() {
    let (app, twin, none) = (service(), service(), TestApp::start());
    let digest = |app: &TestApp| app.operator("/readyz").json()["revocations_digest"].clone();
    assert_eq!((digest(&app), digest(&none)), (digest(&twin), Value::Null));
    assert!(!none.operator("/metrics").body.contains("lingpai_revocations"));
    let text =
        format!("jti {RANDOM} {LATER}\nsession 1.{RANDOM} {LATER}\nclient a before {LATER}\nclient b before {LATER}\n");
    list(&app, &text);
    assert_ne!(digest(&app), digest(&twin));
    list(&twin, &text);
    assert_eq!(digest(&app), digest(&twin));
    let metric = |name: &str| (app.metric(name), twin.metric(name));
    assert_eq!(metric("lingpai_revocations{kind=\"client\"}"), (2, 2));
    assert_eq!(metric("lingpai_revocations"), (4, 4));
    let (one, two) = metric("lingpai_revocations_digest");
    assert!(one == two && one != 0);
    assert_eq!(failures(&app), 0);
}
