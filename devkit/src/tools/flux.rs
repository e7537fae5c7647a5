//! The real kustomize-controller of Flux from the pinned Go module `devkit/flux`. Its definitions come from the same module,
//! those of sources from source-controller's, which is not built: a test serves the artifact itself. helm-controller
//! is not among the modules that Go's proxy serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cache::{self, Entry, Workshop};
use crate::go::{self, Module};

const CONTROLLER: &str = "github.com/fluxcd/kustomize-controller";
/// Of the release that [`VERSION`] belongs to, with its sum: no go.mod names it.
const SOURCES: (&str, &str) =
    ("github.com/fluxcd/source-controller@v1.9.6", "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=");
/// As in go.mod.
const VERSION: &str = "v1.9.6";
const CRDS: &str = "config/crd/bases";
const WITHOUT_GO: &str = "Go 1.26 or newer is needed to build Flux's kustomize-controller once";

/// kustomize-controller, built, and the definitions it works with.
#[derive(Clone, Debug)]
pub struct Flux {
    /// The program.
    pub controller: PathBuf,
    /// A folder with the definitions of Kustomization and of all kinds of sources.
    pub crds: PathBuf,
}

impl Flux {
    /// Builds it if this is the first time. Blocking.
    pub fn ensure() -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("flux");
        let module = Module {
            title: "Flux's kustomize-controller",
            name: "flux",
            version: VERSION,
            dir: &dir,
            programs: &[("kustomize-controller", CONTROLLER)],
            linker_flags: "-s -w",
            patch: None,
            cost: "about 4 to 7 minutes on two cores",
            without_go: WITHOUT_GO,
        };
        let (programs, _) = module.ensure()?;
        let entry = Entry { title: "Flux's definitions", name: "flux-crds", key: VERSION };
        let (crds, _) = cache::ensure(entry, |workshop| copy_crds(&dir, workshop))?;
        Ok(Self { controller: programs.join("kustomize-controller"), crds })
    }
}

/// The controller waits for the definitions of all kinds of sources.
fn copy_crds(dir: &Path, workshop: &Workshop) -> Result<()> {
    for module in [go::module_dir(dir, CONTROLLER).context(WITHOUT_GO)?, sources()?] {
        let folder = module.join(CRDS);
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let file = entry?;
            // Read and written: a copy would keep the module cache's missing right to delete it.
            fs::write(workshop.result().join(file.file_name()), fs::read(file.path())?)?;
        }
    }
    Ok(())
}

fn sources() -> Result<PathBuf> {
    let (module, sum) = SOURCES;
    let output = Command::new("go").args(["mod", "download", "-json", module]).env("GOWORK", "off").output();
    let output = output.context(WITHOUT_GO)?;
    ensure!(output.status.success(), "go does not find {module}: {}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["Sum"] == sum, "{module} is not what it was: {}", told["Sum"]);
    told["Dir"].as_str().map(PathBuf::from).context("go does not tell where the module is")
}
