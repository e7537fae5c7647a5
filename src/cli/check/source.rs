//! The files that a command line names.
//!
//! A folder stands for the manifests below it, `-` for standard input. No knowledge of what they hold.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file, read.
#[derive(Debug)]
pub(super) struct Source {
    /// As reports name it.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Reads all of them, each folder in the order of its names.
///
/// # Errors
/// The first that cannot be read.
pub(super) fn read(named: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in named {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            sources.push(Source { name: "-".to_owned(), text });
        } else if path.is_dir() {
            folder(path, &mut sources)?;
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

fn folder(path: &Path, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut entries: Vec<_> =
        entries.collect::<Result<_, _>>().with_context(|| format!("cannot read {}", path.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let below = entry.path();
        let kind = entry.file_type().with_context(|| format!("cannot read {}", below.display()))?;
        let manifest = below.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        if kind.is_dir() {
            folder(&below, sources)?;
        } else if manifest && below.is_file() {
            // A link to a folder is not followed, so that no link leads round in a circle.
            sources.push(file(&below)?);
        }
    }
    Ok(())
}

fn file(path: &Path) -> anyhow::Result<Source> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { name: path.display().to_string(), text })
}
