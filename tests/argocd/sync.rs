//! A life in Git: the example Applications of `integrations/argocd/examples`, synchronised by the real Argo CD with the
//! operator's own chart. The operator's process runs outside the cluster, as there is no node: the chart installs no pod.

use serde_json::{Value, json};
use zitadel_stand_in::{Call, Effect, EventKind, Generation, Op, Options, StandIn, TargetEdit, Times};

use crate::argo::{Argo, Moment};
use crate::listeners::assert_on_loopback;
use crate::operator;

const TARGET: (&str, &str) = ("zitadel-actions.dev/v1alpha1", "Target");
const CONNECTION: (&str, &str) = ("zitadel-actions.dev/v1alpha1", "Connection");
const TARGETS: &str = "integrations/argocd/examples/targets";
const APPS: &str = "integrations/argocd/examples/apps";

/// What every step of the life works with.
struct Story {
    argo: Argo,
    zitadel: StandIn,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_becomes_targets_and_goes_again() {
    let story = Story::begin().await;
    let revision = story.deploys_in_waves().await;
    assert_on_loopback(&["kube-apiserver", "controller", "repo-server", "redis", "run"]);
    story.rests(&revision).await;
    story.a_commit_changes_one().await;
    story.an_outage_fails_no_sync().await;
    story.only_what_a_person_can_mend_is_degraded().await;
    story.self_heal_and_suspend().await;
    story.a_commit_prunes_one().await;
    story.the_documented_order_leaves_nothing().await;
}

impl Story {
    /// A repository with the chart and the examples. All that differs from the files of the project: where the
    /// repository and ZITADEL are, and that the chart runs no pod.
    async fn begin() -> Self {
        let argo = Argo::start().await;
        let zitadel = StandIn::start(Options::new(Generation::V2)).await.expect("the stand-in starts");
        for folder in ["charts/zitadel-actions-operator", APPS, TARGETS] {
            argo.repository.copy(folder);
        }
        argo.repository.write("app-of-apps.yaml", &example("app-of-apps.yaml"));
        let url = ("https://github.com/zitadel-actions/zitadel-actions-operator.git", argo.repository.url());
        for path in ["app-of-apps.yaml", &format!("{APPS}/operator.yaml"), &format!("{APPS}/targets.yaml")] {
            replace(&argo, path, url.0, &url.1);
        }
        replace(&argo, &format!("{APPS}/operator.yaml"), "valuesObject:", "valuesObject:\n        replicas: 0");
        replace(&argo, &format!("{TARGETS}/connection.yaml"), "https://auth.example.com", &zitadel.url());
        Self { argo, zitadel }
    }

    /// Everything comes in its order, and each wave waits until the one before is healthy.
    async fn deploys_in_waves(&self) -> String {
        let revision = self.argo.repository.commit("begin");
        self.kubectl(&["apply", "-f", "-"], &self.argo.repository.read("app-of-apps.yaml"));
        self.argo.settled("zitadel-actions-operator", &revision).await;
        // The connection waits for an operator; the Targets wait for the connection.
        self.waits_for("Connection/zitadel").await;
        self.start_operator();
        let reason = || async {
            let connection = self.argo.get(CONNECTION, "identity", "zitadel").await?;
            (connection.pointer("/status/conditions/0/reason")? == "CredentialsUnavailable").then_some(())
        };
        self.argo.until_some("the connection waits for its Secret", reason).await;
        self.waits_for("Connection/zitadel").await;
        assert!(self.target("audit-webhook").await.is_none(), "a wave did not wait");
        // ZITADEL takes no creates for a while: the next wave waits for the first Target, and nothing fails.
        let fault = self.zitadel.fault(Op::Create, Effect::Status(503, None), Times::Always);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iam-admin-pat"}, "stringData": {"pat": self.zitadel.token()}});
        self.kubectl(&["-n", "identity", "apply", "-f", "-"], &secret.to_string());
        self.waits_for("Target/audit-webhook").await;
        self.reason("audit-webhook", "CreateOutcomeUnknown").await;
        assert!(self.target("token-claims").await.is_none(), "a wave did not wait");
        fault.clear();
        for app in ["zitadel-targets", "zitadel-actions"] {
            self.argo.settled(app, &revision).await;
        }
        assert_eq!(self.names(), ["audit-webhook", "token-claims"]);
        for app in ["zitadel-actions", "zitadel-actions-operator", "zitadel-targets"] {
            let seen = self.argo.history(app);
            assert!(!seen.iter().any(failed), "{app}: {seen:#?}");
            show(&format!("{app}: in waves"), &seen);
        }
        revision
    }

