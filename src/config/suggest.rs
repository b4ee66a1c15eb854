//! Suggests the nearest name for a misspelt one.

use super::settings::settings;

/// How similar a name must be to be suggested (Jaro-Winkler; 1 is equal).
const NEAR: f64 = 0.8;

/// Rewrites the parser's message about an unknown key: if it belongs elsewhere, or a known key is similar, that replaces
/// the list of all keys.
pub(super) fn nearest(message: &str) -> String {
    let parts = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "));
    let near = parts.and_then(|(unknown, expected)| {
        if settings().any(|setting| setting.key == unknown) {
            return Some(format!("unknown field `{unknown}` in this table; it belongs above the first [table]"));
        }
        let names = expected.split('`').skip(1).step_by(2);
        let scored = names.map(|name| (strsim::jaro_winkler(unknown, name), name));
        let (_, name) = scored.filter(|(score, _)| *score >= NEAR).max_by(|one, other| one.0.total_cmp(&other.0))?;
        Some(format!("unknown field `{unknown}`; did you mean `{name}`?"))
    });
    near.unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn misspelt_keys() {
        let said =
            |unknown| nearest(&format!("unknown field `{unknown}`, expected one of `scope`, `secrets`, `subjects`"));
        for (unknown, meant) in [("scop", "scope"), ("scopes", "scope"), ("secret", "secrets"), ("subject", "subjects")]
        {
            assert_eq!(said(unknown), format!("unknown field `{unknown}`; did you mean `{meant}`?"));
        }
        assert!(said("colour").ends_with("expected one of `scope`, `secrets`, `subjects`"));
        assert_eq!(nearest("unknown field `x`, there are no fields"), "unknown field `x`, there are no fields");
        assert_eq!(nearest("missing field `id`"), "missing field `id`");
    }
}
