//! A cluster of its own with the real Argo CD, installed as docs/argocd.md says, and a Git repository that it reads. No
//! CRD of ours is there before Argo CD brings it.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use devkit::control_plane::{ControlPlane, Options};
use devkit::host::free_port;
use devkit::supervisor::Ending;
use devkit::tools::argocd::Part;
use devkit::tools::helm;
use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{Said, kubectl};
use crate::git::Repository;
use crate::judges::argo_cd;
use crate::snippets;

/// Longest wait for a condition. Argo CD backs off for up to a minute after a failed comparison.
const PATIENCE: Duration = Duration::from_secs(150);
const REFRESH: &str = "argocd.argoproj.io/refresh";

/// How an Application stood at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub app: String,
    pub sync: String,
    pub health: String,
    /// Of the last or current operation.
    pub phase: String,
    pub message: String,
}

/// Argo CD and its cluster. All of it ends with the value, or with the process.
pub struct Argo {
    plane: ControlPlane,
    pub client: Client,
    pub repository: Repository,
    history: Arc<Mutex<Vec<Moment>>>,
    watching: JoinHandle<()>,
}

impl Argo {
    /// A running Argo CD; nothing is deployed by it yet.
    pub async fn start() -> Self {
        let plane =
            tokio::task::spawn_blocking(|| ControlPlane::start(Options::default()).expect("the control plane starts"));
        Self::on(plane.await.expect("the control plane starts")).await
    }

    /// The same, in a control plane that runs already.
    pub async fn on(plane: ControlPlane) -> Self {
        let plane = tokio::task::spawn_blocking(move || {
            install(&plane);
            run(&plane).expect("Argo CD starts");
            plane
        });
        let plane = plane.await.expect("Argo CD is installed");
        // Both kube and the operator's own client use ring; the first one installed wins.
        devkit::host::install_crypto();
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let history = Arc::<Mutex<Vec<Moment>>>::default();
        let apps = api(&client, "argoproj.io/v1alpha1", "Application", "argocd");
        // Beside Argo CD's own files: however this process ends, they go.
        let repository = Repository::new(plane.dir().join("repository"));
        let watching = tokio::spawn(watch(apps, Arc::clone(&history)));
        Self { plane, client, repository, history, watching }
    }

    /// Starts a program in this cluster.
    pub fn run(&self, name: &str, command: &Command) {
        self.plane.supervisor().start(name, command, Ending::Abrupt).expect("the program starts");
    }

    pub fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }

    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> Said {
        kubectl(&self.plane, arguments, stdin)
    }

    /// An object, if it is there; also if its kind is not known.
    pub async fn get(&self, (version, kind): (&str, &str), namespace: &str, name: &str) -> Option<Value> {
        let found = api(&self.client, version, kind, namespace).get_opt(name).await.ok().flatten();
        found.map(|object| serde_json::to_value(&object).unwrap())
    }

    pub async fn app(&self, name: &str) -> Option<Value> {
        self.get(("argoproj.io/v1alpha1", "Application"), "argocd", name).await
    }

    /// Has Argo CD look at Git now, as a webhook would, and waits until it has.
    pub async fn refresh(&self, app: &str, how: &str) {
        let apps = api(&self.client, "argoproj.io/v1alpha1", "Application", "argocd");
        let patch = Patch::Merge(json!({"metadata": {"annotations": {(REFRESH): how}}}));
        apps.patch(app, &PatchParams::default(), &patch).await.expect("the Application is there");
        let looked = || async {
            let app = self.app(app).await?;
            app["metadata"]["annotations"].get(REFRESH).is_none().then_some(())
        };
        self.until_some(&format!("Argo CD has looked at {app}"), looked).await;
    }

    /// Waits until an Application has this revision and is in sync and healthy.
    pub async fn settled(&self, app: &str, revision: &str) {
        let settled = || async {
            let status = self.app(app).await?["status"].clone();
            let done = status["operationState"]["phase"] == "Succeeded" && status["sync"]["status"] == "Synced";
            (done && status["sync"]["revision"] == revision && status["health"]["status"] == "Healthy").then_some(())
        };
        self.until_some(&format!("{app} is Synced and Healthy at {revision}"), settled).await;
    }

    /// What has been seen of an Application, repetitions left out.
    pub fn history(&self, app: &str) -> Vec<Moment> {
        self.history.lock().unwrap().iter().filter(|moment| moment.app == app).cloned().collect()
    }

    /// How much has been seen so far, to look at what comes after.
    pub fn mark(&self) -> usize {
        self.history.lock().unwrap().len()
    }

    /// What has been seen of an Application since a mark.
    pub fn since(&self, mark: usize, app: &str) -> Vec<Moment> {
        self.history.lock().unwrap()[mark..].iter().filter(|moment| moment.app == app).cloned().collect()
    }

    pub async fn until_some<T, F: Future<Output = Option<T>>>(&self, what: &str, probe: impl Fn() -> F) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", self.explain());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn explain(&self) -> String {
        let log = |name: &str| format!("--- {name}\n{}", self.plane.supervisor().log_tail(name, 15));
        let logs = ["argocd-repo-server", "argocd-controller", "operator"].map(log).join("\n");
        let resources = "jsonpath={range .items[*]}{.metadata.name}: {.status.resources}{\"\\n\"}{.status.conditions}{\"\\n\"}{end}";
        let apps = self.kubectl(&["get", "applications", "-n", "argocd", "-o", resources], "").out;
        let ours = self.kubectl(&["get", "targets,connections", "-A", "-o", "yaml"], "").out;
        format!("{apps}\n{ours}\n{logs}\n{:#?}", self.history.lock().unwrap())
    }
}

