//! A cluster with kustomize-controller, a repository whose commits it is told of, and a ZITADEL.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, Uri};
use devkit::control_plane::{ControlPlane, Options};
use devkit::host::free_port;
use devkit::supervisor::Ending;
use devkit::tools::flux::Flux;
use serde_json::{Value, json};
use zitadel_stand_in::{Generation, Options as ZitadelOptions, StandIn};

use crate::cluster::kubectl;
use crate::git::Repository;
use crate::operator;

/// The folder that the example's Kustomization names.
pub const TARGETS: &str = "integrations/argocd/examples/targets";
const EXAMPLE: &str = "integrations/flux/targets.yaml";
const PATIENCE: Duration = Duration::from_mins(2);

/// Paths and contents of what is served.
type Artifacts = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// What a condition of the Kustomization tells.
#[derive(Debug)]
pub struct Told {
    pub reason: String,
    pub message: String,
}

/// All that a test works with; it ends with the value, or with the process.
pub struct Scene {
    plane: ControlPlane,
    pub repository: Repository,
    pub zitadel: StandIn,
    artifacts: Artifacts,
    server: String,
    revision: Mutex<String>,
}

impl Scene {
    /// A running controller that has nothing to do, and the folder of Targets, whose ZITADEL is a stand-in.
    pub async fn begin() -> Self {
        let plane = tokio::task::spawn_blocking(|| {
            let flux = Flux::ensure().expect("kustomize-controller is built");
            let plane = ControlPlane::start(Options::default()).expect("the control plane starts");
            install(&plane, &flux);
            plane
        });
        let plane = plane.await.expect("the control plane starts");
        let zitadel = StandIn::start(ZitadelOptions::new(Generation::V2)).await.expect("the stand-in starts");
        let repository = Repository::new(plane.dir().join("repository"));
        repository.copy(TARGETS);
        let artifacts = Artifacts::default();
        let server = serve(Arc::clone(&artifacts)).await;
        let scene = Self { plane, repository, zitadel, artifacts, server, revision: Mutex::default() };
        let url = scene.zitadel.url();
        scene.edit("connection", "https://auth.example.com", &url);
        scene
    }

    /// Applies the example as it is, but for how soon a failure is tried again, and the HelmRelease.
    pub fn apply_example(&self) {
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        let quick = text.replace("retryInterval: 1m", "retryInterval: 1s");
        assert_ne!(text, quick, "the example names its retryInterval");
        let parts = quick.split("\n---\n").filter(|part| !part.contains("kind: HelmRelease"));
        self.kubectl(&["apply", "-f", "-"], &parts.collect::<Vec<_>>().join("\n---\n"));
        self.tell_of_artifact();
    }

    /// What the HelmRelease brings, and the Secret that no repository holds.
    pub fn install_operator(&self) {
        self.kubectl(&["apply", "-f", "crds"], "");
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iam-admin-pat"}, "stringData": {"pat": self.zitadel.token()}});
        self.kubectl(&["-n", "identity", "apply", "-f", "-"], &secret.to_string());
        let command = operator::command(self.plane.kubeconfig());
        self.plane.supervisor().start("operator", &command, Ending::Abrupt).expect("the operator starts");
    }

