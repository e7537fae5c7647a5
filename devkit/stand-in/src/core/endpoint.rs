//! The deny list for endpoints of v4.11.1 and later: networks, `localhost`, and every name that does not resolve. The
//! stand-in resolves nothing; it is told which names exist, and which take their time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::DenyList;
use crate::wire::go_url::{self, GoUrl};

/// Names below these have addresses of the cluster, which are private ones.
const CLUSTER_DOMAINS: [&str; 2] = ["svc", "cluster.local"];

/// What endpoints are judged by.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointRules {
    pub(crate) deny_list: DenyList,
    /// The names that exist, each with all names below it.
    pub(crate) resolvable: Vec<String>,
    /// How long looking up a name takes, for it and all names below it.
    pub(crate) slow: Vec<(String, Duration)>,
}

impl EndpointRules {
    /// Whether v4 refuses an endpoint with this URL (v4.13.1: docs/zitadel/observed.md section 3, observed).
    pub(crate) fn deny(&self, url: &GoUrl) -> bool {
        let host = url.hostname();
        match host.parse::<IpAddr>() {
            Ok(address) => self.denies_address(address),
            // Spellings of addresses that Go does not parse (decimal, octal) are names that do not resolve.
            Err(_) => self.denies_name(host),
        }
    }

    /// How long the look-up of the endpoint's host takes.
    pub(crate) fn look_up_time(&self, endpoint: &str) -> Option<Duration> {
        let url = go_url::parse(endpoint).ok()?;
        let slow = |(domain, time): &(String, Duration)| is_below(url.hostname(), domain).then_some(*time);
        self.slow.iter().find_map(slow)
    }

    fn denies_address(&self, address: IpAddr) -> bool {
        let v4 = |address: Ipv4Addr| match self.deny_list {
            DenyList::Empty => false,
            DenyList::Loopback => address.is_loopback() || address.is_unspecified(),
            DenyList::Private => is_inner_v4(address),
        };
        match (address, self.deny_list) {
            (IpAddr::V4(address), _) => v4(address),
            (IpAddr::V6(_), DenyList::Empty) => false,
            (IpAddr::V6(address), list) => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.to_ipv4_mapped().is_some_and(v4)
                    || (list == DenyList::Private && is_inner_v6(address))
            }
        }
    }

    fn denies_name(&self, host: &str) -> bool {
        let exists = self.resolvable.iter().any(|domain| is_below(host, domain));
        let is_loopback = host.eq_ignore_ascii_case("localhost");
        match self.deny_list {
            // Also without a list an unknown name is refused: it is looked up either way.
            DenyList::Empty => !exists && !is_loopback,
            DenyList::Loopback => !exists || is_loopback,
            DenyList::Private => !exists || is_loopback || CLUSTER_DOMAINS.iter().any(|domain| is_below(host, domain)),
        }
    }
}

/// 0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.168/16, 198.18/15 (`HTTPClient.DenyList`, v4.15.2).
fn is_inner_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_benchmark = first == 198 && (18..20).contains(&second);
    first == 0 || address.is_private() || address.is_loopback() || address.is_link_local() || is_shared || is_benchmark
}

/// fc00::/7 and fe80::/10 (`HTTPClient.DenyList`, v4.15.2).
fn is_inner_v6(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local()
}

fn is_below(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(deny_list: DenyList) -> EndpointRules {
        let resolvable = ["example.com", "svc", "svc.cluster.local"].map(str::to_owned).to_vec();
        EndpointRules { deny_list, resolvable, slow: vec![("example.com".to_owned(), Duration::from_secs(1))] }
    }

    #[test]
    fn newer_lists_deny_what_is_inside_and_an_empty_one_only_unknown_names() {
        let denied = |list, url: &str| rules(list).deny(&go_url::parse(url).unwrap());
        for url in [
            "http://10.0.0.1",
            "http://172.31.0.1/x",
            "http://192.168.1.1",
            "http://100.64.0.1",
            "http://169.254.169.254",
            "http://198.19.0.1",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://hooks.apps.svc.cluster.local/x",
            "http://hooks.apps.svc",
        ] {
            assert!(denied(DenyList::Private, url), "{url}");
            assert!(!denied(DenyList::Loopback, url) && !denied(DenyList::Empty, url), "{url}");
        }
        for url in ["http://127.0.0.1", "http://localhost:1/", "http://[::1]/", "http://0.0.0.0"] {
            assert!(denied(DenyList::Private, url) && !denied(DenyList::Empty, url), "{url}");
        }
        for list in [DenyList::Empty, DenyList::Loopback, DenyList::Private] {
            assert!(denied(list, "https://nowhere.test/"));
            assert!(!denied(list, "https://example.com/") && !denied(list, "http://203.0.113.10/"));
        }
    }

    #[test]
    fn a_slow_name_is_slow_with_all_names_below_it() {
        let time = |endpoint: &str| rules(DenyList::Loopback).look_up_time(endpoint);
        assert_eq!(time("https://a.example.com/x"), Some(Duration::from_secs(1)));
        assert_eq!((time("https://notexample.com/"), time(":")), (None, None));
    }

    #[test]
    fn loopback_in_every_spelling_and_unknown_names_are_denied() {
        let rules = EndpointRules { resolvable: vec!["example.com".to_owned()], ..EndpointRules::default() };
        let denied = |url: &str| rules.deny(&go_url::parse(url).unwrap());
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
