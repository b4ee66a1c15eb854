//! Revocation: contract §9, sentence by sentence.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};

use lingpai::keys::Purpose;
use serde_json::{Value, json};

use crate::app::{Answer, SECRET, START, TestApp, replace, segment, standard};
use crate::forge::{DAY, Forge, claims};
use crate::home::{Home, until};

const KEY: &str = "2026-01-01T00-00-00Z.es256.pem";
const LATER: &str = "2026-07-01T00:00:00Z";
const RANDOM: &str = "AAAAAAAAAAAAAAAAAAAAAA";

fn listed() -> String {
    // The client of these tests may use both dialects.
    let grants = "id = \"orders\"\ngrants = [\"client_credentials\", \"refresh_token\"]\n\
                  accepts = [\"https://orders.example.com\"]";
    let standard = standard().replacen("id = \"orders\"", grants, 1);
    standard.replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1)
}

/// A service with an empty list.
fn service() -> TestApp {
    TestApp::with_files(&listed(), &[KEY], &[("revoked", Vec::new())])
}

fn append(app: &TestApp, text: &str) {
    let mut file = OpenOptions::new().append(true).open(app.folder.path().join("revoked")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The list is this from now on, and was looked at.
fn list(app: &TestApp, text: &str) {
    replace(&app.folder.path().join("revoked"), text);
    app.look();
}

fn sid(token: &str) -> Option<String> {
    segment(token, 1)["sid"].as_str().map(str::to_owned)
}

fn jti(token: &str) -> String {
    segment(token, 1)["jti"].as_str().unwrap().to_owned()
}

fn pair(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    (answer.text("value"), answer.text("refresh"))
}

/// What GET says of an access token: 200, or 401 without a description.
#[track_caller]
fn is_good(app: &TestApp, access: &str) -> bool {
    judged(&app.inspect(access, ""))
}

#[track_caller]
fn goes_on(app: &TestApp, refresh: &str) -> bool {
    judged(&app.refresh(refresh, ""))
}

#[track_caller]
fn judged(answer: &Answer) -> bool {
    if answer.status != 200 {
        answer.assert_invalid_token(None);
    }
    answer.status == 200
}

fn oauth(app: &TestApp, path: &str, form: &str) -> Answer {
    let basic = crate::app::basic("orders", SECRET);
    app.send("POST", path, &[&basic, "Content-Type: application/x-www-form-urlencoded"], form)
}

/// What the operator is told is refused.
fn refusal(app: &TestApp) -> String {
    app.operator("/readyz").json()["reload_error"].as_str().unwrap_or_default().to_owned()
}

fn warnings(app: &TestApp) -> String {
    app.operator("/readyz").json()["warnings"].to_string()
}

fn failures(app: &TestApp) -> i64 {
    app.metric("lingpai_reload_failures_total{part=\"revocations\"}")
}

/// "Both tokens carry `sid`, written only with `[revocations]`, read always: the session's start in seconds, a dot, and
/// 128 random bits."
#[test]
fn both_tokens_carry_the_session() {
    let app = service();
    let (access, refresh) = pair(&app.create(""));
    let id = sid(&access).unwrap();
    assert_eq!(sid(&refresh).as_ref(), Some(&id));
    let (start, random) = id.split_once('.').unwrap();
    assert_eq!((start, random.len()), (START.to_string().as_str(), 22));
    assert_ne!(sid(&pair(&app.create("")).0), Some(id.clone()));
    // It is no extra claim.
    assert_eq!(app.inspect(&access, "").json()["claims"], json!({}));
    let (access, _) = pair(&app.at(100).refresh(&refresh, ""));
    assert_eq!(sid(&access), Some(id));
    // Those of the other dialect, and those that nobody can refresh.
    let said = oauth(&app, "/oauth2/token", "grant_type=client_credentials").json();
    let tokens = ["access_token", "refresh_token"].map(|name| sid(said[name].as_str().unwrap()).unwrap());
    assert_eq!(tokens[0], tokens[1]);
    assert!(sid(&app.send("POST", "/token", &[], "").text("value")).is_some());

    let without = TestApp::start();
    let (access, refresh) = pair(&without.create(""));
    assert_eq!((sid(&access), sid(&refresh)), (None, None));
    assert_eq!(segment(&refresh, 1).as_object().unwrap().keys().next_back().unwrap(), "session_end");
}

/// "A pair without it gets none by refresh." Pairs of the release before go on to work.
#[test]
fn old_pairs_go_on_without() {
    let (app, forge) = (service(), Forge::es256());
    assert!(is_good(&app, &forge.right(Purpose::Access)));
    let (access, refresh) = pair(&app.refresh(&forge.right(Purpose::Refresh), ""));
    assert_eq!((sid(&access), sid(&refresh)), (None, None));
    assert!(is_good(&app, &access) && goes_on(&app, &refresh));
    // And a service without a list reads what one with a list wrote, and keeps it.
    let (access, refresh) = pair(&app.create(""));
    let without = TestApp::start();
    assert!(is_good(&without, &access));
    let (_, again) = pair(&without.refresh(&refresh, ""));
    assert_eq!(sid(&again), sid(&refresh));
}

/// "one access token", "all that grew from one POST".
#[test]
fn tokens_and_sessions() {
    let app = service();
    let (access, refresh) = pair(&app.create(""));
    let (other, other_refresh) = pair(&app.create(""));
    assert!(is_good(&app, &access));
    list(&app, &format!("jti {} {LATER}\n", jti(&access)));
    assert!(!is_good(&app, &access) && is_good(&app, &other));
    let (second, _) = pair(&app.refresh(&refresh, ""));
    assert!(is_good(&app, &second));

    list(&app, &format!("jti {} {LATER}\nsession {} {LATER}\n", jti(&access), sid(&access).unwrap()));
    assert!(!is_good(&app, &second) && !goes_on(&app, &refresh));
    assert!(is_good(&app, &other) && goes_on(&app, &other_refresh));
    // A refresh token that names no session is known by its own id.
    let old = Forge::es256().right(Purpose::Refresh);
    assert!(goes_on(&app, &old));
    append(&app, &format!("jti {} {LATER}\n", jti(&old)));
    app.look();
    assert!(!goes_on(&app, &old));
}

/// "`before` ... compare with the start in `sid` where a token has it, else with `iat`."
#[test]
fn before_an_instant() {
    for line in ["client orders", "subject user:7"] {
        let app = service();
        let (_, refresh) = pair(&app.create(r#"{"subject":"user:7"}"#));
        let (late, _) = pair(&app.at(100).refresh(&refresh, ""));
        let (new, new_refresh) = pair(&app.create(r#"{"subject":"user:7"}"#));
        let (stranger, _) = pair(&app.create_as("billing", SECRET, r#"{"subject":"user:8"}"#));
        // Issued later than the instant, of a session that began earlier.
        list(&app, &format!("{line} before 2026-06-01T12:00:50Z\n"));
        assert!(!is_good(&app, &late) && !goes_on(&app, &refresh), "{line}");
        assert!(is_good(&app, &new) && goes_on(&app, &new_refresh) && is_good(&app, &stranger), "{line}");
        // Without a session it is the token's own instant that counts; and a session begins when its token says.
        let forge = Forge::es256();
        let old = forge.sign_payload(Purpose::Access, claims(Purpose::Access).with("iat", START + 100).to_string());
        assert!(is_good(&app, &old) && !is_good(&app, &forge.right(Purpose::Access)), "{line}");
        assert!(!goes_on(&app, &forge.right(Purpose::Refresh)), "{line}");
        // The instant itself is not before it.
        list(&app, &format!("{line} before 2026-06-01T12:01:40Z\n"));
        assert!(is_good(&app, &new), "{line}");
        list(&app, &format!("{line} before 2026-06-01T12:01:41Z\n"));
        assert!(!is_good(&app, &new) && !goes_on(&app, &new_refresh), "{line}");
        // "A `subject` line ends what exists; the identity may come again."
        assert!(is_good(&app, &pair(&app.at(101).create(r#"{"subject":"user:7"}"#)).0), "{line}");
    }
}

/// "A `subject` or `client` line matches `sub`, `client_id`": whatever it is called by.
#[test]
fn identities_match_by_either_name() {
    for (line, ended) in [("client orders", 2), ("subject orders", 2), ("subject user:7", 1), ("client user", 0)] {
        let app = service();
        let own = pair(&app.create("")).0;
        let about = pair(&app.create(r#"{"subject":"user:7"}"#)).0;
        list(&app, &format!("{line} before 2026-06-01T13:00:00Z\n"));
        let tokens = [own, about];
        assert_eq!(tokens.iter().filter(|token| !is_good(&app, token)).count(), ended, "{line}");
    }
}

/// §1.2's `not_before` compares "with the start in `sid` where a token has it, else with `iat`".
#[test]
fn not_before_means_the_session() {
    let app = service();
    let (_, refresh) = pair(&app.create(""));
    let (late, _) = pair(&app.at(100).refresh(&refresh, ""));
    let (new, _) = pair(&app.create(""));
    let since = "id = \"orders\"\nnot_before = \"2026-06-01T12:00:50Z\"";
    app.reconfigure(&listed().replacen("id = \"orders\"", since, 1));
    assert!(!is_good(&app, &late) && is_good(&app, &new));
}

/// "GET, PUT, introspection and exchange obey it": in the words of each dialect.
#[test]
fn oauth_obeys_it() {
    let app = service();
    let said = oauth(&app, "/oauth2/token", "grant_type=client_credentials").json();
    let [access, refresh] = ["access_token", "refresh_token"].map(|name| said[name].as_str().unwrap().to_owned());
    let introspect = || oauth(&app, "/oauth2/introspect", &format!("token={access}"));
    assert_eq!(introspect().json()["active"], true);
    list(&app, &format!("session {} {LATER}\n", sid(&access).unwrap()));
    assert_eq!(introspect().body, r#"{"active":false}"#);
    let refused = oauth(&app, "/oauth2/token", &format!("grant_type=refresh_token&refresh_token={refresh}"));
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert!(!is_good(&app, &access));
    assert_eq!(app.metric("lingpai_refusals_total{reason=\"revoked_session\"}"), 2);
}

/// A change of the list drops no verified token and asks for no signature again, and a known token obeys it at once.
#[test]
fn known_tokens_obey_at_once() {
    let app = service();
    let tokens: Vec<_> = (0..3).map(|_| pair(&app.create("")).0).collect();
    assert!(tokens.iter().all(|token| is_good(&app, token)));
    let misses = app.metric("lingpai_cache_lookups_total{result=\"miss\"}");
    append(&app, &format!("session {} {LATER}\n", sid(&tokens[1]).unwrap()));
    assert!(tokens.iter().all(|token| is_good(&app, token)));
    app.look();
    assert_eq!(tokens.iter().map(|token| is_good(&app, token)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(app.metric("lingpai_cache_lookups_total{result=\"miss\"}"), misses);
}

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
    assert!(warnings(&app).contains("there is no such list of revocations any more"), "{}", warnings(&app));
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
    assert!(refusal(&app).contains("there is no such list of revocations; an empty file is an empty list"));
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
    refused("there is no such list of revocations; an empty file is an empty list");
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

/// `lingpai revoke` in a home of its own.
struct Office {
    home: Home,
}

impl Office {
    fn new() -> Self {
        let home = Home::standard();
        let config = home.text("lingpai.toml").replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1);
        home.write("lingpai.toml", &config.replacen("[token]", "[reload]\ninterval = \"1s\"\n[token]", 1));
        Self { home }
    }

    fn revoke(&self, arguments: &[&str], input: &str) -> crate::home::Ran {
        self.home.run_with_input(&[&["revoke"], arguments].concat(), input.as_bytes())
    }
}

/// "`lingpai revoke … ` appends; `--token` writes a `session` line where there is a `sid`, else `jti`."
#[test]
fn revoke_appends_what_a_server_obeys() {
    let office = Office::new();
    office.home.write("revoked", "# ours\n");
    let server = office.home.serve(&[]);
    let answer = server.create("orders", SECRET);
    let (access, refresh) = pair(&answer);
    let id = sid(&access).unwrap();
    let get = |token: &str| server.send("GET", "/token", &format!("Authorization: Token {token}"), "").status;
    // What can it still do?
    let told = office.revoke(&["--token", "-", "--dry-run"], &access);
    for part in ["access token", "client   orders", "works    until ", "session  goes on", &format!("session {id} ")] {
        assert!(told.assert(0).out.contains(part), "{told:?}\nwant: {part}");
    }
    assert_eq!(office.home.text("revoked"), "# ours\n");
    assert_eq!(get(&access), 200);
    let done = office.revoke(&["--token", "-"], &format!("{refresh}\n"));
    assert!(done.assert(0).out.contains("on it has no effect any more"), "{done:?}");
    assert!(office.home.text("revoked").starts_with(&format!("# ours\nsession {id} ")));
    until(|| get(&access) == 401);
    let put = server.send("PUT", "/token", &format!("Authorization: Token {refresh}"), "");
    assert_eq!(put.status, 401);
    let told = office.revoke(&["--token", "-", "--dry-run", "--json"], &access);
    assert_eq!(told.assert(1).json()["ended_by"], "revoked_session");

    // No session: the token itself. Nor is a token believed that others made.
    let (access, _) = pair(&server.create("orders", SECRET));
    let ran = office.revoke(&["--token", "-"], &access.replace(&access[access.len() - 4..], "AAAA"));
    ran.assert_refused(1, &["the token is not accepted"]);
    office.revoke(&["--token", "-"], "x").assert_refused(1, &["expected three segments"]);
    assert_eq!(server.stop("TERM").code, Some(0));
}

#[test]
fn revoke_takes_names() {
    let office = Office::new();
    let list = || office.home.text("revoked");
    // It makes the file, for everybody to read.
    let told = office.revoke(&["--jti", RANDOM, "--json"], "").assert(0).json();
    assert_eq!((&told["kind"], &told["written"]), (&json!("jti"), &json!(true)));
    assert_eq!(fs::metadata(office.home.path("revoked")).unwrap().mode() & 0o777, 0o644);
    assert_eq!(list(), format!("{}\n", told["line"].as_str().unwrap()));
    office.revoke(&["--session", &format!("1780315200.{RANDOM}")], "").assert(0);
    assert!(list().contains(&format!("session 1780315200.{RANDOM} 2026-07-01T12:00:05Z\n")), "{}", list());
    office.revoke(&["--client", "orders", "--before", "2026-06-01T00:00:00Z"], "").assert(0);
    office.revoke(&["--subject", "user:7"], "").assert(0);
    let ran = office.revoke(&["--subject", "user:7", "--before", "2100-01-01T00:00:00Z"], "");
    assert!(ran.assert(0).out.contains("until 2100-01-01T00:00:00Z it ends new tokens too"), "{ran:?}");
    assert!(list().contains("client orders before 2026-06-01T00:00:00Z\nsubject user:7 before 20"));
    let before = list();
    for wrong in [
        &["--jti", "x"][..],
        &["--session", RANDOM],
        &["--client", "a b"],
        &["--client", "a\nclient b"],
        &["--subject", "x before 2026-06-01T00:00:00Z\nsubject y"],
        &["--jti", RANDOM, "--before", "2026-06-01T00:00:00Z"],
        &["--client", "a", "--before", "tomorrow"],
        &["--client", "a", "--subject", "b"],
        &["--before", "2026-06-01T00:00:00Z"],
        &[],
    ] {
        assert_eq!(office.revoke(wrong, "").code, Some(2), "{wrong:?}");
    }
    assert_eq!(list(), before);
    let all = office.revoke(&["--list", "--json"], "").json();
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(all[4]["has_effect"], true);
    assert_eq!(office.revoke(&["--list"], "").out, before);

    // A last line without a newline is completed if it is one, and is otherwise somebody's who is not done.
    office.home.write("revoked", &format!("jti {RANDOM} {LATER}"));
    office.revoke(&["--client", "orders"], "").assert(0);
    assert!(list().starts_with(&format!("jti {RANDOM} {LATER}\nclient orders before ")));
    office.home.write("revoked", "jti AAA");
    office.revoke(&["--client", "orders"], "").assert_refused(2, &["its last line has no newline"]);
    assert_eq!(list(), "jti AAA");
    office.home.write("revoked", "x\n");
    office.revoke(&["--client", "orders"], "").assert_refused(2, &["line 1: expected a line that begins with"]);
    assert_eq!(list(), "x\n");
    // A folder has a file of its own.
    fs::remove_file(office.home.path("revoked")).unwrap();
    fs::create_dir(office.home.path("revoked")).unwrap();
    office.revoke(&["--client", "orders"], "").assert(0);
    assert_eq!(office.home.names("revoked"), ["revoked"]);
    let home = Home::standard();
    home.run(&["revoke", "--client", "orders"]).assert_refused(2, &["there is no list of revocations"]);
}

/// "`revoke --prune` drops what has ended": comments stay, and so does whatever could still matter.
#[test]
fn prune_drops_what_has_ended() {
    let office = Office::new();
    let (old, ahead) = ("2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let recent = lingpai::clock::Clock::system().now().plus(-DAY).rfc3339();
    let kept = format!("# why\r\n\njti {RANDOM} {ahead}\nclient orders before {recent}\n");
    let ended = format!("session 1.{RANDOM} {old}\nclient orders before {old}\n");
    office.home.write("revoked", &format!("{ended}{kept}jti AAA"));
    let said = office.revoke(&["--prune", "--json"], "").assert(0).json();
    assert_eq!(said, json!({"dropped": 2, "kept": 2}));
    assert_eq!(office.home.text("revoked"), format!("{kept}jti AAA"));
    assert_eq!(office.home.names("."), ["keys", "lingpai.toml", "revoked"]);
    assert_eq!(office.revoke(&["--prune"], "").assert(0).out, "dropped 0, kept 2\n");
}

/// Whoever appends while another prunes loses nothing.
#[test]
fn many_may_revoke_at_once() {
    let office = Office::new();
    office.home.write("revoked", &format!("jti {RANDOM} 2026-01-01T00:00:00Z\n"));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let office = &office;
            scope.spawn(move || office.revoke(&["--client", &format!("c{number}")], "").assert(0).code);
            scope.spawn(move || office.revoke(&["--prune"], "").assert(0).code);
        }
    });
    let all = office.home.text("revoked");
    assert_eq!(all.lines().filter(|line| line.starts_with("client c")).count(), 8, "{all}");
    assert_eq!(office.home.names("."), ["keys", "lingpai.toml", "revoked"]);
}

/// A service that publishes its list, and the list that everybody may read there.
fn publishing() -> TestApp {
    let config = listed().replacen("path = \"revoked\"", "path = \"revoked\"\npublish = true", 1);
    TestApp::with_files(&config, &[KEY], &[("revoked", Vec::new())])
}

fn published(app: &TestApp, headers: &[&str]) -> Answer {
    app.send("GET", "/.well-known/revocations", headers, "")
}

/// "With `publish = true`, `GET /.well-known/revocations` is a JWT (typ `revocations+jwt`; `iss`, `iat`, `exp`, no `sub`) of
/// up to 10,000 entries that still matter, else 404."
#[test]
fn the_signed_list() {
    let (app, other) = (publishing(), publishing());
    let ended = "2026-06-01T12:00:00Z";
    let text = format!(
        "jti {RANDOM} {LATER}\njti AAAAAAAAAAAAAAAAAAAAAQ {ended}\nsession 1.{RANDOM} {LATER}\n\
         client orders before {ended}\nclient orders before 2026-05-01T00:00:00Z\n\
         client old before 2026-01-01T00:00:00Z\nsubject user:7 before {LATER}\n"
    );
    list(&app, &text);
    list(&other, &text);
    let answer = published(&app, &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jwt")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let forge = Forge::es256();
    assert_eq!(segment(&answer.body, 0), json!({"alg": "ES256", "kid": forge.kid, "typ": "revocations+jwt"}));
    assert_eq!(
        segment(&answer.body, 1),
        json!({
            "iss": crate::app::ISSUER, "iat": START, "exp": START + 600,
            "revoked": {
                "jti": [RANDOM], "session": [format!("1.{RANDOM}")],
                "client": {"orders": START}, "subject": {"user:7": 1_782_864_000},
            },
        })
    );
    // The key is published, and signs it.
    let (message, signature) = answer.body.rsplit_once('.').unwrap();
    let signature = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, &forge.public);
    public.verify(message.as_bytes(), &signature).unwrap();
    // It is no token.
    assert!(!is_good(&app, &answer.body) && !goes_on(&app, &answer.body));

    // One signature a minute, and the same version on every replica.
    assert_eq!(published(app.at(59), &[]).body, answer.body);
    let etag = answer.header("etag").unwrap().to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    for service in [&app, &other] {
        let again = published(service, &[&format!("If-None-Match: {etag}")]);
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(etag.as_str())));
    }
    assert_eq!(segment(&published(app.at(60), &[]).body, 1)["iat"], START + 60);
    // What has ended since is left out, and a change of the list shows at once.
    let late = published(app.at(30 * DAY + 61), &[]);
    assert_eq!(segment(&late.body, 1)["revoked"]["client"], json!({}));
    append(&app, "client new before 2026-07-01T00:00:00Z\n");
    app.look();
    assert_eq!(segment(&published(&app, &[]).body, 1)["revoked"]["client"], json!({"new": 1_782_864_000}));
}

#[test]
fn the_signed_list_is_bounded_and_off_by_default() {
    let missing = |answer: &Answer| {
        answer.assert_error(404, "NotFound", &answer.text("message"));
    };
    missing(&published(&service(), &[]));
    missing(&published(&TestApp::start(), &[]));
    let app = publishing();
    let many: Vec<_> = (0..10_000).map(|number| format!("client c{number} before {LATER}\n")).collect();
    let many = many.concat();
    list(&app, &many);
    assert_eq!((published(&app, &[]).status, warnings(&app).contains("not published")), (200, false));
    // What no longer matters does not count.
    append(&app, &format!("jti {RANDOM} 2026-01-01T00:00:00Z\nclient c1 before 2026-05-01T00:00:00Z\n"));
    app.look();
    assert_eq!(published(&app, &[]).status, 200);
    append(&app, &format!("jti {RANDOM} {LATER}\n"));
    app.look();
    missing(&published(&app, &[]));
    assert!(warnings(&app).contains("the list of revocations is not published"));
    // It may be published, or not, without a restart.
    list(&app, &many);
    replace(&app.folder.path().join("lingpai.toml"), listed());
    app.look();
    missing(&published(&app, &[]));
}
