//! The pages: Swagger UI in one buffer that calls no other origin.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::keys::sha256;

/// A seal with the first character of 令牌.
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"><rect x=\"8\" y=\"4\" width=\"48\" \
                    height=\"56\" rx=\"10\" fill=\"#9b2c1f\"/><circle cx=\"32\" cy=\"12\" r=\"3\" fill=\"#fff\"/><text \
                    x=\"32\" y=\"48\" font-size=\"32\" font-family=\"serif\" text-anchor=\"middle\" fill=\"#fff\">令</text></svg>";

const STYLE: &str = "
body { margin: 0; background: #fafafa; }
.brand { display: flex; align-items: center; gap: 12px; max-width: 1460px; margin: 0 auto; padding: 24px 20px 0;
  font: 600 22px/1.2 sans-serif; color: #3b4151; box-sizing: border-box; }
.brand svg { width: 36px; height: 36px; }
.brand a { margin-left: auto; font-size: 14px; font-weight: 400; color: #9b2c1f; }
.brand a + a { margin-left: 0; }
.swagger-ui .info { margin: 20px 0; }
.swagger-ui .info hgroup.main a { display: none; }
";

/// The page's own script; `SPEC` stands for the document. The requests that it
/// sends carry no cookies and no stored passwords, so that a 401 with a Basic
/// challenge does not open the browser's own dialog. Its server is the folder of
/// the page, whatever prefix a proxy has put before it.
const SCRIPT: &str = "
const spec = SPEC;
spec.servers = [{ url: new URL('.', location.href).href.replace(/\\/$/, '') }];
SwaggerUIBundle({
  spec, dom_id: '#ui', deepLinking: true, docExpansion: 'list', defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => { request.credentials = 'omit'; return request; },
});
";

/// The page, plain and compressed, and the policy that it is sent with.
pub(super) struct Docs {
    pub(super) html: String,
    pub(super) gzip: Vec<u8>,
    pub(super) policy: String,
}

impl Docs {
    /// Builds the page for `document` from the parts of `bundled`, poem-openapi's
    /// own page, which has Swagger UI's script and style in it.
    pub(super) fn new(document: &Value, bundled: &str) -> Self {
        let between = |open: &str, close: &str| {
            let (_, rest) = bundled.split_once(open).unwrap_or_default();
            rest.split_once(close).unwrap_or_default().0
        };
        let style = format!("{}{STYLE}", between("<style charset=\"UTF-8\">", "</style>"));
        let bundle = between("<script charset=\"UTF-8\">", "</script>");
        // Nothing in the document may end the script that it stands in.
        let script = SCRIPT.replace("SPEC", &document.to_string().replace("</", "<\\/"));
        let favicon = STANDARD.encode(ICON);
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>lingpai 令牌</title>\
             <link rel=\"icon\" href=\"data:image/svg+xml;base64,{favicon}\"><style>{style}</style></head>\
             <body><header class=\"brand\">{ICON}<span>lingpai 令牌</span><a href=\"openapi.json\">openapi.json</a>\
             <a href=\"openapi.yaml\">openapi.yaml</a></header><div id=\"ui\"></div>\
             <script>{bundle}</script><script>{script}</script></body></html>\n"
        );
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(sha256(text.as_bytes())));
        let policy = format!(
            "default-src 'none'; script-src {} {}; style-src {}; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            hash(bundle),
            hash(&script),
            hash(&style)
        );
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let gzip = encoder.write_all(html.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { html, gzip, policy }
    }
}
