//! Tokens that are bound to a certificate (RFC 8705), and clients that authenticate by one. The certificates come from a
//! proxy (RFC 9440); `tests/tls/run` has them come from TLS. Each test quotes the sentence that it asks about.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lingpai::foreign::{KeySet, Owner};
use ring::digest;
use serde_json::{Value, json};

use crate::app::{Answer, ISSUER, SECRET, TestApp, basic, replace, segment, standard, vectors};
use crate::forge::Forge;
use crate::home::Home;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials";

/// A certificate of `tests/vectors/mtls`, in DER.
fn der(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(vectors("mtls").join(format!("{name}.crt"))).unwrap();
    STANDARD.decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

/// The header line by which a proxy passes a certificate on.
fn shown(name: &str) -> String {
    format!("Client-Cert: :{}:", STANDARD.encode(der(name)))
}

fn chained(name: &str) -> String {
    format!("Client-Cert-Chain: :{}:", STANDARD.encode(der(name)))
}

fn thumbprint(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der(name)))
}

/// `orders` must bind; `san`, `uri` and `own` authenticate by a certificate; `loose` binds nothing.
fn configuration() -> String {
    let grants = "grants = [\"client_credentials\", \"refresh_token\"]";
    let standard = standard().replacen("id = \"orders\"", &format!("id = \"orders\"\nsender = \"mtls\"\n{grants}"), 1);
    let trusting =
        standard.replacen("[token]", "trusted_proxies = [\"127.0.0.0/8\"]\n[mtls]\nca = \"ca.crt\"\n[token]", 1);
    format!(
        "{trusting}\n\
         [[clients]]\nid = \"san\"\ntls_san_dns = \"orders.example.com\"\nsender = \"mtls\"\n{grants}\n\
         [[clients]]\nid = \"uri\"\ntls_san_uri = \"spiffe://example.com/orders\"\n\
         [[clients]]\nid = \"own\"\njwks = \"own.json\"\n\
         [[clients]]\nid = \"loose\"\nsecrets = [\"{}\"]\n",
        lingpai::clients::SecretDigest::of(SECRET.as_bytes()).written()
    )
}

/// The key set of `own`: a key that signs assertions, and one whose certificate is its own word.
fn key_set(x5c: &Value) -> Value {
    let text = fs::read(vectors("mtls").join("self.jwk.json")).unwrap();
    let mut certified: Value = serde_json::from_slice(&text).unwrap();
    if !x5c.is_null() {
        certified["x5c"] = x5c.clone();
    }
    let mut other: Value = serde_json::from_str(&Forge::es256().jwk).unwrap();
    other["kid"] = json!("other");
    json!({"keys": [other, certified]})
}

fn start() -> TestApp {
    let folder_files: [(&str, Vec<u8>); 2] = [
        ("ca.crt", fs::read(vectors("mtls").join("ca.crt")).unwrap()),
        ("own.json", key_set(&json!([STANDARD.encode(der("self"))])).to_string().into_bytes()),
    ];
    TestApp::with_files(&configuration(), &["2026-01-01T00-00-00Z.es256.pem"], &folder_files)
}

fn ask(app: &TestApp, lines: &[&str], form: &str) -> Answer {
    app.send("POST", "/oauth2/token", &[&[FORM], lines].concat(), form)
}

/// "The refresh token remembers only that its session is bound and how: refresh needs a … certificate, … and the new
/// access token carries that one"; "`cnf` has exactly one member"
#[test]
fn a_certificate_binds_a_token() {
    let app = start();
    let orders = basic("orders", SECRET);
    let answer = ask(&app, &[&orders, &shown("client")], CLIENT_CREDENTIALS);
    assert_eq!((answer.status, answer.text("token_type").as_str()), (200, "Bearer"), "{answer:?}");
    let token = answer.text("access_token");
    assert_eq!(segment(&token, 1)["cnf"], json!({"x5t#S256": thumbprint("client")}));
    let refresh = segment(&answer.text("refresh_token"), 1);
    assert_eq!((&refresh["sender"], refresh.get("cnf")), (&json!("mtls"), None));

    let form = format!("grant_type=refresh_token&refresh_token={}", answer.text("refresh_token"));
    assert_eq!(ask(&app, &[&orders], &form).json()["error"], "invalid_request");
    let answer = ask(&app, &[&orders, &shown("stranger")], &form);
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"x5t#S256": thumbprint("stranger")}));

    // "needs its certificate, else 401; its `token_type` is `Bearer`".
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(app.send("GET", "/token", &[&bearer, &shown("client")], "").status, 200);
    app.send("GET", "/token", &[&bearer, &shown("stranger")], "").assert_invalid_token(None);
    app.send("GET", "/token", &[&bearer], "").assert_invalid_token(None);
    let told = app.send("POST", "/oauth2/introspect", &[FORM, &orders], &format!("token={token}")).json();
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(told["cnf"], json!({"x5t#S256": thumbprint("client")}));

    // "a certificate binds only with `sender = "mtls"`".
    let answer = ask(&app, &[&basic("loose", SECRET), &shown("client")], CLIENT_CREDENTIALS);
    assert_eq!(segment(&answer.text("access_token"), 1).get("cnf"), None);
}