    /// In sync, over three resyncs of the operator and three looks of Argo CD, by both ways of comparing.
    async fn rests(&self, revision: &str) {
        let before = self.versions().await;
        let events = self.zitadel.events().len();
        // The second stays: without server-side apply the first does not see that a commit takes a field away.
        for comparison in ["ServerSideDiff=true", "ServerSideDiff=false"] {
            let option = format!("argocd.argoproj.io/compare-options={comparison}");
            self.kubectl(&["-n", "argocd", "annotate", "--overwrite", "application/zitadel-targets", &option], "");
            let mark = self.argo.mark();
            for _ in 0..3 {
                self.resync().await;
                self.argo.refresh("zitadel-targets", "hard").await;
                self.argo.settled("zitadel-targets", revision).await;
            }
            let seen = self.argo.since(mark, "zitadel-targets");
            assert!(seen.iter().all(|moment| moment.sync == "Synced" && moment.health == "Healthy"), "{seen:#?}");
        }
        assert_eq!(self.versions().await, before, "an object in sync was written");
        assert_eq!(self.zitadel.events().len(), events, "a target in sync was written");
        let app = self.argo.app("zitadel-targets").await.unwrap();
        assert_eq!(app["status"]["history"].as_array().map(Vec::len), Some(1), "Argo CD synchronised once");
        println!("three resyncs and three looks, by both ways of comparing: Synced, Healthy, nothing written");
    }

    async fn a_commit_changes_one(&self) {
        let other = self.version("token-claims").await;
        let mark = self.argo.mark();
        self.commits("audit-webhook", "timeout: 10s", "timeout: 20s").await;
        let held = self.zitadel.targets().into_iter().find(|held| held.name == "audit-webhook").unwrap();
        assert_eq!(held.timeout.as_secs(), 20);
        assert_eq!(self.version("token-claims").await, other, "another Target was written");
        show("a commit changes one Target", &self.argo.since(mark, "zitadel-targets"));
    }

    /// A commit while ZITADEL is away: the sync waits, is never Degraded and does not fail.
    async fn an_outage_fails_no_sync(&self) {
        let mark = self.argo.mark();
        let fault = self.zitadel.fault(Op::Any, Effect::Status(503, None), Times::Always);
        self.edit("audit-webhook", "timeout: 20s", "timeout: 21s");
        let revision = self.argo.repository.commit("change while ZITADEL is away");
        self.argo.refresh("zitadel-targets", "normal").await;
        // The connection is in the first wave, so nothing is even sent to the cluster while it does not work.
        self.waits_for("Connection/zitadel").await;
        let waiting = |moment: &Moment| moment.health == "Progressing" && moment.phase == "Running";
        let seen = || async { self.argo.since(mark, "zitadel-targets").iter().any(waiting).then_some(()) };
        self.argo.until_some("the sync waits", seen).await;
        self.calls(2, |_| true).await;
        fault.clear();
        self.argo.settled("zitadel-targets", &revision).await;
        let seen = self.argo.since(mark, "zitadel-targets");
        assert!(!seen.iter().any(failed), "{seen:#?}");
        show("a commit while ZITADEL is away", &seen);
    }

    /// A name that somebody else has: Degraded, until a commit takes another name.
    async fn only_what_a_person_can_mend_is_degraded(&self) {
        let everything: Vec<_> = self.argo.history("zitadel-targets");
        assert!(!everything.iter().any(|moment| moment.health == "Degraded"), "{everything:#?}");
        self.zitadel.external_create("Taken", TargetEdit::default());
        let mark = self.argo.mark();
        self.edit("token-claims", "spec:\n", "spec:\n  name: taken\n");
        self.argo.repository.commit("take a name");
        self.argo.refresh("zitadel-targets", "normal").await;
        let degraded = || async {
            let app = self.argo.app("zitadel-targets").await?;
            (app["status"]["health"]["status"] == "Degraded").then_some(())
        };
        self.argo.until_some("the Application is Degraded", degraded).await;
        let target = self.target("token-claims").await.unwrap();
        assert_eq!(target.pointer("/status/conditions/0/reason"), Some(&json!("NameTaken")));
        self.commits("token-claims", "  name: taken\n", "").await;
        show("a name that is taken, and another commit", &self.argo.since(mark, "zitadel-targets"));
        assert_eq!(self.names(), ["Taken", "audit-webhook", "token-claims"]);
    }

