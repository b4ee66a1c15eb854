//! The URL of a request, in a normal form for comparison (RFC 9449 §4.3, RFC 3986 §6.2).

/// An `http` or `https` URL without query and fragment, normalized by syntax and scheme (RFC 3986
/// §6.2.2 and §6.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUrl(String);

impl TargetUrl {
    /// Parses a URL. None for another scheme, user information, invalid characters or malformed
    /// escapes: then a normal form is its own.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let text = text.find(['#', '?']).map_or(text, |end| text.split_at(end).0);
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, default_port) =
            [("https", 443), ("http", 80)].into_iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme))?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let mut url = String::with_capacity(text.len() + 1);
        url.push_str(scheme);
        url.push_str("://");
        push_authority(&mut url, authority, default_port)?;
        push_path(&mut url, path)?;
        Some(Self(url))
    }

    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Appends host and port: in lower case, and without the port if it is the scheme's default.
fn push_authority(url: &mut String, text: &str, default_port: u16) -> Option<()> {
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of an IPv6 address is inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(['@', '\\']) || (!is_address && host.contains([':', '[', ']'])) {
        return None;
    }
    url.extend(host.chars().map(|char| char.to_ascii_lowercase()));
    if port.is_empty() {
        return Some(());
    }
    let port: u16 = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    if port != default_port {
        url.push(':');
        url.push_str(&port.to_string());
    }
    Some(())
}

/// Appends the path with normalized escapes, then without dot segments (RFC 3986 §5.2.4), which may
/// have been escaped.
fn push_path(url: &mut String, text: &str) -> Option<()> {
    if !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b'%' | b'.')) {
        url.push_str(text);
        return Some(());
    }
    let text = unescaped(text)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = text.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    url.push('/');
    url.push_str(&kept.join("/"));
    Some(())
}

/// Decodes escapes of unreserved characters and writes the others in upper case (RFC 3986 §6.2.2).
/// None for a malformed escape.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (digits, after) = after.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&digits.to_ascii_uppercase());
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        TargetUrl::parse(text).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn urls_that_mean_the_same_are_the_same() {
        for (text, expected) in [
            ("https://a.example/token", "https://a.example/token"),
            ("HTTPS://A.Example:443/token?x=1#y", "https://a.example/token"),
            ("https://a.example/token#?x", "https://a.example/token"),
            ("https://a.example", "https://a.example/"),
            ("https://a.example:/", "https://a.example/"),
            ("https://a.example:0443/", "https://a.example/"),
            ("https://a.example?x", "https://a.example/"),
            ("http://a.example:80/", "http://a.example/"),
            ("http://a.example:443/", "http://a.example:443/"),
            ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
            ("https://[::1]/x", "https://[::1]/x"),
            ("https://a/b/./c/../d", "https://a/b/d"),
            ("https://a/b/%2e%2E/d", "https://a/d"),
            ("https://a/../../d", "https://a/d"),
            ("https://a/b/..", "https://a/"),
            ("https://a/b/.", "https://a/b/"),
            ("https://a/b/", "https://a/b/"),
            ("https://a//b", "https://a//b"),
            ("https://a/%7Eb%2fc%3a", "https://a/~b%2Fc%3A"),
            ("https://a/%2541", "https://a/%2541"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_request_is_refused() {
        for text in [
            "",
            "/token",
            "//a.example/token",
            "a.example/token",
            "ftp://a.example/",
            "https:/a.example",
            "https://",
            "https:///token",
            "https://:443/",
            "https://user@a.example/",
            "https://user:x@a.example/",
            "https://a.example:x/",
            "https://a.example:+1/",
            "https://a.example:65536/",
            "https://::1/",
            "https://[::1]:443:443/",
            "https://[::1/",
            "https://[::1]x/",
            "https://a]/",
            "https://a.example/100%",
            "https://a.example/%4",
            "https://a.example/%zz",
            "https://a.example/%+1",
            "https://a.example/%%34%31",
            "https://a\\b.example/",
            "https://a.example/ ",
            "https://a.example/é",
            "https://a.example/\u{0}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
