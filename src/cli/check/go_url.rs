//! URLs as the API server reads them.
//!
//! The rules of the definitions call `isURL` and `url` of Kubernetes' CEL library, which are Go's `net/url`. The `url`
//! crate follows another standard (it repairs, strips and escapes), so it would accept and refuse other texts. What is
//! here reads a text as `url.ParseRequestURI` does and keeps the parts that rules ask for. Source: Go 1.24
//! `net/url/url.go`. Newer Go refuses a bracketed host that is no IPv6 address and a colon in a host; so does this.
//! Standard library only.

/// The parts of a URL that rules ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoUrl {
    /// In lower case; empty for a path alone.
    pub scheme: String,
    /// Without user, port and brackets.
    pub hostname: String,
    /// As written.
    pub path: String,
}

/// Reads a text as Go's `url.ParseRequestURI` does; `None` where that is an error.
pub(super) fn parse(text: &str) -> Option<GoUrl> {
    if text.is_empty() || text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return None;
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let scheme = scheme.to_ascii_lowercase();
    if !rest.starts_with('/') {
        // Without slashes it is opaque: a URL to Go, without a host.
        return (!scheme.is_empty()).then(|| GoUrl { scheme, hostname: String::new(), path: String::new() });
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(after) if !scheme.is_empty() => after.split_at(after.find('/').unwrap_or(after.len())),
        _ => ("", rest),
    };
    let fragmentless = path.split_once('#').map_or(path, |(before, _)| before);
    escapes_hold(path).then_some(())?;
    Some(GoUrl { scheme, hostname: hostname(authority)?, path: fragmentless.to_owned() })
}

/// Scheme, which may be absent, and what comes after it.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    match end.map(|end| (end, text.split_at(end))) {
        Some((0, (_, rest))) if rest.starts_with(':') => None,
        Some((_, (scheme, rest))) if rest.starts_with(':') && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Some((scheme, &rest[1..]))
        }
        _ => Some(("", text)),
    }
}

/// The host name of an authority, without user and port.
fn hostname(authority: &str) -> Option<String> {
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if !user_holds(user) => return None,
        Some((_, host)) => host,
        None => authority,
    };
    let bracketed = host.starts_with('[');
    let (name, port) = if bracketed {
        let end = host.rfind(']')?;
        (&host[1..end], &host[end + 1..])
    } else {
        host.split_at(host.rfind(':').unwrap_or(host.len()))
    };
    let port_holds = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let name_holds = if bracketed {
        let address = name.split_once("%25").map_or(name, |(address, _)| address);
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.contains(':') && host_escapes_hold(name) && name.bytes().all(in_host)
    };
    (port_holds && name_holds).then(|| name.to_owned())
}

fn user_holds(user: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    user.bytes().all(allowed) && escapes_hold(user)
}

fn in_host(b: u8) -> bool {
    !b.is_ascii() || b.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~%".contains(&b)
}

/// Whether every `%` begins an escape.
fn escapes_hold(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.as_bytes().iter().take_while(|b| b.is_ascii_hexdigit()).take(2).count() == 2)
}

/// In a host only what is no ASCII may be escaped.
fn host_escapes_hold(text: &str) -> bool {
    escapes_hold(text) && text.split('%').skip(1).all(|after| !after.starts_with(|c: char| c.is_digit(8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The API server's own opinion of the same texts is asked for in tests/it/forms.rs.
    #[rstest]
    #[case("https://h", Some(("https", "h", "")))]
    #[case("HTTPS://u:p@h.example.com:8443/x?y=z", Some(("https", "h.example.com", "/x")))]
    #[case("https://[::1]:8080/", Some(("https", "::1", "/")))]
    #[case("mailto:a@b", Some(("mailto", "", "")))]
    #[case("/hook", Some(("", "", "/hook")))]
    #[case("https://", Some(("https", "", "")))]
    #[case("https:///x", Some(("https", "", "/x")))]
    #[case("hooks.example.com/x", None)]
    #[case(":", None)]
    #[case("", None)]
    #[case("https://a b/", None)]
    #[case("https://h#x", None)]
    #[case("https://h/%zz", None)]
    #[case("https://h/%4", None)]
    #[case("https://h:x/", None)]
    #[case("https://h/\n", None)]
    fn urls(#[case] text: &str, #[case] parts: Option<(&str, &str, &str)>) {
        let parts = parts.map(|(scheme, hostname, path)| GoUrl {
            scheme: scheme.to_owned(),
            hostname: hostname.to_owned(),
            path: path.to_owned(),
        });
        assert_eq!(parse(text), parts);
    }
}
