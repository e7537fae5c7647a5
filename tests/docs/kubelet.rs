//! Stands for a kubelet: for each pod of the operator it runs the operator as the pod says, under the pod's ServiceAccount,
//! with its volumes filled from Secrets, and tells the API server how it goes. So Deployments roll out by the real controllers.
//!
//! What differs from a pod: the binary in place of the image, paths of volumes, and the address, a free port on loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use devkit::control_plane::ControlPlane;
use devkit::host::http_get;
use devkit::supervisor::{Ending, Signal};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};

use crate::pod::{self, PodOnDesk};

const NODE: &str = "desk";
const POLL: Duration = Duration::from_millis(200);
/// The pods of the chart, by its own label.
const OURS: &str = "app.kubernetes.io/name=zitadel-actions-operator";

/// It ends, and with it what it runs, when this is dropped.
pub struct Kubelet {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A pod that runs, or ends.
struct Running {
    name: String,
    namespace: String,
    process: String,
    http: u16,
    ready: bool,
    ending: bool,
}

struct Desk {
    plane: Arc<ControlPlane>,
    client: Client,
    folder: tempfile::TempDir,
    running: BTreeMap<String, Running>,
}

impl Kubelet {
    pub fn start(plane: Arc<ControlPlane>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut node = Desk::new(plane).await;
                while !stopped.load(Ordering::Relaxed) {
                    // The API server may be away, or an object change meanwhile: the next round looks again.
                    if let Err(error) = node.round().await {
                        eprintln!("kubelet: {error}");
                    }
                    tokio::time::sleep(POLL).await;
                }
                node.end();
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and what it ran ends with the control plane.
            let _ = thread.join();
        }
    }
}

impl Desk {
    async fn new(plane: Arc<ControlPlane>) -> Self {
        devkit::host::install_crypto();
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
        Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await.unwrap();
        Self { plane, client, folder: tempfile::tempdir().unwrap(), running: BTreeMap::new() }
    }

    async fn round(&mut self) -> kube::Result<()> {
        let pods = Api::<Pod>::all(self.client.clone()).list(&ListParams::default().labels(OURS)).await?;
        for pod in &pods {
            let uid = pod.uid().unwrap_or_default();
            match (self.running.get(&uid), &pod.metadata.deletion_timestamp) {
                (None, None) => self.begin(pod, uid).await?,
                (None, Some(_)) => self.forget(pod).await?,
                (Some(_), deleted) => {
                    let deleted = deleted.is_some();
                    self.mount(&serde_json::to_value(&pod.spec).unwrap(), &pod.namespace().unwrap(), &uid).await?;
                    self.follow(pod, &uid, deleted).await?;
                }
            }
        }
        // Deleted at once, without a grace.
        let known: Vec<String> = pods.iter().filter_map(ResourceExt::uid).collect();
        let vanished: Vec<String> = self.running.keys().filter(|uid| !known.contains(uid)).cloned().collect();
        for uid in vanished {
            if let Some(running) = self.running.remove(&uid) {
                let _ = self.plane.supervisor().signal(&running.process, Signal::Terminate);
            }
        }
        Ok(())
    }

    async fn begin(&mut self, pod: &Pod, uid: String) -> kube::Result<()> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap());
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if !bound {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let _: Value = pods.create_subresource("binding", &name, &PostParams::default(), &binding).await?;
        }
        let spec = serde_json::to_value(&pod.spec).unwrap();
        self.mount(&spec, &namespace, &uid).await?;
        let kubeconfig = self.kubeconfig(&namespace, spec["serviceAccountName"].as_str().unwrap(), &uid).await?;
        let http = devkit::host::free_port().unwrap();
        let own = serde_json::to_value(pod).unwrap();
        let field = |path: &str| own.pointer(&format!("/{}", path.replace('.', "/"))).and_then(Value::as_str);
        let volumes = self.volumes(&uid);
        let desk = PodOnDesk { spec: &spec, volumes: &volumes };
        let command = desk.command(&self.plane, http, &kubeconfig, |path| field(path).unwrap_or_default());
        let process = format!("pod-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.plane.supervisor().start(&process, &command, Ending::Abrupt).unwrap();
        self.running.insert(uid, Running { name, namespace, process, http, ready: false, ending: false });
        Ok(())
    }

    /// Tells readiness, and ends what is to be deleted.
    async fn follow(&mut self, pod: &Pod, uid: &str, deleted: bool) -> kube::Result<()> {
        let running = self.running.get_mut(uid).expect("the caller has found it");
        if deleted && !running.ending {
            running.ending = true;
            let _ = self.plane.supervisor().signal(&running.process, Signal::Terminate);
        }
        let ended = self.plane.supervisor().exit_code(&running.process);
        if deleted {
            return if ended.is_some() { self.forget(pod).await } else { Ok(()) };
        }
        if ended.is_some() {
            // It is started again, in the next round.
            self.running.remove(uid);
            return Ok(());
        }
        let ready = answers(running.http, "/readyz").await;
        if ready != running.ready {
            running.ready = ready;
            let status = if ready { "True" } else { "False" };
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
                .map(|kind| json!({"type": kind, "status": status, "lastTransitionTime": now}))
                .to_vec();
            let patch = json!({"status": {"phase": "Running", "startTime": now, "conditions": conditions}});
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &running.namespace);
            pods.patch_status(&running.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    /// The pod is over.
    async fn forget(&self, pod: &Pod) -> kube::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// The volumes hold what the Secrets hold now.
    async fn mount(&self, spec: &Value, namespace: &str, uid: &str) -> kube::Result<()> {
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let folder = self.volumes(uid).join(volume["name"].as_str().unwrap());
            std::fs::create_dir_all(&folder).unwrap();
            let Some(name) = volume["secret"]["secretName"].as_str() else { continue };
            let secret = Api::<Secret>::namespaced(self.client.clone(), namespace).get_opt(name).await?;
            for item in volume["secret"]["items"].as_array().into_iter().flatten() {
                let (key, path) = (item["key"].as_str().unwrap(), item["path"].as_str().unwrap());
                let content = secret.as_ref().and_then(|secret| secret.data.as_ref()?.get(key));
                let file = folder.join(path);
                match content {
                    Some(content) if std::fs::read(&file).is_ok_and(|old| old == content.0) => {}
                    Some(content) => pod::write(&file, &content.0),
                    None => drop(std::fs::remove_file(file)),
                }
            }
        }
        Ok(())
    }

    /// The folder of a pod's volumes.
    fn volumes(&self, uid: &str) -> PathBuf {
        self.folder.path().join(uid)
    }

    /// With a token of the ServiceAccount, as a kubelet gets it.
    async fn kubeconfig(&self, namespace: &str, account: &str, uid: &str) -> kube::Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest::default();
        let token = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let path = self.folder.path().join(format!("{uid}.kubeconfig"));
        pod::write_kubeconfig(&self.plane, &token.status.as_ref().unwrap().token, &path);
        Ok(path)
    }

    fn end(&self) {
        for running in self.running.values() {
            let _ = self.plane.supervisor().signal(&running.process, Signal::Kill);
        }
    }
}

async fn answers(port: u16, path: &str) -> bool {
    http_get(port, path).await.is_some_and(|(status, _)| status == 200)
}

/// Everything that the operators of a control plane have logged.
pub fn logs(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pod-") && name.ends_with(".log")
    });
    files.sort();
    files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
}
