//! `lingpai explain`: what the policy says, and where it is written.

use serde_json::json;

use crate::app::standard;
use crate::home::Home;

#[test]
fn what_is_granted_and_which_line_says_so() {
    let home = Home::standard();
    home.write("lingpai.toml", &standard());
    let explain = |arguments: &[&str]| home.run(&[&["explain"], arguments].concat());
    let ran = explain(&["orders"]);
    for line in [
        "granted scope    orders:read: all that it may request, by default (lingpai.toml:10:10)",
        "granted audience https://stock.example.com: all that it may request, by default (lingpai.toml:11:43)",
        "granted subject  orders: its own id, by default (lingpai.toml:8:6)",
        "it gets a pair of tokens at /token; by grant_type at /oauth2/token: client_credentials\n",
    ] {
        assert!(ran.assert(0).out.contains(line), "{line} is not in\n{}", ran.out);
    }
    let asked = [
        "orders",
        "--scope",
        "orders:write",
        "--scope",
        "bills",
        "--audience",
        "https://x.example",
        "--subject",
        "user:7",
        "--subject",
        "billing",
        "--subject",
        "root",
    ];
    let ran = explain(&asked);
    for line in [
        "granted scope    orders:write: in its scope (lingpai.toml:10:25)",
        "REFUSED scope    bills: not in its scope (lingpai.toml:10:10)",
        "REFUSED audience https://x.example: not in its audiences (lingpai.toml:11:13)",
        "granted subject  user:7: the pattern \"user:*\" allows it (lingpai.toml:12:13)",
        "REFUSED subject  billing: the id of another client, which patterns never allow (lingpai.toml:15:6)",
        "REFUSED subject  root: no pattern of its subjects allows it (lingpai.toml:12:13)",
        "the answer names the first part",
    ] {
        assert!(ran.assert(1).out.contains(line), "{line} is not in\n{}", ran.out);
    }
    let said = explain(&[&asked[..], &["--json"]].concat()).assert(1).json();
    assert_eq!((&said["granted"], &said["client_id"]), (&json!(false), &json!("orders")));
    assert_eq!(
        said["parts"][1],
        json!({"kind": "scope", "value": "bills", "granted": false, "why": "not in its scope", "place": "lingpai.toml:10:10"})
    );
    // The service's audience, where the client has none of its own.
    let ran = explain(&["billing", "--audience", "https://api.example.com", "--subject", "anything"]);
    assert!(ran.assert(0).out.contains("api.example.com: in its audiences (lingpai.toml:4:13)"), "{}", ran.out);
    assert!(explain(&["billing", "--scope", "a b"]).assert(1).out.contains("expected"));
    let ran = explain(&["anonymous", "--subject", "x"]);
    assert!(
        ran.assert(1).out.contains("granted scope    guest") && ran.out.contains("may not name a subject"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("/oauth2/token"), "{}", ran.out);
    for (lines, told) in [
        ("grants = []", "a pair of tokens at /token; by grant_type at /oauth2/token: nothing\n"),
        (
            "sender = \"dpop\"",
            "no tokens (because of `sender`) at /token; by grant_type at /oauth2/token: client_credentials\n",
        ),
    ] {
        home.write("lingpai.toml", &standard().replacen("id = \"orders\"", &format!("id = \"orders\"\n{lines}"), 1));
        let ran = explain(&["orders"]);
        assert!(ran.assert(0).out.contains(&format!("\nit gets {told}")), "{}", ran.out);
    }
    home.write("lingpai.toml", &standard());
    explain(&["nobody"]).assert_refused(1, &["there is no client \"nobody\""]);
    Home::new().run(&["explain", "orders"]).assert_refused(1, &["there is no lingpai.toml here"]);
    home.write("lingpai.toml", &standard().replace("[anonymous]\nscope = [\"guest\"]\n", ""));
    explain(&["anonymous"]).assert_refused(1, &["there is no [anonymous]"]);
}

/// It says what the server then does.
#[test]
fn the_server_agrees() {
    let home = Home::standard();
    let server = home.serve(&[]);
    for subject in ["orders", "billing", "anonymous", "user:", "user:7", "users", "robot", "robot2", "*", "user:*"] {
        let explained = home.run(&["explain", "orders", "--subject", subject]).code == Some(0);
        let body = format!("{{\"subject\":{subject:?}}}");
        let head = format!("{}\r\nContent-Type: application/json", crate::app::basic("orders", crate::app::SECRET));
        let is_served = server.send("POST", "/token", &head, &body).status == 200;
        assert_eq!(explained, is_served, "{subject}");
    }
    server.stop("TERM");
}
