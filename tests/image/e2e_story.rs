//! What happens in the room: a cluster with a node and Argo CD, and the life of a repository in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use devkit::control_plane::{ControlPlane, Options as PlaneOptions, Pods};
use devkit::image::{Architecture, Image, reference};
use devkit::node::{self, Node, Programs};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use zitadel_stand_in::{EventKind, Generation, Options, StandIn};

use crate::argo::Argo;
use crate::{e2e_pod, row, step};

const CHART: &str = "charts/zitadel-actions-operator";
const APPS: &str = "integrations/argocd/examples/apps";
const TARGETS: &str = "integrations/argocd/examples/targets";
const TARGET: (&str, &str) = ("zitadel-actions.dev/v1alpha1", "Target");
const UPSTREAM: &str = "https://github.com/zitadel-actions/zitadel-actions-operator.git";
/// Namespace and name of the operator's Deployment.
const OPERATOR: (&str, &str) = ("zitadel-actions", "zitadel-actions-operator");
const NAMESPACES: [&str; 2] = ["identity", "zitadel-actions"];

struct Story {
    argo: Argo,
    node: Node,
    zitadel: StandIn,
}

/// All of it, in the room.
pub async fn tell() {
    let story = Story::begin().await;
    story.a_commit_deploys_everything().await;
    story.the_default_connection_works_once_its_secret_is_there().await;
    story.a_commit_changes_one().await;
    story.a_commit_prunes_one().await;
    story.the_application_goes_and_nothing_is_left().await;
    story.end().await;
}

impl Story {
    async fn begin() -> Self {
        let (plane, node) = tokio::task::spawn_blocking(cluster).await.unwrap();
        let began = Instant::now();
        let argo = Argo::on(plane).await;
        row("Argo CD runs: application controller, repo server, Redis", began);
        let zitadel = StandIn::start(Options::new(Generation::V2)).await.unwrap();
        Self { argo, node, zitadel }
    }

    /// The repository holds the project's own chart and examples. All that differs: where the repository and ZITADEL are,
    /// and that ZITADEL has no certificate.
    async fn a_commit_deploys_everything(&self) {
        let began = Instant::now();
        let (repository, argo) = (&self.argo.repository, &self.argo);
        for folder in [CHART, APPS, TARGETS] {
            repository.copy(folder);
        }
        let url = repository.url();
        for path in ["operator.yaml", "targets.yaml"] {
            self.replace(&format!("{APPS}/{path}"), UPSTREAM, &url);
        }
        let zitadel = self.reachable().await;
        let values = format!(
            "valuesObject:\n        zitadel:\n          url: {zitadel}\n          host: localhost\n          allowHttp: true"
        );
        self.replace(&format!("{APPS}/operator.yaml"), "valuesObject:", &values);
        let reached = format!("{zitadel}\n  host: localhost");
        self.replace(&format!("{TARGETS}/connection.yaml"), "https://auth.example.com", &reached);
        let revision = repository.commit("begin");
        let path = crate::snippets::folder().join("examples/app-of-apps.yaml");
        let parent = std::fs::read_to_string(path).unwrap();
        assert!(parent.contains(UPSTREAM));
        self.kubectl(&["apply", "-f", "-"], &parent.replace(UPSTREAM, &url));
        self.rolled_out().await;
        argo.settled("zitadel-actions-operator", &revision).await;
        row("a commit: Argo CD synchronises the chart, and the Deployment is Healthy", began);

        let began = Instant::now();
        e2e_pod::assert_confined(argo);
        row("each pod, Ready: user 65532, no capability, seccomp, read-only root; its log is JSON", began);

        let began = Instant::now();
        self.secret("identity");
        for app in ["zitadel-targets", "zitadel-actions"] {
            argo.settled(app, &revision).await;
        }
        assert_eq!(self.names(), ["audit-webhook", "token-claims"]);
        for name in self.names() {
            let target = argo.get(TARGET, "identity", &name).await.unwrap();
            assert_eq!(target.pointer("/status/conditions/0/reason"), Some(&json!("Available")), "{target}");
        }
        row("its Secret: the connection and two Targets are Ready, and ZITADEL holds both", began);
    }

