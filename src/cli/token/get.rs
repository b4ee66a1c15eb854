//! `lingpai token get`

use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Answer, Settings};
use crate::app::StartError;
use crate::cli::{complain, say_json, say_once, variable, visible};
use crate::fetch::{FetchError, fetch};

const SECRET: &str = "LINGPAI_CLIENT_SECRET";
const MAX_SECRET: u64 = 4_096;
/// Time limit for the whole exchange.
const LIMIT: Duration = Duration::from_secs(10);
/// Maximum length of a server's words in a message.
const MAX_WORDS: usize = 200;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The client's id [default: none, for an anonymous token]. Its secret is read from the environment variable
    /// `LINGPAI_CLIENT_SECRET`, or from standard input.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// A scope token to request. May be repeated [default: all that the client may request].
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// The server, without /token [default: the issuer].
    #[arg(long, value_name = "URL")]
    url: Option<Uri>,
    /// Send the secret and the token over http without TLS, even to another machine.
    #[arg(long)]
    plain_http: bool,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Answer {
    let base = match &arguments.url {
        Some(url) => url.to_string(),
        None => settings.load()?.issuer.as_str().to_owned(),
    };
    let base = base.trim_end_matches('/');
    let expected = || StartError::new(format!("--url {base}: expected a URL such as https://tokens.example.com"));
    let url: Uri = format!("{base}/token").parse().map_err(|_| expected())?;
    let host = url.host().ok_or_else(expected)?;
    if url.query().is_some() || url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(expected());
    }
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if arguments.plain_http || is_loopback(host) => {}
        Some("http") => {
            let why =
                format!("{base}: http would send the secret and the token in the clear; use https, or --plain-http");
            return Err(StartError::new(why));
        }
        _ => return Err(expected()),
    }
    let request = request(url, arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::with_source(format!("cannot start: {error}"), error))?;
    let token = runtime
        .block_on(fetch(request, LIMIT))
        .map_err(problem)
        .and_then(|answer| token(&answer, arguments.client.is_some()));
    match token {
        Ok((_, answer)) if settings.json => say_json(&answer).map(|()| true),
        Ok((token, _)) => say_once(&token).map(|()| true),
        Err(why) => {
            complain(&format!("{base}: {why}"));
            Ok(false)
        }
    }
}

fn request(url: Uri, arguments: &Arguments) -> Result<Request<Bytes>, StartError> {
    if arguments.client.is_none() && variable(SECRET).is_some() {
        return Err(StartError::new(format!("{SECRET} is set, but no client is named; add --client ID, or unset it")));
    }
    let body = if arguments.scope.is_empty() { json!({}) } else { json!({"scope": arguments.scope}) };
    let request = Request::builder().method(Method::POST).uri(url).header(CONTENT_TYPE, "application/json");
    let mut request =
        request.body(Bytes::from(body.to_string())).map_err(|_| StartError::new("--url: expected a URL"))?;
    if let Some(client) = &arguments.client {
        let credentials = Zeroizing::new(format!("{client}:{}", secret()?.as_str()));
        let header = Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials.as_bytes())));
        let mut header = HeaderValue::from_str(&header).map_err(|_| StartError::new("the secret is not text"))?;
        header.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    Ok(request)
}

/// Reads the client's secret. A trailing line ending is not part of it.
fn secret() -> Result<Zeroizing<String>, StartError> {
    let mut text = Zeroizing::new(String::new());
    match variable(SECRET) {
        Some(value) => {
            let value = value.into_string().map_err(|_| StartError::new(format!("{SECRET}: is not UTF-8 text")))?;
            *text = value;
        }
        None if std::io::stdin().is_terminal() => {
            return Err(StartError::new(format!("pass the client's secret in {SECRET} or on standard input")));
        }
        None => {
            let read = std::io::stdin().lock().take(MAX_SECRET).read_to_string(&mut text);
            read.map_err(|error| {
                StartError::with_source(format!("standard input: the secret cannot be read: {error}"), error)
            })?;
        }
    }
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    if text.is_empty() {
        return Err(StartError::new(format!("the secret is empty; pass it in {SECRET} or on standard input")));
    }
    Ok(text)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn problem(error: FetchError) -> String {
    match error {
        FetchError::Untrusted => format!("{error}; SSL_CERT_FILE=FILE names other authorities"),
        error => error.to_string(),
    }
}

/// Returns the token of the answer and the whole of it, or what the answer is instead, in one line.
fn token(answer: &Response<Bytes>, is_named: bool) -> Result<(String, Value), String> {
    let json = serde_json::from_slice::<Value>(answer.body()).ok().filter(Value::is_object);
    let said = json.as_ref().and_then(|json| json.get("message")).and_then(Value::as_str);
    // A secret that the server repeats is not shown.
    let said = said
        .filter(|said| !said.contains("lps_"))
        .map(|said| format!(": {}", visible(&said.chars().take(MAX_WORDS).collect::<String>())));
    let said = said.unwrap_or_default();
    let status = answer.status();
    let later = || {
        let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        seconds.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
    };
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED if is_named => {
            return Err(format!("answers 401{said}; are the id and the secret right?"));
        }
        StatusCode::UNAUTHORIZED => return Err(format!("answers 401{said}; name a client with --client")),
        StatusCode::NOT_FOUND => {
            return Err(format!("answers 404{said}; is --url what tokens say in iss, without /token?"));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Err(format!("answers {}{said}{}", status.as_u16(), later()));
        }
        _ if status.is_redirection() => {
            return Err(format!(
                "answers {}, a redirect, which is not followed; is --url what tokens say in iss?",
                status.as_u16()
            ));
        }
        _ => return Err(format!("answers {}{said}", status.as_u16())),
    }
    let is_token = |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let token = json.as_ref().and_then(|json| json.get("value")?.as_str()).filter(|value| is_token(value));
    let token = token.map(str::to_owned).zip(json);
    token.ok_or_else(|| "answers 200 without a token; is it a lingpai server?".to_owned())
}
