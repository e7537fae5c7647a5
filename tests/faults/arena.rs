//! A world with a proxy on each side of its operator.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use devkit::proxy::{Call, Entry, FINALIZER, HttpProxy, KubeCall};
use kube::ResourceExt;
use kube::api::ListParams;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Generation, Op, TargetEdit};

use crate::cluster::plane;
use crate::world::{Setup, World, log};

/// The world of one run. Dereferences to the shared helpers.
pub struct Arena {
    world: World,
    /// Between the operator and the API server.
    pub kube: Arc<HttpProxy<KubeCall>>,
    /// Between the operator and the stand-in.
    pub remote: Arc<HttpProxy<Op>>,
    started: AtomicBool,
    /// The targets that somebody else has made with the operator's own account.
    strangers: Mutex<BTreeSet<String>>,
    event_store: Mutex<EventStore>,
    _tale: Tale,
}

/// Whether the operator can read what happened to its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventStore {
    Readable,
    /// Not, or not always: a status may be without a sequence, but not with a wrong one.
    Unreadable,
}

impl Deref for Arena {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Arena {
    /// Without an operator. Calls to ZITADEL are given up after two seconds.
    pub async fn new(generation: Generation) -> Self {
        Self::with(Setup::new(generation)).await
    }

    /// As [`Arena::new`], with a stand-in or flags of one's own.
    pub async fn with(setup: Setup) -> Self {
        let admin = tokio::task::spawn_blocking(|| plane().kubeconfig().to_owned()).await.unwrap();
        let kube = Arc::new(HttpProxy::before_kubernetes(&admin).expect("the proxy starts"));
        let mut setup = setup.without_operator();
        // First, because the last value counts.
        setup.flags.insert(0, "--zitadel-timeout=2".to_owned());
        setup.kubeconfig = Some(kube.kubeconfig());
        let world = World::with(setup).await;
        let remote = Arc::new(HttpProxy::before_zitadel(&world.zitadel.url()).expect("the proxy starts"));
        let tale = Tale { kube: Arc::clone(&kube), remote: Arc::clone(&remote) };
        let (started, strangers, event_store) =
            (AtomicBool::new(false), Mutex::default(), Mutex::new(EventStore::Readable));
        Self { world, kube, remote, started, strangers, event_store, _tale: tale }
    }

    /// With a running operator.
    pub async fn running(generation: Generation) -> Self {
        let arena = Self::new(generation).await;
        arena.start().await;
        arena
    }

    /// Starts an operator behind the proxies and waits until it is ready and watches.
    pub async fn start(&self) -> String {
        self.start_with(&[]).await
    }

    /// The same with further flags, or other values for the usual ones.
    pub async fn start_with(&self, flags: &[&str]) -> String {
        let watches = self.kube.count(KubeCall::Watch);
        let operator = self.spawn_with(flags);
        // Its word for it, not /readyz: many worlds wait, and this costs least.
        let ready =
            || async { log(&operator).contains("ready: the cache") && self.kube.count(KubeCall::Watch) > watches };
        self.until("the operator is ready", ready).await;
        operator
    }

    /// Starts an operator behind the proxies.
    pub fn spawn(&self) -> String {
        self.spawn_with(&[])
    }

    fn spawn_with(&self, flags: &[&str]) -> String {
        self.started.store(true, Ordering::SeqCst);
        let url = format!("--zitadel-url={}", self.remote.url());
        // Any free port: of hundreds that are chosen beforehand, one is taken when its turn comes.
        let usual = [url.as_str(), "--http-addr=127.0.0.1:0"];
        self.world.spawn_operator(&[&usual, flags].concat()).0
    }

    /// Whether no operator runs: none was started yet, or the newest is dead.
    pub fn asleep(&self) -> bool {
        !self.started.load(Ordering::SeqCst) || plane().supervisor().exit_code(&self.operator()).is_some()
    }

    /// Somebody makes a target with the operator's own account. It is none of ours and must stay as it is.
    pub fn stranger(&self, name: &str) -> String {
        let id = self.zitadel.external_create_by(&self.zitadel.user_id(), name, TargetEdit::default());
        self.strangers.lock().unwrap().insert(id.clone());
        id
    }

    /// Whether somebody else made this target with the operator's own account.
    pub fn is_strangers(&self, id: &str) -> bool {
        self.strangers.lock().unwrap().contains(id)
    }

    /// The ids of all that [`Self::stranger`] made.
    pub fn strangers(&self) -> BTreeSet<String> {
        self.strangers.lock().unwrap().clone()
    }

    /// The targets of ours, in order of creation.
    pub fn ours(&self) -> Vec<zitadel_stand_in::Target> {
        let own = self.zitadel.user_id();
        let mut all = self.zitadel.targets();
        all.retain(|target| target.creator == own && !self.is_strangers(&target.id));
        all
    }

    /// From now on the event store may not tell the operator everything.
    pub fn lose_events(&self) {
        *self.event_store.lock().unwrap() = EventStore::Unreadable;
    }

    /// Whether a status may be without a sequence.
    pub fn may_lack_sequences(&self) -> bool {
        *self.event_store.lock().unwrap() == EventStore::Unreadable
    }

    /// Every Target there is, as the API server has it.
    pub async fn objects(&self) -> Vec<Target> {
        self.targets().list(&ListParams::default()).await.expect("the API server answers").items
    }

    /// Whether something holds for the Targets: looked up in a cache first, and only what holds there is asked of the
    /// API server. Dozens of worlds poll, and it has work to do.
    pub async fn holds(&self, condition: impl Fn(&[Target]) -> bool) -> bool {
        if !condition(&self.newest()) {
            return false;
        }
        // While the API server is in trouble nothing is known: the caller asks again.
        self.targets().list(&ListParams::default()).await.is_ok_and(|list| condition(&list.items))
    }

    /// Objects that were removed although their last state had our finalizer: kube-apiserver decides on a DELETE before
    /// it carries it out, and a finalizer that is accepted in between is lost (kubernetes/kubernetes#77988).
    pub fn vanished(&self) -> Vec<Target> {
        let ours = |object: &Target| object.finalizers().iter().any(|name| name == FINALIZER);
        self.removed().into_iter().filter(ours).collect()
    }

    /// The end of a run: the status contract held, nothing panicked, no token was logged.
    pub async fn close(self) {
        self.world.finish().await;
    }
}

/// Tells what went through the proxies, if the run fails.
struct Tale {
    kube: Arc<HttpProxy<KubeCall>>,
    remote: Arc<HttpProxy<Op>>,
}

impl Drop for Tale {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("=== calls to Kubernetes\n{}", told(&self.kube.log()));
            eprintln!("=== calls to ZITADEL\n{}", told(&self.remote.log()));
        }
    }
}

fn told<C: Call + Debug>(log: &[Entry<C>]) -> String {
    let line = |entry: &Entry<C>| format!("  {:?} {} -> {:?}", entry.call, entry.request, entry.fate);
    log.iter().map(line).collect::<Vec<_>>().join("\n")
}
