//! Runs the generated client against a live server: `client URL`, with the secret of the client `demo` in `SECRET`.

// The generated source, and nothing of ours.
mod lingpai {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

use std::{env, error::Error};

use lingpai::{Client, types};
use progenitor_client::ResponseValue;
use reqwest::{RequestBuilder, header};

type Outcome<T> = Result<ResponseValue<T>, lingpai::Error<types::ApiError>>;

/// The client reads no security schemes: whoever uses it puts the credentials into its requests.
fn client(url: &str, authenticate: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Result<Client, Box<dyn Error>> {
    let request = authenticate(reqwest::Client::new().get(url)).build()?;
    let mut headers = header::HeaderMap::new();
    headers.insert(header::AUTHORIZATION, request.headers()[header::AUTHORIZATION].clone());
    Ok(Client::new_with_client(url, reqwest::Client::builder().default_headers(headers).build()?))
}

/// The typed error of an answer that has to be one.
fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> Result<(u16, types::ApiError), Box<dyn Error>> {
    match outcome {
        Err(lingpai::Error::ErrorResponse(answer)) => Ok((answer.status().as_u16(), answer.into_inner())),
        other => Err(format!("not a typed error: {other:?}").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: client URL")?;
    let secret = env::var("SECRET")?;

    let demo = client(&url, |request| request.basic_auth("demo", Some(&secret)))?;
    let order = types::CreateToken {
        scope: vec!["demo:read".parse()?, "demo:write".parse()?],
        lifetime: Some(60.try_into()?),
        ..Default::default()
    };
    let pair: types::TokenPair = demo.create_token(&order).await?.into_inner();

    let holder = client(&url, |request| request.bearer_auth(&pair.value))?;
    let both = vec!["demo:read".parse()?, "demo:write".parse()?];
    let answer = holder.inspect_token(Some(&url.parse()?), None, None, Some(&both)).await?;
    assert_eq!(answer.headers()["x-token-client"], "demo");
    let info: types::TokenInfo = answer.into_inner();
    assert_eq!((info.subject.as_str(), info.client.as_str()), ("demo", "demo"));
    assert_eq!(info.scope, ["demo:read", "demo:write"]);
    assert_eq!(info.audience, [url.as_str()]);
    assert_eq!(info.expire, pair.expire);
    assert!(info.claims.is_empty());

    let refresher = client(&url, |request| request.bearer_auth(&pair.refresh))?;
    let narrow = types::RefreshToken { scope: vec!["demo:read".parse()?] };
    let next: types::TokenPair = refresher.refresh_token(&narrow).await?.into_inner();
    assert_ne!(next.value, pair.value);
    let narrowed = client(&url, |request| request.bearer_auth(&next.value))?;
    assert_eq!(narrowed.inspect_token(None, None, None, None).await?.into_inner().scope, ["demo:read"]);

    let (status, error) = refused(refresher.inspect_token(None, None, None, None).await)?;
    assert_eq!((status, error.name.as_str(), error.message.as_str()), (401, "Unauthorized", "authentication failed"));

    let (status, error) = refused(narrowed.inspect_token(None, None, None, Some(&vec!["demo:write".parse()?])).await)?;
    assert_eq!((status, error.name.as_str()), (403, "Forbidden"));
    assert!(error.message.contains("demo:write"), "{}", error.message);
    Ok(())
}
