//! The cache of this machine: whatever is built or downloaded once and used by every later run. An entry is a directory
//! named after everything that went into it and renamed into place when complete, so whoever sees it can use it. A
//! lock file lets the first process fill it and the others wait. What a tool is and how it is made lives elsewhere.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::progress::{Step, line};
use crate::supervisor::Supervisor;

/// The directory below a workshop that becomes the entry.
const RESULT: &str = "result";

/// One directory of the cache.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it holds, as it stands in a sentence: `the local control plane`.
    pub title: &'a str,
    /// The directory of all its versions.
    pub name: &'a str,
    /// Names everything the content depends on: another version or machine is another directory.
    pub key: &'a str,
}

/// Since when an entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It was there before.
    Before,
    /// It was made just now.
    Now,
}

/// Where an entry is made.
#[derive(Debug)]
pub struct Workshop {
    supervisor: Supervisor,
}

impl Workshop {
    /// For programs that help; they and the whole workshop go when this process ends, however it does.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// A place for what is not kept.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.supervisor.dir()
    }

    /// The directory that becomes the entry; it exists and is empty at first.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.dir().join(RESULT)
    }
}

/// The directory of an entry if it is there.
pub fn find(entry: Entry<'_>) -> Result<Option<PathBuf>> {
    let kept = home(entry)?.join(entry.key);
    Ok(kept.is_dir().then_some(kept))
}

/// The directory of an entry, made by `fill` unless it is there. Blocking. Processes that come here at the same time
/// wait for one of them.
pub fn ensure(entry: Entry<'_>, fill: impl FnOnce(&Workshop) -> Result<()>) -> Result<(PathBuf, Since)> {
    if let Some(kept) = find(entry)? {
        return Ok((kept, Since::Before));
    }
    let home = home(entry)?;
    let kept = home.join(entry.key);
    fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    let _lock = lock(&home.join(format!("{}.lock", entry.key)), entry.title)?;
    if kept.is_dir() {
        return Ok((kept, Since::Before));
    }
    // Inside the cache, so that the last step is a rename; removed with everything in it however this process ends.
    let workshop = Workshop { supervisor: Supervisor::new_in(&home)? };
    fs::create_dir(workshop.result())?;
    fill(&workshop)?;
    fs::rename(workshop.result(), &kept).with_context(|| format!("moving {} to {}", entry.title, kept.display()))?;
    workshop.supervisor.shut_down()?;
    Ok((kept, Since::Now))
}

fn home(entry: Entry<'_>) -> Result<PathBuf> {
    Ok(dir()?.join("zitadel-actions-operator").join(entry.name))
}

fn dir() -> Result<PathBuf> {
    // The XDG specification says to ignore relative paths.
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set: there is no cache directory")?;
    Ok(PathBuf::from(home).join(".cache"))
}

fn lock(path: &Path, title: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            line(&format!("Another process is building {title}; waiting for it."));
            let step = Step::start(format!("waiting for another process that builds {title}"));
            file.lock().context("waiting for the build lock")?;
            step.done(&format!("another process has built {title}"));
        }
        Err(TryLockError::Error(error)) => return Err(error).context("taking the build lock"),
    }
    Ok(file)
}
