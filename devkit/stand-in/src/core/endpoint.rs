//! The deny list for endpoints of v4.11.1 and later: loopback and unspecified addresses, `localhost`, and every name
//! that does not resolve. The stand-in resolves nothing; it is told which names exist.

use std::net::{IpAddr, Ipv4Addr};

use crate::wire::go_url::GoUrl;

/// Whether v4.13.1 refuses an endpoint with this URL (docs/zitadel/observed.md section 3, observed).
pub(crate) fn is_denied(url: &GoUrl, resolvable: &[String]) -> bool {
    let host = url.hostname();
    match host.parse::<IpAddr>() {
        Ok(address) => is_denied_address(address),
        // Spellings of addresses that Go does not parse (decimal, octal) are names that do not resolve.
        Err(_) => host.eq_ignore_ascii_case("localhost") || !resolves(host, resolvable),
    }
}

fn is_denied_address(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| address.is_loopback() || address.is_unspecified();
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

fn resolves(host: &str, resolvable: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let below =
        |domain: &String| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    resolvable.iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_url;

    #[test]
    fn loopback_in_every_spelling_and_unknown_names_are_denied() {
        let denied = |url: &str| is_denied(&go_url::parse(url).unwrap(), &["example.com".to_owned()]);
        for url in [
            "http://LOCALHOST:1/x",
            "http://127.1.2.3",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0",
            "http://[::]",
            "http://2130706433/",
            "https://",
            "foo",
            "http://webhook/",
            "https://notexample.com/",
        ] {
            assert!(denied(url), "{url}");
        }
        for url in ["https://example.com/", "https://a.b.EXAMPLE.com:8443/x", "http://10.0.0.1", "http://[fd00::1]/"] {
            assert!(!denied(url), "{url}");
        }
    }
}
