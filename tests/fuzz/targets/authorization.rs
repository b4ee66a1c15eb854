//! The `Authorization` header of every method, one field a line: nobody gets in who has not the secret or a genuine
//! token, and who is kept out learns nothing.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::{CLIENT, SECRET, SERVICE, TOKENS};
use libfuzzer_sys::fuzz_target;
use poem::http::{HeaderValue, Method};

fuzz_target!(|data: &[u8]| {
    let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // What HTTP has no form for never gets here.
    let Ok(fields) = lines.map(HeaderValue::from_bytes).collect::<Result<Vec<_>, _>>() else { return };
    // A head has its limit.
    if fields.len() > 64 || data.len() > 12 << 10 {
        return;
    }
    assert_answered(Method::POST, &fields, 200, |scheme, rest| {
        scheme == "basic" && rest == STANDARD.encode(format!("{CLIENT}:{SECRET}"))
    });
    let is_known = |scheme: &str| ["token", "toekn", "bearer"].contains(&scheme);
    assert_answered(Method::GET, &fields, 401, |scheme, rest| is_known(scheme) && TOKENS.access.contains(rest));
    assert_answered(Method::PUT, &fields, 401, |scheme, rest| is_known(scheme) && TOKENS.refresh.contains(rest));
});

/// Asserts what must follow from the fields: `without` is the status where there is none; the scheme is told to
/// `is_right` in lower case.
fn assert_answered(method: Method, fields: &[HeaderValue], without: u16, is_right: impl Fn(&str, &str) -> bool) {
    let is_post = method == Method::POST;
    let answer = SERVICE.ask_as(method, fields, b"");
    let right = match fields {
        [] => without == 200,
        [one] => {
            let cut = one.to_str().ok().and_then(|text| text.split_once(' '));
            cut.is_some_and(|(scheme, rest)| is_right(&scheme.to_ascii_lowercase(), rest.trim_start_matches(' ')))
        }
        _ => return assert_eq!(answer.status, 400, "{answer:?}"),
    };
    assert_eq!(answer.status, if right { 200 } else { 401 }, "{fields:?}: {answer:?}");
    if right {
        return;
    }
    let error = if fields.is_empty() { "" } else { ", error=\"invalid_token\"" };
    let mut of_tokens = ["Bearer", "Token"].map(|scheme| format!("{scheme} realm=\"lingpai\"{error}")).to_vec();
    of_tokens.push(format!("DPoP algs=\"ES256 EdDSA Ed25519 PS256 RS256\"{error}"));
    let of_clients = ["Basic realm=\"lingpai\", charset=\"UTF-8\"".to_owned()];
    assert_eq!(answer.challenges(), if is_post { &of_clients[..] } else { &of_tokens[..] }, "{answer:?}");
}
