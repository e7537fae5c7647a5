//! The world of one test: a namespace, a stand-in, an operator process, and everything that explains a failure.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use devkit::host::http_get;
use devkit::supervisor::{Ending, Signal};
use jiff::SignedDuration;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use zitadel_actions_operator::api::condition::{ConditionType, find};
use zitadel_actions_operator::api::target::{Target, TargetSpec};
use zitadel_stand_in::{EventKind, Generation, Op, Options, StandIn};

use crate::cluster::{Said, client, kubectl, namespace, plane};
use crate::command::{override_flags, wrapped};
use crate::oracle::Witness;

/// Longest wait for a condition; a test that needs longer is broken or shows a bug.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the operators of tests look at every Target, in seconds.
pub const RESYNC: u64 = 1;

/// Both generations that this version speaks.
pub const GENERATIONS: [Generation; 2] = [Generation::V3Alpha, Generation::V2];

/// How the operator of a test is started.
#[derive(Debug, Clone)]
pub struct Setup {
    pub generation: Generation,
    pub stand_in: Options,
    /// Further flags, or other values for the usual ones (the last one counts).
    pub flags: Vec<String>,
    /// Variables of the operator's environment.
    pub env: Vec<(String, String)>,
    pub start_operator: bool,
    /// The operator's way to the cluster, if not the control plane's own: a proxy's.
    pub kubeconfig: Option<PathBuf>,
    /// A program with arguments that runs the operator, whose program and arguments come after.
    pub wrapper: Vec<String>,
    /// Whether the operator trusts the system's certificate authorities, as it needs to on a real server.
    pub system_authorities: bool,
}

impl Setup {
    pub fn new(generation: Generation) -> Self {
        let stand_in = Options::new(generation);
        Self {
            generation,
            stand_in,
            flags: vec![],
            env: vec![],
            start_operator: true,
            kubeconfig: None,
            wrapper: vec![],
            system_authorities: false,
        }
    }

    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.push(format!("{name}={value}"));
        self
    }

    pub fn without_operator(mut self) -> Self {
        self.start_operator = false;
        self
    }
}

/// One test's world.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub zitadel: StandIn,
    pub dir: TempDir,
    setup: Setup,
    witness: Witness,
    operators: Mutex<Vec<String>>,
    http: Mutex<u16>,
}

impl World {
    /// A world with a running operator.
    pub async fn new(generation: Generation) -> Self {
        Self::with(Setup::new(generation)).await
    }

