//! A client's settings.

use super::{assert_refused, client, digest, has, many, read};

#[test]
fn who_a_client_is() {
    const ID: &str = "3:6: expected a client id: 1 to 64 characters of A-Z a-z 0-9 . _ ~ -";
    let good = digest("x");
    for id in ["", "a b", "a/b", "a:b", "é", "a\\n", &"x".repeat(65)] {
        assert_refused(&client(id, &[&good], ""), ID);
    }
    assert_refused(&client("anonymous", &[&good], ""), "3:6: the id `anonymous` is reserved");
    let secret = format!("lps_{}", "a".repeat(43));
    assert_refused(&client(&secret, &[&good], ""), "3:6: expected a client id; this is a secret");
    let twice = has("[[clients]]\nid = \"b\"\nsecrets = []\n").replace("[]", &format!("{:?}", [&good]));
    assert!(read(&twice).is_ok());
    assert_refused(&twice.replace("\"b\"", "\"a\""), "6:6: another client has this id; ids must be unique");
}

#[test]
fn secrets() {
    const DIGEST: &str = "expected \"sha256:\" and 64 lower-case hex digits";
    let three = [digest("x"), digest("y"), digest("z")];
    let three: Vec<_> = three.iter().map(String::as_str).collect();
    assert_refused(&client("a", &three, ""), "4:11: expected one secret, or two while one is being replaced");
    assert_refused(&client("a", &[], ""), "3:6: nobody can authenticate as this client; expected `secrets`");
    let good = digest("x");
    let upper = format!("sha256:{}", good[7..].to_uppercase());
    let nobody = format!("sha256:{}", "0".repeat(64));
    let wrong = ["", "sha256:", "sha256:abc", &good[7..], &good.replace("256", "512"), &upper, &nobody];
    for text in wrong.into_iter().chain(["lps_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"]) {
        assert_refused(&client("a", &[text], ""), &format!("4:12: {DIGEST}"));
        assert_refused(&client("a", &[&good, text], ""), &format!("4:87: {DIGEST}"));
    }
}

#[test]
fn what_a_client_may_have() {
    let long = "x".repeat(256);
    for (value, problem) in [
        ("scope = [\"ok\", \"a b\"]", "5:16: expected a scope token: 1 to 128 visible ASCII characters"),
        ("scope = [\"\"]", "5:10: expected a scope token"),
        ("scope = [\"é\"]", "5:10: expected a scope token"),
        ("scope = ['a\"']", "5:10: expected a scope token"),
        (&format!("scope = [\"{}\"]", &long[..129]), "5:10: expected a scope token"),
        (&many("scope", 65), "5:448: expected at most 64 scope tokens"),
        ("audience = [\"\"]", "5:13: expected an audience: 1 to 255 characters"),
        ("audience = [\"a\\u0007\"]", "5:13: expected an audience: 1 to 255 characters"),
        (&format!("audience = [\"{long}\"]"), "5:13: expected an audience: 1 to 255 characters"),
        (&many("audience", 9), "5:61: expected at most 8 audiences"),
        ("subjects = [\"us*er\"]", "5:13: expected a subject such as \"user:7\" or a pattern such as \"user:*\""),
        ("subjects = [\"user:7\", \"**\"]", "5:23: expected a subject such as"),
        ("subjects = [\"\"]", "5:13: expected a subject such as"),
        ("subjects = [\"a b\"]", "5:13: expected a subject such as"),
        (&format!("subjects = [\"{long}\"]"), "5:13: expected a subject such as"),
        (&many("subjects", 65), "5:451: expected at most 64 patterns"),
        ("claims = [\"\"]", "5:11: expected a claim's name: 1 to 255 characters"),
        (&format!("claims = [\"{long}\"]"), "5:11: expected a claim's name"),
        (&many("claims", 65), "5:449: expected at most 64 claims"),
        // A column counts characters, as an editor does.
        ("claims = [\"é\", \"iss\"]", "5:16: `iss` is a reserved claim, which no client may set"),
        ("access_lifetime = \"25h\"", "5:19: expected a duration from 1s to 1d"),
        ("refresh_lifetime = \"91d\"", "5:20: expected a duration from 1s to 90d"),
        ("session_lifetime = \"366d\"", "5:20: expected a duration from 1s to 365d"),
        ("session_lifetime = \"0s\"", "5:20: expected a duration from 1s to 365d"),
        ("not_before = \"2026-11-22\"", "5:14: expected an instant in UTC such as \"2026-11-22T00:00:00Z\""),
        ("not_before = \"2026-11-22T00:00:00+01:00\"", "5:14: expected an instant in UTC"),
        ("scopes = []", "5:1: unknown field `scopes`; did you mean `scope`?"),
    ] {
        assert_refused(&has(value), problem);
        // Windows' line ends change no place.
        assert_refused(&has(value).replace('\n', "\r\n"), problem);
    }
}

#[test]
fn reserved_claims() {
    let reserved =
        "iss sub aud exp nbf iat jti client_id scope cnf act may_act auth_time acr amr azp nonce sid events typ";
    for name in reserved.split(' ') {
        assert_refused(&has(&format!("claims = [\"{name}\"]")), &format!("5:11: `{name}` is a reserved claim"));
    }
}
