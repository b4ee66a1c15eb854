//! Scope: an ordered set of scope tokens (RFC 6749 §3.3).

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::checked_string;
use super::text::Text;
use std::borrow::Borrow;

checked_string!(
    /// One element of a scope.
    ScopeToken,
    1 to 128 "visible ASCII characters without quotation mark and backslash",
    is_scope_token
);

fn is_scope_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    (1..=ScopeToken::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)
}

/// Up to 64 distinct scope tokens, sorted by bytes. Stored as written in a token: separated by
/// single spaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(Box<str>);

impl Scope {
    /// Maximum scope tokens in a request or a token.
    pub const MAX: usize = 64;

    /// Sorts and collapses duplicates. None for more than 64.
    #[must_use]
    pub fn collect(tokens: impl IntoIterator<Item = ScopeToken>) -> Option<Self> {
        let mut all: Vec<ScopeToken> = tokens.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        let texts: Vec<&str> = all.iter().map(ScopeToken::as_str).collect();
        (texts.len() <= Self::MAX).then(|| Self(texts.join(" ").into()))
    }

    /// Parses a `scope` claim: scope tokens separated by single spaces.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // As this service writes it.
        let is_sorted = text.split(' ').is_sorted_by(|one, next| one < next);
        if is_sorted && text.split(' ').all(is_scope_token) && text.split(' ').count() <= Self::MAX {
            return Some(Self(text.into()));
        }
        let tokens: Option<Vec<_>> = text.split(' ').map(ScopeToken::parse).collect();
        Self::collect(tokens?)
    }

    /// Returns the text of a `scope` claim; empty for no scope.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no scope token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the scope tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether it has `token`.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|one| one == token)
    }

    /// Returns the scope tokens that are in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut joined = String::with_capacity(self.0.len().min(other.0.len()));
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.cmp(b) {
                Ordering::Less => _ = left.next(),
                Ordering::Greater => _ = right.next(),
                Ordering::Equal => {
                    if !joined.is_empty() {
                        joined.push(' ');
                    }
                    joined.push_str(a);
                    _ = (left.next(), right.next());
                }
            }
        }
        Self(joined.into())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected scope tokens separated by single spaces"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        if text.is_empty() { Scope::default() } else { Scope::parse(text).unwrap() }
    }

    #[test]
    fn sorted_by_bytes_and_unique() {
        assert_eq!(scope("b a B a").as_str(), "B a b");
        assert_eq!(scope("a a b").as_str(), "a b");
        assert_eq!(scope("a").iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!(scope("").iter().count(), 0);
    }

    #[test]
    fn grammar() {
        for wrong in ["", " ", "a  b", " a", "a ", "a\"", "a\\b", "é", "a\tb", &"x".repeat(129)] {
            assert_eq!(Scope::parse(wrong), None, "{wrong:?}");
        }
        assert!(Scope::parse(&"x".repeat(128)).is_some());
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(" ");
        let sorted = |n: usize| (0..n).map(|i| format!("{i:02}")).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&many(64)).is_some() && Scope::parse(&sorted(64)).is_some());
        assert_eq!((Scope::parse(&many(65)), Scope::parse(&sorted(65))), (None, None));
    }

    proptest! {
        #[test]
        fn what_is_sorted_is_read_like_the_rest(text in "[a-c\"]{0,2}( [a-c\"]{0,2}){0,3}") {
            let tokens: Option<Vec<_>> = text.split(' ').map(ScopeToken::parse).collect();
            prop_assert_eq!(Scope::parse(&text), tokens.and_then(Scope::collect));
        }

        #[test]
        fn intersection_is_that_of_sets(a in "[a-e]( [a-e]){0,5}", b in "[a-e]( [a-e]){0,5}") {
            let (a, b) = (scope(&a), scope(&b));
            let both = a.intersect(&b);
            let expected: Vec<_> = a.iter().filter(|t| b.contains(t)).collect();
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(both, b.intersect(&a));
        }
    }
}
