//! Proofs at `/oauth2/token`.

use serde_json::json;

use super::{CLIENT_CREDENTIALS, FORM, TOKEN_URL, ask, ask_proved, configuration, fresh, header_line, start, with};
use crate::app::{BASIC, ISSUER, SECRET, START, basic, quiet, segment};
use crate::dpop::Prover;
use crate::home::Home;

/// "a client may still bind a token by a DPoP proof … `cnf` has exactly one member. The refresh token remembers only that
/// its session is bound and how"
#[test]
fn a_proof_binds_a_token_to_its_key() {
    let app = start();
    for prover in Prover::all() {
        let answer = ask_proved(&app, "orders", CLIENT_CREDENTIALS, &prover);
        assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "DPoP"), "{answer:?}");
        let access = segment(&answer.text("access_token"), 1);
        assert_eq!(access["cnf"], json!({"jkt": prover.thumbprint}));
        let refresh = segment(&answer.text("refresh_token"), 1);
        assert_eq!((&refresh["sender"], refresh.get("cnf")), (&json!("dpop"), None));
        assert!(!refresh.to_string().contains(&prover.thumbprint), "{refresh}");
        answer.nonce();
    }
    let plain = ask(&app, "orders", CLIENT_CREDENTIALS, &[]);
    assert_eq!((plain.status, plain.text("token_type").as_str()), (200, "Bearer"));
    assert_eq!(segment(&plain.text("access_token"), 1).get("cnf"), None);
    assert_eq!(segment(&plain.text("refresh_token"), 1).get("sender"), None);
    assert_eq!(plain.header("dpop-nonce"), None);
    assert_eq!(app.metric("lingpai_dpop_proofs_total"), 3);
}

/// "refresh needs a proof or certificate, by any key, and the new access token carries that one"
#[test]
fn a_bound_session_goes_on_with_a_proof_by_any_key() {
    let app = start();
    let [first, second, _] = Prover::all();
    let refresh = ask_proved(&app, "orders", CLIENT_CREDENTIALS, &first).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
    let answer = ask_proved(&app, "orders", &form, &second);
    assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "DPoP"), "{answer:?}");
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": second.thumbprint}));
    let form = format!("grant_type=refresh_token&refresh_token={}", answer.text("refresh_token"));
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");

    // A session that is not bound can be bound, and is from then on.
    let refresh = ask(&app, "orders", CLIENT_CREDENTIALS, &[]).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let answer = ask_proved(&app, "orders", &form, &first);
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"jkt": first.thumbprint}));
    let form = format!("grant_type=refresh_token&refresh_token={}", answer.text("refresh_token"));
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
}

/// "A proof's (client, `jkt`, `jti`) is refused when seen again: checked and entered in one step, after everything else
/// about the request, nonce included, holds"
#[test]
fn a_proof_is_good_once_and_not_used_up_by_a_refusal() {
    let app = start();
    let [first, second, _] = Prover::all();
    let claims = fresh("POST", TOKEN_URL);
    let line = header_line(&first, &claims);
    ask(&app, "orders", "grant_type=client_credentials&scope=never", &[&line]).assert_refused("invalid_scope").nonce();
    let wrong_nonce = header_line(&first, &with(claims.clone(), "nonce", json!("wrong")));
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&wrong_nonce]).assert_refused("use_dpop_nonce");
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).status, 200);
    let replay = ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]);
    assert_eq!(
        replay.assert_refused("invalid_dpop_proof").json()["error_description"],
        "DPoP must be one proof, made for this request and not used before"
    );
    // Another signature over the same `jti` is the same proof; another key or client is another.
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&first, &claims)]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&header_line(&second, &claims)]).status, 200);
    assert_eq!(ask(&app, "bound", CLIENT_CREDENTIALS, &[&line]).status, 200);
    app.at(60);
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).assert_refused("invalid_dpop_proof");
    app.at(61);
    let later = header_line(&first, &with(claims, "iat", json!(START + 61)));
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&later]).status, 200);
    assert_eq!(app.metric("lingpai_dpop_proofs_total{result=\"replayed\"}"), 3);
}

