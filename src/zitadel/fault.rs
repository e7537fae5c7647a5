//! The class of a transport fault: why no connection was made, or why no answer came.
//!
//! Conditions show these sentences, so each is the same for the same cause: no error numbers, no times, no attempts.
//! The library's own words stand in [`Fault::Other`] and [`Silence::Broken`], where there is no better class.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// Why no connection was made. Nothing was sent. `String` is the peer (host, or host and port) unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The host name does not resolve.
    Unresolved(String),
    /// Nothing listens there.
    Refused(String),
    /// No connection within this time.
    Slow(String, Duration),
    /// The server's certificate is not trusted.
    Untrusted(String, Distrust),
    /// TLS could not be set up for another reason, which is the second one.
    Handshake(String, String),
    /// Anything else, in its own words.
    Other(String),
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// It has expired.
    Expired,
    /// Its validity begins later.
    NotYetValid,
    /// No trusted authority has issued it.
    UnknownIssuer,
    /// It was issued for other names.
    WrongName,
    /// Anything else, in rustls' words.
    Other(String),
}

/// Why no answer was read. The request may have been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// None came within this time.
    Within(Duration),
    /// The connection broke, in the words of the HTTP library.
    Broken(String),
}

/// Whom a connection is made to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// The host name.
    pub host: String,
    /// Host and port.
    pub address: String,
}

impl Fault {
    /// The class of a connection error, by what is in its chain of causes. `within` is how long a connection may take.
    pub(super) fn of(error: &reqwest::Error, peer: Peer, within: Duration) -> Self {
        if error.is_dns() {
            return Self::Unresolved(peer.host);
        }
        match chain(error).into_iter().find_map(|cause| classify(cause, &peer.address)) {
            Some(fault) => fault,
            None if error.is_timeout() => Self::Slow(peer.address, within),
            None => Self::Other(causes(error)),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unresolved(_) => "check the connection's URL and the cluster's DNS",
            Self::Refused(_) => "check that ZITADEL runs, and the connection's URL and port",
            Self::Slow(..) => "check that ZITADEL runs, and the firewalls and network policies on the way",
            Self::Untrusted(_, Distrust::Expired | Distrust::NotYetValid) => {
                "renew the certificate, and check the clocks"
            }
            Self::Untrusted(_, Distrust::UnknownIssuer) => "give the connection the CA bundle of the certificate",
            Self::Untrusted(_, Distrust::WrongName) => {
                "use a host name of the certificate in the connection's URL, or add the host name to the certificate"
            }
            Self::Untrusted(_, Distrust::Other(_)) | Self::Handshake(..) => "check the server's TLS settings",
            Self::Other(_) => "check the network between the operator and ZITADEL",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(host) => write!(f, "cannot resolve host {host}"),
            Self::Refused(peer) => write!(f, "connection refused by {peer}"),
            Self::Slow(peer, within) => write!(f, "no connection to {peer} within {}", seconds(*within)),
            Self::Untrusted(peer, why) => write!(f, "the certificate of {peer} is not trusted: {why}"),
            Self::Handshake(peer, what) => write!(f, "the TLS handshake with {peer} failed: {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self::Other(what.to_owned())
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("it has expired"),
            Self::NotYetValid => f.write_str("it is not valid yet"),
            Self::UnknownIssuer => f.write_str("unknown issuer"),
            Self::WrongName => f.write_str("it is not valid for this host name"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<&CertificateError> for Distrust {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(time) => write!(f, "no answer within {}", seconds(*time)),
            Self::Broken(what) => write!(f, "no answer: {what}"),
        }
    }
}

impl From<String> for Silence {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl From<&str> for Silence {
    fn from(what: &str) -> Self {
        Self::Broken(what.to_owned())
    }
}

/// As short as it can be written: 10 s, 0.5 s.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// An error with everything below it. An [`io::Error`] that wraps another error hides that from `source()`.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut found = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        found.push(cause);
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    found
}

/// The class that one cause stands for, if it stands for one.
fn classify(cause: &(dyn StdError + 'static), peer: &str) -> Option<Fault> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(match error {
            rustls::Error::InvalidCertificate(why) => Fault::Untrusted(peer.to_owned(), why.into()),
            other => Fault::Handshake(peer.to_owned(), other.to_string()),
        });
    }
    let refused = |error: &&io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    cause.downcast_ref::<io::Error>().filter(refused).map(|_| Fault::Refused(peer.to_owned()))
}

/// The chain of causes without the URL, which may carry user information.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    if text.is_empty() { "request failed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// As hyper-rustls and tokio-rustls wrap it.
    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[rstest]
    #[case(CertificateError::Expired, "it has expired")]
    #[case(CertificateError::NotValidYet, "it is not valid yet")]
    #[case(CertificateError::UnknownIssuer, "unknown issuer")]
    #[case(CertificateError::NotValidForName, "it is not valid for this host name")]
    #[case(CertificateError::Revoked, "Revoked")]
    fn a_certificate_that_is_not_trusted_says_why(#[case] error: CertificateError, #[case] why: &str) {
        let error = wrapped(rustls::Error::InvalidCertificate(error));
        let fault = chain(&error).into_iter().find_map(|cause| classify(cause, "auth.example.com:443"));
        let text = fault.unwrap().to_string();
        assert!(text.starts_with("the certificate of auth.example.com:443 is not trusted: "), "{text}");
        assert!(text.contains(why), "{text}");
    }

    #[test]
    fn a_failed_handshake_is_not_a_certificate_that_is_not_trusted() {
        let error = wrapped(rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure));
        let fault = chain(&error).into_iter().find_map(|cause| classify(cause, "h:443"));
        assert_eq!(
            fault.unwrap().to_string(),
            "the TLS handshake with h:443 failed: received fatal alert: HandshakeFailure"
        );
    }

    #[test]
    fn times_are_written_short() {
        assert_eq!(Silence::Within(Duration::from_secs(10)).to_string(), "no answer within 10 s");
        assert_eq!(
            Fault::Slow("h:443".into(), Duration::from_millis(500)).to_string(),
            "no connection to h:443 within 0.5 s"
        );
    }
}
