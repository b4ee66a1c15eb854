//! The page at `/docs`: Swagger UI in one file that contacts no other origin.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::crypto::sha256;

/// A tablet with 令 on it, as paths, so that no font is needed.
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"><rect x=\"6\" y=\"2\" width=\"52\" \
                    height=\"60\" rx=\"11\" fill=\"#9b2c1f\"/><path d=\"M32 11 15 28M32 11l17 17M26 28h12M20 37h24L34 \
                    48M27 43l10 11\" fill=\"none\" stroke=\"#fff\" stroke-width=\"4.5\" stroke-linecap=\"round\" \
                    stroke-linejoin=\"round\"/></svg>";

/// Returns the icon as a data URL.
pub(super) fn icon() -> String {
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(ICON))
}

/// The page's own style; `ICON` is a placeholder. Bodies have one media type and responses no
/// links, so neither is shown.
const STYLE: &str = "
body { margin: 0; background: #fafafa; }
nav { max-width: 1460px; margin: 0 auto; padding: 12px 20px 0; box-sizing: border-box; text-align: right;
  font: 14px/1 sans-serif; }
nav a { margin-left: 14px; color: #9b2c1f; }
.swagger-ui .info { margin: 8px 0 20px; }
.swagger-ui .info .title { padding-left: 52px; background: url(ICON) no-repeat left center / 40px; }
.swagger-ui .info li { margin: 4px 0; line-height: 1.5; }
.swagger-ui .markdown code, .swagger-ui .renderedMarkdown code { padding: 1px 4px; font-size: 13px; font-weight: 400;
  color: #9b2c1f; }
.swagger-ui .scheme-container { padding: 16px 0; }
.swagger-ui .opblock-body textarea.body-param__text { min-height: 180px; }
.swagger-ui .response-col_links, .swagger-ui .response-controls, .swagger-ui .body-param-content-type { display: none; }
.swagger-ui .dialog-ux .modal-ux-content { max-height: 84vh; }
.swagger-ui .auth-container { padding-top: 4px; padding-bottom: 4px; }
.swagger-ui .auth-container .wrapper { padding-top: 0; padding-bottom: 0; }
";

/// The page's own script; `SPEC` is a placeholder for the document. Its requests carry no cookies
/// and no stored passwords, so that a 401 with a Basic challenge does not open the browser's
/// dialog. The server is the page's folder, whatever prefix a proxy adds, also in the curl lines. Authorize also gets a
/// token by client credentials; only this page has that scheme, because generated clients would
/// send its token in place of a refresh token. The initial values work for every client; the empty fields of a form
/// count as absent. Operations that also work without credentials show no lock, because it would look closed.
const SCRIPT: &str = "
const spec = SPEC;
spec.servers = [{ url: new URL('.', location.href).href.replace(/\\/$/, '') }];
const { get, post, put } = spec.paths['/token'];
spec.components.securitySchemes.oauth2 = {
  type: 'oauth2', description: 'Gets an access token by client credentials, to inspect it.',
  flows: { clientCredentials: { tokenUrl: spec.servers[0].url + '/oauth2/token', scopes: {} } },
};
get.security.push({ oauth2: [] });
for (const operation of Object.values(spec.paths).flatMap((path) => Object.values(path))) {
  operation.security = operation.security.filter((scheme) => Object.keys(scheme).length > 0);
  operation.description = operation.description?.replaceAll('http://127.0.0.1:8080', spec.servers[0].url);
  const form = operation.requestBody?.content['application/x-www-form-urlencoded'];
  if (!form) continue;
  const schema = spec.components.schemas[form.schema.$ref.split('/').pop()];
  delete schema.example;
  for (const [name, field] of Object.entries(schema.properties)) {
    const empty = field.type === 'array' ? [] : '';
    field.example = name === 'grant_type' ? 'client_credentials' : empty;
  }
}
for (const { requestBody } of [post, put]) {
  const json = requestBody.content['application/json'];
  const schema = spec.components.schemas[json.schema.$ref.split('/').pop()];
  json.examples = { all: { summary: 'everything', value: {} }, part: { summary: 'a part', value: schema.example } };
}
SwaggerUIBundle({
  spec, dom_id: '#ui', deepLinking: true, docExpansion: 'list', defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => { request.credentials = 'omit'; return request; },
});
";

/// The page, plain and compressed, with its content security policy.
pub(super) struct Docs {
    pub(super) html: String,
    pub(super) gzip: Vec<u8>,
    pub(super) policy: String,
}

impl Docs {
    /// Builds the page for `document` with Swagger UI's script and style, taken from poem-openapi's
    /// own page `bundled`.
    pub(super) fn new(document: &Value, bundled: &str) -> Self {
        let between = |open: &str, close: &str| {
            let within = bundled.split_once(open).and_then(|(_, rest)| rest.split_once(close));
            #[expect(clippy::expect_used, reason = "the page is compiled in, and a test takes it apart")]
            within.expect("Swagger UI's script and style in poem-openapi's page").0
        };
        let icon = icon();
        let style = between("<style charset=\"UTF-8\">", "</style>").to_owned() + &STYLE.replace("ICON", &icon);
        let bundle = between("<script charset=\"UTF-8\">", "</script>");
        // Nothing in the document may end the script element.
        let script = SCRIPT.replace("SPEC", &document.to_string().replace("</", "<\\/"));
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>lingpai 令牌</title>\
             <link rel=\"icon\" href=\"{icon}\"><style>{style}</style></head>\
             <body><nav><a href=\"openapi.json\">openapi.json</a><a href=\"openapi.yaml\">openapi.yaml</a></nav>\
             <div id=\"ui\"></div>\
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
        #[expect(clippy::expect_used, reason = "writing into memory does not fail")]
        let gzip = encoder.write_all(html.as_bytes()).and_then(|()| encoder.finish()).expect("compressed");
        Self { html, gzip, policy }
    }
}
