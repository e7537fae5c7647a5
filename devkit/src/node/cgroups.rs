//! The part of the machine's cgroups that a node works in: made when a room opens, removed when it has closed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::host::wait_for;

const MOUNT: &str = "/sys/fs/cgroup";
const REMOVAL: Duration = Duration::from_secs(20);

/// Name of this room's cgroup, told by the environment to who is inside.
pub(super) fn root() -> String {
    std::env::var(super::room::CGROUP).unwrap_or_default()
}

/// Makes the cgroup in each hierarchy.
pub(super) fn make(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let dir = hierarchy.join(name);
        fs::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        // cgroup v1 gives a new cpuset neither processors nor memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (hierarchy.join(file), dir.join(file));
            if from.is_file() && to.is_file() {
                fs::write(&to, fs::read(&from)?).with_context(|| format!("writing {}", to.display()))?;
            }
        }
    }
    Ok(())
}

/// Removes the cgroup and all below it. Its processes have ended; the kernel may need a moment to notice.
pub(super) fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let dir = hierarchy.join(name);
        wait_for(&format!("{} to be empty", dir.display()), REMOVAL, || Ok(remove_all(&dir).ok()))?;
    }
    Ok(())
}

fn remove_all(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_all(&path)?;
        }
    }
    fs::remove_dir(dir)
}

/// The one hierarchy of cgroup v2, or each of v1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return Ok(vec![mount.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(mount).context("this machine has no cgroups")? {
        let path = entry?.path();
        // Several controllers can share one hierarchy under further names.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}
