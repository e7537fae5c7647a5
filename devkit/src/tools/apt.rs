//! Packages of Debian as a folder: downloaded by apt, which checks their signatures, and unpacked into the cache. The
//! machine stays as it is: not even apt's own lists change. [`Unpacked::installed`] runs a program where they are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::run;
use crate::cache::{self, Entry, Workshop};

/// `$0` is laid over `/usr`, which stays readable below it.
const INSTALL: &str = r#"mount -t overlay -o "lowerdir=$0:/usr" overlay /usr; exec "$@""#;

/// Packages that are unpacked into one folder. A release of Debian pins them to its stable versions.
#[derive(Clone, Copy, Debug)]
pub struct Packages<'a> {
    /// What they are together, as it stands in a sentence.
    pub title: &'a str,
    /// The directory in the cache.
    pub name: &'a str,
    /// Their names, with the libraries that a small machine may lack: nothing is resolved here.
    pub packages: &'a [&'a str],
}

/// The folder of unpacked packages, laid out like a root directory.
#[derive(Clone, Debug)]
pub struct Unpacked {
    root: PathBuf,
}

impl Packages<'_> {
    /// The unpacked packages, downloaded if this is the first time. Blocking.
    pub fn ensure(&self) -> Result<Unpacked> {
        let mut hash = fnv::FnvHasher::default();
        std::hash::Hasher::write(&mut hash, self.packages.join(" ").as_bytes());
        let hash = std::hash::Hasher::finish(&hash);
        let key = format!("{}-{}-{hash:016x}", release()?, std::env::consts::ARCH);
        let entry = Entry { title: self.title, name: self.name, key: &key };
        let (root, _) = cache::ensure(entry, |workshop| self.fill(workshop))?;
        Ok(Unpacked { root })
    }

    fn fill(&self, workshop: &Workshop) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(workshop.dir().join(folder))?;
        }
        run(workshop, "apt-update", apt(workshop).arg("update"))?;
        let mut download = apt(workshop);
        download.arg("download").args(self.packages).current_dir(workshop.dir().join("packages"));
        run(workshop, "apt-download", &download)?;
        for package in fs::read_dir(workshop.dir().join("packages"))? {
            let status = Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(workshop.result()).status();
            if !status.context("running dpkg-deb")?.success() {
                bail!("a package of {} could not be unpacked", self.title);
            }
        }
        merge_usr(&workshop.result())
    }
}

/// What older packages have in `/lib` and its like belongs below `/usr`, as on every machine.
fn merge_usr(root: &Path) -> Result<()> {
    for folder in ["bin", "lib", "sbin"] {
        let from = root.join(folder);
        if from.is_dir() {
            let status = Command::new("cp").arg("--archive").arg(&from).arg(root.join("usr")).status()?;
            ensure!(status.success(), "{} could not be copied", from.display());
        }
    }
    Ok(())
}

impl Unpacked {
    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a command, whose program and arguments follow, that sees the packages installed in `/usr` as nobody else
    /// does: in a mount namespace of its own, with further `flags` of unshare. Needs root.
    #[must_use]
    pub fn installed(&self, flags: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--mount").args(flags).args(["--", "sh", "-euc", INSTALL]).arg(self.root.join("usr"));
        command
    }
}

/// apt-get with lists and archives of its own. As root it would download as another user, who may not enter the cache.
fn apt(workshop: &Workshop) -> Command {
    let mut apt = Command::new("apt-get");
    let dir = workshop.dir().display();
    apt.args(["-o", &format!("Dir::State::lists={dir}/lists"), "-o", &format!("Dir::Cache={dir}/cache")]).args([
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Acquire::Retries=3",
    ]);
    apt
}

fn release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("these tools are packages of Debian")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'));
    if field("ID=") != Some("debian") && field("ID=") != Some("ubuntu") {
        bail!("these tools are packages of Debian and this system is {}", field("ID=").unwrap_or("unknown"));
    }
    Ok(field("VERSION_CODENAME=").unwrap_or("unknown").to_owned())
}
