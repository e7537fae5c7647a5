//! The credential: a personal access token in a file.
//!
//! The file is read for every request: it is a few dozen bytes in the page cache, and so a replaced token (a rotated
//! Secret swaps the link below the mount) serves the very next call, without a watcher and without a restart.

use std::path::PathBuf;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::Error;

/// Where the token comes from.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

/// Longest token that is read; ZITADEL's have about 70 characters, JWTs some thousand.
const LONGEST: usize = 64 * 1024;

impl TokenFile {
    /// A token in this file; it need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the token.
    ///
    /// # Errors
    /// [`Error::Credential`] when the file is missing, empty or holds what no token can be.
    pub async fn token(&self) -> Result<SecretString, Error> {
        let path = self.path.display();
        let text = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => text,
            // The kind alone: `read_to_string` on a binary file must not quote it.
            Err(error) => {
                return Err(Error::Credential(format!("the token file {path} cannot be read: {}", error.kind())));
            }
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(Error::Credential(format!("the token file {path} is empty")));
        }
        if token.len() > LONGEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Credential(format!("the token file {path} does not hold a token")));
        }
        Ok(SecretString::from(token))
    }
}

/// The Authorization header, marked so that no log prints it.
pub(super) fn bearer(token: &SecretString) -> HeaderValue {
    let text = format!("Bearer {}", token.expose_secret());
    let mut value = HeaderValue::from_str(&text).expect("a token was checked to be visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_trimmed_and_replaced_between_reads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenFile::new(file.path().to_owned());
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(source.token().await.unwrap().expose_secret(), "first");
        std::fs::write(file.path(), "second").unwrap();
        assert_eq!(source.token().await.unwrap().expose_secret(), "second");
    }

    #[tokio::test]
    async fn an_unusable_file_is_named_and_its_content_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = TokenFile::new(file.path().to_owned());
        for content in ["", " \n", "two canaries", "canary\u{e9}"] {
            std::fs::write(file.path(), content).unwrap();
            let error = source.token().await.unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
            assert!(!error.contains("canar"), "{error}");
        }
        let missing = TokenFile::new("/nonexistent/token".into()).token().await.unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/token"));
    }

    #[test]
    fn the_header_does_not_show_the_token() {
        assert!(!format!("{:?}", bearer(&SecretString::from("canary"))).contains("canary"));
    }
}
