//! What every answer has in common: errors, their order, and the connection.

mod framing;
mod routes;
mod shape;

const JSON: &str = "Content-Type: application/json";

/// A request as it stands on the wire.
fn request(line: &str, headers: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let line = format!("{line} HTTP/1.1");
    let mut lines = [&[&*line, "Host: a"], headers].concat();
    if !body.is_empty() {
        lines.push(&length);
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

/// One request for every status that can be had without waiting.
fn every_error() -> Vec<(String, u16, &'static str)> {
    let large = "x".repeat(200_000);
    let long = format!("GET /{}", "a".repeat(9_000));
    let head = format!("X-Long: {}", "a".repeat(17_000));
    let beyond = r#"{"scope":["beyond"]}"#;
    vec![
        (request("POST /token", &[JSON], "{"), 400, "BadRequest"),
        (request("GET /token?x=1", &[], ""), 400, "BadRequest"),
        (request("POST /token", &["Authorization: x"], ""), 401, "Unauthorized"),
        (request("GET /token", &[], ""), 401, "Unauthorized"),
        (request("PUT /token", &["Authorization: Token x"], ""), 401, "Unauthorized"),
        (request("POST /token", &[JSON], beyond), 403, "Forbidden"),
        (request("GET /nothing", &[], ""), 404, "NotFound"),
        (request("POST /nothing", &[JSON], &large), 404, "NotFound"),
        (request("DELETE /token", &[], ""), 405, "MethodNotAllowed"),
        (request("BREW /token", &[], ""), 405, "MethodNotAllowed"),
        (request("POST /docs", &[JSON], &large), 405, "MethodNotAllowed"),
        (request("POST /token", &[JSON], &large), 413, "PayloadTooLarge"),
        (request("PUT /token", &[JSON], &large), 413, "PayloadTooLarge"),
        (request(&long, &[], ""), 414, "UriTooLong"),
        (request("POST /token", &["Content-Type: text/plain"], "{}"), 415, "UnsupportedMediaType"),
        (request("GET /healthz", &[&head], ""), 431, "HeadersTooLarge"),
    ]
}