    /// What docs/argocd.md says of the actions that change the spec.
    async fn self_heal_and_suspend(&self) {
        // Git says nothing of the field: what an action writes stays, and is no difference.
        let mark = self.argo.mark();
        self.suspend("audit-webhook", "true");
        self.reason("audit-webhook", "Suspended").await;
        let suspended = || async { (self.health().await? == "Suspended").then_some(()) };
        self.argo.until_some("the Application is Suspended", suspended).await;
        self.argo.refresh("zitadel-targets", "hard").await;
        let seen = self.argo.since(mark, "zitadel-targets");
        assert!(seen.iter().all(|moment| moment.sync == "Synced"), "{seen:#?}");
        self.suspend("audit-webhook", "null");
        self.ready("audit-webhook").await;
        // Git says it: self-heal takes back what an action writes.
        self.commits("audit-webhook", "spec:\n", "spec:\n  suspend: false\n").await;
        self.suspend("audit-webhook", "true");
        let healed =
            || async { (self.target("audit-webhook").await?["spec"]["suspend"] == json!(false)).then_some(()) };
        self.argo.until_some("self-heal takes it back", healed).await;
        self.ready("audit-webhook").await;
        println!("suspended by an action: kept where Git does not name the field, taken back where it does");
    }

    async fn a_commit_prunes_one(&self) {
        let mark = self.argo.mark();
        self.argo.repository.remove(&format!("{TARGETS}/token-claims.yaml"));
        let revision = self.argo.repository.commit("prune");
        self.argo.refresh("zitadel-targets", "normal").await;
        self.argo.settled("zitadel-targets", &revision).await;
        assert!(self.target("token-claims").await.is_none());
        assert_eq!(self.names(), ["Taken", "audit-webhook"]);
        show("a commit prunes one Target", &self.argo.since(mark, "zitadel-targets"));
    }

    /// One deletion, of the Application that holds the others. The CRDs stay, as the chart says, until they are deleted.
    async fn the_documented_order_leaves_nothing(&self) {
        self.kubectl(&["-n", "argocd", "delete", "application", "zitadel-actions", "--wait=false"], "");
        let gone = || async {
            let left = self.kubectl(&["-n", "argocd", "get", "applications", "-o", "name"], "");
            let spaces = self
                .kubectl(&["get", "namespace", "identity", "zitadel-actions", "--ignore-not-found", "-o", "name"], "");
            (left.is_empty() && spaces.is_empty()).then_some(())
        };
        self.argo.until_some("everything is gone", gone).await;
        assert_eq!(self.names(), ["Taken"], "what is somebody else's stays");
        let left = self.kubectl(&["get", "targets,connections,clusterconnections", "-A", "-o", "name"], "");
        assert_eq!(left, "", "objects are left");
        let chart = "app.kubernetes.io/name=zitadel-actions-operator";
        let left = self.kubectl(&["get", "clusterroles,clusterrolebindings", "-l", chart, "-o", "name"], "");
        assert_eq!(left, "", "rights are left");
        let ours =
            ["targets", "connections", "clusterconnections"].map(|kind| format!("crd/{kind}.zitadel-actions.dev"));
        self.kubectl(&["delete", &ours[0], &ours[1], &ours[2], "--timeout=60s"], "");
        let added = self.zitadel.events().iter().filter(|event| event.kind == EventKind::Added).count();
        assert_eq!(added, 3, "each target was created once");
        println!("deleted: no Application, no object, no right, no target but somebody else's");
    }

    /// Replaces a text in the file of a Target, commits, and waits until ZITADEL holds it.
    async fn commits(&self, target: &str, from: &str, to: &str) {
        self.edit(target, from, to);
        let revision = self.argo.repository.commit(&format!("{target}: {from} becomes {to}"));
        self.argo.refresh("zitadel-targets", "normal").await;
        self.argo.settled("zitadel-targets", &revision).await;
        self.ready(target).await;
    }

