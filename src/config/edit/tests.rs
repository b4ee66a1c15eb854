//! Edits of text and of files.

use super::clients::INLINE;
use super::*;

const FILE: &str = "# top\nissuer = \"https://t.example\" # why\n\n# the first\n[[clients]]\nid = 'a'\nsecrets = [\"s1\"] # one\n\n\
                    # the second\n  [[ clients ]] # here\n  id = \"b\"\n  secrets = [\n    \"s1\", # old\n    # new\n    \
                    \"s2\", # since May\n  ]\n  # the end of b\n\n[keys] # where\npath = \"keys\" # there\n\n[reload]\n";

/// Each in both kinds of line ends.
#[track_caller]
fn assert_edit(change: impl Fn(&str) -> Result<String, EditError>, before: &str, after: &str) {
    assert_eq!(change(before).unwrap(), after);
    let windows = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(change(&windows(before)).unwrap(), windows(after));
}

#[test]
fn a_client_that_comes_and_goes_leaves_the_file_as_it_was() {
    let client = NewClient { id: "c", secret: Some("s"), jwks: None, lists: &[("scope", &["x".to_owned()])] };
    for text in [FILE, "", "a = 1\n", "a = 1\n\n", "a = 1\n# the last word\n\n\n"] {
        let added = with_client(text, &client).unwrap();
        assert!(added.ends_with("\n[[clients]]\nid = \"c\"\nsecrets = [\"s\"]\nscope = [\"x\"]\n"), "{added}");
        assert_edit(|text| without_client(text, "c"), &added, text);
    }
}

#[test]
fn what_is_around_a_client_stays() {
    let first = FILE.replace("[[clients]]\nid = 'a'\nsecrets = [\"s1\"] # one\n", "");
    assert_edit(|text| without_client(text, "a"), FILE, &first);
    let second = FILE.split("  [[ clients").next().unwrap().to_owned() + FILE.split_once("  ]\n").unwrap().1;
    assert_edit(|text| without_client(text, "b"), FILE, &second);
    assert!(matches!(without_client(FILE, "c"), Err(EditError::Refused(_))));
    let inline = "clients = [{ id = \"a\" }]";
    assert!(matches!(without_client(inline, "a"), Err(EditError::Refused(why)) if why == INLINE));
}

#[test]
fn a_second_secret() {
    assert_edit(|text| with_secret(text, "a", "s9"), FILE, &FILE.replace("[\"s1\"]", "[\"s1\", \"s9\"]"));
    for (before, after) in [
        ("[ \"x\", ]", "[ \"x\", \"s9\", ]"),
        ("[\n\t\"x\"\n]", "[\n\t\"x\",\n\t\"s9\",\n]"),
        ("[\n\t\"x\", # old\n# end\n]", "[\n\t\"x\", # old\n\t\"s9\",\n# end\n]"),
        ("[\n\t\"x\" # old, very\n]", "[\n\t\"x\", # old, very\n\t\"s9\",\n]"),
        ("[\n\t\"x\"\n\t, ]", "[\n\t\"x\", \"s9\"\n\t, ]"),
        ("[\n\t\"x\"]", "[\n\t\"x\", \"s9\"]"),
    ] {
        let file = |secrets: &str| format!("[[clients]]\nid = \"a\"\nsecrets = {secrets}\nscope = []");
        assert_edit(|text| with_secret(text, "a", "s9"), &file(before), &file(after));
    }
    assert!(matches!(with_secret(FILE, "b", "s9"), Err(EditError::Refused(why)) if why.contains("retire")));
    for none in ["[[clients]]\nid = \"a\"", "[[clients]]\nid = \"a\"\nsecrets = []"] {
        assert!(matches!(with_secret(none, "a", "s9"), Err(EditError::Refused(why)) if why.contains("in another way")));
    }
}

#[test]
fn the_oldest_secret() {
    assert_edit(|text| without_oldest_secret(text, "b"), FILE, &FILE.replace("    \"s1\", # old\n", ""));
    for (before, after) in [
        ("[\"x\", \"y\"]", "[\"y\"]"),
        ("[ \"x\" , 'y' ]", "[ 'y' ]"),
        ("[\n\"x\",\n\"y\"]", "[\n\"y\"]"),
        ("[\"x\", # old\n\"y\"]", "[# old\n\"y\"]"),
    ] {
        let file = |secrets: &str| format!("[[clients]]\nid = \"a\"\nsecrets = {secrets}\nscope = []");
        assert_edit(|text| without_oldest_secret(text, "a"), &file(before), &file(after));
    }
    assert!(matches!(without_oldest_secret(FILE, "a"), Err(EditError::Refused(why)) if why.contains("rotate")));
}

