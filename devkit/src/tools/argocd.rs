//! The real Argo CD: its application controller and repo server, with a Redis made of memory beside them, in one program
//! from the pinned Go module `devkit/argocd`. About 6 to 8 minutes on two cores, once; 105 MB. Its CRDs and its script for
//! git come from the same module, which Go checks against its sum. No API server, no user interface: nobody logs in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::{self, Entry, Workshop};
use crate::go::{self, Module, Patch};

const PACKAGE: &str = "github.com/argoproj/argo-cd/v3";
/// The CRDs that the controller reads; it lists nothing of ApplicationSets.
const CRDS: [&str; 2] = ["application-crd.yaml", "appproject-crd.yaml"];
/// The repo server calls it for every commit, also where no signature is asked for.
const VERIFY: &str = "git-verify-wrapper.sh";
/// The application controller takes the port of its metrics from a flag, and the address from nowhere.
const ON_LOOPBACK: Patch<'_> = Patch {
    module: PACKAGE,
    file: "controller/appcontroller.go",
    from: "\"0.0.0.0:%d\", metricsPort",
    to: "\"127.0.0.1:%d\", metricsPort",
};
const WITHOUT_GO: &str = "Go 1.26 or newer is needed to build Argo CD once";

/// Argo CD, built.
#[derive(Clone, Debug)]
pub struct ArgoCd {
    program: PathBuf,
    files: PathBuf,
}

/// What the one program can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Compares and synchronises; the flags of argocd-application-controller. Its metrics listen on loopback alone.
    Controller,
    /// Reads Git and renders; the flags of argocd-repo-server.
    RepoServer,
    /// What the two share; one argument, the address.
    Redis,
    /// Health and actions of objects on standard input by the scripts of a ConfigMap, whose file is the one argument: a
    /// line `{"object": ..., "action": "..."}` for a line `{"health": ..., "actions": ..., "patched": ..., "error": ...}`.
    Judge,
}

impl ArgoCd {
    /// Argo CD, built if it is not in the cache. Blocking.
    pub fn ensure() -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("argocd");
        let version = version(&dir)?;
        let module = Module {
            title: "Argo CD",
            name: "argocd",
            version: &version,
            dir: &dir,
            programs: &[("argocd", ".")],
            linker_flags: "-s -w",
            patch: Some(ON_LOOPBACK),
            cost: "about 6 to 8 minutes on two cores",
            without_go: WITHOUT_GO,
        };
        let (programs, _) = module.ensure()?;
        let entry = Entry { title: "Argo CD's files", name: "argocd-files", key: &version };
        let (files, _) = cache::ensure(entry, |workshop| copy_files(&dir, workshop))?;
        Ok(Self { program: programs.join("argocd"), files })
    }

    /// One part, to which its arguments are added.
    #[must_use]
    pub fn command(&self, part: Part) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(match part {
            Part::Controller => "controller",
            Part::RepoServer => "repo-server",
            Part::Redis => "redis",
            Part::Judge => "judge",
        });
        command
    }

    /// A folder with the CRDs of Application and AppProject.
    #[must_use]
    pub fn crds(&self) -> PathBuf {
        self.files.join("crds")
    }

    /// A folder with the script that the repo server wants to find on `PATH`, beside git and helm.
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        self.files.join("bin")
    }
}

fn version(dir: &Path) -> Result<String> {
    let go_mod = fs::read_to_string(dir.join("go.mod")).context("reading Argo CD's go.mod")?;
    let version = go_mod.lines().find_map(|line| line.trim().strip_prefix(PACKAGE)).map(str::trim);
    version.map(str::to_owned).context("go.mod does not require Argo CD")
}

fn copy_files(dir: &Path, workshop: &Workshop) -> Result<()> {
    let module = go::module_dir(dir, PACKAGE).context(WITHOUT_GO)?;
    // Read and written: a copy would keep the module cache's missing right to delete it.
    let copy = |from: PathBuf, to: PathBuf| {
        let text = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        fs::create_dir_all(to.parent().context("the file has a folder")?)?;
        fs::write(&to, text).with_context(|| format!("writing {}", to.display()))
    };
    for name in CRDS {
        copy(module.join("manifests/crds").join(name), workshop.result().join("crds").join(name))?;
    }
    let script = workshop.result().join("bin").join(VERIFY);
    copy(module.join("hack").join(VERIFY), script.clone())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("making the script executable")
}
