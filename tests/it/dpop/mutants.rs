//! RFC 9449 §4.3: each mutant of a good proof breaks one of its rules, so that only that rule can refuse it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lingpai::clock::Timestamp;
use lingpai::foreign::{Proof, ProofRules, Rejected, TargetUrl, verify_proof};
use lingpai::token::Fingerprint;
use serde_json::{Value, json};

use super::{Prover, claims, hash};
use crate::app::START;
use crate::forge::{Forge, mac, ring};

const TOKEN: &str = "eyJ.a.token";

fn judge_at(now: i64, proof: &str, token: Option<&str>) -> Result<Proof, Rejected> {
    let url = TargetUrl::parse("https://tokens.example.com/token").unwrap();
    let token = token.map(Fingerprint::of);
    let now = Timestamp::from_unix(now);
    verify_proof(proof, ProofRules { method: "GET", url: &url, access_token: token.as_ref(), now })
}

pub(super) fn judge(proof: &str) -> Result<Proof, Rejected> {
    judge_at(START, proof, None)
}

#[test]
fn a_good_proof_says_whose_key_it_is() {
    for prover in Prover::all() {
        let proof = judge(&prover.proof(&json!({}))).unwrap();
        assert_eq!(proof.thumbprint.to_string(), prover.thumbprint, "{}", prover.forge.alg);
        assert_eq!((proof.id.as_str(), proof.nonce), ("-BwC3ESc6acc2lTc", None));
        let more = json!({"nonce": "n", "ath": "any", "exp": START + 1, "nbf": START, "x": [null], "iss": "me"});
        assert_eq!(judge(&prover.proof(&more)).unwrap().nonce.as_deref(), Some("n"));
        assert!(judge_at(START, &prover.proof(&json!({"ath": hash(TOKEN)})), Some(TOKEN)).is_ok());
    }
    // The example of RFC 9449 §4.1, whose key has the thumbprint of §6.1.
    let example = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOX\
                   pDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNy\
                   diI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW\
                   1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSs\
                   X0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let url = TargetUrl::parse("https://server.example.com/token").unwrap();
    let rules = ProofRules { method: "POST", url: &url, access_token: None, now: Timestamp::from_unix(1_562_262_616) };
    let proof = verify_proof(example, rules).unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!(proof.thumbprint.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn times_and_urls_may_differ_as_much_as_they_may() {
    let prover = Prover::es256();
    for (iat, ends) in [(START - 60, START + 1), (START + 60, START + 121)] {
        assert_eq!(judge(&prover.proof(&json!({"iat": iat}))).unwrap().ends.unix(), ends);
    }
    let proof = prover.proof(&json!({}));
    assert!(judge_at(START + 60, &proof, None).is_ok());
    // What is remembered until then is not accepted from then on.
    assert_eq!(judge_at(judge(&proof).unwrap().ends.unix(), &proof, None), Err(Rejected::Expired));
    for url in [
        "HTTPS://Tokens.Example.com:443/token",
        "https://TOKENS.EXAMPLE.COM:0443/token",
        "https://tokens.example.com:/token",
        "https://tokens.example.com/%74oken?a=b#c",
        "https://tokens.example.com/%74%6F%6b%65%6E",
        "https://tokens.example.com/x/%2E./token",
        "https://tokens.example.com/token#",
        "https://tokens.example.com/token#?@/",
    ] {
        assert!(judge(&prover.proof(&json!({"htu": url}))).is_ok(), "{url}");
    }
    for header in [
        prover.header().replace("dpop+jwt", "DPoP+JWT"),
        prover.header().replacen('{', r#"{"kid":"any","x5c":["x"],"#, 1),
        prover.header().replace(r#""kty""#, r#""alg":"ES256","use":"sig","key_ops":["verify"],"kid":"k","kty""#),
    ] {
        assert!(judge(&prover.sign(&header, &claims(&json!({})))).is_ok(), "{header}");
    }
}

#[test]
fn each_mutant_of_the_claims_breaks_one_rule() {
    use Rejected as R;
    let prover = Prover::es256();
    for (change, rejected) in [
        // 3. All required claims are there.
        (json!({"jti": null}), R::BadClaims),
        (json!({"jti": ""}), R::BadClaims),
        (json!({"jti": 7}), R::BadClaims),
        (json!({"htm": null}), R::BadClaims),
        (json!({"htm": ["GET"]}), R::BadClaims),
        (json!({"htu": null}), R::BadClaims),
        (json!({"htu": {}}), R::BadClaims),
        (json!({"iat": null}), R::BadClaims),
        (json!({"iat": START.to_string()}), R::BadClaims),
        (json!({"iat": [START]}), R::BadClaims),
        (json!({"iat": 1.5e9}), R::BadClaims),
        (json!({"iat": -1}), R::BadClaims),
        (json!({"iat": i64::MIN}), R::BadClaims),
        (json!({"iat": i64::MAX}), R::BadClaims),
        (json!({"iat": u64::MAX}), R::BadClaims),
        (json!({"nonce": 7}), R::BadClaims),
        // 8. `htm` is the method.
        (json!({"htm": "POST"}), R::WrongMethod),
        (json!({"htm": "get"}), R::WrongMethod),
        (json!({"htm": "GET "}), R::WrongMethod),
        // 9. `htu` is the URL without query and fragment.
        (json!({"htu": "https://tokens.example.com/oauth2/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token/"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/Token"}), R::WrongUrl),
        (json!({"htu": "http://tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com:8443/token"}), R::WrongUrl),
        (json!({"htu": "https://other.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com@other.example/token"}), R::WrongUrl),
        (json!({"htu": "https://user@tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://user:x@tokens.example.com:443/token"}), R::WrongUrl),
        (json!({"htu": "https://@tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://other.example#@tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://other.example?@tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://other.example\\@tokens.example.com/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com\\token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com./token"}), R::WrongUrl),
        (json!({"htu": "https://tokens%2Eexample.com/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com:80/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com:65979/token"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/TOKEN"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/%2574oken"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/%2Ftoken"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token%3Fa"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token%23"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token%00"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token "}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/token\t"}), R::WrongUrl),
        (json!({"htu": "https://tokens.example.com/tokén"}), R::WrongUrl),
        (json!({"htu": "/token"}), R::WrongUrl),
        (json!({"htu": ""}), R::WrongUrl),
        // 11. `iat` is near the present.
        (json!({"iat": START - 61}), R::Expired),
        (json!({"iat": START + 61}), R::NotYetValid),
        (json!({"exp": START}), R::Expired),
        (json!({"nbf": START + 61}), R::NotYetValid),
    ] {
        assert_eq!(judge(&prover.proof(&change)), Err(rejected), "{change}");
    }
    // 12. `ath` is the access token's.
    for ath in [Value::Null, json!(hash("another")), json!(""), json!(7), json!(format!("{}=", hash(TOKEN)))] {
        let proof = prover.proof(&json!({"ath": ath}));
        assert_eq!(judge_at(START, &proof, Some(TOKEN)), Err(R::WrongTokenHash), "{ath}");
    }
}

/// "Tokens over 8192 bytes are neither issued … nor read": proofs, too, whatever makes them long.
#[test]
fn a_proof_has_at_most_8192_bytes() {
    let prover = Prover::es256();
    let in_claims = |length: usize| prover.proof(&json!({"x": "x".repeat(length)}));
    let in_header = |length: usize| {
        let header = prover.header().replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(length)), 1);
        prover.sign(&header, &claims(&json!({})))
    };
    for padded in [&in_claims as &dyn Fn(usize) -> String, &in_header] {
        let longest = (0..8_192).rev().map(padded).find(|proof| proof.len() <= 8_192).unwrap();
        assert!(longest.len() >= 8_190, "{}", longest.len());
        assert!(judge(&longest).is_ok());
        let shortest = (5_000..8_192).map(padded).find(|proof| proof.len() > 8_192).unwrap();
        assert!(shortest.len() <= 8_194, "{}", shortest.len());
        assert_eq!(judge(&shortest), Err(Rejected::Malformed));
    }
}

#[test]
fn each_mutant_of_the_header_breaks_one_rule() {
    use Rejected as R;
    let [es256, eddsa, rs256] = Prover::all();
    let good = es256.header();
    let private = "\"d\":\"AAAA\",\"kty\"";
    for (header, rejected) in [
        // 4. `typ` is `dpop+jwt`.
        (good.replace(r#""typ":"dpop+jwt","#, ""), R::WrongType),
        (good.replace("dpop+jwt", "JWT"), R::WrongType),
        (good.replace("dpop+jwt", "application/dpop+jwt"), R::WrongType),
        (good.replace("dpop+jwt", "at+jwt"), R::WrongType),
        // 5. `alg` is one that is supported, asymmetric, and not `none`.
        (good.replace("ES256", "none"), R::UnsupportedAlgorithm),
        (good.replace("ES256", "HS256"), R::UnsupportedAlgorithm),
        (good.replace("ES256", "ES512"), R::UnsupportedAlgorithm),
        (good.replace("ES256", "EdDSA"), R::WrongAlgorithm),
        (good.replace("ES256", "ES384"), R::WrongAlgorithm),
        (good.replace(r#""kty""#, r#""alg":"ES384","kty""#), R::BadKey),
        // 6. and 7. `jwk` is a public key, and the one that signed.
        (format!(r#"{{"typ":"dpop+jwt","alg":"ES256","kid":"{}"}}"#, es256.forge.kid), R::BadKey),
        (good.replace(&es256.forge.jwk, "null"), R::BadHeader),
        (good.replace(&es256.forge.jwk, "\"key\""), R::BadHeader),
        (good.replace(&es256.forge.jwk, "{}"), R::BadKey),
        (good.replace(r#""kty""#, private), R::BadKey),
        (good.replace(r#""kty""#, r#""use":"enc","kty""#), R::BadKey),
        (good.replace(r#""kty":"EC""#, r#""kty":"oct","k":"AAAA""#), R::BadKey),
        (good.replace(&es256.forge.jwk, &eddsa.forge.jwk), R::WrongAlgorithm),
        (good.replace(&es256.forge.jwk, &rs256.forge.jwk), R::WrongAlgorithm),
        (good.replace(&es256.forge.jwk, &other_key()), R::BadSignature),
        // What every foreign token may not have.
        (good.replacen('{', r#"{"crit":["jwk"],"#, 1), R::ForbiddenHeader),
        (good.replacen('{', r#"{"b64":true,"#, 1), R::ForbiddenHeader),
        (good.replacen('{', r#"{"jku":"https://keys.example","#, 1), R::ForbiddenHeader),
        (good.replacen('{', r#"{"typ":"dpop+jwt","#, 1), R::BadHeader),
    ] {
        let proof = es256.sign(&header, &claims(&json!({})));
        assert_eq!(judge(&proof), Err(rejected), "{header}");
    }
    // 2. A single well-formed JWT.
    let proof = es256.proof(&json!({}));
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    for wrong in [
        String::new(),
        "a.b".to_owned(),
        signed.to_owned(),
        format!("{proof}.x"),
        format!("{proof}, {proof}"),
        format!(" {proof}"),
        "x".repeat(9_000),
    ] {
        assert_eq!(judge(&wrong), Err(R::Malformed), "{wrong}");
    }
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(judge(&format!("{signed}.{flipped}{}", &signature[1..])), Err(R::BadSignature));
    assert_eq!(judge(&format!("{signed}.")), Err(R::BadSignature));
}

/// A P-256 key that signed nothing here: RFC 9449's own.
fn other_key() -> String {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    })
    .to_string()
}

/// "an HMAC of a 60 s step, by a key made from the signing key by HKDF …; accepted under every key of the token table,
/// for the last, current and next step, so any replica accepts another's."
#[test]
fn nonces_are_known_answers() {
    let ring = ring();
    let at = |seconds: i64| Timestamp::from_unix(START + seconds);
    let step = START / 60;
    for forge in Forge::all() {
        let nonce_of = |step: i64| {
            let secret = forge.derive("lingpai dpop nonce v1\0");
            URL_SAFE_NO_PAD.encode(mac(&secret, &step.to_be_bytes()))
        };
        for (seconds, good) in [(-61, false), (-60, true), (-1, true), (0, true), (119, true), (120, false)] {
            assert_eq!(ring.accepts_nonce(&nonce_of(step), at(seconds)), good, "{} {seconds}", forge.alg);
        }
        for wrong in ["", "x", "AAAA", &format!("{}=", nonce_of(step)), &nonce_of(step).to_lowercase()] {
            assert!(!ring.accepts_nonce(wrong, at(0)), "{wrong}");
        }
        if forge.alg == "ES256" {
            for (seconds, of) in [(0, step), (59, step), (60, step + 1), (0, step)] {
                assert_eq!(ring.nonce(at(seconds)).unwrap().as_str(), nonce_of(of), "{seconds}");
            }
        }
        // The secret of refresh tokens is another.
        let other = mac(&forge.refresh_secret, &step.to_be_bytes());
        assert!(!ring.accepts_nonce(&URL_SAFE_NO_PAD.encode(other), at(0)));
    }
}