    /// The kubelet puts the Secret into the volume of the running pods, where their user can read it.
    async fn the_default_connection_works_once_its_secret_is_there(&self) {
        let began = Instant::now();
        let target = json!({"apiVersion": TARGET.0, "kind": TARGET.1, "metadata": {"name": "by-default"}, "spec": {
            "restAsync": {}, "timeout": "10s", "endpoint": "https://hooks.example.com/default"}});
        self.kubectl(&["-n", "identity", "apply", "-f", "-"], &target.to_string());
        self.reason("by-default", "CredentialsUnavailable").await;
        self.secret(OPERATOR.0);
        self.reason("by-default", "Available").await;
        assert_eq!(self.names(), ["audit-webhook", "by-default", "token-claims"]);
        self.kubectl(&["-n", "identity", "delete", "target", "by-default", "--timeout=60s"], "");
        self.kubectl(&["-n", OPERATOR.0, "delete", "secret", "iam-admin-pat"], "");
        assert_eq!(self.names(), ["audit-webhook", "token-claims"]);
        row("the default connection serves a Target once the kubelet has mounted its Secret", began);
    }

    async fn a_commit_changes_one(&self) {
        let began = Instant::now();
        self.replace(&format!("{TARGETS}/audit-webhook.yaml"), "timeout: 10s", "timeout: 20s");
        self.commits("change one").await;
        let held = self.zitadel.targets().into_iter().find(|held| held.name == "audit-webhook").unwrap();
        assert_eq!(held.timeout.as_secs(), 20);
        row("a commit changes one Target, and ZITADEL holds the change", began);
    }

    async fn a_commit_prunes_one(&self) {
        let began = Instant::now();
        self.argo.repository.remove(&format!("{TARGETS}/token-claims.yaml"));
        self.commits("prune one").await;
        assert_eq!(self.names(), ["audit-webhook"]);
        assert!(self.argo.get(TARGET, "identity", "token-claims").await.is_none());
        row("a commit prunes one Target, and ZITADEL has lost it", began);
    }

    async fn the_application_goes_and_nothing_is_left(&self) {
        let began = Instant::now();
        self.kubectl(&["-n", "argocd", "delete", "application", "zitadel-actions", "--wait=false"], "");
        let gone = || async {
            let apps = self.kubectl(&["-n", "argocd", "get", "applications", "-o", "name"], "");
            let get = ["get", "namespace", NAMESPACES[0], NAMESPACES[1], "--ignore-not-found", "-o", "name"];
            (apps.is_empty() && self.kubectl(&get, "").is_empty()).then_some(())
        };
        self.argo.until_some("the Applications and their namespaces are gone", gone).await;
        assert!(self.names().is_empty(), "{:?}", self.names());
        let added = self.zitadel.events().iter().filter(|event| event.kind == EventKind::Added).count();
        assert_eq!(added, 3, "each target was created once");
        let objects = "targets,connections,clusterconnections,deployments,pods,serviceaccounts,services";
        let chart = "app.kubernetes.io/name=zitadel-actions-operator";
        for kinds in [objects, "clusterroles,clusterrolebindings,roles,rolebindings"] {
            let left = self.kubectl(&["get", kinds, "--all-namespaces", "-l", chart, "-o", "name"], "");
            assert_eq!(left, "", "{kinds}");
        }
        let left = self.kubectl(&["get", "targets,connections,clusterconnections", "-A", "-o", "name"], "");
        assert_eq!(left, "", "objects are left");
        row("the Application is deleted: no object, no right, no pod, no target is left", began);
        let began = Instant::now();
        let ours =
            ["targets", "connections", "clusterconnections"].map(|name| format!("crd/{name}.zitadel-actions.dev"));
        self.kubectl(&["delete", &ours[0], &ours[1], &ours[2], "--timeout=60s"], "");
        row("the definitions, which the chart keeps, are deleted by hand", began);
    }

