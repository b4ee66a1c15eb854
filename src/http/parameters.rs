//! Parameters, and lists of them, as in `Content-Type` and `Forwarded`: `name=value` separated by
//! semicolons, where a value is a token or a quoted string (RFC 9110 §5.6, RFC 7239 §4).

use std::borrow::Cow;

/// A name and an unquoted, unescaped value.
pub(super) type Parameter<'t> = (&'t [u8], Cow<'t, [u8]>);

/// Parses parameters; skips blanks around them and empty ones. None for anything else.
pub(super) fn parameters(mut text: &[u8]) -> Option<Vec<Parameter<'_>>> {
    let mut all = Vec::new();
    loop {
        text = text.trim_ascii_start();
        match text {
            [] => return Some(all),
            [b';', rest @ ..] => text = rest,
            _ => {
                let (name, rest) = take_while(text, is_token)?;
                let rest = rest.strip_prefix(b"=")?;
                let (value, rest) = match rest.strip_prefix(b"\"") {
                    Some(rest) => unquote(rest)?,
                    None => take_while(rest, is_bare).map(|(value, rest)| (value.into(), rest))?,
                };
                all.push((name, value));
                text = rest.trim_ascii_start();
                if !matches!(text, [] | [b';', ..]) {
                    return None;
                }
            }
        }
    }
}

/// Splits off one byte, and those after it that `of` accepts.
fn take_while(text: &[u8], of: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !of(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|_| end > 0)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Addresses are often unquoted where they should be quoted, and their meaning is clear.
fn is_bare(byte: u8) -> bool {
    is_token(byte) || b":[]".contains(&byte)
}

/// Parses a quoted string after its opening quote; returns its content and the rest.
fn unquote(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (plain, mut rest) = text.split_at_checked(end)?;
    if let [b'"', rest @ ..] = rest {
        return Some((plain.into(), rest));
    }
    let mut content = plain.to_vec();
    loop {
        match rest {
            [b'"', rest @ ..] => return Some((content.into(), rest)),
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                content.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// Iterates over the elements of a comma-separated list from last to first, and skips empty ones
/// (RFC 9110 §5.6.1.2). None marks an unopened quoted string, and is the last item.
///
/// Only the end of such a list is trusted, and a quote that an untrusted party wrote before it must
/// not change its meaning. So the list is read backwards: in a well-formed element each quote
/// either ends a quoted string, begins it, or is escaped inside it.
pub(super) fn elements_from_last(list: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(list);
    let all = std::iter::from_fn(move || {
        let split = split_last(rest?);
        rest = split.and_then(|(before, _)| before);
        Some(split.map(|(_, element)| element.trim_ascii()))
    });
    all.filter(|element| element.is_none_or(|element| !element.is_empty()))
}

/// Returns what precedes the last comma, if there is one, and what follows it.
fn split_last(list: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut unread = list;
    while let [before @ .., byte] = unread {
        unread = match byte {
            b',' => return Some((Some(before), list.get(unread.len()..)?)),
            b'"' => before_opening_quote(before)?,
            _ => before,
        };
    }
    Some((None, list))
}

/// Returns what precedes the last unescaped quote of `text`.
fn before_opening_quote(mut text: &[u8]) -> Option<&[u8]> {
    while let [before @ .., byte] = text {
        if *byte == b'"' && before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
            return Some(before);
        }
        text = before;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let pair = |(name, value): (&[u8], Cow<'_, [u8]>)| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(&value))
        };
        Some(parameters(text.as_bytes())?.into_iter().map(pair).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn parameters_are_read_by_their_grammar() {
        for (text, expected) in [
            ("", ""),
            (" ; ;; ", ""),
            ("a=b", "a=b"),
            ("a=b;c=\"d\" ; e=[::1]:80;", "a=b|c=d|e=[::1]:80"),
            (r#"a="b;c=d, \"e\" \\";f=g"#, r#"a=b;c=d, "e" \|f=g"#),
            ("a=\"\"", "a="),
            ("a=\"é\"", "a=é"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "a",
            "=b",
            "a=",
            "a =b",
            "a= b",
            "a=b c=d",
            "a=b,c=d",
            "a=\"",
            "a=\"b",
            r#"a="b\"#,
            r#"a="b\""#,
            "a=\"b\"c",
            "a=b\"c\"",
            "é=b",
            "a=é",
            "a@=b",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    fn elements(list: &str) -> Vec<Option<&str>> {
        elements_from_last(list.as_bytes()).map(|one| one.map(|one| std::str::from_utf8(one).unwrap())).collect()
    }

    #[test]
    fn lists_are_read_from_their_end() {
        for (list, expected) in [
            ("", &[][..]),
            (" ,\t, ,", &[]),
            ("a", &[Some("a")]),
            ("a, b ,,c,", &[Some("c"), Some("b"), Some("a")]),
            (r#"a="b,c", d"#, &[Some("d"), Some(r#"a="b,c""#)]),
            (r#"a="\",", d="e\\""#, &[Some(r#"d="e\\""#), Some(r#"a="\",""#)]),
            // The quote before the last element is never closed.
            (r#"x, a=", d="e,f""#, &[Some(r#"d="e,f""#), None]),
        ] {
            assert_eq!(elements(list), expected, "{list}");
        }
    }
}
