//! A release on a real API server, and the operator that its Deployment describes, run as a kubelet would run it: its
//! arguments and environment, its volumes filled from Secrets, its ServiceAccount's own token. No pod runs: what differs
//! is the binary in place of the image, the paths of the volumes, and the address, which is a free port on loopback.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devkit::supervisor::{Ending, Signal};
use futures::executor::block_on;
use serde_json::{Value, json};
use zitadel_stand_in::{Op, Options, StandIn};

use crate::cluster::{Cluster, PATIENCE, answers};
use crate::helm;
use crate::pod::{self, PodOnDesk};

/// How often conditions are looked at.
const POLL: Duration = Duration::from_millis(100);

/// A place where the operator is installed, and the ZITADEL beside it.
pub struct Installation<'a> {
    pub cluster: &'a Cluster,
    pub zitadel: StandIn,
    pub namespace: String,
    folder: tempfile::TempDir,
    volumes: PathBuf,
    running: Option<Operator>,
}

/// A running operator.
struct Operator {
    name: String,
    http: u16,
    ready: String,
}

impl<'a> Installation<'a> {
    /// Nothing is installed yet. The namespace exists.
    pub fn new(cluster: &'a Cluster, namespace: String) -> Self {
        let zitadel = block_on(StandIn::start(Options::default())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let volumes = folder.path().join("volumes");
        Self { cluster, zitadel, namespace, folder, volumes, running: None }
    }

    /// Values for a default connection to the stand-in, with everything done soon.
    pub fn values(&self) -> Value {
        json!({
            "zitadel": {"url": self.zitadel.url(), "allowHttp": true, "timeoutSeconds": 5},
            "resyncIntervalSeconds": 1,
            "log": {"format": "human", "level": "zitadel_actions_operator=trace,info"},
        })
    }

    /// Runs helm on this cluster and namespace.
    pub fn helm(&self, arguments: &[&str], values: &Value) -> Result<String, String> {
        let mut command = helm::command();
        command.args(arguments).arg("--namespace").arg(&self.namespace);
        helm::run(command.arg("--kubeconfig").arg(self.cluster.plane().kubeconfig()), values)
    }

    /// An object of the namespace.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.look(&self.namespace, kind, name)
    }

