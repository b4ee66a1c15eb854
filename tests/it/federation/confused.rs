//! Identities that are nearly right: names that look like an issuer's, one `kid` at two issuers, and claims that would be
//! another's if they were read loosely.

use lingpai::clock::Timestamp;
use lingpai::keys::{Alg, generate};
use serde_json::{Value, json};

use super::{ASSERTION_TYPE, CI, Federation, KEY, PIPES, job, signed_as, start};
use crate::app::{ISSUER, START, TestApp, segment, standard};
use crate::forge::Forge;
use crate::oauth2::{OAuth as _, jwk};

/// A second key for ES256.
fn another() -> Forge {
    let folder = tempfile::tempdir().unwrap();
    let key = generate(folder.path(), Alg::default(), Timestamp::from_unix(START)).unwrap();
    Forge::load(&folder.path().join(key.name().to_string()))
}

/// Two issuers whose keys have one `kid`, and each its own client.
struct Twins {
    app: TestApp,
    forges: [Forge; 2],
}

/// Trusts `issuer`: its identities are one client.
fn trusting(name: &str, issuer: &str) -> String {
    format!(
        "[[clients]]\nid = \"of-{name}\"\n[[issuers]]\nissuer = \"{issuer}\"\njwks_file = \"{name}.json\"\n\
         [[issuers.rules]]\nmatch = {{ sub = \"**\" }}\nclient = \"of-{name}\"\n"
    )
}

