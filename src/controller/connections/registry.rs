//! The connections that exist, by their names: which of them a Target may use.
//!
//! Filled by `connections`, asked by passes. A connection is rebuilt when its spec changes, and only then: a deleted
//! one keeps the credential in memory until its Targets are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::connection::{ConnectionKind, ConnectionRef};
use crate::controller::connections::bound::Bound;
use crate::controller::connections::connection::{ConnectionKey, Inputs, LiveConnection};
use crate::controller::connections::namespaces::Namespaces;
use crate::controller::connections::notice::Notices;
use crate::controller::connections::observation::Observation;
use crate::controller::connections::resource::{ClientFactory, ClusterConnections, ConnectionResource};
use crate::controller::runtime::requeue::Requeue;
use crate::plan::Adoption;
use crate::plan::connection::Obstacle;
use crate::plan::policy::{Access, Policy};

/// How long after a start passes wait for the first list of connections: without a definition there is none.
const FIRST_READ: Duration = Duration::from_secs(10);

/// Every connection of the process.
pub struct ConnectionRegistry {
    default: Option<Arc<LiveConnection>>,
    /// Who may do what with the default connection.
    policy: Policy,
    factory: ClientFactory,
    entries: Mutex<HashMap<ConnectionKey, Entry>>,
    read: watch::Sender<Read>,
    started: Instant,
    pub(crate) namespaces: Namespaces,
    /// Resources whose connection may stand differently.
    pub(crate) reports: Arc<Requeue<ConnectionKey>>,
    /// What happens to connections.
    pub(crate) notices: Notices,
}

/// A resource, and the connection built from it, or why none was.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub resource: ConnectionResource,
    pub live: Result<Arc<LiveConnection>, String>,
}

/// Which kinds have been listed.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    connections: bool,
    cluster_connections: bool,
}

impl Read {
    const fn of(self, kind: ConnectionKind) -> bool {
        match kind {
            ConnectionKind::Connection => self.connections,
            ConnectionKind::ClusterConnection => self.cluster_connections,
        }
    }
}

/// What an update changed for the Targets that use the connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Who may use it.
    Allowance,
    /// The connection itself: this one is new.
    Live(Result<Arc<LiveConnection>, String>),
}

impl ConnectionRegistry {
    /// The default connection alone, if the operator has one, and who may do what with it.
    #[must_use]
    pub fn new(default: Option<LiveConnection>, policy: Policy, factory: ClientFactory) -> Self {
        Self {
            default: default.map(Arc::new),
            policy,
            namespaces: Namespaces::new(factory.kube.clone()),
            factory,
            entries: Mutex::default(),
            read: watch::Sender::default(),
            started: Instant::now(),
            reports: Arc::default(),
            notices: Notices::default(),
        }
    }

    /// Whether this operator serves ClusterConnections: exactly one of a cluster may.
    pub(crate) fn serves_cluster(&self) -> bool {
        self.factory.cluster == ClusterConnections::Served
    }

    pub(crate) const fn default_connection(&self) -> Option<&Arc<LiveConnection>> {
        self.default.as_ref()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<ConnectionKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, key: &ConnectionKey) -> Option<Entry> {
        self.entries().get(key).cloned()
    }

    pub(crate) fn keys(&self) -> Vec<ConnectionKey> {
        self.entries().keys().cloned().collect()
    }

    /// The connection of every resource, or why there is none.
    pub(crate) fn resources(&self) -> Vec<(ConnectionKey, Result<Arc<LiveConnection>, String>)> {
        self.entries().iter().map(|(key, entry)| (key.clone(), entry.live.clone())).collect()
    }

    /// Every connection, or why there is none of that name.
    pub(crate) fn all(&self) -> Vec<(ConnectionKey, Result<Arc<LiveConnection>, String>)> {
        let default = self.default.iter().map(|live| (ConnectionKey::Default, Ok(Arc::clone(live))));
        default.chain(self.resources()).collect()
    }

