//! `/`: what this service is and where everything else is, in HTML for people and in JSON for
//! programs.
//!
//! It reveals nothing useful to an attacker: no version, and of the configuration only the issuer,
//! which is in every token.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use poem::http::{HeaderMap, HeaderValue};
use poem::{Endpoint, Request, Response};
use serde::Serialize;

use super::docs;
use super::problem::{JSON, NO_STORE};
use super::routes::Routes;
use crate::crypto::sha256;
use crate::service::State;

const PATH: &str = "/";

/// Paths below the root, with their names in JSON and their descriptions for people.
const LINKS: [(&str, &str, &str); 7] = [
    ("docs", "documentation", "Every call, to try in the browser (Swagger UI)"),
    ("openapi.json", "openapi", "The OpenAPI document, to generate a client"),
    (".well-known/jwks.json", "jwks_uri", "The public keys, to verify tokens offline"),
    (".well-known/oauth-authorization-server", "oauth_metadata", "OAuth 2.0 metadata (RFC 8414)"),
    (".well-known/openid-configuration", "openid_configuration", "The same, where OpenID clients look for it"),
    ("healthz", "health", "Whether the process runs"),
    ("readyz", "readiness", "Whether tokens can be issued"),
];

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #222; --paper: #fafafa; --mark: #9b2c1f; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #191919; --mark: #e58a7d; } }
body { max-width: 42rem; margin: 0 auto; padding: 3rem 1.25rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; padding-left: 3.25rem; background: url(ICON) no-repeat left center / 2.5rem; font-size: 2rem; }
a { color: var(--mark); }
code { font-size: .95em; overflow-wrap: anywhere; }
dt { margin-top: .9rem; }
dd { margin: 0; opacity: .8; }
";

/// Adds the route.
pub(super) fn add_to(routes: Routes, state: &Arc<State>) -> Routes {
    // The issuer changes only with a restart.
    routes.page(PATH, Home::new(&state.snapshot().issuer))
}

struct Home {
    html: String,
    policy: HeaderValue,
    json: Vec<u8>,
}

impl Home {
    fn new(issuer: &str) -> Self {
        let style = STYLE.replace("ICON", &docs::icon());
        let hash = STANDARD.encode(sha256(style.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        #[expect(clippy::expect_used, reason = "a digest in base64 between fixed words")]
        let policy = HeaderValue::try_from(policy).expect("a header's value");
        Self { html: html(issuer, &style), policy, json: json(issuer) }
    }
}

impl Endpoint for Home {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let mut response = Response::default();
        if wants_html(request.headers()) {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
            response.set_body(self.html.clone());
        } else {
            response.headers_mut().insert(CONTENT_TYPE, JSON);
            response.set_body(self.json.clone());
        }
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        Ok(response)
    }
}

/// Whether `Accept` names HTML, as every browser's does (RFC 9110 §12.5.1).
fn wants_html(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).any(|range| {
        let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
        range.trim().eq_ignore_ascii_case("text/html") && !parameters.contains("q=0;") && parameters.trim() != "q=0"
    })
}

fn html(issuer: &str, style: &str) -> String {
    let entry = |(path, _, what): &(&str, &str, &str)| format!("<dt><a href=\"{path}\">{path}</a></dt><dd>{what}</dd>");
    let links = LINKS.iter().map(entry).collect::<Vec<_>>().concat();
    let (issuer, icon) = (escaped(issuer), docs::icon());
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>lingpai 令牌</title>\
         <link rel=\"icon\" href=\"{icon}\"><style>{style}</style></head><body>\
         <h1>lingpai 令牌</h1><p>This is a token service. Programs get signed tokens here, ask what a token says, and \
         refresh it. Nobody logs in on this page.</p>\
         <p>It issues tokens as <code>{issuer}</code>.</p><dl>{links}</dl></body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns `issuer` and the URLs of everything else.
fn json(issuer: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Said<'a> {
        issuer: &'a str,
        #[serde(flatten)]
        links: std::collections::BTreeMap<&'a str, String>,
    }
    let links = LINKS.iter().map(|(path, name, _)| (*name, format!("{issuer}/{path}"))).collect();
    #[expect(clippy::expect_used, reason = "strings")]
    serde_json::to_vec(&Said { issuer, links }).expect("JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_html_and_programs_json() {
        let of = |accept: &'static str| wants_html(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert!(of("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8") && of("TEXT/HTML; q=0.5"));
        assert!(!of("*/*") && !of("application/json") && !of("text/html;q=0") && !wants_html(&HeaderMap::new()));
    }

    #[test]
    fn an_issuer_is_text() {
        let page = html("https://t.example/<b>&\"", "");
        assert!(page.contains("<code>https://t.example/&lt;b&gt;&amp;&quot;</code>"), "{page}");
    }
}