impl Twins {
    fn start() -> Self {
        let forges = [Forge::es256(), another()];
        let mut config = standard();
        let mut files = Vec::new();
        for (forge, (name, issuer)) in forges.iter().zip([("ci", CI), ("pipes", PIPES)]) {
            let mut public = jwk(forge);
            public["kid"] = "1".into();
            files.push((format!("{name}.json"), json!({"keys": [public]}).to_string().into_bytes()));
            config += &trusting(name, issuer);
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        Self { app: TestApp::with_files(&config, &[KEY], &files), forges }
    }

    /// The client that an identity of `issuer` is, signed by one of the two.
    fn client(&self, issuer: &str, forge: usize) -> Option<Value> {
        let claims = job(&json!({"iss": issuer}));
        let token = signed_as(&self.forges[forge], &json!({"alg": "ES256", "kid": "1"}), &claims);
        let form =
            format!("grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={token}");
        let answer = self.app.form("/oauth2/token", &[], &form);
        (answer.status == 200).then(|| segment(&answer.text("access_token"), 1)["client_id"].clone())
    }
}

/// A key is its issuer's alone, also where another has one of the same name.
#[test]
fn one_kid_at_two_issuers() {
    let twins = Twins::start();
    assert_eq!([twins.client(CI, 0), twins.client(PIPES, 1)], [Some(json!("of-ci")), Some(json!("of-pipes"))]);
    assert_eq!([twins.client(CI, 1), twins.client(PIPES, 0)], [None, None]);
}

/// `iss` is compared byte by byte: nothing is made lower case, and no default is filled in.
#[test]
fn names_that_look_like_an_issuer() {
    let with = start();
    for iss in [
        "https://ci.example.net/",
        "https://ci.example.net:443",
        "https://CI.example.net",
        "HTTPS://ci.example.net",
        "http://ci.example.net",
        "https://ci.example.net.",
        "https://ci.example.net#",
        "https://ci.example.net?",
        "https://user@ci.example.net",
        "https://ci.example.net.evil.example",
        "ci.example.net",
        " https://ci.example.net",
        "https://ci.example.net\n",
        "https://ci.example.net\0",
        "https://c\u{456}.example.net",
        "",
        ISSUER,
        "signer",
        "deploy",
        "spiffe://example.org/",
    ] {
        let token = with.of_ci(&json!({"iss": iss}));
        assert!(with.doors(&token, "").iter().all(|answer| answer.status >= 400), "{iss:?}");
    }
    // A client whose key the issuer has too is still another one.
    with.assert_failed(&with.of_ci(&json!({"sub": "signer"})), "");
}

fn pair(with: &Federation, changes: &Value) -> String {
    let mut all = json!({"sub": "pair"});
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    with.of_ci(&all)
}

/// "a value that contains the text after its place is refused": so no two identities have one subject.
#[test]
fn a_claim_does_not_leave_its_place() {
    let with = start();
    let told = with.given(&pair(&with, &json!({"owner": "a", "name": "b/c"})), "");
    assert_eq!(told["sub"], "ci:a/b/c");
    with.assert_failed(&pair(&with, &json!({"owner": "a/b", "name": "c"})), "");
    let number = with.given(&pair(&with, &json!({"owner": 7, "name": -1})), "");
    assert_eq!(number["sub"], "ci:7/-1");
    for (owner, name) in [
        (json!("a"), json!("b\u{0}")),
        (json!("a\n"), json!("b")),
        (json!("a"), json!("b\u{7f}")),
        (json!("a"), json!("b\u{85}")),
        (json!("a"), json!("b\u{200b}")),
        (json!(" a"), json!("b")),
        (json!("a"), json!("b ")),
        (json!("a/"), json!("b")),
        (json!("/"), json!("b")),
        (json!(""), json!("b")),
        (json!(["a"]), json!("b")),
        (json!({"a": "a"}), json!("b")),
        (json!(true), json!("b")),
        (json!(7.5), json!("b")),
        (json!(1e300), json!("b")),
        (Value::Null, json!("b")),
    ] {
        with.assert_failed(&pair(&with, &json!({"owner": owner, "name": name})), "");
    }
    // "subject 1 to 255": `ci:a/` and 250 more.
    let long = |length: usize| pair(&with, &json!({"owner": "a", "name": "x".repeat(length)}));
    assert_eq!(with.given(&long(250), "")["sub"].as_str().unwrap().len(), 255);
    with.assert_failed(&long(251), "");
}

/// What is in `match` is of one type, and is the whole of a text.
#[test]
fn claims_of_odd_types() {
    let with = start();
    let narrow = |sub: &str| with.of_ci(&json!({"sub": sub}));
    assert_eq!(with.doors(&narrow("narrow"), "")[0].status, 200);
    for sub in ["narrow-evil", "narro", "Narrow", " narrow", "narrow ", "narrow\n", "narrow\0", "narrow:", "*", "**"] {
        with.doors(&narrow(sub), "")[0].assert_invalid_client(false);
    }
    let good = json!({
        "sub": "repo:acme/x", "trusted": true, "teams": ["web", "core"], "kubernetes.io": {"namespace": "prod"},
    });
    assert_eq!(with.given(&with.of_ci(&good), "")["client_id"], "pod");
    for (claim, odd) in [
        ("trusted", json!(1)),
        ("trusted", json!("true")),
        ("trusted", json!([true])),
        ("trusted", Value::Null),
        ("teams", json!([["core"]])),
        ("teams", json!({"core": true})),
        ("teams", json!({"0": "core"})),
        ("teams", json!(["core", {"a": "core"}])),
        ("teams", json!(["core "])),
        ("teams", json!("web,core")),
        ("teams", json!([])),
        ("kubernetes.io", json!([{"namespace": "prod"}])),
        ("kubernetes.io", json!({"namespace": {"namespace": "prod"}})),
        ("kubernetes.io", json!({"Namespace": "prod"})),
        ("kubernetes.io", json!({"namespace": ["prod", 1]})),
        ("kubernetes.io", json!("{\"namespace\":\"prod\"}")),
    ] {
        let mut claims = good.clone();
        claims[claim] = odd.clone();
        let [authentication, ..] = with.doors(&with.of_ci(&claims), "");
        assert_eq!(authentication.status, 401, "{claim} {odd}");
    }
    for number in
        [json!(7.0), json!("7"), json!(-7), json!(18_446_744_073_709_551_615_u64), json!(7e2), json!({"7": 7})]
    {
        with.assert_failed(&with.of_ci(&json!({"repository_id": number})), "");
    }
}
