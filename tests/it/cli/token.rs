//! `lingpai token`.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Clock;
use lingpai::keys::{Key, Purpose};
use serde_json::{Value, json};

use crate::app::{ISSUER, SECRET};
use crate::home::{Home, KEY, RECENT};

/// A token of the standard key with these claims changed.
pub fn forged(changes: &Value) -> String {
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
    assert!(inspect(&[], &value).assert(1).out.contains("no key in the key folder writes this header"));
}

/// What somebody has at hand is taken as it is, and it is said of which kind the token is.
#[test]
fn token_inspect_takes_headers_and_answers() {
    let home = Home::standard();
    let server = home.serve(&[]);
    let pair = server.create("orders", SECRET);
    assert_eq!(server.stop("TERM").code, Some(0));
    let (value, refresh) = (pair.text("value"), pair.text("refresh"));
    let access = json!({"access_token": value, "token_type": "Bearer", "expires_in": 600}).to_string();
    for (input, kind, named) in [
        (value.clone(), "access", "an access token\n"),
        (format!("Bearer {value}"), "access", "an access token\n"),
        (format!("token  {value}\n"), "access", "an access token\n"),
        (format!("Authorization: Toekn {value}\r\n"), "access", "an access token\n"),
        (format!("Token {refresh}"), "refresh", "a refresh token\n"),
        (pair.body.clone(), "access", "an access token\n"),
        (access, "access", "an access token\n"),
        (json!({"refresh_token": refresh}).to_string(), "refresh", "a refresh token\n"),
    ] {
        let ran = home.run_with_input(&["token", "inspect"], input.as_bytes());
        assert!(ran.assert(0).out.starts_with(named) && ran.out.ends_with("\nvalid\n"), "{ran:?}");
        let said = home.run_with_input(&["token", "inspect", "--json"], input.as_bytes()).assert(0).json();
        assert_eq!((&said["kind"], &said["valid"]), (&json!(kind), &json!(true)));
    }
    for input in ["Bearer", "Basic b3JkZXJzOng=", "{\"value\":7}", "{}", "Bearer a b"] {
        home.run_with_input(&["token", "inspect"], input.as_bytes()).assert_refused(1, &["this is not a token"]);
    }
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

/// What the server refuses is not called valid.
#[test]
fn token_inspect_knows_what_the_files_say() {
    let home = Home::standard();
    let with_list = crate::app::standard().replacen("[token]", "[revocations]\npath = \"revoked\"\n[token]", 1);
    home.write("lingpai.toml", &with_list);
    let (token, gone) = (forged(&json!({})), forged(&json!({"sub": "nobody", "client_id": "nobody"})));
    let inspect = |token: &str| home.run_with_input(&["token", "inspect"], token.as_bytes());
    inspect(&token).assert(0);
    let ran = inspect(&gone);
    assert!(ran.assert(1).out.ends_with("\nNOT VALID: the service refuses it: client_gone\n"), "{ran:?}");
    home.write("revoked", "jti AAAAAAAAAAAAAAAAAAAAAA 2099-01-01T00:00:00Z\n");
    let ran = inspect(&token);
    assert!(ran.assert(1).out.ends_with("\nNOT VALID: the service refuses it: revoked_token\n"), "{ran:?}");
    home.write("revoked", "x\n");
    inspect(&token).assert_refused(2, &["revoked: line 1: expected a line that begins with"]);
}

/// "exit code 0, 1 (the answer is no) or 2 (usage or configuration)"
#[test]
fn bytes_that_are_no_text_are_no_token() {
    Home::standard().run_with_input(&["token", "inspect"], b"\xff\xfe\x00").assert(1);
}
