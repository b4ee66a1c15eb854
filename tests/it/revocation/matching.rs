//! What each entry revokes.

use lingpai::keys::Purpose;
use serde_json::json;

use super::{LATER, append, goes_on, is_good, jti, list, listed, oauth, pair, service, sid};
use crate::app::{SECRET, START, TestApp, segment};
use crate::forge::{Forge, claims};

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
        let (late, late_refresh) = pair(&app.at(100).refresh(&refresh, ""));
        let (new, new_refresh) = pair(&app.create(r#"{"subject":"user:7"}"#));
        let (stranger, _) = pair(&app.create_as("billing", SECRET, r#"{"subject":"user:8"}"#));
        // Issued later than the instant, of a session that began earlier.
        list(&app, &format!("{line} before 2026-06-01T12:00:50Z\n"));
        assert!(!is_good(&app, &late) && !goes_on(&app, &refresh) && !goes_on(&app, &late_refresh), "{line}");
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
