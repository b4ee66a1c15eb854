//! `match`: conditions on an identity's claims.

use serde_json::{Map, Value};

use super::glob::Glob;

/// Claims that must be present, and their conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matcher(pub(super) Vec<(Box<str>, Expected)>);

/// The first claim in which an identity differs from a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The claim's name; members of objects follow a dot.
    pub claim: String,
    /// The rule's condition, as in the file.
    pub expected: String,
    /// What the identity has; None if the claim is absent.
    pub found: Option<Value>,
}

impl Difference {
    /// Returns the same difference, in an object that is the member `name` of another.
    pub(super) fn within(self, name: &str) -> Self {
        Self { claim: format!("{name}.{}", self.claim), ..self }
    }
}

/// The condition on a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// A string that this pattern matches, or an array of strings with one.
    Text(Box<str>, Glob),
    /// This boolean.
    Bool(bool),
    /// This integer.
    Integer(i64),
    /// An object with at least these members.
    Object(Matcher),
}

impl Matcher {
    /// Whether every claim meets its condition.
    pub(super) fn matches(&self, claims: &Map<String, Value>) -> bool {
        self.0.iter().all(|(name, expected)| expected.matches(claims.get(&**name)))
    }

    /// Returns the first claim that does not meet its condition; None if all do.
    pub(super) fn difference(&self, claims: &Map<String, Value>) -> Option<Difference> {
        self.0.iter().find_map(|(name, expected)| expected.difference(name, claims.get(&**name)))
    }

    /// Whether the claim `name` must be an exact string for which `check` holds.
    pub(super) fn pins(&self, name: &str, check: impl Fn(&Expected) -> bool) -> bool {
        self.0.iter().any(|(claim, expected)| &**claim == name && check(expected))
    }
}

impl Expected {
    fn matches(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Text(_, glob), Some(Value::String(text))) => glob.matches(text),
            (Self::Text(_, glob), Some(Value::Array(items))) => {
                items.iter().all(Value::is_string)
                    && items.iter().filter_map(Value::as_str).any(|one| glob.matches(one))
            }
            (Self::Bool(expected), Some(Value::Bool(found))) => expected == found,
            (Self::Integer(expected), Some(Value::Number(found))) => found.as_i64() == Some(*expected),
            (Self::Object(inner), Some(Value::Object(members))) => inner.matches(members),
            _ => false,
        }
    }

    fn difference(&self, name: &str, found: Option<&Value>) -> Option<Difference> {
        if let (Self::Object(inner), Some(Value::Object(members))) = (self, found) {
            return inner.difference(members).map(|difference| difference.within(name));
        }
        let differs = || Difference { claim: name.to_owned(), expected: self.written(), found: found.cloned() };
        (!self.matches(found)).then(differs)
    }

    /// Formats the condition as in the file.
    fn written(&self) -> String {
        match self {
            Self::Text(text, _) => format!("{text:?}"),
            Self::Bool(value) => value.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(pattern: &str) -> Expected {
        Expected::Text(pattern.into(), Glob::parse(pattern).unwrap())
    }

    fn matcher(name: &str, expected: Expected) -> Matcher {
        Matcher(vec![(name.into(), expected)])
    }

    #[test]
    fn each_type_matches_its_own() {
        let inner = matcher("namespace", text("prod"));
        for (expected, right, wrong) in [
            (
                text("a*"),
                vec![json!("ab"), json!(["x", "ab"])],
                vec![json!("b"), json!(["x"]), json!([]), json!(["ab", 1])],
            ),
            (text("1"), vec![json!("1")], vec![json!(1), json!(true), json!(null), json!({"1": "1"}), json!([["1"]])]),
            (Expected::Bool(true), vec![json!(true)], vec![json!("true"), json!(1), json!(false), json!([true])]),
            (Expected::Integer(7), vec![json!(7)], vec![json!("7"), json!(7.0), json!(7.5), json!(8), json!([7])]),
            (
                Expected::Object(inner),
                vec![json!({"namespace": "prod", "pod": {}})],
                vec![json!({}), json!({"namespace": "dev"}), json!("prod"), json!([{"namespace": "prod"}])],
            ),
        ] {
            let matcher = matcher("c", expected);
            let differs = |value: &Value| matcher.difference(json!({"c": value}).as_object().unwrap()).is_some();
            for value in &right {
                assert!(!differs(value), "{matcher:?} {value}");
            }
            for value in &wrong {
                assert!(differs(value), "{matcher:?} {value}");
            }
            assert!(matcher.difference(&Map::new()).is_some());
        }
    }

    #[test]
    fn the_first_difference_is_told_with_its_place() {
        let all =
            Matcher(vec![("a".into(), Expected::Integer(1)), ("b".into(), Expected::Object(matcher("c", text("x*"))))]);
        let differs = |claims: Value| all.difference(claims.as_object().unwrap());
        assert_eq!(differs(json!({"a": 1, "b": {"c": "xy"}})), None);
        let difference = differs(json!({"a": 1, "b": {"c": "y"}})).unwrap();
        assert_eq!((difference.claim.as_str(), difference.expected.as_str()), ("b.c", "\"x*\""));
        assert_eq!(difference.found, Some(json!("y")));
        assert_eq!(differs(json!({})).unwrap().claim, "a");
    }

    #[test]
    fn claims_match_where_there_is_no_difference() {
        let all = Matcher(vec![
            ("a".into(), text("x*")),
            ("b".into(), Expected::Object(Matcher(vec![("c".into(), Expected::Bool(true)), ("d".into(), text("**"))]))),
        ]);
        for (claims, is_match) in [
            (json!({"a": "xy", "b": {"c": true, "d": "e"}, "f": 1}), true),
            (json!({"a": ["z", "xy"], "b": {"c": true, "d": ["e"]}}), true),
            (json!({"a": "xy", "b": {"c": true}}), false),
            (json!({"a": "xy", "b": {"c": false, "d": "e"}}), false),
            (json!({"a": "xy", "b": [{"c": true, "d": "e"}]}), false),
            (json!({"a": "y", "b": {"c": true, "d": "e"}}), false),
            (json!({}), false),
        ] {
            let claims = claims.as_object().unwrap();
            assert_eq!((all.matches(claims), all.difference(claims).is_none()), (is_match, is_match), "{claims:?}");
        }
    }
}