/// "come from a trusted proxy as `Client-Cert` and `Client-Cert-Chain` (RFC 9440), which from anyone else are ignored"
#[test]
fn only_a_trusted_proxy_is_believed() {
    let app = start();
    let orders = basic("orders", SECRET);
    let wrong = format!("Client-Cert: {}", STANDARD.encode(der("client")));
    for lines in
        [&[&*orders, &wrong][..], &[&orders, &shown("client"), &shown("client")], &[&orders, &chained("client")]]
    {
        assert_eq!(ask(&app, lines, CLIENT_CREDENTIALS).json()["error"], "invalid_request", "{lines:?}");
    }
    app.reconfigure(&configuration().replacen("127.0.0.0/8", "192.0.2.0/24", 1));
    assert_eq!(ask(&app, &[&orders, &shown("client")], CLIENT_CREDENTIALS).json()["error"], "invalid_request");
    let form = format!("{CLIENT_CREDENTIALS}&client_id=san");
    assert_eq!(ask(&app, &[&shown("client")], &form).status, 401);

    // Without `[mtls]` a proxy is trusted for addresses only: it may let a caller's own field pass.
    let form = format!("{CLIENT_CREDENTIALS}&client_id=own");
    for (mtls, status) in [("", 401), ("[mtls]\nurl = \"https://mtls.example.com\"\n", 200)] {
        let proxied = standard().replacen("[token]", "trusted_proxies = [\"127.0.0.0/8\"]\n[token]", 1);
        app.reconfigure(&format!("{proxied}\n{mtls}[[clients]]\nid = \"own\"\njwks = \"own.json\"\n"));
        assert_eq!(ask(&app, &[&shown("self")], &form).status, status, "{mtls}");
    }
}

