//! The token of one call, as the header that carries it.

use std::fmt;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// A token, ready to be sent. Equal if the tokens are.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::zitadel) struct Bearer(HeaderValue);

impl Bearer {
    /// `None` for what cannot be a token (RFC 6750: visible ASCII without spaces).
    pub(in crate::zitadel) fn new(token: &SecretString) -> Option<Self> {
        let token = token.expose_secret();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        // So that no log prints it.
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The Authorization header.
    pub(in crate::zitadel) const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_the_header_and_nowhere_else() {
        let bearer = Bearer::new(&SecretString::from("canary")).unwrap();
        assert_eq!(bearer.header(), "Bearer canary");
        assert!(!format!("{bearer:?} {:?}", bearer.header()).contains("canary"));
    }

    #[test]
    fn what_cannot_be_a_token_is_none() {
        for text in ["", "two canaries", "canary\u{e9}", "canary\n"] {
            assert_eq!(Bearer::new(&SecretString::from(text)), None, "{text:?}");
        }
    }
}
