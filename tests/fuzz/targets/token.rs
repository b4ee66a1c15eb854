//! A compact token: only those that the service wrote are accepted, each as what it is.
//!
//! (An ES256 signature has a twin, which anybody can compute: RFC 7518 leaves that so. No mutation here does.)
#![no_main]

use std::collections::BTreeSet;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{Engine as _, alphabet};
use fuzz::{SERVICE, TOKENS};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use lingpai::token::{AccessClaims, Compact, Kind, MAX_TOKEN, RefreshClaims, Rejection, verify};

fuzz_target!(|token: &str| {
    assert_judged::<AccessClaims>(token, &TOKENS.access, &TOKENS.refresh);
    assert_judged::<RefreshClaims>(token, &TOKENS.refresh, &TOKENS.access);
});

fn assert_judged<K: Kind>(token: &str, genuine: &BTreeSet<String>, of_other_kind: &BTreeSet<String>) {
    let verify = |compact| verify::<K>(compact, &SERVICE.snapshot.keys, SERVICE.verifying()).map(drop);
    let verdict = Compact::parse(token).map(verify);
    let header = |token: &str| token.split('.').next().map(str::to_owned);
    let has_header_of = |tokens: &BTreeSet<String>| tokens.iter().any(|one| header(one) == header(token));
    if token.len() > MAX_TOKEN || token.matches('.').count() != 2 {
        assert_eq!(verdict, None);
    } else if genuine.contains(token) {
        assert_eq!(verdict, Some(Ok(())));
    } else if has_header_of(of_other_kind) {
        assert_eq!(verdict, Some(Err(Rejection::WrongKind)));
    } else if has_header_of(genuine) {
        assert!(matches!(verdict, Some(Err(why)) if why != Rejection::WrongKind && why != Rejection::UnknownHeader));
    } else {
        assert_eq!(verdict, Some(Err(Rejection::UnknownHeader)));
    }
}

// Changes the text or a segment's bytes, writes a segment's last bits in another way, or takes the segment of another
// genuine token.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let choice = usize::try_from(seed).unwrap();
    let text = std::str::from_utf8(&data[..size]).unwrap_or_default();
    let mut segments: Vec<String> = text.split('.').map(str::to_owned).collect();
    let at = choice / 4 % segments.len();
    match choice % 4 {
        0 => {
            let others: Vec<_> = TOKENS.access.iter().chain(&TOKENS.refresh).collect();
            let other = others[choice / 16 % others.len()].split('.').nth(at).unwrap_or_default();
            other.clone_into(&mut segments[at]);
        }
        1 => {
            let alphabet = alphabet::URL_SAFE.as_str();
            let last = choice / 16 % alphabet.len();
            segments[at].pop();
            segments[at].push_str(&alphabet[last..=last]);
        }
        2 => {
            let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(&segments[at]) else {
                return fuzzer_mutate(data, size, max_size);
            };
            let length = bytes.len();
            bytes.resize(length + 16, 0);
            let most = bytes.len();
            let length = fuzzer_mutate(&mut bytes, length, most);
            segments[at] = URL_SAFE_NO_PAD.encode(&bytes[..length]);
        }
        _ => return fuzzer_mutate(data, size, max_size),
    }
    let token = segments.join(".");
    let length = token.len().min(max_size);
    data[..length].copy_from_slice(&token.as_bytes()[..length]);
    length
});