/// "`tls_client_auth`: exactly one of `tls_san_dns`, `tls_san_uri`, the chain verified against `[mtls] ca`, also when a
/// proxy brought it."
#[test]
fn a_client_authenticates_by_a_name_in_its_certificate() {
    let app = start();
    let by = |client: &str, lines: &[&str]| ask(&app, lines, &format!("{CLIENT_CREDENTIALS}&client_id={client}"));
    let answer = by("san", &[&shown("client")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(segment(&answer.text("access_token"), 1)["cnf"], json!({"x5t#S256": thumbprint("client")}));
    assert!(answer.json().get("refresh_token").is_some());
    assert_eq!(by("uri", &[&shown("client")]).status, 200);
    assert_eq!(by("san", &[&shown("deep"), &chained("intermediate")]).status, 200);
    for lines in [
        &[][..],
        &[&*shown("stranger")],
        &[&*shown("server")],
        &[&*shown("expired")],
        &[&*shown("nameless")],
        &[&*shown("self")],
        &[&*shown("deep")],
        &[&*shown("ca")],
        &["Client-Cert: :AAAA:"],
    ] {
        let refused = by("san", lines);
        let expected = json!({"error": "invalid_client", "error_description": "client authentication failed"});
        assert_eq!((refused.status, refused.json()), (401, expected), "{lines:?}");
        assert_eq!(refused.all("www-authenticate"), [""; 0]);
    }
    for client in ["orders", "loose", "own", "nobody"] {
        assert_eq!(by(client, &[&shown("client")]).status, 401, "{client}");
    }
    // Without the id nobody knows whom it is to prove.
    assert_eq!(ask(&app, &[&shown("client")], CLIENT_CREDENTIALS).status, 401);
    // A certificate beside another method is no second one.
    let loose = basic("loose", SECRET);
    assert_eq!(ask(&app, &[&loose, &shown("client")], CLIENT_CREDENTIALS).status, 200);
    // Introspection takes the same methods.
    let told = app.send("POST", "/oauth2/introspect", &[FORM, &shown("client")], "client_id=uri&token=x");
    assert_eq!((told.status, told.body.as_str()), (200, r#"{"active":false}"#));
}

/// "`self_signed_tls_client_auth`: the certificate is one of `x5c` in `jwks`."
#[test]
fn a_client_authenticates_by_a_certificate_that_is_registered() {
    let app = start();
    let form = format!("{CLIENT_CREDENTIALS}&client_id=own");
    assert_eq!(ask(&app, &[&shown("self")], &form).status, 200);
    for other in ["client", "ca"] {
        assert_eq!(ask(&app, &[&shown(other)], &form).status, 401, "{other}");
    }
    // It vouches for nobody else.
    assert_eq!(ask(&app, &[&shown("client"), &chained("self")], &form).status, 401);
    // A reload forgets it.
    replace(&app.folder.path().join("own.json"), key_set(&Value::Null).to_string());
    app.reconfigure(&configuration());
    assert_eq!(ask(&app, &[&shown("self")], &form).status, 401);
}

/// A key set's certificate is of the key that it stands beside, of each kind.
#[test]
fn a_registered_certificate_is_of_its_key() {
    let read = |name: &str| -> Value {
        let text = fs::read(vectors("mtls").join(format!("{name}.jwk.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    for (key, certificate, is_right) in [
        ("self", "self", true),
        ("self-rsa", "self-rsa", true),
        ("self", "self-rsa", false),
        ("self-rsa", "self", false),
    ] {
        let mut key = read(key);
        // Only the first of a chain counts.
        key["x5c"] = json!([STANDARD.encode(der(certificate)), STANDARD.encode(der("ca"))]);
        let set = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes(), Owner::Client);
        assert_eq!(set.is_ok(), is_right, "{certificate}");
        let digest = |name: &str| digest::digest(&digest::SHA256, &der(name)).as_ref().try_into().unwrap();
        if let Ok(set) = set {
            assert_eq!((set.has_certificate(&digest(certificate)), set.has_certificate(&digest("ca"))), (true, false));
        }
    }
}

/// "One of them must vouch for the certificate …; a reload reads the file again."
#[test]
fn the_authorities_are_reloaded() {
    let app = start();
    let status = |name: &str| ask(&app, &[&shown(name)], &format!("{CLIENT_CREDENTIALS}&client_id=san")).status;
    assert_eq!((status("client"), status("stranger")), (200, 401));
    let other = fs::read(vectors("mtls").join("other-ca.crt")).unwrap();
    replace(&app.folder.path().join("ca.crt"), other);
    app.look();
    assert_eq!((status("client"), status("stranger")), (401, 200));
    replace(&app.folder.path().join("ca.crt"), "nothing");
    app.look();
    assert_eq!((status("client"), status("stranger")), (401, 200), "what is no certificate keeps the old ones");
    assert!(app.state.refused().unwrap().contains("ca.crt: holds no certificate"));
}

/// Metadata: "algorithms and methods listed are exactly those that work".
#[test]
fn metadata_name_the_methods_and_the_aliases() {
    let app = start();
    let metadata = || app.send("GET", "/.well-known/oauth-authorization-server", &[], "").json();
    let told = metadata();
    let methods = json!([
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth"
    ]);
    assert_eq!(told["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(told["introspection_endpoint_auth_methods_supported"], methods);
    assert_eq!(told["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(told.get("mtls_endpoint_aliases"), None);
    app.reconfigure(&configuration().replacen("[mtls]", "[mtls]\nurl = \"https://mtls.example.com\"", 1));
    let aliases = json!({
        "token_endpoint": "https://mtls.example.com/oauth2/token",
        "introspection_endpoint": "https://mtls.example.com/oauth2/introspect",
    });
    assert_eq!(metadata()["mtls_endpoint_aliases"], aliases);
    assert_eq!(metadata()["issuer"], ISSUER);
    // Where no client uses certificates, none is spoken of.
    app.reconfigure(&standard());
    let told = metadata();
    assert_eq!(told.get("mtls_endpoint_aliases"), None);
    assert_eq!(told.get("tls_client_certificate_bound_access_tokens"), None);
}

#[test]
fn settings_are_checked() {
    let home = Home::standard();
    home.write("ca.crt", &fs::read_to_string(vectors("mtls").join("ca.crt")).unwrap());
    home.write("own.json", &key_set(&json!([STANDARD.encode(der("client"))])).to_string());
    home.write("good.json", &key_set(&json!([STANDARD.encode(der("self"))])).to_string());
    let quiet = crate::app::quiet();
    for (config, says) in [
        (
            "[mtls]\nca = \"ca.crt\"\n[[clients]]\nid = \"x\"\ntls_san_dns = \"a\"\ntls_san_uri = \"b:c\"\n",
            "tls_san_dns or tls_san_uri",
        ),
        ("[[clients]]\nid = \"x\"\ntls_san_dns = \"a\"\n", "[mtls] ca"),
        ("[[clients]]\nid = \"x\"\ntls_san_dns = \"\"\n[mtls]\nca = \"ca.crt\"\n", "expected a host name"),
        ("[[clients]]\nid = \"x\"\ntls_san_uri = \"x\"\n[mtls]\nca = \"ca.crt\"\n", "expected a URI"),
        ("[[clients]]\nid = \"x\"\njwks = \"own.json\"\n", "x5c"),
        ("[mtls]\nca = \"nothing.crt\"\n", "nothing.crt"),
        ("[mtls]\nca = \"lingpai.toml\"\n", "holds no certificate"),
        ("[mtls]\nlisten = \"127.0.0.1:1\"\n", "[tls]"),
        ("[mtls]\nurl = \"http://tokens.example.com\"\n", "https"),
        ("[tls]\ncert = \"a\"\nkey = \"b\"\nclient_ca = \"ca.crt\"\n", "client_ca"),
    ] {
        home.write("lingpai.toml", &format!("{quiet}{config}"));
        home.run(&["check"]).assert_refused(2, &[says]);
    }
    let good = "[mtls]\nca = \"ca.crt\"\n[[clients]]\nid = \"x\"\nscope = [\"a\"]\ntls_san_dns = \"a.example\"\n\
                [[clients]]\nid = \"y\"\nscope = [\"a\"]\njwks = \"good.json\"\n";
    home.write("lingpai.toml", &format!("{quiet}{good}"));
    assert_eq!(home.run(&["check"]).assert(0).err, "");
}
