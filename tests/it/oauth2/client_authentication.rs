//! `client_secret_basic` and `client_secret_post`.

use super::{CLIENT_CREDENTIALS, OAuth as _, start};
use crate::app::{SECRET, basic};

/// "`invalid_client` 401, whatever the method and the cause the same body byte for byte, with the `Basic` challenge only
/// where an `Authorization` header was sent."
#[test]
fn client_authentication() {
    let app = start();
    let with =
        |headers: &[&str], more: &str| app.form("/oauth2/token", headers, &format!("{CLIENT_CREDENTIALS}&{more}"));
    let good = basic("orders", SECRET);
    let post = format!("client_id=orders&client_secret={SECRET}");
    assert_eq!(with(&[&good], "").status, 200);
    assert_eq!(with(&[], &post).status, 200);
    // "`client_id` in the body is no method: beside any it must agree."
    assert_eq!(with(&[&good], "client_id=orders").status, 200);
    with(&[&good], "client_id=billing").assert_oauth(400, "invalid_request");
    // "id and secret form-decoded, RFC 6749 §2.3.1."
    assert_eq!(with(&[&basic("%6Frders", &SECRET.replace('_', "%5F"))], "").status, 200);
    with(&[&basic("orders", "%zz")], "").assert_invalid_client(true);

    for header in [
        basic("orders", "wrong"),
        basic("nobody", SECRET),
        basic("anonymous", SECRET),
        basic("orders", ""),
        basic("", ""),
        "Authorization: Basic !".to_owned(),
        "Authorization: Bearer x".to_owned(),
        "Authorization: Digest".to_owned(),
    ] {
        with(&[&header], "").assert_invalid_client(true);
    }
    for more in [
        "",
        "client_id=orders",
        "client_id=orders&client_secret=",
        "client_id=orders&client_secret=wrong",
        "client_id=nobody&client_secret=wrong",
        "client_id=anonymous&client_secret=x",
    ] {
        with(&[], more).assert_invalid_client(false);
    }
    // "Two methods are `invalid_request`."
    with(&[&good], &post).assert_oauth(400, "invalid_request");
    with(&["Authorization: Bearer x"], &post).assert_oauth(400, "invalid_request");
    with(&[], &format!("client_secret={SECRET}")).assert_oauth(400, "invalid_request");
    with(&[&good, &good], "").assert_oauth(400, "invalid_request");
    let one = with(&[&basic("orders", "wrong")], "").body;
    assert_eq!(one, with(&[], "client_id=nobody&client_secret=x").body);
}
