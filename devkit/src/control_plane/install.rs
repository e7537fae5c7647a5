//! Builds the control plane's programs once from the Go module in `devkit/control-plane`, whose `go.mod` and `go.sum`
//! pin every version. The result is a directory in the cache, named after what went into it and renamed into place
//! when complete, so whoever sees it can use it. A lock file lets the first process build and the others wait.

use std::fs::{self, File, TryLockError};
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::Source;
use crate::progress::{Step, line};
use crate::supervisor::{Ending, Supervisor, tail};

/// Name of the binary and its Go package.
const PROGRAMS: [(&str, &str); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];
const GO_NEEDED: &str = "Go 1.26 or newer is needed to build the local control plane once; install it or set \
     KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl";
const POLL: Duration = Duration::from_millis(200);
const FAILURE_LINES: usize = 20;

/// The directory with the binaries of the Go module `module`, built below `cache` unless it is there.
pub(super) fn ensure(module: &Path, cache: &Path) -> Result<(PathBuf, Source)> {
    let pinned = Pinned::read(module)?;
    let installed = cache.join(&pinned.key);
    if installed.is_dir() {
        return Ok((installed, Source::Cache));
    }
    fs::create_dir_all(cache).with_context(|| format!("creating {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{}.lock", pinned.key)))?;
    if installed.is_dir() {
        return Ok((installed, Source::Cache));
    }
    check_go(module)?;
    // Inside the cache, so that the last step is a rename; removed with everything in it however this process ends.
    let workshop = Supervisor::new_in(cache)?;
    build(&pinned, module, &workshop)?;
    fs::rename(workshop.dir().join("bin"), &installed)
        .with_context(|| format!("moving the new binaries to {}", installed.display()))?;
    workshop.shut_down()?;
    Ok((installed, Source::Built))
}

struct Pinned {
    /// Of Kubernetes, e.g. `v1.36.3`.
    version: String,
    /// Names everything the binaries depend on: another version, dependency or machine gets another directory.
    key: String,
}

impl Pinned {
    fn read(module: &Path) -> Result<Self> {
        let go_mod = fs::read_to_string(module.join("go.mod"))
            .with_context(|| format!("reading go.mod in {}", module.display()))?;
        let go_sum = fs::read(module.join("go.sum"))?;
        let version = go_mod
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
            .and_then(|rest| rest.split_whitespace().next())
            .map(|version| format!("v{version}"))
            .context("go.mod does not require k8s.io/kubernetes")?;
        let mut hash = fnv::FnvHasher::default();
        hash.write(go_mod.as_bytes());
        hash.write(&go_sum);
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let key = format!("{version}-{os}-{arch}-{:016x}", hash.finish());
        Ok(Self { version, key })
    }

    /// What the release builds of Kubernetes stamp in; without it `kubectl version` fails.
    fn linker_flags(&self) -> String {
        let mut parts = self.version.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let stamps = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
            format!(
                " -X {package}.gitVersion={} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}",
                self.version
            )
        });
        format!("-s -w{}", stamps.concat())
    }
}

fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            line("Another process is building the local control plane; waiting for it.");
            let step = Step::start("waiting for another process that builds the local control plane");
            file.lock().context("waiting for the build lock")?;
            step.done("another process has built the local control plane");
        }
        Err(TryLockError::Error(error)) => return Err(error).context("taking the build lock"),
    }
    Ok(file)
}

fn check_go(module: &Path) -> Result<()> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(module).output();
    let output = output.map_err(|error| anyhow!(error).context(GO_NEEDED))?;
    if !output.status.success() {
        bail!("{GO_NEEDED}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn build(pinned: &Pinned, module: &Path, workshop: &Supervisor) -> Result<()> {
    fs::create_dir(workshop.dir().join("bin"))?;
    fs::create_dir(workshop.dir().join("tmp"))?;
    line(&format!(
        "Building the local control plane (Kubernetes {}) from source: once, about 6 to 8 minutes on two cores.",
        pinned.version
    ));
    for (index, (name, package)) in PROGRAMS.into_iter().enumerate() {
        let step = Step::start(format!("building {name} ({} of {})", index + 1, PROGRAMS.len()));
        workshop.start(name, &build_command(pinned, module, workshop, name, package), Ending::Graceful)?;
        let code = loop {
            if let Some(code) = workshop.exit_code(name) {
                break code;
            }
            workshop.check_alive()?;
            step.update(progress(workshop, index, name));
            thread::sleep(POLL);
        };
        if code != 0 {
            bail!("building {name} failed:\n{}", workshop.log_tail(name, FAILURE_LINES));
        }
        step.done(&format!("built {name} ({} of {})", index + 1, PROGRAMS.len()));
    }
    Ok(())
}

/// No `-trimpath`: it would share nothing with Go's build cache as other builds fill it.
fn build_command(pinned: &Pinned, module: &Path, workshop: &Supervisor, name: &str, package: &str) -> Command {
    let mut go = Command::new("go");
    go.args(["build", "-v", "-ldflags", &pinned.linker_flags(), "-o"])
        .arg(workshop.dir().join("bin").join(name))
        .arg(package)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOTMPDIR", workshop.dir().join("tmp"));
    go
}

/// `go build -v` writes one line for each module it downloads and each package it compiles; while it links, nothing.
fn progress(workshop: &Supervisor, index: usize, name: &str) -> String {
    let log = fs::read_to_string(workshop.log_path(name)).unwrap_or_default();
    let packages = log.lines().filter(|line| !line.starts_with("go: ")).count();
    let head = format!("building {name} ({} of {})", index + 1, PROGRAMS.len());
    match tail(&log, 1).as_str() {
        "" => head,
        last => format!("{head}: {packages} packages compiled, last {last}"),
    }
}
