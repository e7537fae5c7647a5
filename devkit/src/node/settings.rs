//! The configuration files of a node: what a sandbox without systemd, without limits to change and without DNS needs.

use std::path::{Path, PathBuf};

/// The addresses of pods.
pub(super) const PODS: &str = "10.88.0.0/16";

/// Pods share one bridge with the node; nothing is masqueraded, since nothing leaves.
pub(super) const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "bridge", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
"#;

pub(super) fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

/// For containerd 1.6. A sandbox may not lower its own out-of-memory score, hence `restrict_oom_score_adj`.
pub(super) fn containerd(dir: &Path) -> String {
    let (socket, dir) = (socket(dir), dir.display());
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/containerd-state"
[grpc]
  address = "{}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        socket.display(),
        super::programs::PAUSE_IMAGE,
    )
}

/// A kubelet that works in a part of the cgroups, evicts nothing before the machine is really full, and takes orders
/// from whoever reaches it: in its network there is nobody else.
pub(super) fn kubelet(dir: &Path, cgroup: &str) -> String {
    let (socket, dir) = (socket(dir), dir.display());
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
containerRuntimeEndpoint: unix://{}
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
failSwapOn: false
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
enforceNodeAllocatable: [pods]
clusterDomain: cluster.local
podLogsDir: {dir}/pod-logs
volumePluginDir: {dir}/volume-plugins
makeIPTablesUtilChains: false
resolvConf: ''
",
        socket.display()
    )
}