    /// All Events of the namespace.
    pub fn events(&self) -> Vec<Value> {
        let list = self.cluster.read(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace));
        list.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
    }

    /// kubectl in the namespace.
    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, (String, i32)> {
        self.cluster.kubectl(&[&["--namespace", &self.namespace], arguments].concat(), stdin)
    }

    pub fn secret(&self, name: &str, data: Value) {
        let metadata = json!({"name": name, "namespace": self.namespace});
        self.cluster.apply(&[json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})]);
    }

    /// The only Deployment of the namespace.
    pub fn deployment(&self) -> Value {
        let all = self.cluster.get(&["--namespace", &self.namespace, "deployments"]).unwrap();
        assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
        all["items"][0].clone()
    }

    /// The arguments of its container.
    pub fn arguments(&self) -> Vec<String> {
        texts(&self.deployment()["spec"]["template"]["spec"]["containers"][0]["args"])
    }

    /// Starts what the Deployment describes, in place of what ran before, and does not wait for it.
    pub fn start(&mut self) {
        self.stop();
        self.running = Some(self.spawn());
    }

    /// Starts another pod of the Deployment beside the one that runs, and ends that one as soon as the other stands by and
    /// `watches` the Lease: before that it would find the release without it.
    pub fn relieve(&mut self, watches: impl Fn() -> bool) {
        let other = self.spawn();
        let log = || self.cluster.plane().supervisor().log_tail(&other.name, 200);
        self.until("another pod stands by", || (log().contains("standing by") && watches()).then_some(()));
        self.stop();
        self.running = Some(other);
    }

    fn spawn(&self) -> Operator {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("chart-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let http = devkit::host::free_port().unwrap();
        let pod = &self.deployment()["spec"]["template"]["spec"];
        self.mount(pod);
        let kubeconfig = self.kubeconfig(pod["serviceAccountName"].as_str().unwrap());
        let command = self.on_desk(pod).command(self.cluster.plane(), http, &kubeconfig, |field| match field {
            "metadata.namespace" => &self.namespace,
            "metadata.name" => &name,
            _ => panic!("{field} of a pod"),
        });
        self.cluster.plane().supervisor().start(&name, &command, Ending::Abrupt).unwrap();
        let ready = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].as_str().unwrap().to_owned();
        Operator { name, http, ready }
    }

    /// What a kubelet does again and again: the volumes hold what the Secrets hold now.
    pub fn mount(&self, pod: &Value) {
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let folder = self.on_desk(pod).volume(volume["name"].as_str().unwrap());
            std::fs::create_dir_all(&folder).unwrap();
            let source = &volume["secret"];
            let secret = self.get("secret", source["secretName"].as_str().unwrap());
            assert!(secret.is_some() || source["optional"] == true, "{volume}");
            for item in source["items"].as_array().unwrap() {
                let (key, path) = (item["key"].as_str().unwrap(), item["path"].as_str().unwrap());
                let content = secret.as_ref().and_then(|secret| secret["data"][key].as_str());
                if let Some(content) = content {
                    pod::write(&folder.join(path), &decoded(content));
                }
            }
        }
    }

    fn on_desk<'b>(&'b self, pod: &'b Value) -> PodOnDesk<'b> {
        PodOnDesk { spec: pod, volumes: &self.volumes }
    }

    /// With a token of the ServiceAccount, from the TokenRequest API as a kubelet gets it.
    fn kubeconfig(&self, account: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", account], "").unwrap();
        let path = self.folder.path().join("kubeconfig");
        pod::write_kubeconfig(self.cluster.plane(), token.trim(), &path);
        path
    }

    /// Whether the readiness probe of the Deployment succeeds.
    pub fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|operator| answers(operator.http, &operator.ready))
    }

    /// Starts it and waits until it is ready.
    pub fn start_ready(&mut self) {
        self.start();
        self.until("the operator is ready", || self.is_ready().then_some(()));
    }

    /// Ends it as a kubelet does.
    pub fn stop(&mut self) {
        if let Some(operator) = self.running.take() {
            let supervisor = self.cluster.plane().supervisor();
            supervisor.signal(&operator.name, Signal::Terminate).unwrap();
            let code = supervisor.wait_for_exit(&operator.name, PATIENCE).unwrap();
            assert_eq!(code, 0, "{}", supervisor.log_tail(&operator.name, 40));
        }
    }

    /// Ends it at once, whatever it is doing.
    pub fn stop_hard(&mut self) {
        if let Some(operator) = self.running.take() {
            self.cluster.plane().supervisor().stop(&operator.name).unwrap();
        }
    }

    /// The end of the log of the operator that runs.
    pub fn log(&self) -> String {
        let name = self.running.as_ref().map_or("", |operator| &operator.name);
        self.cluster.plane().supervisor().log_tail(name, 60)
    }

    /// Waits for something to be there.
    pub fn until<T>(&self, what: &str, probe: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = probe() {
                return found;
            }
            let explain = || format!("{}\n{}", self.log(), self.zitadel.dump());
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", explain());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a Target of the namespace is Ready for its newest generation.
    pub fn target_ready(&self, name: &str) -> Value {
        self.until(&format!("{name} is Ready"), || self.get("target", name).filter(is_ready))
    }

    /// Waits until the operator has compared this many times more with ZITADEL.
    pub fn resyncs(&self, count: usize) {
        let lists = || self.zitadel.calls().iter().filter(|call| call.op == Some(Op::List)).count();
        let before = lists();
        self.until("resyncs happen", || (lists() >= before + count).then_some(()));
    }
}

impl Drop for Installation<'_> {
    fn drop(&mut self) {
        if let Some(operator) = &self.running {
            // The supervisor ends what is left in any case.
            let _ = self.cluster.plane().supervisor().signal(&operator.name, Signal::Kill);
        }
    }
}

/// (status, reason, message) of a condition.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let found = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether an object is Ready for its newest generation.
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready").is_some_and(|(status, ..)| status == "True")
}

/// A Target with a webhook.
pub fn target(name: &str, spec: Value) -> Value {
    let usual = json!({"restWebhook": {"interruptOnError": false}, "timeout": "10s", "endpoint": "https://hooks.example.com/zitadel"});
    json!({"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target", "metadata": {"name": name}, "spec": helm::merged(&usual, &spec)})
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Base64, by the type that Kubernetes' own bytes have.
fn decoded(base64: &str) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(json!(base64)).unwrap().0
}

/// A copy of the chart with another text in some of its files.
pub fn altered_chart(folder: &Path, edits: &[(&str, &str, &str)]) -> PathBuf {
    let copied = Command::new("cp").arg("-r").arg(helm::chart()).arg(folder).status().unwrap();
    assert!(copied.success());
    let copy = folder.join("zitadel-actions-operator");
    for (file, from, to) in edits {
        let path = copy.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
    copy
}
