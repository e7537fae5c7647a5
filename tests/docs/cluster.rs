//! Control planes with a kubelet. Most scenes need an empty one and leave it whole, and to start one takes six seconds of
//! a processor: so it is emptied behind them, and the next scene gets it.

use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};

use devkit::control_plane::{ControlPlane, Options};
use devkit::go::SHORT_LIVED;

use crate::kubelet::Kubelet;

/// Ends what was installed and defined, as far as a fresh control plane has it not. Only then are the finalizers taken off:
/// an operator would put them back.
const EMPTY: &str = r#"set -euo pipefail
kubectl delete deployments --all --all-namespaces --wait=false
kubectl wait --for=delete pods --all --all-namespaces --timeout=60s
known=$(kubectl get crd --output=jsonpath='{.items[*].spec.names.plural}')
for kind in targets connections clusterconnections; do
  case " $known " in *" $kind "*) ;; *) continue ;; esac
  kubectl get $kind --all-namespaces --output=jsonpath='{range .items[*]}{.metadata.name} {.metadata.namespace}{"\n"}{end}' |
    while read -r name namespace; do
      kubectl --namespace "${namespace:-default}" patch $kind "$name" --type=merge --patch '{"metadata":{"finalizers":null}}'
    done
done
kubectl delete crd --all --timeout=60s
kubectl get clusterroles,clusterrolebindings --output=name --selector=app.kubernetes.io/name | xargs --no-run-if-empty kubectl delete
kubectl get namespaces --output=name | grep -v -E '/(default|kube-node-lease|kube-public|kube-system)$' |
  xargs --no-run-if-empty kubectl delete --timeout=60s
kubectl get configmaps,secrets,services,leases,roles,rolebindings,serviceaccounts,poddisruptionbudgets,events --output=name |
  grep -v -x -E 'configmap/kube-root-ca.crt|service/kubernetes|serviceaccount/default' | xargs --no-run-if-empty kubectl delete
rm -rf "$KUBECACHEDIR"
"#;

/// A control plane, and what stands for its node.
pub struct Cluster {
    // Ends before the control plane does.
    _kubelet: Kubelet,
    plane: Arc<ControlPlane>,
}

/// Those that nobody has at the moment.
struct Idle {
    empty: Vec<Cluster>,
    /// How many are being emptied.
    used: usize,
}

static IDLE: Mutex<Idle> = Mutex::new(Idle { empty: Vec::new(), used: 0 });
static EMPTIED: Condvar = Condvar::new();

impl Cluster {
    /// An empty one: of somebody who is done with it, or else a new one.
    pub fn take() -> Self {
        let mut idle = IDLE.lock().unwrap();
        loop {
            if let Some(cluster) = idle.empty.pop() {
                return cluster;
            }
            if idle.used == 0 {
                break;
            }
            idle = EMPTIED.wait(idle).unwrap();
        }
        drop(idle);
        Self::start()
    }

    fn start() -> Self {
        let plane = Arc::new(ControlPlane::start(Options::default()).unwrap());
        Self { _kubelet: Kubelet::start(Arc::clone(&plane)), plane }
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Empties it for others, while the caller goes on.
    pub fn give_back(self) {
        IDLE.lock().unwrap().used += 1;
        std::thread::spawn(move || {
            let emptied = self.empty();
            let mut idle = IDLE.lock().unwrap();
            idle.used -= 1;
            match emptied {
                Ok(()) => idle.empty.push(self),
                // Then it ends, and somebody starts a new one.
                Err(why) => eprintln!("a control plane was not emptied: {why}"),
            }
            EMPTIED.notify_all();
        });
    }

    fn empty(&self) -> Result<(), String> {
        let kubectl = self.plane.kubectl().parent().expect("a program is in a folder");
        let path = std::env::var("PATH").map_err(|error| error.to_string())?;
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", EMPTY]).env("PATH", format!("{}:{path}", kubectl.display())).env("KUBERC", "off");
        bash.env("KUBECONFIG", self.plane.kubeconfig()).env("KUBECACHEDIR", self.plane.dir().join("kubectl-cache"));
        let output = bash.envs(SHORT_LIVED).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        // What the pods logged: a scene is to find its own.
        for entry in std::fs::read_dir(self.plane.dir()).map_err(|error| error.to_string())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("pod-") {
                std::fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}