    /// Replaces a text in the file of an object; it is not yet committed.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let path = format!("{TARGETS}/{name}.yaml");
        let text = self.repository.read(&path);
        assert!(text.contains(from), "{path} does not say {from}");
        self.repository.write(&path, &text.replace(from, to));
    }

    /// Commits, serves the commit, and tells of it.
    pub fn commit(&self, message: &str) {
        let revision = self.repository.commit(message);
        let folder = self.plane.dir().join("repository");
        let mut archive = Command::new("git");
        archive.args(["archive", "--format=tar.gz", "HEAD"]).current_dir(folder);
        let archive = archive.output().expect("git runs");
        assert!(archive.status.success(), "{archive:?}");
        self.artifacts.lock().unwrap().insert(format!("/{revision}.tar.gz"), archive.stdout);
        *self.revision.lock().unwrap() = revision;
        if self.try_kubectl(&["-n", "flux-system", "get", "gitrepository", "zitadel-actions"]).is_some() {
            self.tell_of_artifact();
        }
    }

    /// What source-controller writes.
    fn tell_of_artifact(&self) {
        let revision = self.revision.lock().unwrap().clone();
        let path = format!("/{revision}.tar.gz");
        let archive = self.artifacts.lock().unwrap()[&path].clone();
        let file = self.plane.dir().join("artifact.tar.gz");
        std::fs::write(&file, &archive).unwrap();
        let sum = Command::new("sha256sum").arg(&file).output().unwrap().stdout;
        let sum = String::from_utf8(sum).unwrap();
        let status = json!({"status": {"artifact": {
            "path": path.trim_start_matches('/'), "url": format!("{}{path}", self.server),
            "revision": format!("main@sha1:{revision}"), "digest": format!("sha256:{}", &sum[..64]),
            "size": archive.len(), "lastUpdateTime": "2026-01-01T00:00:00Z",
        }}});
        let write = ["-n", "flux-system", "patch", "gitrepository", "zitadel-actions", "--subresource=status"];
        self.kubectl(&[&write[..], &["--type=merge", "-p", &status.to_string()]].concat(), "");
    }

    /// Waits until Ready of the Kustomization has this status for the newest commit, and a message with these words.
    pub async fn until_ready(&self, status: &str, words: &str) -> Told {
        self.until_condition("Ready", status, words).await
    }

    /// The same of another condition.
    pub async fn until_condition(&self, kind: &str, status: &str, words: &str) -> Told {
        let revision = format!("main@sha1:{}", self.revision.lock().unwrap());
        let probe = || async {
            let told = self.object("kustomization", "flux-system", "zitadel-targets")?;
            let attempted = told["status"]["lastAttemptedRevision"] == json!(revision);
            let found = condition(&told, kind)?;
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            let told = Told { reason: text("reason"), message: text("message") };
            // While it works it has not yet noted which revision it tries.
            let current = attempted || status == "Unknown";
            (found["status"] == status && current && told.message.contains(words)).then_some(told)
        };
        self.until_some(&format!("the Kustomization has {kind}={status} at {revision}: {words}"), probe).await
    }

    pub async fn target_tells(&self, target: &str, reason: &str) {
        let told = || async { self.reason(target).as_deref() == Some(reason) };
        self.until(&format!("{target} tells {reason}"), told).await;
    }

    /// The reason of a Target's Ready, if it is about the newest spec.
    pub fn reason(&self, target: &str) -> Option<String> {
        let told = self.object("target", "identity", target)?;
        let current = told["status"]["observedGeneration"] == told["metadata"]["generation"];
        condition(&told, "Ready").filter(|_| current)?["reason"].as_str().map(str::to_owned)
    }

    /// The names that ZITADEL holds.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.zitadel.targets().into_iter().map(|held| held.name).collect();
        names.sort();
        names
    }

    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> String {
        let said = kubectl(&self.plane, arguments, stdin);
        assert!(said.ok, "kubectl {arguments:?}: {}", said.err);
        said.out
    }

    fn try_kubectl(&self, arguments: &[&str]) -> Option<String> {
        let said = kubectl(&self.plane, arguments, "");
        said.ok.then_some(said.out)
    }

    fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let told = self.try_kubectl(&["-n", namespace, "get", kind, name, "-o", "json"])?;
        Some(serde_json::from_str(&told).unwrap())
    }

    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        self.until_some(what, || async { holds().await.then_some(()) }).await;
    }

    async fn until_some<T, F: Future<Output = Option<T>>>(&self, what: &str, probe: impl Fn() -> F) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", self.explain());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn explain(&self) -> String {
        let log = |name: &str| format!("--- {name}\n{}", self.plane.supervisor().log_tail(name, 15));
        let logs = ["kustomize-controller", "operator"].map(log).join("\n");
        let flux = self.try_kubectl(&["get", "kustomizations,gitrepositories", "-A", "-o", "yaml"]).unwrap_or_default();
        let ours = self.try_kubectl(&["get", "targets,connections", "-A", "-o", "yaml"]).unwrap_or_default();
        format!("{flux}\n{ours}\n{logs}")
    }
}

fn condition(object: &Value, kind: &str) -> Option<Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
}

/// Flux's definitions, the namespaces of the example, and the controller, which listens on loopback.
fn install(plane: &ControlPlane, flux: &Flux) {
    let run = |arguments: &[&str]| {
        let said = kubectl(plane, arguments, "");
        assert!(said.ok, "kubectl {arguments:?}: {}", said.err);
    };
    run(&["apply", "--server-side", "-f", flux.crds.to_str().unwrap()]);
    // kubectl does not wait for a definition without any condition; it fails.
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    let established = || Ok(kubectl(plane, &wait, "").ok.then_some(()));
    devkit::host::wait_for("Flux's definitions", Duration::from_secs(30), established).unwrap();
    for namespace in ["flux-system", "identity", "zitadel-actions"] {
        run(&["create", "namespace", namespace]);
    }
    let temporary = plane.dir().join("flux-tmp");
    std::fs::create_dir(&temporary).unwrap();
    let address = || format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = Command::new(&flux.controller);
    command
        .args([format!("--metrics-addr={}", address()), format!("--health-addr={}", address())])
        .args(["--events-addr=", "--log-level=info"])
        .env("KUBECONFIG", plane.kubeconfig())
        .env("RUNTIME_NAMESPACE", "flux-system")
        .env("TMPDIR", temporary);
    plane.supervisor().start("kustomize-controller", &command, Ending::Abrupt).expect("kustomize-controller starts");
}

/// Serves the artifacts on loopback until the process ends, and tells where.
async fn serve(artifacts: Artifacts) -> String {
    let answer = move |uri: Uri| async move {
        let found = artifacts.lock().unwrap().get(uri.path()).cloned();
        found.ok_or(StatusCode::NOT_FOUND)
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    format!("http://{address}")
}
