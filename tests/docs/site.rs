//! Where the commands of a document run: an empty control plane, the stand-in for ZITADEL, a copy of what the repository
//! has, and a PATH with kubectl, helm and the operator. Nothing of the person who runs the test is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devkit::control_plane::ControlPlane;
use devkit::go::SHORT_LIVED;
use futures::executor::block_on;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use zitadel_stand_in::{Generation, Options, StandIn};

use crate::cluster::Cluster;
use crate::kubelet::logs;
use crate::markdown::root;
use crate::shell::{Said, run};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// What of the repository a document may name.
const FILES: [&str; 4] = ["charts", "crds", "examples", "integrations"];

/// How many sites there are at once, but for a second one beside another. They are bound by the processor, and the fewer there
/// are, the more find a control plane that somebody is done with.
static SEATS: Semaphore = Semaphore::const_new(5);

/// The release and namespace that most documents speak of.
pub const RELEASE: &str = "zitadel-actions";

/// There is no node, so what a pod has logged is in a file: what `kubectl logs` names has to exist, and then its log is
/// shown. Everything else is kubectl's.
const KUBECTL: &str = r#"#!/bin/bash
logs=no
words=()
for word in "$@"; do
  case "$word" in
    logs) logs=yes; words+=(get) ;;
    --tail=* | --since=* | --previous | --all-pods | --follow | -f) [ "$logs" = yes ] || words+=("$word") ;;
    *) words+=("$word") ;;
  esac
done
[ "$logs" = yes ] || exec REAL "$@"
REAL "${words[@]}" > /dev/null && cat "$POD_LOGS"/pod-*.log
"#;

/// A place.
pub struct Site {
    /// `None` only while another one takes its place.
    cluster: Option<Cluster>,
    /// Whether the cluster is as good as another one when it has been emptied.
    whole: AtomicBool,
    pub zitadel: StandIn,
    folder: tempfile::TempDir,
    // Given back with the place.
    _seat: Option<SemaphorePermit<'static>>,
}

impl Site {
    /// An empty cluster, and a ZITADEL of this generation. The file `pat.txt` has its token.
    pub fn new(generation: Generation) -> Self {
        let seat = block_on(SEATS.acquire()).expect("nobody closes it");
        let options = Options { external_domain: Some("auth.example.com".into()), ..Options::new(generation) };
        Self::with(block_on(StandIn::start(options)).unwrap(), Some(seat))
    }

    /// An empty cluster beside another one, whose ZITADEL it shares.
    pub fn beside(zitadel: StandIn) -> Self {
        Self::with(zitadel, None)
    }

