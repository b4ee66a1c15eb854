//! The committed document is the one that the service serves.

use lingpai::http::{SpecFormat, specification};

#[test]
fn what_is_committed_is_what_is_served() {
    let advice = "the document changed; if that was meant: cargo run -- openapi > openapi/openapi.json, and \
                  cargo run -- openapi --yaml > openapi/openapi.yaml";
    assert!(include_str!("../../openapi/openapi.json") == specification(SpecFormat::Json), "{advice}");
    assert!(include_str!("../../openapi/openapi.yaml") == specification(SpecFormat::Yaml), "{advice}");
}