    /// The connection that a user asks for, if it exists and may be used, and whether the user may adopt by it.
    ///
    /// # Errors
    /// Why it may not, or what is missing.
    pub async fn of(&self, user: &User<'_>) -> Result<(Arc<LiveConnection>, Adoption), Obstacle> {
        let Some(reference) = user.reference else {
            let live = self.default.clone().ok_or(Obstacle::NoDefault)?;
            return match self.access_by(&self.policy, user.namespace).await {
                Access::NotAllowed => Err(Obstacle::Reserved),
                Access::Allowed(adoption) => Ok((live, adoption)),
            };
        };
        if !self.is_read(reference.kind).await {
            return Err(Obstacle::Unread(reference.kind));
        }
        let Some(entry) = self.entry(&user.key()) else { return Err(Obstacle::Missing(reference.clone())) };
        let Access::Allowed(adoption) = self.access_by(&entry.resource.policy, user.namespace).await else {
            return Err(Obstacle::Foreign(reference.clone()));
        };
        // With the finalizer something may have been made; without it nothing was, and nothing new is begun.
        if entry.resource.deleting && !user.finalized {
            return Err(Obstacle::Going(reference.clone()));
        }
        let live = entry.live.map_err(|why| Obstacle::Refused(reference.clone(), why))?;
        Ok((live, adoption))
    }

    async fn access_by(&self, policy: &Policy, namespace: &str) -> Access {
        let labels = if policy.needs_labels(namespace) { self.namespaces.labels(namespace).await } else { None };
        policy.access(namespace, labels.as_ref())
    }

    async fn is_read(&self, kind: ConnectionKind) -> bool {
        if kind == ConnectionKind::ClusterConnection && !self.serves_cluster() {
            return false;
        }
        let mut read = self.read.subscribe();
        let first = tokio::time::timeout_at(self.started + FIRST_READ, read.wait_for(|read| read.of(kind))).await;
        first.is_ok() || self.read.borrow().of(kind)
    }

    /// Notes that every resource of a kind has been seen once.
    pub(crate) fn note_read(&self, kind: ConnectionKind) {
        self.read.send_modify(|read| match kind {
            ConnectionKind::Connection => read.connections = true,
            ConnectionKind::ClusterConnection => read.cluster_connections = true,
        });
    }

    /// Takes in a resource as the watch delivers it.
    pub(crate) fn update(&self, resource: ConnectionResource) -> Change {
        let mut entries = self.entries();
        let (deleting, key) = (resource.deleting, resource.key.clone());
        let change = match entries.get_mut(&key) {
            Some(entry) if entry.resource.uid == resource.uid && entry.resource.spec == resource.spec => {
                let allowance = entry.resource.policy != resource.policy;
                entry.resource = resource;
                if allowance { Change::Allowance } else { Change::None }
            }
            _ => {
                let live = self.build(&resource);
                if let Some(Entry { live: Ok(old), .. }) =
                    entries.insert(key.clone(), Entry { resource, live: live.clone() })
                {
                    old.stop.cancel();
                }
                Change::Live(live)
            }
        };
        if let (true, Some(Ok(Inputs::Secrets(keys)))) =
            (deleting, entries.get(&key).map(|entry| entry.live.as_ref().map(|live| &live.inputs)))
        {
            keys.keep();
        }
        change
    }

    /// Forgets a resource that is gone; whether it was known.
    pub(crate) fn remove(&self, key: &ConnectionKey) -> bool {
        let gone = self.entries().remove(key);
        if let Some(Entry { live: Ok(live), .. }) = &gone {
            live.stop.cancel();
        }
        gone.is_some()
    }

    /// A connection, whoever may use it.
    #[must_use]
    pub fn live(&self, key: &ConnectionKey) -> Option<Arc<LiveConnection>> {
        match key {
            ConnectionKey::Default => self.default.clone(),
            key => self.entry(key)?.live.ok(),
        }
    }

    /// What a namespace may do with a connection, by the labels that are known: a reconcile reads them before it adopts
    /// anything.
    #[must_use]
    pub fn access(&self, namespace: &str, key: &ConnectionKey) -> Option<Access> {
        self.live(key)?;
        let policy =
            if *key == ConnectionKey::Default { self.policy.clone() } else { self.entry(key)?.resource.policy };
        Some(policy.access(namespace, self.namespaces.known(namespace).as_ref()))
    }

    fn build(&self, resource: &ConnectionResource) -> Result<Arc<LiveConnection>, String> {
        let (health, keys) = self.factory.health(resource)?;
        Ok(Arc::new(LiveConnection {
            key: resource.key.clone(),
            health: Arc::new(health),
            observation: Observation::default(),
            bound: Bound::default(),
            inputs: Inputs::Secrets(keys),
            stop: CancellationToken::new(),
            report: Some(Arc::clone(&self.reports)),
        }))
    }
}

/// Who asks for a connection.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The connection that it names.
    pub reference: Option<&'a ConnectionRef>,
    /// Whether something may have been made for it already.
    pub finalized: bool,
}

impl User<'_> {
    fn key(&self) -> ConnectionKey {
        ConnectionKey::by(self.namespace, self.reference)
    }
}
