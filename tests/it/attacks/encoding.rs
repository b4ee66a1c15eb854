//! The compact form: base64url, segments, length.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use lingpai::keys::Purpose;
use lingpai::token::{AccessClaims, Compact, verify};

use super::{BOTH, accepted, cut, quoted, refused, service};
use crate::app::START;
use crate::forge::{Forge, at, claims, ring as key_ring};

/// Every way to write the same bytes that base64url (RFC 7515 §2) does not allow.
fn spellings(segment: &str) -> Vec<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = match segment.len() % 4 {
        2 => 16,
        3 => 4,
        _ => 1,
    };
    let value = ALPHABET.find(segment.chars().last().unwrap()).unwrap();
    let stem = &segment[..segment.len() - 1];
    let mut all: Vec<_> = (value + 1..value + unused).map(|v| format!("{stem}{}", &ALPHABET[v..=v])).collect();
    let padding = "=".repeat((4 - segment.len() % 4) % 4);
    all.extend([format!("{segment}="), format!("{segment}{padding}"), format!("={segment}"), format!("{segment}A")]);
    all.extend([segment.replace('-', "+"), segment.replace('_', "/"), segment.replace('-', "+").replace('_', "/")]);
    all.extend([" ", "\t", "%", "+", "~", "é"].map(|junk| format!("{stem}{junk}{}", &segment[stem.len()..])));
    all.retain(|other| other != segment);
    all
}

#[test]
fn only_canonical_base64url() {
    let app = service();
    for forge in Forge::all() {
        for purpose in BOTH {
            // One, two and no characters over; `>` and `?` become `-` and `_`.
            for filler in ["?>?>?>", "?>?>?>?", "?>?>?>??"] {
                let payload = claims(purpose).with("jti", quoted(filler)).to_string();
                let right = forge.sign_payload(purpose, &payload);
                let [header, payload, signature] = cut(&right);
                assert!(payload.contains('-') || payload.contains('_'), "there is something to respell");
                accepted(&app, purpose, filler, &right);
                for wrong in spellings(header) {
                    refused(&app, purpose, &wrong, &forge.seal(purpose, &wrong, payload), None);
                }
                for wrong in spellings(payload) {
                    refused(&app, purpose, &wrong, &forge.seal(purpose, header, &wrong), None);
                }
                for wrong in spellings(signature) {
                    refused(&app, purpose, &wrong, &format!("{header}.{payload}.{wrong}"), None);
                }
            }
        }
    }
}

/// Line ends cannot be sent in a header, but a caller of the library can have them.
#[test]
fn no_whitespace_within_or_around() {
    let (ring, forge) = (key_ring(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let judge = |token: &str| Compact::parse(token).and_then(|t| verify::<AccessClaims>(t, &ring, at(START)).ok());
    assert!(judge(&right).is_some());
    let [header, payload, _] = cut(&right);
    for junk in ["\n", "\r\n", "\r", "\0", " ", "\t", "\u{feff}"] {
        for place in [0, 4, header.len(), header.len() + 1, header.len() + 1 + payload.len(), right.len()] {
            let mut wrong = right.clone();
            wrong.insert_str(place, junk);
            assert!(judge(&wrong).is_none(), "{junk:?} at {place}");
        }
        let (header, payload) = (format!("{header}{junk}"), format!("{payload}{junk}"));
        assert!(judge(&forge.seal(Purpose::Access, &header, cut(&right)[1])).is_none(), "{junk:?} signed");
        assert!(judge(&forge.seal(Purpose::Access, cut(&right)[0], &payload)).is_none(), "{junk:?} signed");
    }
}

#[test]
fn three_segments_and_nothing_else() {
    let (app, forge) = (service(), Forge::es256());
    for purpose in BOTH {
        let right = forge.right(purpose);
        let [h, p, s] = cut(&right);
        accepted(&app, purpose, "control", &right);
        let general = format!(r#"{{"payload":"{p}","signatures":[{{"protected":"{h}","signature":"{s}"}}]}}"#);
        let flat = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
        let wrong = [
            h.to_owned(),
            format!("{h}.{p}"),
            format!("{h}.{p}."),
            format!("{h}..{s}"),
            format!(".{p}.{s}"),
            format!("{h}.{s}"),
            format!("{h}.{p}.{s}."),
            format!(".{right}"),
            format!("{right}.{s}"),
            format!("{right}.{p}.{s}"),
            format!("{h}.{h}.{p}.{s}.{s}"),
            format!("{h}.{p}{s}"),
            format!("{h}. {p}.{s}"),
            format!("{right} {right}"),
            format!("{right},{right}"),
            format!("\"{right}\""),
            format!("Token {right}"),
            format!("{h}.{s}.{p}"),
            format!("{p}.{h}.{s}"),
            ".".into(),
            "..".into(),
            "...".into(),
            "a.b.c".into(),
            "=".into(),
            URL_SAFE.encode(&flat),
            general,
            flat,
        ];
        for token in wrong {
            refused(&app, purpose, &token, &token, None);
        }
    }
}

/// Right claims, filled up to this many bytes of JSON with a claim that `orders`
/// may not have, so that no access token is issued with it.
fn filled(purpose: Purpose, bytes: usize) -> String {
    let build = |filler: usize| {
        let part = |i: usize| quoted(&"x".repeat(filler.saturating_sub(i * 200).min(200)));
        let list = format!("[{}]", (0..30).map(part).collect::<Vec<_>>().join(","));
        match purpose {
            Purpose::Access | Purpose::Revocations => claims(purpose).with("filler", list).to_string(),
            Purpose::Refresh => claims(purpose).with("claims", format!(r#"{{"filler":{list}}}"#)).to_string(),
        }
    };
    build(bytes - build(0).len())
}

#[test]
fn tokens_of_8192_bytes_and_no_more() {
    let (app, forge) = (service(), Forge::es256());
    // The header takes 110 bytes, two dots, the signature 86 or 43, and every
    // byte of claims 4/3. A refresh token cannot have 8192: no base64url has
    // 4n + 1 characters.
    for (purpose, bytes, longest) in [(Purpose::Access, 5_995, 8_192), (Purpose::Refresh, 6_027, 8_191)] {
        let [right, long] = [bytes, bytes + 1].map(|bytes| forge.sign_payload(purpose, filled(purpose, bytes)));
        assert_eq!((right.len(), long.len()), (longest, 8_193));
        accepted(&app, purpose, "8192", &right);
        refused(&app, purpose, "8193", &long, None);
    }
    // Nothing is issued that would not be read.
    let groups = vec!["x".repeat(255); 32];
    let order = serde_json::json!({"claims": {"groups": groups}}).to_string();
    let message = "the token would be longer than 8192 bytes; ask for less scope, audience or claims";
    app.create(&order).assert_error(400, "BadRequest", message);
}
