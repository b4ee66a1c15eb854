//! The committed document is the one that the service serves.

use lingpai::http::{SpecFormat, specification};
use serde_json::Value;

#[test]
fn what_is_committed_is_what_is_served() {
    let advice = "the document changed; if that was meant: cargo run -- openapi > openapi/openapi.json, and \
                  cargo run -- openapi --yaml > openapi/openapi.yaml";
    assert!(include_str!("../../openapi/openapi.json") == specification(SpecFormat::Json), "{advice}");
    assert!(include_str!("../../openapi/openapi.yaml") == specification(SpecFormat::Yaml), "{advice}");
}

/// A reader sees how each operation is called, and what each answer looks like.
#[test]
fn each_operation_has_a_call_and_examples() {
    let document: Value = serde_json::from_str(&specification(SpecFormat::Json)).unwrap();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        let id = operation["operationId"].as_str().unwrap();
        let advice = format!("{id} in src/http/spec.patch.toml");
        assert!(operation["description"].as_str().unwrap().contains("```sh\n"), "no call: {advice}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let bodies = response["content"].as_object().into_iter().flat_map(|content| content.values());
            let headers = response["headers"].as_object().into_iter().flat_map(|headers| headers.values());
            for part in bodies.chain(headers) {
                assert!(part.get("example").is_some(), "no example for {status}: {advice}");
            }
        }
    }
}
