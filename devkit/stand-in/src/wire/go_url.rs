//! URLs as Go's `net/url` parses them: what it accepts and how it words a refusal, because ZITADEL stores whatever
//! passes here and v3alpha shows the words to the client.

/// The parts of a URL that the rules for endpoints look at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GoUrl {
    /// Empty for a relative reference.
    pub(crate) scheme: String,
    /// Host with port, user information removed; empty when there is none.
    pub(crate) host: String,
}

impl GoUrl {
    /// The host without port and brackets.
    pub(crate) fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }
}

/// Parses, or explains in Go's words: `parse "...": ...`.
pub(crate) fn parse(raw: &str) -> Result<GoUrl, String> {
    let (url, fragment) = raw.split_once('#').unwrap_or((raw, ""));
    let parsed = parts(url).map_err(|fault| format!("parse {}: {fault}", quote(url)))?;
    check_escapes(fragment, Part::Path).map_err(|fault| format!("parse {}: {fault}", quote(raw)))?;
    Ok(parsed)
}

fn parts(url: &str) -> Result<GoUrl, String> {
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = split_scheme(url)?;
    let rest = rest.split('?').next().unwrap_or_default();
    let nowhere = GoUrl { scheme: scheme.to_ascii_lowercase(), host: String::new() };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            // Opaque (`mailto:...`): Go looks no further.
            return Ok(nowhere);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let with_authority = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let Some(rest) = with_authority else {
        check_escapes(rest, Part::Path)?;
        return Ok(nowhere);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = split_authority(authority)?;
    check_escapes(path, Part::Path)?;
    Ok(GoUrl { host, ..nowhere })
}

fn split_scheme(url: &str) -> Result<(&str, &str), String> {
    for (at, character) in url.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&url[..at], &url[at + 1..])),
            _ => break,
        }
    }
    Ok(("", url))
}

fn split_authority(authority: &str) -> Result<String, String> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(harmless) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').map(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !port.is_empty() && digits != Some(true) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    check_escapes(host, Part::Host)?;
    Ok(host.to_owned())
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Host,
    Path,
}

fn check_escapes(text: &str, part: Part) -> Result<(), String> {
    for (at, character) in text.char_indices() {
        if character == '%' {
            let escape: String = text[at..].chars().take(3).collect();
            let valid = escape.len() == 3 && escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit());
            let ascii_in_host = part == Part::Host && valid && escape.as_bytes()[1] < b'8' && escape != "%25";
            if !valid || ascii_in_host {
                return Err(format!("invalid URL escape {}", quote(&escape)));
            }
        } else if part == Part::Host && character.is_ascii() && !host_character(character) {
            return Err(format!("invalid character {} in host name", quote(&character.to_string())));
        }
    }
    Ok(())
}

fn host_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"".contains(character)
}

/// Go's `%q`.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' || control == '\u{7f}' => {
                out.push_str("\\x");
                out.extend(
                    [4, 0].map(|shift| char::from_digit((u32::from(control) >> shift) & 0xf, 16).unwrap_or('0')),
                );
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_go_writes_them() {
        for (url, fault) in [
            ("203.0.113.10:8080", "parse \"203.0.113.10:8080\": first path segment in URL cannot contain colon"),
            ("https://h/%zz", "parse \"https://h/%zz\": invalid URL escape \"%zz\""),
            ("https://h:abc/x", "parse \"https://h:abc/x\": invalid port \":abc\" after host"),
            ("https://h/\u{1}", "parse \"https://h/\\x01\": net/url: invalid control character in URL"),
        ] {
            assert_eq!(parse(url).unwrap_err(), fault);
        }
    }

    #[test]
    fn hostnames_lose_port_brackets_and_user() {
        for (url, host) in [
            ("https://user:pw@h.example:1/x", "h.example"),
            ("http://[::1]:9/x", "::1"),
            ("mailto:a@example.com", ""),
            ("https:///x", ""),
            ("//203.0.113.10/hook", "203.0.113.10"),
            ("foo", ""),
        ] {
            assert_eq!(parse(url).unwrap().hostname(), host, "{url}");
        }
    }
}
