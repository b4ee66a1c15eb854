//! Signatures of another form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::keys::Purpose;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA512, RSA_PSS_SHA256};

use super::{BOTH, accepted, refused, service};
use crate::forge::Forge;

/// The order of P-256, and that of Ed25519's base point, big-endian.
const P256_ORDER: [u8; 32] = [
    255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 188, 230, 250, 173, 167, 23, 158, 132, 243,
    185, 202, 194, 252, 99, 37, 81,
];
const ED25519_ORDER: [u8; 32] = [
    16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 222, 249, 222, 162, 247, 156, 214, 88, 18, 99, 26, 92, 245,
    211, 237,
];

/// `a + sign·b` for big-endian numbers of one length.
fn combine(a: &[u8], sign: i32, b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut digits: Vec<u8> = Vec::new();
    for (a, b) in a.iter().rev().zip(b.iter().rev()) {
        let sum = i32::from(*a) + sign * i32::from(*b) + carry;
        digits.push(u8::try_from(sum.rem_euclid(256)).unwrap());
        carry = sum.div_euclid(256);
    }
    digits.reverse();
    digits
}

fn backwards(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// What is not the one form of a signature of this algorithm over `message`.
fn wrong_signatures(forge: &Forge, purpose: Purpose, message: &str) -> Vec<(&'static str, Vec<u8>)> {
    let right = forge.sign(purpose, message);
    let half = right.len() / 2;
    let mut changed = right.clone();
    changed[0] ^= 1;
    let mut all = vec![
        ("empty", vec![]),
        ("one byte", vec![0]),
        ("zeros", vec![0; right.len()]),
        ("ones", vec![255; right.len()]),
        ("without its last byte", right[..right.len() - 1].to_vec()),
        ("without its first byte", right[1..].to_vec()),
        ("its first half", right[..half].to_vec()),
        ("its second half", right[half..].to_vec()),
        ("its halves exchanged", [&right[half..], &right[..half]].concat()),
        ("with a zero before", [&[0], right.as_slice()].concat()),
        ("with a zero after", [right.as_slice(), &[0]].concat()),
        ("twice", [right.as_slice(), &right].concat()),
        ("of 512 bytes", vec![1; 512]),
        ("of 513 bytes", vec![1; 513]),
        ("of 4000 bytes", vec![1; 4000]),
        ("one bit off", changed),
        ("of other bytes", forge.sign(purpose, &message[1..])),
    ];
    match (purpose, forge.alg) {
        (Purpose::Refresh, _) => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA512, &forge.refresh_secret);
            all.push(("HMAC with SHA-512", ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()));
        }
        (_, "ES256") => {
            let random = ring::rand::SystemRandom::new();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &forge.pkcs8, &random).unwrap();
            let (r, s) = (&right[..32], &right[32..]);
            all.extend([
                ("DER", pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()),
                ("r = 0", [&[0; 32], s].concat()),
                ("s = 0", [r, &[0; 32]].concat()),
                ("r = n", [&P256_ORDER, s].concat()),
                ("s = n", [r, &P256_ORDER].concat()),
                ("r = s = n", [P256_ORDER, P256_ORDER].concat()),
                ("r and s with a zero before each", [&[0], r, &[0], s].concat()),
            ]);
        }
        (_, "EdDSA") => {
            // s + L fits in 32 bytes; RFC 8032 §5.1.7 wants s < L.
            let s = combine(&backwards(&right[32..]), 1, &ED25519_ORDER);
            all.push(("s + L", [&right[..32], &backwards(&s)].concat()));
        }
        _ => all.extend([
            ("PSS", forge.sign_rsa(&RSA_PSS_SHA256, message)),
            ("with SHA-512", forge.sign_rsa(&RSA_PKCS1_SHA512, message)),
        ]),
    }
    all
}

#[test]
fn other_forms_of_a_signature_are_refused() {
    let app = service();
    for forge in Forge::all() {
        for purpose in BOTH {
            let right = forge.right(purpose);
            accepted(&app, purpose, forge.alg, &right);
            let (message, _) = right.rsplit_once('.').unwrap();
            for (title, signature) in wrong_signatures(&forge, purpose, message) {
                let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
                refused(&app, purpose, &format!("{} {title}", forge.alg), &token, None);
            }
        }
    }
}

/// ECDSA is malleable: (r, n - s) is as good as (r, s), and half of all signers
/// write the one, half the other. So both are accepted, and say the same: a
/// token's text is no identifier, its `jti` is.
#[test]
fn the_other_s_says_the_same() {
    let (app, forge) = (service(), Forge::es256());
    let right = forge.right(Purpose::Access);
    let (message, signature) = right.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let other = [&signature[..32], &combine(&P256_ORDER, -1, &signature[32..])].concat();
    let other = format!("{message}.{}", URL_SAFE_NO_PAD.encode(other));
    assert_ne!(right, other);
    let told = [right, other].map(|token| accepted(&app, Purpose::Access, "s or n - s", &token).body);
    assert_eq!(told[0], told[1]);
}