    async fn end(self) {
        let Self { argo, node, zitadel } = self;
        drop(zitadel);
        let ending = tokio::task::spawn_blocking(move || drop((argo, node)));
        ending.await.unwrap();
    }

    /// The credential, as ZITADEL's own chart writes it.
    fn secret(&self, namespace: &str) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iam-admin-pat"}, "stringData": {"pat": self.zitadel.token()}});
        self.kubectl(&["-n", namespace, "apply", "-f", "-"], &secret.to_string());
    }

    /// Waits until this is why a Target is Ready or not.
    async fn reason(&self, target: &str, reason: &str) {
        let said = || async {
            let target = self.argo.get(TARGET, "identity", target).await?;
            (target.pointer("/status/conditions/0/reason") == Some(&json!(reason))).then_some(())
        };
        self.argo.until_some(&format!("{target} says {reason}"), said).await;
    }

    /// Commits, and waits until the Targets are what the commit says.
    async fn commits(&self, message: &str) {
        let revision = self.argo.repository.commit(message);
        self.argo.refresh("zitadel-targets", "normal").await;
        self.argo.settled("zitadel-targets", &revision).await;
    }

    /// Waits for the Deployment, and tells what the node makes of it if that is in vain.
    async fn rolled_out(&self) {
        let there = || async { self.argo.get(("apps/v1", "Deployment"), OPERATOR.0, OPERATOR.1).await.map(drop) };
        self.argo.until_some("the Deployment", there).await;
        let name = format!("deployment/{}", OPERATOR.1);
        let status = ["-n", OPERATOR.0, "rollout", "status", &name, "--timeout=60s"];
        let said = self.argo.kubectl(&status, "");
        if !said.ok {
            let pods = self.argo.kubectl(&["-n", OPERATOR.0, "describe", "pods"], "").out;
            panic!("{}\n{pods}\n{}", said.err, self.node.logs_tail());
        }
    }

    /// ZITADEL's URL for a pod: the stand-in listens on loopback, which in a pod is the pod's own.
    async fn reachable(&self) -> String {
        let listener = TcpListener::bind((node::ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let zitadel: u16 = self.zitadel.url().rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, zitadel));
                    if let Ok(mut inside) = TcpStream::connect(address).await {
                        // Either side may hang up at any time.
                        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                    }
                });
            }
        });
        format!("http://{}:{port}", node::ADDRESS)
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.argo.repository.read(path);
        assert!(text.contains(from), "{path} does not say {from}");
        self.argo.repository.write(path, &text.replace(from, to));
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.zitadel.targets().into_iter().map(|held| held.name).collect();
        names.sort();
        names
    }

    fn kubectl(&self, arguments: &[&str], stdin: &str) -> String {
        let said = self.argo.kubectl(arguments, stdin);
        assert!(said.ok, "kubectl {arguments:?}: {}\n{}", said.err, self.node.logs_tail());
        said.out
    }
}

/// A control plane with a node that has the image. Blocking.
fn cluster() -> (ControlPlane, Node) {
    let plane = step("the control plane is ready", || {
        ControlPlane::start(PlaneOptions { pods: Pods::OnNode(node::ADDRESS), ..PlaneOptions::default() }).unwrap()
    });
    let image = Image::ensure(Architecture::Amd64).unwrap();
    let programs = Programs::ensure().unwrap();
    let node = step("containerd has imported the image, and the node is Ready", || {
        let node = Node::start(&programs, &plane, &[image.archive()]).unwrap();
        assert!(node.images().unwrap().lines().any(|name| name == reference()), "{:?}", node.images());
        node
    });
    (plane, node)
}
