//! kubernetes-validate: checks manifests against the published schemas of each Kubernetes release, without a cluster.
//! The schemas are in the wheel. pip installs it into a folder of the cache, every wheel pinned by its SHA-256. Costs
//! 120 MB and some seconds, once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::run;
use crate::cache::{self, Entry, Workshop};

/// The version that is installed; its schemas go up to this release of Kubernetes.
pub const VERSION: &str = "1.37.0";

/// The last part of the cache key: to be counted up with the pins below.
const PINS: &str = "1";

/// Everything that pip may install; rpds-py is compiled, so there is one wheel for each Python and processor.
const REQUIREMENTS: &str = include_str!("kubernetes_validate.txt");

/// A validator that is installed.
#[derive(Debug)]
pub struct KubernetesValidate {
    packages: PathBuf,
}

impl KubernetesValidate {
    /// The validator, installed if it is not in the cache.
    ///
    /// # Errors
    /// Where there is no python3 with pip, or pip cannot get the wheels.
    pub fn ensure() -> Result<Self> {
        let tag = ["-c", "import sys; print(sys.implementation.cache_tag)"];
        let python = Command::new("python3").args(tag).output();
        let python = python.context("python3 with pip is needed to check manifests against Kubernetes' schemas")?;
        let python = String::from_utf8_lossy(&python.stdout);
        let key = format!("{VERSION}-{PINS}-{}-{}", python.trim(), std::env::consts::ARCH);
        let entry = Entry { title: "kubernetes-validate", name: "kubernetes-validate", key: &key };
        let (packages, _) = cache::ensure(entry, install)?;
        Ok(Self { packages })
    }

    /// Checks files, each of any number of documents, against a release such as `1.33`. No unknown field is accepted, and
    /// no unknown kind but of the API groups in `foreign`.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn check(&self, release: &str, files: &[PathBuf], foreign: &[&str]) -> Result<()> {
        let mut command = Command::new("python3");
        command.args(["-m", "kubernetes_validate", "--strict", "--quiet", "-k", release]).args(files);
        let output = command.env("PYTHONPATH", &self.packages).output().context("running kubernetes-validate")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "Kubernetes {release}: {said}");
        // It only warns of kinds that it does not know.
        let known = |line: &&str| !foreign.iter().any(|group| line.contains(&format!("api version {group}/")));
        let unknown: Vec<&str> = said.lines().filter(|line| line.contains("find schema")).filter(known).collect();
        ensure!(unknown.is_empty(), "Kubernetes {release}: {}", unknown.join("\n"));
        Ok(())
    }
}

fn install(workshop: &Workshop) -> Result<()> {
    let requirements = workshop.dir().join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&requirements);
    run(workshop, "kubernetes-validate", pip.arg("--target").arg(workshop.result()))
}
