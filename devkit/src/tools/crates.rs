//! Programs of crates.io that check or build a release, each compiled once by `cargo install --locked`: the lock file
//! that the author published pins what is in them, and crates.io's checksums what is downloaded.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::run;
use crate::cache::{self, Entry};

/// Checks licences, bans and sources of the dependency tree; about 3 minutes on two cores.
pub const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
/// Builds a binary that carries the list of its dependencies; about 15 seconds. The Dockerfile names the same version.
pub const CARGO_AUDITABLE: Tool = Tool { name: "cargo-auditable", version: "0.7.7" };
/// Writes the bill of materials; about 1 minute.
pub const CARGO_CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9" };

/// One crate with a program of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Of the crate and its program.
    pub name: &'static str,
    /// Exact.
    pub version: &'static str,
}

impl Tool {
    /// The folder with the program, compiled if this is the first time. Blocking.
    pub fn ensure(&self) -> Result<PathBuf> {
        let key = format!("{}-{}", self.version, std::env::consts::ARCH);
        let entry = Entry { title: self.name, name: self.name, key: &key };
        let (dir, _) = cache::ensure(entry, |workshop| {
            let mut install = Command::new("cargo");
            install
                .args(["install", "--locked", "--version", self.version, self.name, "--root"])
                .arg(workshop.result())
                .current_dir(workshop.dir())
                .env("CARGO_TARGET_DIR", workshop.dir().join("target"))
                // Flags of whoever asks are no part of what is kept.
                .env_remove("RUSTFLAGS");
            run(workshop, self.name, &install)
        })?;
        Ok(dir.join("bin"))
    }
}
