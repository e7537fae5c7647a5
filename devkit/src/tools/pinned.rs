//! Refuses a download that is not the pinned one. Which files those are is in each tool's own file.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Fails unless the content of a file has this SHA-256 (lower-case hexadecimal).
pub(super) fn check(file: &Path, sha256: &str) -> Result<()> {
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &content);
    let found = digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    if found != sha256 {
        bail!("{} is not what was pinned: SHA-256 {found} instead of {sha256}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

    use super::check;

    #[test]
    fn another_content_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(file.path(), abc).unwrap();
        std::fs::write(file.path(), "abd").unwrap();
        assert!(check(file.path(), abc).unwrap_err().to_string().contains(abc));
    }
}
