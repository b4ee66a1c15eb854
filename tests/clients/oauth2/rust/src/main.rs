//! The `oauth2` crate: tokens by both of its methods, refresh and introspection.

use std::env::var;

use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenType};
use oauth2::reqwest::{Certificate, blocking};
use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, IntrospectionUrl, RequestTokenError,
    Scope, TokenIntrospectionResponse, TokenResponse, TokenUrl,
};

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet, EndpointSet>;

const ORDERS: &str = "https://orders.example.com";

fn client(id: &str, secret: &str, method: AuthType) -> Client {
    let issuer = var("ISSUER").unwrap();
    BasicClient::new(ClientId::new(id.to_owned()))
        .set_client_secret(ClientSecret::new(secret.to_owned()))
        .set_auth_type(method)
        .set_token_uri(TokenUrl::new(format!("{issuer}/oauth2/token")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(format!("{issuer}/oauth2/introspect")).unwrap())
}

fn say(what: &str) {
    println!("ok: oauth2 (Rust) {}: {what}", var("RUST_OAUTH2_VERSION").unwrap());
}

fn main() {
    let authority = Certificate::from_pem(&std::fs::read(var("CA_FILE").unwrap()).unwrap()).unwrap();
    let http = blocking::Client::builder().add_root_certificate(authority).build().unwrap();
    let (shop, gate) = (var("SHOP_SECRET").unwrap(), var("GATE_SECRET").unwrap());
    let scope_tokens = |scopes: Option<&Vec<Scope>>| -> Vec<String> {
        scopes.into_iter().flatten().map(|scope| scope.as_str().to_owned()).collect()
    };
    let both = ["orders:read", "orders:write"];

    for (name, method) in [("client_secret_basic", AuthType::BasicAuth), ("client_secret_post", AuthType::RequestBody)]
    {
        let client = client("shop", &shop, method.clone());
        let whole = client.exchange_client_credentials().request(&http).unwrap();
        assert!(matches!(whole.token_type(), BasicTokenType::Bearer));
        assert_eq!(scope_tokens(whole.scopes()), both);
        assert!(whole.expires_in().unwrap().as_secs() > 0);
        let narrow = client
            .exchange_client_credentials()
            .add_scope(Scope::new("orders:read".to_owned()))
            .add_extra_param("resource", ORDERS)
            .request(&http)
            .unwrap();
        assert_eq!(scope_tokens(narrow.scopes()), ["orders:read"]);
        let again = client.exchange_refresh_token(whole.refresh_token().unwrap()).request(&http).unwrap();
        assert_eq!(scope_tokens(again.scopes()), both);
        assert_ne!(again.access_token().secret(), whole.access_token().secret());
        let told = client.introspect(narrow.access_token()).request(&http).unwrap();
        assert!(told.active());
        assert_eq!(scope_tokens(told.scopes()), ["orders:read"]);
        assert_eq!(told.client_id().map(|id| id.as_str()), Some("shop"));
        assert_eq!(told.aud(), Some(&vec![ORDERS.to_owned()]));
        assert!(told.exp() > told.iat());
        say(&format!("{name}: a token, scope and resource narrowed, refresh, introspection"));

        let gateway = self::client("gate", &gate, method.clone());
        assert_eq!(gateway.introspect(narrow.access_token()).request(&http).unwrap().sub(), Some("shop"));
        let other = AccessToken::new("x".to_owned());
        assert!(!gateway.introspect(&other).request(&http).unwrap().active());

        let wrong = self::client("shop", "wrong", method).exchange_client_credentials().request(&http).unwrap_err();
        assert_eq!(kind(wrong), BasicErrorResponseType::InvalidClient);
        let other = client.exchange_client_credentials().add_scope(Scope::new("other".to_owned()));
        assert_eq!(kind(other.request(&http).unwrap_err()), BasicErrorResponseType::InvalidScope);
        say(&format!("{name}: introspection by another client, InvalidClient, InvalidScope"));
    }
}

/// The typed error of a refusal.
fn kind<E: std::error::Error + 'static>(
    error: RequestTokenError<E, oauth2::basic::BasicErrorResponse>,
) -> BasicErrorResponseType {
    match error {
        RequestTokenError::ServerResponse(response) => response.error().clone(),
        other => panic!("{other:?}"),
    }
}