    pub async fn with(setup: Setup) -> Self {
        let client = client().await;
        let namespace = namespace(&client).await;
        let zitadel = StandIn::start(setup.stand_in.clone()).await.expect("the stand-in starts");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), zitadel.token()).unwrap();
        let witness = Witness::start(Api::namespaced(client.clone(), &namespace));
        let world = Self {
            client,
            namespace,
            zitadel,
            dir,
            setup,
            witness,
            operators: Mutex::default(),
            http: Mutex::default(),
        };
        if world.setup.start_operator {
            world.start_operator(&[]).await;
        }
        world.until("the oracle watches", || async { world.witness.awake() }).await;
        world
    }

    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// Replaces the token as a mounted Secret is replaced: by a rename.
    pub fn write_token(&self, token: &str) {
        let fresh = self.dir.path().join("token.fresh");
        std::fs::write(&fresh, token).unwrap();
        std::fs::rename(fresh, self.token_file()).unwrap();
    }

    /// Starts an operator and waits until it is ready.
    pub async fn start_operator(&self, flags: &[&str]) -> String {
        let (name, port) = self.spawn_operator(flags);
        let ready = || async move { http_get(port, "/readyz").await.is_some_and(|(status, _)| status == 200) };
        self.until("the operator is ready", ready).await;
        name
    }

    /// Starts an operator and does not wait for it.
    pub fn spawn_operator(&self, flags: &[&str]) -> (String, u16) {
        let port = devkit::host::free_port().unwrap();
        let name = format!("operator-{}-{}", self.namespace, self.operators.lock().unwrap().len());
        let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
        command
            .arg("run")
            .args(["--zitadel-url", &self.zitadel.url()])
            .args(["--zitadel-api", &self.setup.generation.to_string()])
            .args(["--zitadel-token-file", self.token_file().to_str().unwrap()])
            .args(["--zitadel-timeout", "2"])
            .args(["--resync-interval", &RESYNC.to_string()])
            .args(["--watch-namespaces", &self.namespace])
            // Outside a cluster the operator's own namespace, which may adopt by default, is none of a test's.
            .args(["--adoption-namespaces", &self.namespace])
            .args(["--http-addr", &format!("127.0.0.1:{port}")])
            .args(["--log-format", "human", "--log-level", "zitadel_actions_operator=trace,info"])
            .envs(self.setup.env.iter().cloned())
            .env("KUBECONFIG", self.setup.kubeconfig.as_deref().unwrap_or(plane().kubeconfig()));
        if !self.setup.system_authorities {
            // Reading the system's is half of a start in the debug profile.
            command.env("SSL_CERT_FILE", plane().dir().join("certificates/apiserver.crt")).env("SSL_CERT_DIR", "");
        }
        // Overriding a flag that is already there: clap takes one value, so the earlier one is left out.
        let overridden: Vec<String> =
            self.setup.flags.iter().cloned().chain(flags.iter().map(|f| (*f).to_owned())).collect();
        let command = wrapped(override_flags(&command, &overridden), &self.setup.wrapper);
        plane().supervisor().start(&name, &command, Ending::Abrupt).expect("the operator starts");
        self.operators.lock().unwrap().push(name.clone());
        *self.http.lock().unwrap() = port;
        (name, port)
    }

    /// The newest operator's name.
    pub fn operator(&self) -> String {
        self.operators.lock().unwrap().last().cloned().expect("an operator was started")
    }

    /// The newest operator's port.
    pub fn port(&self) -> u16 {
        *self.http.lock().unwrap()
    }

    pub async fn http(&self, path: &str) -> Option<(u16, String)> {
        http_get(self.port(), path).await
    }

    /// SIGKILL: nothing of the process's own gets a chance.
    pub async fn kill(&self, operator: &str) {
        plane().supervisor().signal(operator, Signal::Kill).unwrap();
        let name = operator.to_owned();
        self.until("the operator is dead", || async { plane().supervisor().exit_code(&name).is_some() }).await;
    }

    /// SIGTERM; returns the exit code.
    pub async fn terminate(&self, operator: &str) -> i32 {
        plane().supervisor().signal(operator, Signal::Terminate).unwrap();
        let name = operator.to_owned();
        self.until_some("the operator ends", || async { plane().supervisor().exit_code(&name) }).await
    }

    pub fn targets(&self) -> Api<Target> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut all: Vec<String> = vec!["--namespace".into(), self.namespace.clone()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let stdin = stdin.to_owned();
        let run = move || kubectl(plane(), &all.iter().map(String::as_str).collect::<Vec<_>>(), &stdin);
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Creates a Target; `name` is also the remote name, made unique by the stand-in being this test's own.
    pub async fn create(&self, name: &str, spec: Value) -> Target {
        self.targets().create(&PostParams::default(), &object(name, spec)).await.expect("the Target is accepted")
    }

    pub async fn get(&self, name: &str) -> Target {
        self.targets().get(name).await.expect("the Target exists")
    }

    /// Merge-patches the spec, as a user does.
    pub async fn edit(&self, name: &str, spec: Value) -> Target {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.targets().patch(name, &PatchParams::default(), &patch).await.expect("the edit is accepted")
    }

    pub async fn delete(&self, name: &str) {
        self.targets().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until Ready=True for the newest generation.
    pub async fn ready(&self, name: &str) -> Target {
        self.until_target(name, "Ready", is_ready).await
    }

    /// Waits until Ready=False with this reason for the newest generation.
    pub async fn reason(&self, name: &str, reason: &str) -> Target {
        self.until_target(name, &format!("Ready=False with {reason}"), |target| {
            current(target)
                && condition(target, "Ready").is_some_and(|(status, why, _)| status == "False" && why == reason)
        })
        .await
    }

    /// What is watched is looked at first, and the API server is asked only when it holds there: many tests poll, and
    /// its answer is the one that counts.
    pub async fn until_target(&self, name: &str, what: &str, holds: impl Fn(&Target) -> bool) -> Target {
        let fits = |target: &Target| target.name_any() == name && holds(target);
        self.until_some(&format!("{name} is {what}"), || async {
            self.newest().iter().find(|target| fits(target))?;
            self.targets().get_opt(name).await.ok().flatten().filter(&fits)
        })
        .await
    }

    pub async fn gone(&self, name: &str) {
        self.until(&format!("{name} is gone"), || async {
            self.newest().iter().all(|target| target.name_any() != name)
                && matches!(self.targets().get_opt(name).await, Ok(None))
        })
        .await;
    }

    pub async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        self.until_some(what, || async { holds().await.then_some(()) }).await;
    }

    pub async fn until_some<T, F: Future<Output = Option<T>>>(&self, what: &str, probe: impl Fn() -> F) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{}", self.explain().await);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Events on objects of this namespace with this reason: their notes.
    pub async fn notes(&self, reason: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await.unwrap();
        let fits = |event: &Event| event.reason.as_deref() == Some(reason);
        events.into_iter().filter(fits).filter_map(|event| event.note).collect()
    }

    /// Waits for an Event and returns its note.
    pub async fn note(&self, reason: &str) -> String {
        self.until_some(&format!("an Event {reason}"), || async { self.notes(reason).await.pop() }).await
    }

    /// How many events of this kind the stand-in's true history has.
    pub fn count(&self, kind: EventKind) -> usize {
        self.zitadel.events().iter().filter(|event| event.kind == kind).count()
    }

    /// How many calls of this kind the stand-in got.
    pub fn calls(&self, op: Op) -> usize {
        self.zitadel.calls().iter().filter(|call| call.op == Some(op)).count()
    }

    /// Waits until the operator has compared this many times more with ZITADEL, whatever else happens.
    pub async fn resyncs(&self, count: usize) {
        let before = self.calls(Op::List);
        self.until("resyncs happen", || async { self.calls(Op::List) >= before + count }).await;
    }

    /// Over three resyncs nothing is written: not the object, not the remote target.
    pub async fn assert_rests(&self, name: &str) {
        let (object, events) = (self.get(name).await, self.zitadel.events().len());
        self.resyncs(3).await;
        let after = self.get(name).await;
        let moved = after.metadata.resource_version != object.metadata.resource_version;
        assert!(!moved, "an object in sync was written\n{}", self.explain().await);
        assert_eq!(self.zitadel.events().len(), events, "a target in sync was written\n{}", self.zitadel.dump());
    }

    /// Sets the clock of a status back by a quarter of an hour, which is more than the ten minutes that an operator waits for success. None may run.
    pub async fn age(&self, name: &str) {
        let mut conditions = self.get(name).await.status.unwrap().conditions;
        for condition in &mut conditions {
            condition.last_transition_time.0 -= SignedDuration::from_mins(15);
        }
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        self.targets().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The newest version of each Target as the watch has it, which costs no call.
    pub fn newest(&self) -> Vec<Target> {
        self.witness.newest()
    }

    /// The last version of each Target that was removed.
    pub fn removed(&self) -> Vec<Target> {
        self.witness.oracle().removed.clone()
    }

    /// Takes back what the oracle holds against the test itself.
    pub fn pardon(&self, what: &str) {
        self.witness.oracle().violations.retain(|violation| !violation.contains(what));
    }

    /// The end of a test: no violation of the status contract, no leaked or doubled target.
    pub async fn finish(self) {
        if self.count(EventKind::Added) > 0 {
            self.until("the oracle has seen an object", || async { self.witness.oracle().seen > 0 }).await;
        }
        let violations = self.witness.oracle().violations.clone();
        assert!(
            violations.is_empty(),
            "the status contract was broken:\n{}\n{}",
            violations.join("\n"),
            self.explain().await
        );
        let operators = self.operators.lock().unwrap().clone();
        for operator in operators {
            let log = log(&operator);
            assert!(!log.contains(&self.zitadel.token()), "the token is in the log of {operator}");
            assert!(!log.contains("panicked"), "{operator} panicked:\n{log}");
        }
    }

    /// Everything that helps to understand a failure.
    pub async fn explain(&self) -> String {
        let objects = match self.targets().list(&ListParams::default()).await {
            Ok(list) => serde_json::to_string_pretty(&list.items).unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let told = |event: Event| format!("  {:?} {:?}: {}", event.type_, event.reason, event.note.unwrap_or_default());
        let events: Vec<String> =
            api.list(&ListParams::default()).await.map(|list| list.into_iter().map(told).collect()).unwrap_or_default();
        let removed = self.removed();
        let removed: Vec<_> = removed.iter().map(|target| (target.name_any(), target.finalizers())).collect();
        let operators = self.operators.lock().unwrap().clone();
        let logs: Vec<String> = operators.iter().map(|name| format!("--- {name}\n{}", tail(&log(name), 80))).collect();
        format!(
            "=== objects\n{objects}\n=== removed, with what finalizers\n{removed:?}\n=== events\n{}\n=== operator\n{}\n=== stand-in\n{}",
            events.join("\n"),
            logs.join("\n"),
            self.zitadel.dump()
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for operator in self.operators.lock().unwrap().iter() {
            if plane().supervisor().exit_code(operator).is_none() {
                // The process may have ended in between; the supervisor ends what is left in any case.
                let _ = plane().supervisor().signal(operator, Signal::Kill);
            }
        }
    }
}

/// What an operator has logged so far.
pub fn log(operator: &str) -> String {
    std::fs::read_to_string(plane().supervisor().log_path(operator)).unwrap_or_default()
}

/// A Target object.
pub fn object(name: &str, spec: Value) -> Target {
    let spec: TargetSpec = serde_json::from_value(spec).expect("the spec has the shape of one");
    Target::new(name, spec)
}

/// A webhook with usual settings.
pub fn webhook() -> Value {
    json!({"restWebhook": {"interruptOnError": true}, "timeout": "10s", "endpoint": "https://hooks.example.com/zitadel"})
}

/// (status, reason, message) of a condition.
pub fn condition(target: &Target, kind: &str) -> Option<(String, String, String)> {
    let conditions = &target.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// Whether status speaks of the newest spec.
pub fn current(target: &Target) -> bool {
    target.status.as_ref().is_some_and(|status| status.observed_generation == target.metadata.generation)
}

pub fn is_ready(target: &Target) -> bool {
    let ready = target.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
    current(target) && ready.is_some_and(|ready| ready.status == "True")
}

pub fn id(target: &Target) -> String {
    target.status.as_ref().and_then(|status| status.id.clone()).expect("the status has an id")
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
