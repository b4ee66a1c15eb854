//! Subject templates with claims: `ci:{repository_id}`.

use serde_json::{Map, Value};

/// Text with placeholders for claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Literal text.
    Text(Box<str>),
    /// A placeholder for this claim.
    Claim(Box<str>),
}

impl Template {
    /// Returns the text before the first placeholder.
    pub(super) fn start(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, place) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let inside = place.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let (claim, after) = inside.ok_or("expected claims in braces, such as \"ci:{repository_id}\"")?;
            if claim.is_empty() || claim.contains('{') {
                return Err("expected a claim's name in the braces, such as \"ci:{repository_id}\"");
            }
            if matches!(parts.last(), Some(Part::Claim(_))) {
                return Err("two claims need text between them, such as \"ci:{owner_id}/{repository_id}\"");
            }
            parts.push(Part::Claim(claim.into()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if parts.is_empty() { Err("expected a subject such as \"ci:{repository_id}\"") } else { Ok(Self(parts)) }
    }

    /// Fills the placeholders from `claims`. None if a claim is missing, empty, or neither a string
    /// nor an integer, or contains the text that follows its placeholder.
    pub(super) fn fill(&self, claims: &Map<String, Value>) -> Option<String> {
        let mut filled = String::new();
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Claim(name) => {
                    let value = written(claims.get(&**name)?)?;
                    let is_clear = match parts.peek() {
                        Some(Part::Text(after)) => is_before(&value, after),
                        _ => true,
                    };
                    filled.push_str(Some(value).filter(|value| is_clear && !value.is_empty())?.as_str());
                }
            }
        }
        Some(filled)
    }
}

/// Whether `after` first occurs in `value` + `after` at the very end: then the end of the
/// placeholder is unambiguous.
fn is_before(value: &str, after: &str) -> bool {
    format!("{value}{after}").find(after) == Some(value.len())
}

/// Formats a string, or an integer in decimal digits.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str, claims: &Value) -> Option<String> {
        Template::parse(template).unwrap().fill(claims.as_object().unwrap())
    }

    #[test]
    fn claims_fill_their_places() {
        assert_eq!(fill("ci", &json!({})).unwrap(), "ci");
        assert_eq!(fill("ci:{id}", &json!({"id": 7})).unwrap(), "ci:7");
        assert_eq!(fill("{a}/{b}", &json!({"a": "x", "b": "y"})).unwrap(), "x/y");
        assert_eq!(fill("{a}", &json!({"a": "any:thing/else"})).unwrap(), "any:thing/else");
        assert_eq!(fill("{a}:x", &json!({"a": "b/c"})).unwrap(), "b/c:x");
        for absent in [json!({}), json!({"a": null}), json!({"a": ""}), json!({"a": true}), json!({"a": 1.5})] {
            assert_eq!(fill("ci:{a}", &absent), None, "{absent}");
        }
        for list in [json!({"a": ["x"]}), json!({"a": {"b": "x"}})] {
            assert_eq!(fill("ci:{a}", &list), None, "{list}");
        }
    }

    #[test]
    fn a_value_does_not_leave_its_place() {
        let claims = json!({"a": "x/y", "b": "z"});
        assert_eq!(fill("{a}/{b}", &claims), None);
        assert_eq!(fill("{b}/{a}", &claims).unwrap(), "z/x/y");
        // Two splits must not be possible: "x" + "--" + "-y", and "x-" + "--" + "y".
        assert_eq!(fill("{a}--{b}", &json!({"a": "x-", "b": "y"})), None);
        assert_eq!(fill("{a}--{b}", &json!({"a": "x", "b": "-y"})).unwrap(), "x---y");
        assert_eq!(fill("{a}@", &json!({"a": "x@"})), None);
    }

    #[test]
    fn templates_are_checked() {
        for wrong in ["", "{}", "{a", "a}", "{a}{b}", "{a{b}}", "x{{a}}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