#[test]
fn a_file_that_something_else_changes_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lingpai.toml");
    fs::write(&path, "issuer = \"https://t.example\"\n").unwrap();
    let interfere = |text: &str| {
        if text.matches("# theirs").count() < 2 {
            fs::write(&path, format!("{text}# theirs\n")).unwrap();
        }
        Ok(format!("{text}# ours\n"))
    };
    edit(&path, &path, &Overrides::default(), interfere, |_| Ok(())).unwrap();
    let both = "issuer = \"https://t.example\"\n# theirs\n# theirs\n# ours\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), both);
    // Without end.
    let interfere = |text: &str| {
        fs::write(&path, format!("{text}# theirs\n")).unwrap();
        Ok(format!("{text}# ours\n"))
    };
    let busy = edit(&path, &path, &Overrides::default(), interfere, |_| Ok(())).unwrap_err();
    assert!(matches!(busy, EditError::Busy(_)), "{busy}");
    // What is refused, or is no configuration, is not written.
    let before = fs::read_to_string(&path).unwrap();
    let refused = edit(&path, &path, &Overrides::default(), |_| Ok("a = 1".to_owned()), |_| Ok(())).unwrap_err();
    assert!(refused.to_string().starts_with("nothing was written: unknown field `a`"), "{refused}");
    let refused = edit(&path, &path, &Overrides::default(), |text| Ok(format!("{text}#\n")), |_| Err("no".into()));
    assert_eq!(refused.unwrap_err().to_string(), "nothing was written: no");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Together they are one configuration, also while two of them are edited at once.
#[test]
fn an_included_file_is_edited_as_a_part_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (main, team) = (folder.path().join("lingpai.toml"), folder.path().join("d/team.toml"));
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(&main, "issuer = \"https://t.example\"\ninclude = [\"d/*.toml\"]\n").unwrap();
    let overrides = Overrides::default();
    let is_locked = || fs::File::open(folder.path()).unwrap().try_lock().is_err();
    let check = |config: &Config| {
        assert!(is_locked());
        if config.clients_len() == 1 { Ok(()) } else { Err(config.clients_len().to_string()) }
    };
    let refused = create(&team, "# none\n", &main, &overrides, check).unwrap_err();
    assert_eq!(refused.to_string(), "nothing was written: 0");
    assert!(!team.exists());
    fs::set_permissions(&main, fs::Permissions::from_mode(0o640)).unwrap();
    create(&team, "[[clients]]\nid = \"a\"\n", &main, &overrides, check).unwrap();
    assert_eq!(fs::metadata(&team).unwrap().permissions().mode() & 0o777, 0o640);
    let again = create(&team, "[[clients]]\nid = \"b\"\n", &main, &overrides, check).unwrap_err();
    assert!(again.to_string().starts_with("nothing was written: ") || again.to_string().contains("exists"), "{again}");

    edit(&team, &main, &overrides, |text| Ok(text.to_owned() + "scope = []\n"), check).unwrap();
    let refused = edit(&team, &main, &overrides, |text| without_client(text, "a"), check).unwrap_err();
    assert_eq!(refused.to_string(), "nothing was written: 0");
    let refused = edit(&main, &main, &overrides, |text| Ok(text.replace("d/*", "e/*")), check).unwrap_err();
    assert_eq!(refused.to_string(), "nothing was written: 0");
    let refused = edit(&team, &main, &overrides, |text| Ok(text.to_owned() + "[token]\n"), check).unwrap_err();
    assert!(refused.to_string().starts_with("nothing was written: an included file holds only"), "{refused}");
    assert_eq!(fs::read_to_string(&team).unwrap(), "[[clients]]\nid = \"a\"\nscope = []\n");
}

#[test]
fn a_revoked_key() {
    let revoke = |text: &str| with_revoked(text, "K");
    let line = "path = \"keys\" # there\n";
    assert_edit(revoke, FILE, &FILE.replace(line, &format!("{line}revoked = [\"K\"]\n")));
    for (before, after) in [
        ("a = 1\n", "a = 1\n\n[keys]\nrevoked = [\"K\"]\n"),
        ("[keys]\n\n[a]\n", "[keys]\nrevoked = [\"K\"]\n\n[a]\n"),
        ("[keys]\nrevoked = [] # none\n", "[keys]\nrevoked = [\"K\"] # none\n"),
        ("[keys]\nrevoked = [\"J\"]\n", "[keys]\nrevoked = [\"J\", \"K\"]\n"),
        ("[keys]\nrevoked = [\"K\"]\n", "[keys]\nrevoked = [\"K\"]\n"),
        ("keys = { revoked = [] }\n", "keys = { revoked = [\"K\"] }\n"),
        ("keys.revoked = [\"J\"]\n", "keys.revoked = [\"J\", \"K\"]\n"),
    ] {
        assert_edit(revoke, before, after);
    }
    assert_eq!(revoke("[keys]").unwrap(), "[keys]\nrevoked = [\"K\"]\n");
    assert!(matches!(revoke("keys.path = \"k\""), Err(EditError::Refused(_))));
}
