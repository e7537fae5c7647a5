//! Where secret material comes from: a file, or a slot that others fill.
//!
//! Read for every call: a file is a few kilobytes in the page cache, and so what replaced it (a rotated Secret swaps
//! the link below the mount) serves the very next call, without a watcher and without a restart. Knows no kind of
//! credential and sends nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::zitadel::Error;

/// Longest content that is read, in bytes: key files have 2 KB, CA bundles up to some 200 KB.
const LONGEST: u64 = 1 << 20;

/// Where secret material comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file; it need not exist yet, and may be replaced at any time.
    File(PathBuf),
    /// What somebody else puts in, such as the watcher of a Secret.
    Slot(Slot),
}

/// A place for secret text that its owner fills and empties. Clones share it.
#[derive(Debug, Clone)]
pub struct Slot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    content: Mutex<Option<SecretString>>,
}

impl Slot {
    /// An empty slot. `what` names the origin in messages: "key pat of Secret iam-admin-pat", say.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(Arc::new(Inner { what: what.into(), content: Mutex::default() }))
    }

    /// Puts in what is to be used from now on; `None` withdraws it.
    pub fn set(&self, content: Option<SecretString>) {
        *self.0.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
    }

    /// What is in it.
    #[must_use]
    pub fn get(&self) -> Option<SecretString> {
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Names the source in messages; never the content.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Slot(slot) => f.write_str(&slot.0.what),
        }
    }
}

impl Source {
    /// Reads the content, without white space around it.
    ///
    /// # Errors
    /// [`Error::Credential`] when there is none: it is missing, unreadable or empty.
    pub async fn read(&self) -> Result<SecretString, Error> {
        let content = match self {
            Self::File(path) => read_file(path).await.map_err(|error| {
                // The kind alone: an error of decoding must not quote the content.
                Error::Credential(format!("{self} cannot be read: {}", error.kind()))
            })?,
            Self::Slot(slot) => slot.get().ok_or_else(|| Error::Credential(format!("{self} is missing")))?,
        };
        let trimmed = content.expose_secret().trim();
        match trimmed.len() {
            0 => Err(Error::Credential(format!("{self} is empty"))),
            length if length == content.expose_secret().len() => Ok(content),
            _ => Ok(SecretString::from(trimmed)),
        }
    }
}

async fn read_file(path: &PathBuf) -> std::io::Result<SecretString> {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    let read = tokio::fs::File::open(path).await?.take(LONGEST).read_to_string(&mut text).await?;
    if read as u64 == LONGEST {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(source: &Source) -> Result<String, String> {
        source.read().await.map(|content| content.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_file_is_trimmed_and_replaced_between_reads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::File(file.path().to_owned());
        for (content, expected) in [("first\n", "first"), ("second", "second")] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(text(&source).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn an_unusable_file_is_named_and_its_content_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::File(file.path().to_owned());
        let huge = vec![b'c'; usize::try_from(LONGEST).unwrap()];
        for content in [&b""[..], b" \n", b"canary\xff", &huge] {
            std::fs::write(file.path(), content).unwrap();
            let said = text(&source).await.unwrap_err();
            assert!(said.contains(&file.path().display().to_string()), "{said}");
            assert!(!said.contains("canar"), "{said}");
        }
        let said = text(&Source::File("/nonexistent/token".into())).await.unwrap_err();
        assert!(said.contains("/nonexistent/token"), "{said}");
    }

    #[tokio::test]
    async fn a_slot_is_shared_and_may_be_emptied() {
        let slot = Slot::new("key pat of Secret admin");
        let source = Source::Slot(slot.clone());
        assert_eq!(text(&source).await.unwrap_err(), "key pat of Secret admin is missing");
        slot.set(Some(SecretString::from(" canary\n")));
        assert_eq!(text(&source).await.unwrap(), "canary");
        assert!(!format!("{source:?}").contains("canary"));
        slot.set(None);
        assert!(text(&source).await.is_err());
    }
}
