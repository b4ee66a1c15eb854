//! Claims of another shape, at their limits, and in time.

mod access;
mod refresh;

use lingpai::keys::Purpose;

use super::quoted;
use crate::app::{ISSUER, START};
use crate::forge::{Raw, claims};

/// Text that a claim of type string must not be, whatever its grammar.
const NO_STRING: [&str; 8] = ["null", "0", "1.5", "true", "{}", "[[]]", "[null]", "\"\""];

/// What is not a `NumericDate` in whole seconds between 1970 and 9999.
fn no_times() -> Vec<String> {
    let near = START + 300;
    let mut all = vec![quoted(&near.to_string()), format!("{near}.0"), format!("{near}.5"), format!("[{near}]")];
    all.extend([format!("{near}e0"), format!("{}e1", near / 10), format!("0x{near:x}"), format!("+{near}")]);
    all.extend(
        [
            "null",
            "true",
            "false",
            "{}",
            "[]",
            "\"\"",
            "-1",
            "-0",
            "1e3",
            "1E400",
            "NaN",
            "Infinity",
            "9007199254740993",
            "253402300800",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "999999999999999999999999999999999999999999",
            "-9223372036854775809",
        ]
        .map(str::to_owned),
    );
    all
}

/// What `aud`, `sub`, `client_id`, `jti`, `iss` and `scope` must not be, in
/// tokens of both kinds.
fn wrong_strings() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for name in ["iss", "sub", "aud", "jti", "client_id", "scope"] {
        all.extend(NO_STRING.map(|value| (name, value.to_owned())));
    }
    let array = |items: &[String]| format!("[{}]", items.join(","));
    let many = |n: usize| (0..n).map(|i| quoted(&format!("https://{i}.example.com"))).collect::<Vec<_>>();
    let scope = |n: usize| quoted(&(0..n).map(|i| format!("s{i:02}")).collect::<Vec<_>>().join(" "));
    let issuers = [
        "https://Tokens.example.com",
        "https://tokens.example.com/",
        "http://tokens.example.com",
        "https://tokens.example.com:443",
        "https://tokens.example.com.",
        "tokens.example.com",
        " https://tokens.example.com",
        "https://tokens.example.com#",
        "https://tokens.example.com/a",
        "https://tokens.example.co",
    ];
    all.extend(issuers.map(|issuer| ("iss", quoted(issuer))));
    all.push(("iss", array(&[quoted(ISSUER)])));
    all.extend([" ", "é", "\\u0000", "\\n", "a b", "\\u007f"].map(|text| ("sub", format!("\"user:{text}\""))));
    all.extend([
        ("sub", quoted(&format!("user:{}", "x".repeat(251)))),
        ("sub", r#"["user:7"]"#.into()),
        ("sub", r#""\ud800""#.into()),
    ]);
    all.extend(["a b", "a/b", "a:b", "é", "a\\u0000", "orders "].map(|text| ("client_id", quoted(text))));
    all.extend([("client_id", quoted(&"x".repeat(65))), ("client_id", r#"["orders"]"#.into())]);
    all.extend([("jti", quoted(&"x".repeat(256))), ("jti", quoted("a b")), ("jti", r#"["a"]"#.into())]);
    // One audience that the client may have, so that a refresh is not refused for that.
    let ours = quoted("https://orders.example.com");
    let beside: [&str; 7] =
        [&quoted(""), "1", "null", "{}", &format!("[{ours}]"), &ours, r#""https:\/\/orders.example.com""#];
    all.extend(beside.map(|other| ("aud", format!("[{ours},{other}]"))));
    let beside: [&str; 5] = [&quoted(&"x".repeat(256)), "\"a\\u0000\"", "\"a\\n\"", "\"\\ud800\"", &many(8).join(",")];
    all.extend(beside.map(|other| ("aud", format!("[{ours},{other}]"))));
    all.extend([("aud", "[]".to_owned()), ("aud", format!("{{{ours}:{ours}}}"))]);
    let scopes = ["a  b", " a", "a ", " ", "a\\tb", "a\\nb", "a\\\"", "a\\\\", "é", "a\\u00a0b", "a\\u0000"];
    all.extend(scopes.map(|text| ("scope", quoted(text))));
    all.extend([("scope", scope(65)), ("scope", quoted(&"x".repeat(129))), ("scope", r#"["orders:read"]"#.into())]);
    all
}

fn right_strings() -> Vec<(&'static str, String)> {
    let many = |n: usize| (0..n).map(|i| quoted(&format!("https://{i}.example.com"))).collect::<Vec<_>>().join(",");
    let scope = (0..64).map(|i| format!("s{i:02}")).collect::<Vec<_>>().join(" ");
    let ours = quoted("https://orders.example.com");
    vec![
        ("iss", r#""https:\/\/tokens.example.com""#.to_owned()),
        ("aud", format!("[{ours}]")),
        ("aud", format!("[{ours},{}]", many(7))),
        ("aud", format!("[{ours},\"{}\"]", "é".repeat(255))),
        ("sub", quoted(&format!("user:{}", "x".repeat(250)))),
        ("jti", quoted(&"~".repeat(255))),
        ("jti", quoted("!")),
        ("scope", quoted(&scope)),
        ("scope", quoted(&"x".repeat(128))),
        ("scope", quoted("!#[]~")),
    ]
}

/// What no JSON reader may take for the object `right`.
fn no_objects(right: &Raw) -> Vec<(String, Vec<u8>)> {
    let text = right.to_string();
    // Every member there is, in the order in which they are written: a derived
    // reader would take their values for the object.
    let order = "v dialect iss sub aud exp iat jti client_id scope claims lifetime session_start session_end";
    let full = right.with("claims", "{}").with("lifetime", 600);
    let value = |name| full.members().find(|(other, _)| *other == name).map(|(_, value)| value);
    let array = format!("[{}]", order.split(' ').filter_map(value).collect::<Vec<_>>().join(","));
    let deep = |open: &str, close: &str| right.with("x", format!("{}1{}", open.repeat(900), close.repeat(900)));
    let cases = [
        ("nothing", String::new()),
        ("its values", array),
        ("in an array", format!("[{text}]")),
        ("as a string", format!("{text:?}")),
        ("null", "null".into()),
        ("empty", "{}".into()),
        ("two", format!("{text}{text}")),
        ("more after it", format!("{text} 1")),
        ("NUL after it", format!("{text}\0")),
        ("a comma at the end", text.replacen('}', ",}", 1)),
        ("a comment", text.replacen('{', "{/**/", 1)),
        ("BOM", format!("\u{feff}{text}")),
        ("single quotes", text.replace('"', "'")),
        ("cut off", text[..text.len() - 1].to_owned()),
        ("deep arrays", deep("[", "]").to_string()),
        ("deep objects", deep("{\"x\":", "}").to_string()),
        ("only brackets", "[".repeat(5_900)),
        ("only braces", "{\"x\":".repeat(1_180)),
        ("a deep name", format!("{{{}", "[".repeat(5_900))),
    ];
    let mut all: Vec<_> = cases.map(|(title, text)| (title.to_owned(), text.into_bytes())).into();
    let mut latin1 = text.clone().into_bytes();
    latin1[3] = 0xe9;
    let utf16 = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    all.extend([("Latin-1".to_owned(), latin1), ("UTF-16".to_owned(), utf16)]);
    all
}

/// What both kinds share: required, twice, of another type or form.
fn shared_refusals(purpose: Purpose) -> Vec<(String, Vec<u8>)> {
    let right = claims(purpose);
    let mut all = no_objects(&right);
    let mut add = |title: String, claims: &Raw| all.push((title, claims.to_string().into_bytes()));
    for (name, value) in right.members() {
        // Without `scope` a token is without scope.
        if name != "scope" {
            add(format!("no {name}"), &right.without(name));
            add(format!("{name} in capitals"), &right.without(name).with(&name.to_uppercase(), value));
        }
        add(format!("{name} twice"), &right.and(name, value));
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        add(format!("{escaped} twice"), &right.and(&escaped, value));
    }
    for (name, value) in wrong_strings() {
        add(format!("{name} {value}"), &right.with(name, &value));
    }
    for (name, _) in right.members().filter(|(_, value)| value.starts_with("17")) {
        for value in no_times() {
            add(format!("{name} {value}"), &right.with(name, &value));
        }
    }
    all
}
