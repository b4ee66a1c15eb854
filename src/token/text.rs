//! Text in JSON.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;

/// Text that is borrowed from the JSON, unless it has escapes there. Without `borrow`, serde reads a
/// `Cow` as an owned string.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_are_copied() {
        for (json, expected, is_copied) in [(r#""sub""#, "sub", false), (r#""s\u0075b""#, "sub", true)] {
            let text: Text<'_> = serde_json::from_str(json).unwrap();
            assert_eq!((&*text, matches!(text.0, Cow::Owned(_))), (expected, is_copied));
        }
    }
}
