//! Where the programs of a control plane come from: `KUBEBUILDER_ASSETS` if it is set (the convention of
//! controller-runtime's envtest), else the cache directory, which is filled once from the pinned Go module.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache::Since;
use crate::go;

/// Name of each program and its Go package.
const PROGRAMS: [(&str, &str); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];
const GO_NEEDED: &str = "Go 1.26 or newer is needed to build the local control plane once; install it or set \
     KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl";

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
        let dir = module_dir();
        let version = kubernetes_version(&dir)?;
        let module = go::Module {
            title: "the local control plane",
            name: "control-plane",
            version: &version,
            dir: &dir,
            programs: &PROGRAMS,
            linker_flags: &linker_flags(&version),
            patch: None,
            cost: "about 6 to 8 minutes on two cores",
            without_go: GO_NEEDED,
        };
        let (dir, since) = module.ensure()?;
        Self::in_dir(&dir, if since == Since::Now { Source::Built } else { Source::Cache })
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

/// The folder of the Go module that pins Kubernetes and etcd.
pub(crate) fn module_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane")
}

/// The version of Kubernetes that the module in `dir` pins, such as `v1.36.3`.
pub(crate) fn kubernetes_version(dir: &Path) -> Result<String> {
    let go_mod =
        fs::read_to_string(dir.join("go.mod")).with_context(|| format!("reading go.mod in {}", dir.display()))?;
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .and_then(|rest| rest.split_whitespace().next())
        .map(|version| format!("v{version}"))
        .context("go.mod does not require k8s.io/kubernetes")
}

/// What the release builds of Kubernetes stamp in; without it `kubectl version` fails.
pub(crate) fn linker_flags(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let stamps = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        format!(" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
    });
    format!("-s -w{}", stamps.concat())
}
