//! A real node for the local control plane: kubelet, kube-proxy and kube-scheduler from the pinned module of the control
//! plane, containerd, runc and network plugins from Debian. All of it works in namespaces that [`room`] makes, so a
//! process that wants a node enters a room first and starts control plane, node and everything else in there.
//!
//! What a pod needs: the API server at its cluster address (kube-proxy), and this node's [`ADDRESS`] for all else. There
//! is no DNS, no way out and no second node. About 0.4 GB resident without the control plane.

mod cgroups;
mod programs;
pub mod room;
mod settings;

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use self::programs::Programs;
use crate::control_plane::ControlPlane;
use crate::host::wait_for;
use crate::supervisor::{Ending, Supervisor};

/// The node's own address inside of its room.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The name of the node.
pub const NAME: &str = "node0";
const READY_TIMEOUT: Duration = Duration::from_mins(1);
const LOG_LINES: usize = 15;
const DAEMONS: [&str; 4] = ["containerd", "kubelet", "kube-proxy", "kube-scheduler"];

/// A running node. It ends with the room.
#[derive(Debug)]
pub struct Node {
    supervisor: Supervisor,
    dir: PathBuf,
}

impl Node {
    /// Starts a node of `plane`, which must have been started with pods, and returns when it is Ready (about 5 s).
    /// `images` are archives as `docker save` writes them. Blocking.
    pub fn start(programs: &Programs, plane: &ControlPlane, images: &[PathBuf]) -> Result<Self> {
        let dir = room::dir().context("a node starts in a room: see node::room")?;
        let node = Self { supervisor: plane.supervisor().clone(), dir };
        node.start_containerd()?;
        for image in images.iter().chain([&programs.pause]) {
            node.import(image)?;
        }
        node.start_kubelet(programs, plane)?;
        let ready = ["get", "node", NAME, "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"];
        wait_for("the node to be Ready", READY_TIMEOUT, || {
            node.check_running()?;
            let output = plane.kubectl_command().args(ready).output().context("running kubectl")?;
            Ok((output.stdout == b"True").then_some(()))
        })
        .with_context(|| node.logs_tail())?;
        Ok(node)
    }

    /// The names of the images that containerd has.
    pub fn images(&self) -> Result<String> {
        self.ctr(&["images", "list", "--quiet"])
    }

    /// The end of each daemon's log, for the message of a failure.
    #[must_use]
    pub fn logs_tail(&self) -> String {
        let log = |name: &str| format!("--- {name}\n{}\n", self.supervisor.log_tail(name, LOG_LINES));
        DAEMONS.map(log).concat()
    }

    fn start_containerd(&self) -> Result<()> {
        fs::create_dir_all(self.dir.join("cni"))?;
        fs::write(self.dir.join("cni/10-bridge.conflist"), settings::NETWORK)?;
        let config = self.dir.join("containerd.toml");
        fs::write(&config, settings::containerd(&self.dir))?;
        let mut containerd = daemon("containerd");
        containerd.arg("--config").arg(config);
        self.supervisor.start("containerd", &containerd, Ending::Graceful)?;
        wait_for("containerd", READY_TIMEOUT, || {
            self.check_running()?;
            Ok(self.ctr(&["version"]).ok().map(drop))
        })
        .with_context(|| self.logs_tail())
    }

    fn import(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import", &archive.display().to_string()]).map(drop)
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(settings::socket(&self.dir)).args(["--namespace", "k8s.io"]).args(arguments);
        let output = ctr.output().context("running ctr")?;
        if !output.status.success() {
            bail!("ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn start_kubelet(&self, programs: &Programs, plane: &ControlPlane) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().display());
        let config = self.dir.join("kubelet.yaml");
        fs::write(&config, settings::kubelet(&self.dir, &cgroups::root()))?;
        let command = |name: &str| {
            let mut command = daemon(programs.kubernetes.join(name));
            command.arg(&kubeconfig).current_dir(&self.dir);
            command
        };
        let mut scheduler = command("kube-scheduler");
        scheduler.args(["--leader-elect=false", "--secure-port=0"]);
        self.supervisor.start("kube-scheduler", &scheduler, Ending::Abrupt)?;
        let mut proxy = command("kube-proxy");
        // The kernel's limits of connection tracking are those of the machine, which are not ours to change.
        proxy
            .args(["--proxy-mode=iptables", "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0"])
            .args(["--conntrack-tcp-timeout-close-wait=0", "--healthz-bind-address=127.0.0.1:10256"])
            .args(["--metrics-bind-address=127.0.0.1:10249", &format!("--hostname-override={NAME}")])
            .arg(format!("--cluster-cidr={}", settings::PODS));
        self.supervisor.start("kube-proxy", &proxy, Ending::Abrupt)?;
        let mut kubelet = command("kubelet");
        kubelet
            .arg(format!("--config={}", config.display()))
            .arg(format!("--root-dir={}", self.dir.join("kubelet").display()))
            .arg(format!("--cert-dir={}", self.dir.join("kubelet-certificates").display()))
            .args([format!("--hostname-override={NAME}"), format!("--node-ip={ADDRESS}")]);
        self.supervisor.start("kubelet", &kubelet, Ending::Abrupt)
    }

    fn check_running(&self) -> Result<()> {
        match DAEMONS.into_iter().find(|name| self.supervisor.exit_code(name).is_some()) {
            Some(name) => bail!("{name} has ended\n{}", self.supervisor.log_tail(name, LOG_LINES)),
            None => Ok(()),
        }
    }
}

/// A daemon with the umask of one: with a supervisor's stricter one, no container's user may enter its root directory.
fn daemon(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$@\"", "sh"]).arg(program);
    command
}
