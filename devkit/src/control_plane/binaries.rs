//! Where the programs of a control plane come from: `KUBEBUILDER_ASSETS` if it is set (the convention of
//! controller-runtime's envtest), else the cache directory, which is filled once from the pinned Go module.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::install;

/// The programs of a control plane.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// kube-controller-manager, which `KUBEBUILDER_ASSETS` usually lacks.
    pub kube_controller_manager: Option<PathBuf>,
    /// Where they were found.
    pub source: Source,
}

/// Where [`Binaries`] were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `KUBEBUILDER_ASSETS`.
    Assets,
    /// The cache directory.
    Cache,
    /// The cache directory, after building them there just now.
    Built,
}

impl Binaries {
    /// Finds the binaries, or builds them in the cache directory if this is the first time (about 6 to 8 minutes on
    /// two cores, shown on stderr). Processes that come here at the same time wait for one build.
    pub fn ensure() -> Result<Self> {
        if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
            return Self::in_dir(Path::new(&assets), Source::Assets).context("looking into KUBEBUILDER_ASSETS");
        }
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane");
        let cache = cache_dir()?.join("zitadel-actions-operator/control-plane");
        let (dir, source) = install::ensure(&module, &cache)?;
        Self::in_dir(&dir, source)
    }

    /// The directory that holds them.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.kube_apiserver.parent().unwrap_or(Path::new(""))
    }

    fn in_dir(dir: &Path, source: Source) -> Result<Self> {
        // The programs run in another working directory.
        let dir = std::path::absolute(dir)?;
        let required = |name: &str| {
            let path = dir.join(name);
            if !path.is_file() {
                bail!("there is no {name} in {}", dir.display());
            }
            Ok(path)
        };
        Ok(Self {
            etcd: required("etcd")?,
            kube_apiserver: required("kube-apiserver")?,
            kubectl: required("kubectl")?,
            kube_controller_manager: required("kube-controller-manager").ok(),
            source,
        })
    }
}

fn cache_dir() -> Result<PathBuf> {
    // The XDG specification says to ignore relative paths.
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set: there is no cache directory")?;
    Ok(PathBuf::from(home).join(".cache"))
}
