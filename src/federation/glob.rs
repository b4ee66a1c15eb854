//! Globs over claims: `*` stays within a segment, `**` does not. Anchored at both ends.

/// Maximum length of a glob, in bytes.
const MAX_LENGTH: usize = 1_024;
/// Maximum stars in a glob.
const MAX_STARS: usize = 16;

/// A pattern: `*` matches one or more characters other than `:` and `/`, `**` one or more of any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Literal text.
    Text(Box<str>),
    /// `*`.
    Within,
    /// `**`.
    Any,
}

impl Glob {
    /// The form of a glob, to complete a sentence.
    pub(super) const EXPECTED: &'static str = "a string of 1 to 1,024 bytes, in which `*` stands for one or more characters \
                                               other than `:` and `/`, and `**` for any; at most 16 of them, never three \
                                               stars in a row";

    /// Parses a pattern.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_LENGTH || text.contains("***") {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('*') {
            let (before, stars) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            rest = stars.strip_prefix("**").inspect(|_| parts.push(Part::Any)).unwrap_or_else(|| {
                parts.push(Part::Within);
                stars.split_at(1).1
            });
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        let stars = parts.iter().filter(|part| !matches!(part, Part::Text(_))).count();
        (stars <= MAX_STARS).then_some(Self(parts))
    }

    /// Whether it has no stars.
    pub(super) fn is_exact(&self) -> bool {
        matches!(&*self.0, [Part::Text(_)])
    }

    /// Whether it matches all of `text`. Takes time in proportion to the text times the parts.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        // Positions at which the parts so far can end.
        let mut ends = vec![false; text.len() + 1];
        if let Some(start) = ends.first_mut() {
            *start = true;
        }
        for part in &self.0 {
            ends = match part {
                Part::Text(literal) => after_literal(text, literal.as_bytes(), &ends),
                Part::Within => after_stars(text, &ends, |byte| byte != b':' && byte != b'/'),
                Part::Any => after_stars(text, &ends, |_| true),
            };
        }
        ends.last() == Some(&true)
    }
}

fn after_literal(text: &[u8], literal: &[u8], starts: &[bool]) -> Vec<bool> {
    let mut ends = vec![false; starts.len()];
    for (at, _) in starts.iter().enumerate().filter(|(_, may_start)| **may_start) {
        if text.get(at..).is_some_and(|rest| rest.starts_with(literal))
            && let Some(end) = ends.get_mut(at + literal.len())
        {
            *end = true;
        }
    }
    ends
}

/// Matches one or more bytes that `allowed` accepts, from any of `starts`. Stars always cover whole
/// characters: their neighbours are text, and the bytes of one character never occur inside
/// another.
fn after_stars(text: &[u8], starts: &[bool], allowed: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut ends = vec![false; starts.len()];
    let mut is_inside = false;
    for ((byte, start), end) in text.iter().zip(starts).zip(ends.iter_mut().skip(1)) {
        is_inside = (is_inside || *start) && allowed(*byte);
        *end = is_inside;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_limits() {
        assert!(Glob::EXPECTED.replace(',', "").contains(&format!("1 to {MAX_LENGTH} bytes")));
        assert!(Glob::EXPECTED.contains(&format!("at most {MAX_STARS} of them")));
    }

    #[track_caller]
    fn assert_glob(pattern: &str, right: &[&str], wrong: &[&str]) {
        let glob = Glob::parse(pattern).unwrap();
        for text in right {
            assert!(glob.matches(text), "{pattern} does not match {text}");
        }
        for text in wrong {
            assert!(!glob.matches(text), "{pattern} matches {text}");
        }
    }

    #[test]
    fn a_star_stays_between_separators() {
        assert_glob(
            "repo:acme/shop",
            &["repo:acme/shop"],
            &["repo:acme/shop-evil", "xrepo:acme/shop", "repo:acme/sho"],
        );
        assert_glob(
            "repo:acme/shop:*",
            &["repo:acme/shop:pull_request"],
            &[
                "repo:acme/shop-evil:pull_request",
                "repo:acme/shop:ref:refs/heads/main",
                "repo:acme/shop:",
                "repo:acme/shop",
            ],
        );
        assert_glob(
            "repo:acme/*:ref:refs/heads/main",
            &["repo:acme/shop:ref:refs/heads/main"],
            &[
                "repo:acme/shop/x:ref:refs/heads/main",
                "repo:acme/a:b:ref:refs/heads/main",
                "repo:acme/:ref:refs/heads/main",
            ],
        );
        assert_glob("*", &["a", "é", "a\nb"], &["", ":", "/", "a:b", "a/b"]);
        assert_glob("a*", &["ab", "abc"], &["a", "a/", "ba"]);
        assert_glob("*a*a*", &["xaxax", "aaaaa", "xaaaax"], &["aa", "xaax:", "aaa"]);
    }

    #[test]
    fn two_stars_stand_for_any() {
        assert_glob(
            "repo:acme/**",
            &["repo:acme/x:y/z", "repo:acme/a"],
            &["repo:acme/", "repo:acme", "repo:acme-evil/x"],
        );
        assert_glob("**:main", &["a:main", "a/b:main"], &[":main", "a:main:x"]);
        assert_glob("spiffe://a/**/db", &["spiffe://a/x/y/db"], &["spiffe://a/db", "spiffe://a/x/db/y"]);
        assert_glob("**/*", &["a/b", "a/b/c"], &["a/", "/b", "a/b:c"]);
    }

    #[test]
    fn patterns_are_checked() {
        let stars = |count: usize| "a*".repeat(count);
        for wrong in ["", "***", "a****b", &stars(17), &"a".repeat(1_025)] {
            assert_eq!(Glob::parse(wrong), None, "{wrong}");
        }
        assert!(Glob::parse(&stars(16)).is_some());
        assert!(Glob::parse("a").unwrap().is_exact() && !Glob::parse("a*").unwrap().is_exact());
        // Every pattern is matched quickly.
        let glob = Glob::parse(&"**a".repeat(16)).unwrap();
        assert!(!glob.matches(&"a".repeat(8_191).replace("aa", "ba").replace('a', "c")));
    }
}
