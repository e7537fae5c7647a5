//! Control planes whose API server writes down what each ServiceAccount asked for, and the way to talk to them.
//!
//! There are two kinds: one shared by the tests that keep to a namespace, and one for each test that changes what is
//! cluster-scoped.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use devkit::control_plane::{ControlPlane, Options};
use devkit::host::http_get;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::helm::chart;

/// Longest wait for anything; on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Every request of every ServiceAccount of a namespace of a test; not those of Kubernetes' own controllers.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
    {"level": "Metadata", "userGroups": ["system:serviceaccounts"]}]}"#;

/// A control plane, the folder of its audit, and a client.
pub struct Cluster {
    plane: ControlPlane,
    audit: tempfile::TempDir,
    client: Client,
}

/// For the client alone: the tests themselves block.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime can be built")
});

/// The one for whatever keeps to a namespace of its own, with the CustomResourceDefinitions.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start();
        cluster.define();
        cluster.define_monitors();
        cluster
    })
}

/// A right that was used, or refused: resource (with its subresource) and verb.
pub type Right = (String, String);

impl Cluster {
    pub fn start() -> Self {
        let audit = tempfile::tempdir().unwrap();
        let policy = audit.path().join("policy.yaml");
        std::fs::write(&policy, AUDIT).unwrap();
        let apiserver_args = vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", audit.path().join("audit.log").display()),
        ];
        let plane = ControlPlane::start(Options { apiserver_args, ..Options::default() }).unwrap();
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let client = RUNTIME.block_on(async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        });
        Self { plane, audit, client }
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Applies the repository's plain definitions.
    pub fn define(&self) {
        let crds = chart().join("../../crds");
        self.kubectl(&["apply", "--filename", crds.to_str().unwrap()], "").unwrap();
        self.established();
    }

    /// Applies the definitions of the Prometheus operator: that a monitor is valid is for the API server to say.
    pub fn define_monitors(&self) {
        let monitors = devkit::tools::prometheus_operator::definitions().unwrap();
        let apply = ["apply", "--server-side", "--filename", monitors.to_str().unwrap()];
        self.kubectl(&apply, "").unwrap();
        self.established();
    }

    fn established(&self) {
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "").unwrap();
    }

    /// What kubectl printed, or its complaint and exit code.
    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, (String, i32)> {
        let mut command = self.plane.kubectl_command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err((text(&output.stdout) + &text(&output.stderr), output.status.code().unwrap_or(-1)))
    }

    /// One object, if it is there.
    pub fn get(&self, arguments: &[&str]) -> Option<Value> {
        let all = [&["get", "--output=json", "--ignore-not-found"], arguments].concat();
        let said = self.kubectl(&all, "").ok()?;
        serde_json::from_str(&said).ok()
    }

    /// One object, without kubectl: it is asked for again and again.
    pub fn look(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let ours = "/apis/zitadel-actions.dev/v1alpha1";
        self.read(&match kind {
            "target" | "connection" => format!("{ours}/namespaces/{namespace}/{kind}s/{name}"),
            "clusterconnection" => format!("{ours}/{kind}s/{name}"),
            "secret" => format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
            "crd" => format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"),
            other => panic!("where is a {other}?"),
        })
    }

    /// What the API server has at a path, if anything.
    pub fn read(&self, path: &str) -> Option<Value> {
        let request = Request::get(path).body(Vec::new()).unwrap();
        match RUNTIME.block_on(self.client.request::<Value>(request)) {
            Ok(found) => Some(found),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Applies objects.
    pub fn apply(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(&["apply", "--server-side", "--filename", "-"], &list.to_string()).unwrap();
    }

    /// A fresh namespace.
    pub fn namespace(&self, labels: Value) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let metadata = json!({"name": name, "labels": labels});
        self.apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})]);
        name
    }

    /// What the ServiceAccounts of this namespace asked for: what was allowed, and what was refused for want of a right.
    pub fn asked(&self, namespace: &str) -> (BTreeSet<Right>, BTreeSet<Right>) {
        let (mut allowed, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let log =
            std::fs::read_to_string(self.audit.path().join("audit.log")).expect("the API server has an audit log");
        let prefix = format!("system:serviceaccount:{namespace}:");
        // The last line may still be under way.
        for entry in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let resource = entry["objectRef"]["resource"].as_str();
            let (Some(resource), true) =
                (resource, entry["user"]["username"].as_str().is_some_and(|user| user.starts_with(&prefix)))
            else {
                continue;
            };
            let resource = match entry["objectRef"]["subresource"].as_str() {
                Some(subresource) => format!("{resource}/{subresource}"),
                None => resource.to_owned(),
            };
            let right = (resource, entry["verb"].as_str().unwrap().to_owned());
            match entry["annotations"]["authorization.k8s.io/decision"].as_str() {
                Some("allow") => allowed.insert(right),
                _ => refused.insert(right),
            };
        }
        (allowed, refused)
    }
}

/// Whether a program on this machine answers 200 there.
pub fn answers(port: u16, path: &str) -> bool {
    RUNTIME.block_on(http_get(port, path)).is_some_and(|(status, _)| status == 200)
}