impl Drop for Argo {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn api(client: &Client, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn watch(apps: Api<DynamicObject>, history: Arc<Mutex<Vec<Moment>>>) {
    let mut stream = Box::pin(watcher(apps, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(event) = stream.next().await {
        let Ok(app) = event else { continue };
        let text = |path: &str| app.data.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned();
        let moment = Moment {
            app: app.name_any(),
            sync: text("/status/sync/status"),
            health: text("/status/health/status"),
            phase: text("/status/operationState/phase"),
            message: text("/status/operationState/message"),
        };
        let mut history = history.lock().unwrap();
        if history.iter().rev().find(|seen| seen.app == moment.app) != Some(&moment) {
            history.push(moment);
        }
    }
}

/// The CRDs and the configuration of Argo CD, with our scripts added as a user adds them.
fn install(plane: &ControlPlane) {
    let run = |arguments: &[&str], stdin: &str| {
        let said = kubectl(plane, arguments, stdin);
        assert!(said.ok, "kubectl {arguments:?}: {}", said.err);
    };
    run(&["apply", "--server-side", "-f", argo_cd().crds().to_str().unwrap()], "");
    // kubectl does not wait for a definition without any condition; it fails.
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    let established = || Ok(kubectl(plane, &wait, "").ok.then_some(()));
    devkit::host::wait_for("Argo CD's definitions", Duration::from_secs(30), established).unwrap();
    run(&["create", "namespace", "argocd"], "");
    let labels = json!({"app.kubernetes.io/part-of": "argocd"});
    let metadata = |name: &str| json!({"name": name, "namespace": "argocd", "labels": labels});
    let project = json!({
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    });
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("argocd-cm")}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("argocd-rbac-cm")}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("argocd-secret"), "stringData": {"server.secretkey": "unused"}}),
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata("default"), "spec": project}),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    run(&["apply", "-f", "-"], &list.to_string());
    for file in ["argocd-cm.yaml", "examples/application-health.yaml"] {
        let path = snippets::folder().join(file);
        run(&["-n", "argocd", "patch", "configmap", "argocd-cm", "--patch-file", path.to_str().unwrap()], "");
    }
}

/// Redis, repo server and controller, each on loopback.
fn run(plane: &ControlPlane) -> anyhow::Result<()> {
    let dir = plane.dir().join("argocd");
    for folder in ["tls", "ssh", "gpg", "gpg-source", "plugins", "tmp", "home"] {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    let redis = format!("127.0.0.1:{}", free_port()?);
    let repo_port = free_port()?.to_string();
    let mut command = argo_cd().command(Part::Redis);
    plane.supervisor().start("argocd-redis", command.arg(&redis), Ending::Abrupt)?;

    let mut command = prepared(Part::RepoServer, plane, &dir)?;
    command.args(["--address", "127.0.0.1", "--port", &repo_port, "--redis", &redis]).args([
        "--metrics-address",
        "127.0.0.1",
        "--metrics-port",
        &free_port()?.to_string(),
    ]);
    plane.supervisor().start("argocd-repo-server", &command, Ending::Abrupt)?;

    let mut command = prepared(Part::Controller, plane, &dir)?;
    command
        .args(["--namespace", "argocd", "--redis", &redis, "--repo-server", &format!("127.0.0.1:{repo_port}")])
        .args(["--metrics-port", &free_port()?.to_string()])
        // Once in a while its cache of a cluster that just got CRDs misses a change; by default it looks again after two
        // minutes.
        .args(["--app-resync", "10", "--app-resync-jitter", "0"])
        // So that a failure can tell which object was waited for.
        .arg("--persist-resource-health");
    plane.supervisor().start("argocd-controller", &command, Ending::Abrupt)?;
    Ok(())
}

fn prepared(part: Part, plane: &ControlPlane, dir: &Path) -> anyhow::Result<Command> {
    let helm = helm::ensure()?;
    let mut path = vec![argo_cd().scripts()];
    path.extend(helm.parent().map(Path::to_owned));
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = argo_cd().command(part);
    command
        .current_dir(dir)
        .env("PATH", std::env::join_paths(path)?)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("HOSTNAME", "argocd-0")
        .env("HOME", dir.join("home"))
        .env("TMPDIR", dir.join("tmp"))
        // The cluster that it runs in is the one of KUBECONFIG.
        .env("ARGOCD_FAKE_IN_CLUSTER", "true")
        .env("ARGOCD_GPG_ENABLED", "false")
        .env("ARGOCD_GNUPGHOME", dir.join("gpg"))
        .env("ARGOCD_GPG_DATA_PATH", dir.join("gpg-source"))
        .env("ARGOCD_TLS_DATA_PATH", dir.join("tls"))
        .env("ARGOCD_SSH_DATA_PATH", dir.join("ssh"))
        .env("ARGOCD_PLUGINSOCKFILEPATH", dir.join("plugins"));
    Ok(command)
}
