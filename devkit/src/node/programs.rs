//! The programs of a node, each built or downloaded into the cache when the first test asks for a node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::{self, Entry, Workshop};
use crate::control_plane::{kubernetes_version, linker_flags, module_dir};
use crate::go;
use crate::tools::apt::{Packages, Unpacked};
use crate::tools::buildah::Store;

/// The image of a pod's first process.
pub(super) const PAUSE_IMAGE: &str = "localhost/pause:1";
const PROGRAMS: [(&str, &str); 3] = [
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
];
/// runc, not crun: that one writes limits which a sandbox's kernel refuses.
const PACKAGES: Packages<'_> = Packages {
    title: "a container runtime",
    name: "node-packages",
    packages: &[
        "containerd",
        "containernetworking-plugins",
        "iproute2",
        "iptables",
        "libbpf1",
        "libelf1",
        "libip4tc2",
        "libip6tc2",
        "libmnl0",
        "libnetfilter-conntrack3",
        "libnfnetlink0",
        "libnftnl11",
        "libseccomp2",
        "libxtables12",
        "runc",
    ],
};
const WITHOUT_GO: &str = "Go 1.26 or newer is needed to build the programs of a node once";

/// Everything that runs on a node.
#[derive(Clone, Debug)]
pub struct Programs {
    /// A folder with kubelet, kube-proxy and kube-scheduler.
    pub(super) kubernetes: PathBuf,
    /// containerd, runc, the network plugins and iptables.
    pub(super) packages: Unpacked,
    /// The archive of [`PAUSE_IMAGE`].
    pub(super) pause: PathBuf,
}

impl Programs {
    /// Builds and downloads what is not there: about 2 minutes on two cores after the control plane was built. Needs
    /// the network, so it comes before the room. Blocking.
    pub fn ensure() -> Result<Self> {
        let dir = module_dir();
        let version = kubernetes_version(&dir)?;
        let module = go::Module {
            title: "the programs of a node",
            name: "node",
            version: &version,
            dir: &dir,
            programs: &PROGRAMS,
            linker_flags: &linker_flags(&version),
            patch: None,
            cost: "about 2 minutes on two cores after the control plane was built",
            without_go: WITHOUT_GO,
        };
        let (kubernetes, _) = module.ensure()?;
        Ok(Self { kubernetes, packages: PACKAGES.ensure()?, pause: pause()? })
    }
}

fn pause() -> Result<PathBuf> {
    let module = go::Module {
        title: "the first process of a pod",
        name: "pause",
        version: "1",
        dir: &Path::new(env!("CARGO_MANIFEST_DIR")).join("pause"),
        programs: &[("pause", ".")],
        linker_flags: "-s -w",
        patch: None,
        cost: "some seconds",
        without_go: WITHOUT_GO,
    };
    let (program, _) = module.ensure()?;
    let key = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entry = Entry { title: "the image of a pod's first process", name: "pause-image", key: &key };
    let (dir, _) = cache::ensure(entry, |workshop| pause_image(workshop, &program))?;
    Ok(dir.join("pause.tar"))
}

fn pause_image(workshop: &Workshop, program: &Path) -> Result<()> {
    let store = Store::new_in(workshop.dir())?;
    let context = workshop.dir().join("context");
    fs::create_dir(&context)?;
    fs::copy(program.join("pause"), context.join("pause"))?;
    let text = "FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT [\"/pause\"]\n";
    fs::write(context.join("Containerfile"), text)?;
    let tag = format!("--tag={PAUSE_IMAGE}");
    store.run("building the image of pause", "build", &[tag, context.display().to_string()])?;
    let archive = format!("docker-archive:{}:{PAUSE_IMAGE}", workshop.result().join("pause.tar").display());
    store.run("keeping the image of pause", "push", &[PAUSE_IMAGE, &archive])?;
    Ok(())
}