    fn edit(&self, target: &str, from: &str, to: &str) {
        replace(&self.argo, &format!("{TARGETS}/{target}.yaml"), from, to);
    }

    /// What the resource action does, written as Argo CD's server writes it.
    fn suspend(&self, target: &str, value: &str) {
        let patch = format!("{{\"spec\": {{\"suspend\": {value}}}}}");
        self.kubectl(&["-n", "identity", "patch", "target", target, "--type=merge", "-p", &patch], "");
    }

    fn start_operator(&self) {
        self.argo.run("operator", &operator::command(self.argo.kubeconfig()));
    }

    /// Waits until the sync waits for this object.
    async fn waits_for(&self, object: &str) {
        let says = format!("zitadel-actions.dev/{object}");
        let waiting = || async {
            let state = self.argo.app("zitadel-targets").await?["status"]["operationState"].clone();
            let message = state["message"].as_str().unwrap_or_default();
            (state["phase"] == "Running" && message.contains(&says)).then_some(())
        };
        self.argo.until_some(&format!("the sync waits for {object}"), waiting).await;
    }

    async fn target(&self, name: &str) -> Option<Value> {
        self.argo.get(TARGET, "identity", name).await
    }

    async fn health(&self) -> Option<String> {
        self.argo.app("zitadel-targets").await?["status"]["health"]["status"].as_str().map(str::to_owned)
    }

    async fn reason(&self, target: &str, reason: &str) {
        let told = || async {
            let target = self.target(target).await?;
            let current = target["status"]["observedGeneration"] == target["metadata"]["generation"];
            (current && target.pointer("/status/conditions/0/reason")? == reason).then_some(())
        };
        self.argo.until_some(&format!("{target} tells {reason}"), told).await;
    }

    async fn ready(&self, target: &str) {
        self.reason(target, "Available").await;
    }

    async fn version(&self, target: &str) -> Value {
        self.target(target).await.expect("the Target is there")["metadata"]["resourceVersion"].clone()
    }

    async fn versions(&self) -> Vec<Value> {
        vec![self.version("audit-webhook").await, self.version("token-claims").await]
    }

    /// Waits until the operator has compared once more: it asks for the list of targets.
    async fn resync(&self) {
        self.calls(1, |call| call.op == Some(Op::List)).await;
    }

    /// Waits for this many more of these calls to ZITADEL.
    async fn calls(&self, count: usize, these: impl Fn(&Call) -> bool) {
        let made = || self.zitadel.calls().iter().filter(|call| these(call)).count();
        let before = made();
        let more = || async { (made() >= before + count).then_some(()) };
        self.argo.until_some("the operator asks ZITADEL again", more).await;
    }

    /// The names that ZITADEL holds.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.zitadel.targets().into_iter().map(|held| held.name).collect();
        names.sort();
        names
    }

    fn kubectl(&self, arguments: &[&str], stdin: &str) -> String {
        let said = self.argo.kubectl(arguments, stdin);
        assert!(said.ok, "kubectl {arguments:?}: {}", said.err);
        said.out
    }
}

fn failed(moment: &Moment) -> bool {
    // A failed operation is retried at once; its message stays.
    let phase = matches!(moment.phase.as_str(), "Failed" | "Error");
    moment.health == "Degraded" || phase || moment.message.contains("unsuccessfully")
}

fn example(path: &str) -> String {
    std::fs::read_to_string(crate::snippets::folder().join("examples").join(path)).unwrap()
}

fn replace(argo: &Argo, path: &str, from: &str, to: &str) {
    let text = argo.repository.read(path);
    assert!(text.contains(from), "{path} does not say {from}");
    argo.repository.write(path, &text.replace(from, to));
}

fn show(title: &str, seen: &[Moment]) {
    println!("{title}\n  {:<10} {:<12} {:<10} operation", "sync", "health", "phase");
    for Moment { sync, health, phase, message, .. } in seen {
        println!("  {sync:<10} {health:<12} {phase:<10} {}", message.lines().next().unwrap_or_default());
    }
}