/// "`invalid_dpop_proof` [is] 400 without a challenge at the token endpoint"; "`htu` is compared with the issuer's URL,
/// never with Host"
#[test]
fn a_proof_for_another_request_is_refused_at_the_token_endpoint() {
    let app = start();
    let prover = Prover::es256();
    for (method, url) in [
        ("GET", TOKEN_URL.to_owned()),
        ("POST", format!("{ISSUER}/token")),
        ("POST", format!("{ISSUER}/oauth2/introspect")),
        ("POST", format!("http://{}/oauth2/token", app.address)),
    ] {
        let line = header_line(&prover, &fresh(method, &url));
        ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).assert_refused("invalid_dpop_proof");
    }
    let line = header_line(&prover, &fresh("POST", TOKEN_URL));
    for lines in [&["DPoP: x"][..], &["DPoP:"], &[&line, &line], &[&line, "DPoP: x"], &["DPoP: é"]] {
        ask(&app, "orders", CLIENT_CREDENTIALS, lines).assert_refused("invalid_dpop_proof");
    }
    // Who the client is comes first, and a proof says nothing about that.
    let lines = [FORM, &basic("orders", "wrong"), &line];
    let answer = app.send("POST", "/oauth2/token", &lines, CLIENT_CREDENTIALS);
    assert_eq!((answer.status, answer.all("www-authenticate")), (401, BASIC.to_vec()), "{answer:?}");
    assert_eq!(answer.header("dpop-nonce"), None);
    assert_eq!(ask(&app, "orders", CLIENT_CREDENTIALS, &[&line]).status, 200);
    let old = header_line(&prover, &with(fresh("POST", TOKEN_URL), "iat", json!(START - 61)));
    ask(&app, "orders", CLIENT_CREDENTIALS, &[&old]).assert_refused("invalid_dpop_proof");
}

/// "`sender = "dpop"` or `"mtls"` on a client: it gets no other tokens, and none natively (403)"; "`sender` as it is now
/// holds at refresh"
#[test]
fn a_client_with_a_sender_gets_no_other_tokens() {
    let app = start();
    let prover = Prover::es256();
    ask(&app, "bound", CLIENT_CREDENTIALS, &[]).assert_refused("invalid_dpop_proof");
    assert_eq!(ask_proved(&app, "bound", CLIENT_CREDENTIALS, &prover).text("token_type"), "DPoP");
    let says = "bound to their sender; get them at /oauth2/token";
    for id in ["bound", "certified"] {
        app.create_as(id, SECRET, "").assert_says(403, "Forbidden", says);
    }
    ask(&app, "certified", CLIENT_CREDENTIALS, &[]).assert_refused("invalid_request");
    let answer = ask_proved(&app, "certified", CLIENT_CREDENTIALS, &prover);
    assert!(answer.assert_refused("invalid_request").text("error_description").contains("omit DPoP"));

    // Sessions that began before the setting.
    let native = app.create("").text("refresh");
    let refresh = ask(&app, "orders", CLIENT_CREDENTIALS, &[]).text("refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let stricter = configuration("").replacen("id = \"orders\"", "id = \"orders\"\nsender = \"dpop\"", 1);
    app.reconfigure(&stricter);
    app.refresh(&native, "").assert_says(403, "Forbidden", says);
    ask(&app, "orders", &form, &[]).assert_refused("invalid_dpop_proof");
    let bound = ask_proved(&app, "orders", &form, &prover).text("refresh_token");
    app.reconfigure(&stricter.replacen("sender = \"dpop\"", "sender = \"mtls\"", 1));
    // Also where the session itself is bound to a key.
    for refresh in [refresh, bound] {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        ask_proved(&app, "orders", &form, &prover).assert_refused("invalid_request");
    }
}

/// Metadata: "algorithms and methods listed are exactly those that work".
#[test]
fn metadata_list_the_algorithms_of_proofs() {
    let app = start();
    let metadata = app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
    let listed = json!(["ES256", "EdDSA", "Ed25519", "PS256", "RS256"]);
    assert_eq!(metadata["dpop_signing_alg_values_supported"], listed);
}

/// "`check` warns of a client that could not get a token any more".
#[test]
fn check_warns_of_a_client_that_could_not_get_a_token_any_more() {
    let home = Home::standard();
    let check = |lines: &str| {
        home.write("lingpai.toml", &quiet().replacen("id = \"orders\"", &format!("id = \"orders\"\n{lines}"), 1));
        home.run(&["check"]).assert(0).err.clone()
    };
    assert_eq!(check("sender = \"dpop\""), "");
    assert_eq!(check("sender = \"dpop\"\ngrants = [\"refresh_token\", \"client_credentials\"]"), "");
    for grants in ["[]", "[\"refresh_token\"]"] {
        let said = check(&format!("sender = \"dpop\"\ngrants = {grants}"));
        assert!(said.starts_with("lingpai: warning: client orders: sender: the client can get no token"), "{said}");
    }
    let said = check("sender = \"mtls\"");
    assert!(said.starts_with("lingpai: warning: client orders: sender = \"mtls\": no token can be got"), "{said}");
    home.write("lingpai.toml", &quiet().replacen("id = \"orders\"", "id = \"orders\"\nsender = \"DPoP\"", 1));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:", "expected \"dpop\" or \"mtls\""]);
    home.write("lingpai.toml", &quiet().replacen("[token]", "[dpop]\nnonce = \"always\"\n[token]", 1));
    home.run(&["check"]).assert_refused(2, &["lingpai.toml:", "expected \"required\", \"offered\" or \"off\""]);
}
