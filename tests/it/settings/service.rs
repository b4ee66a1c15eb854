//! The service's settings: what is just within a limit, and what is warned of.

use lingpai::clock::Timestamp;

use super::{assert_refused, client, digest, file, has, many, read};
use crate::app::START;

#[test]
fn what_the_service_has() {
    for (lines, problem) in [
        ("[token]\nalgorithm = \"HS256\"", "3:13: expected an algorithm: \"ES256\", \"EdDSA\" or \"RS256\""),
        ("[token]\nalgorithm = \"none\"", "3:13: expected an algorithm"),
        ("[token]\nalgorithm = \"es256\"", "3:13: expected an algorithm"),
        ("[token]\nalgorithm = \"\"", "3:13: expected an algorithm"),
        ("[token]\naudience = [\"\"]", "3:13: expected an audience"),
        (&format!("[token]\n{}", many("audience", 9)), "3:61: expected at most 8 audiences"),
        ("[anonymous]\nscope = [\"a b\"]", "3:10: expected a scope token"),
        (&format!("[anonymous]\n{}", many("scope", 65)), "3:448: expected at most 64 scope tokens"),
        (
            "[keys]\nrevoked = [\"x\"]",
            "3:12: expected a key's id: 43 characters, as `lingpai keys list --wide` shows it",
        ),
        (&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(42)), "3:12: expected a key's id"),
        (&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(44)), "3:12: expected a key's id"),
        (&format!("[keys]\nrevoked = [\"{}+\"]", "A".repeat(42)), "3:12: expected a key's id"),
        ("[keys]\njwks_max_age = \"25h\"", "3:16: expected a duration from 0s to 1d"),
    ] {
        assert_refused(&file(lines), problem);
    }
}

/// TOML has instants of its own, so the quotation marks are easily forgotten.
#[test]
fn an_instant_needs_no_quotation_marks() {
    let quoted = read(&has("not_before = \"2026-11-22T00:00:00Z\"")).unwrap().1;
    for written in ["2026-11-22T00:00:00Z", "2026-11-22 00:00:00Z"] {
        let (_, snapshot) = read(&has(&format!("not_before = {written}"))).unwrap();
        assert_eq!(snapshot.configuration_digest, quoted.configuration_digest, "{written}");
    }
    for wrong in [
        "2026-11-22T00:00:00",
        "2026-11-22",
        "00:00:00",
        "2026-11-22T00:00:00+08:00",
        "2026-11-22T00:00:00.5Z",
        "{ at = 1 }",
        "{}",
        "\"2026-11-22\"",
    ] {
        let expected = "5:14: expected an instant in UTC such as \"2026-11-22T00:00:00Z\"";
        assert_refused(&has(&format!("not_before = {wrong}")), expected);
    }
    assert_refused(&has("not_before = 1"), "5:14: invalid type: integer `1`, expected an instant in UTC such as");
}

/// What no browser sends would never be allowed.
#[test]
fn an_origin_is_written_as_browsers_send_it() {
    let origins = |origin: &str| file(&format!("[cors]\norigins = [\"{origin}\"]"));
    for right in ["https://a.example", "http://a.example:443", "https://a.example:80", "http://[::1]:8080", "http://b"]
    {
        if let Err(said) = read(&(origins(right) + "\n[anonymous]\n")) {
            panic!("{said}");
        }
    }
    for (wrong, right) in [
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://a.example:0443", "https://a.example"),
    ] {
        assert_refused(&origins(wrong), &format!("3:12: expected \"{right}\", as browsers send it: "));
    }
    for wrong in ["https://a.example:08080", "https://a.example:", "https://a.example:65536", "https://", "ftp://a"] {
        assert_refused(&origins(wrong), "3:12: expected an origin such as");
    }
}

#[test]
fn what_is_just_within_the_limits() {
    let (x, y) = (digest("x"), digest("y"));
    for content in [
        client(&"x".repeat(64), &[&x, &y], ""),
        client("A-z_0.9~", &[&x], ""),
        has(&many("scope", 64)),
        has(&many("audience", 8)),
        has(&format!("audience = [\"{}\"]", "é".repeat(255))),
        has(&format!("subjects = [\"{}*\", \"*\", \"a\"]", "x".repeat(255))),
        has(&many("claims", 64)),
        has("scope = []\nsubjects = []\nclaims = []"),
        has("access_lifetime = \"24h\"\nrefresh_lifetime = \"90d\"\nsession_lifetime = \"365d\""),
        file("[token]\naccess_lifetime = \"1s\"\nleeway = \"60s\"\ncache = 0"),
        file("[keys]\njwks_max_age = \"0s\""),
        file("[anonymous]"),
    ] {
        if let Err(said) = read(&content) {
            panic!("{said}\n{content}");
        }
    }
}

#[test]
fn what_is_allowed_but_probably_not_meant() {
    let warnings = |content: &str| {
        let (_, snapshot) = read(content).unwrap();
        snapshot.warnings(Timestamp::from_unix(START)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warnings(&has("")), "");
    for (content, expected) in [
        (file(""), "nobody can get a token"),
        (has("[token]\nsession_lifetime = \"1h\""), "refresh_lifetime is longer than session_lifetime"),
        (has(&format!("[keys]\nrevoked = [\"{}\"]", "A".repeat(43))), "is not in the folder"),
    ] {
        let said = warnings(&content);
        assert!(said.contains(expected) && !said.contains('\n'), "{said}");
    }
}