    fn with(zitadel: StandIn, seat: Option<SemaphorePermit<'static>>) -> Self {
        let cluster = Some(Cluster::take());
        let folder = tempfile::tempdir().unwrap();
        let site = Self { cluster, whole: AtomicBool::new(true), zitadel, folder, _seat: seat };
        for place in ["bin", "home", "work"] {
            std::fs::create_dir(site.folder.path().join(place)).unwrap();
        }
        for name in FILES {
            let copied = Command::new("cp").arg("-r").arg(root().join(name)).arg(site.work()).status().unwrap();
            assert!(copied.success());
        }
        site.write("pat.txt", &site.zitadel.token());
        let bin = site.folder.path().join("bin");
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, bin.join(name)).unwrap();
        link("helm", &devkit::tools::helm::ensure().unwrap());
        link("zitadel-actions-operator", Path::new(env!("CARGO_BIN_EXE_zitadel-actions-operator")));
        site.link_kubectl();
        site
    }

    fn link_kubectl(&self) {
        let kubectl = self.folder.path().join("bin/kubectl");
        std::fs::write(&kubectl, KUBECTL.replace("REAL", self.plane().kubectl().to_str().unwrap())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(kubectl, mode).unwrap();
    }

    /// Another cluster, an empty one, in place of this one. ZITADEL and the files stay.
    pub fn renew(&mut self) {
        let other = Cluster::take();
        self.give_back();
        self.cluster = Some(other);
        *self.whole.get_mut() = true;
    }

    fn give_back(&mut self) {
        // What a failed scene leaves is for nobody else.
        if let Some(cluster) = self.cluster.take()
            && *self.whole.get_mut()
            && !std::thread::panicking()
        {
            cluster.give_back();
        }
    }

    pub fn plane(&self) -> &ControlPlane {
        self.cluster.as_ref().expect("it is there but in between").plane()
    }

    /// See [`ControlPlane::with_etcd_stopped`]. Nobody else gets this cluster any more.
    pub fn with_etcd_stopped(&self, work: impl FnOnce(&Path) -> anyhow::Result<()>) {
        self.whole.store(false, Ordering::Relaxed);
        self.plane().with_etcd_stopped(work).unwrap();
    }

    /// The folder in which commands run.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A file there.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn environment(&self) -> Vec<(String, String)> {
        let home = self.folder.path().join("home");
        let bin = self.folder.path().join("bin");
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut all = vec![("PATH", path), ("KUBERC", "off".into()), ("LC_ALL", "C.UTF-8".into())];
        all.push(("KUBECONFIG", text(self.plane().kubeconfig().to_owned())));
        all.push(("KUBECACHEDIR", text(self.plane().dir().join("kubectl-cache"))));
        all.push(("POD_LOGS", text(self.plane().dir().to_owned())));
        for name in ["CACHE", "CONFIG", "DATA"] {
            all.push((
                match name {
                    "CACHE" => "HELM_CACHE_HOME",
                    "CONFIG" => "HELM_CONFIG_HOME",
                    _ => "HELM_DATA_HOME",
                },
                text(home.join(name)),
            ));
        }
        all.push(("HOME", text(home)));
        all.extend(SHORT_LIVED.map(|(name, value)| (name, value.to_owned())));
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Runs commands of the document, in a folder below the files.
    pub fn run(&self, script: &str, folder: &str) -> Said {
        run(script, &self.work().join(folder), &self.folder.path().join("state"), &self.environment())
    }

    /// Runs commands of the scene, which have to succeed.
    pub fn sh(&self, script: &str) -> String {
        let state = self.folder.path().join("scene");
        let said = run(script, &self.work(), &state, &self.environment());
        assert!(said.code == 0, "the scene could not be set: {script}\n{}\n{}", said.text, self.explain());
        said.text
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        self.write(".scene.yaml", manifests);
        self.sh("kubectl apply --filename .scene.yaml");
    }

    /// The chart's release in a namespace, with a Secret beside it and further values; returns when it is rolled out.
    pub fn install(&self, namespace: &str, values: &str) {
        let token = std::fs::read_to_string(self.work().join("pat.txt")).unwrap();
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\napiVersion: v1\nkind: Secret\nmetadata: \
             {{name: iam-admin-pat, namespace: {namespace}}}\nstringData: {{pat: '{token}'}}\n"
        ));
        self.sh(&format!(
            "helm upgrade --install {RELEASE} charts/zitadel-actions-operator --namespace {namespace} \
               --set zitadel.url={},zitadel.allowHttp=true,zitadel.timeoutSeconds=2,resyncIntervalSeconds=1,'zitadel.adoption.allowedNamespaces.names={{*}}',{values}
             kubectl --namespace {namespace} rollout status deployment/zitadel-actions-operator",
            self.zitadel.url()
        ));
    }

    /// A Target that is Ready.
    pub fn target(&self, name: &str) {
        self.apply(&manifest(name, ""));
        self.sh(&format!("kubectl wait --for=condition=Ready target/{name} --timeout=60s"));
    }

    /// An object of the namespace default.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let mut kubectl = self.plane().kubectl_command();
        kubectl.args(["get", "--output=json", "--ignore-not-found", kind, name]).stderr(Stdio::null());
        serde_json::from_slice(&kubectl.output().unwrap().stdout).ok()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", self.explain());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Everything that helps to understand a failure.
    pub fn explain(&self) -> String {
        let mut kubectl = self.plane().kubectl_command();
        kubectl.args(["get", "--all-namespaces", "targets,connections,deployments,pods,events", "--output=wide"]);
        let objects = kubectl.output().map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
        let log = logs(self.plane().dir());
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("{}\n--- operator\n{end}\n--- {}", objects.unwrap_or_default(), self.zitadel.dump())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A Target with a webhook, and more of a spec, indented by two.
pub fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: zitadel-actions.dev/v1alpha1\nkind: Target\nmetadata:\n  name: {name}\nspec:\n  \
         restWebhook: {{interruptOnError: false}}\n  timeout: 10s\n  endpoint: https://hooks.example.com/zitadel\n{spec}"
    )
}
