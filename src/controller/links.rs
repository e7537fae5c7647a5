//! The connections that exist, by their names: which of them a Target may use.
//!
//! Filled by `connections`, asked by passes. A connection is rebuilt when its spec changes, and only then: a deleted
//! one keeps the credential in memory until its Targets are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bound::Bound;
use super::has_finalizer;
use super::holders::Connections;
use super::link::{Inputs, Key, Link};
use super::namespaces::Namespaces;
use super::observer::Observer;
use super::offer::{ClusterConnections, Common, Offer};
use crate::api::connection::ConnectionKind;
use crate::api::target::Target;
use crate::plan::Adoption;
use crate::plan::connection::Obstacle;
use crate::plan::policy::{Access, Policy};

/// How long after a start passes wait for the first list of connections: without a definition there is none.
const FIRST_READ: Duration = Duration::from_secs(10);

/// Every connection of the process.
pub struct Links {
    default: Option<Arc<Link>>,
    /// Who may do what with the default connection.
    policy: Policy,
    common: Common,
    entries: Mutex<HashMap<Key, Entry>>,
    read: watch::Sender<Read>,
    started: Instant,
    pub(super) namespaces: Namespaces,
    telling: UnboundedSender<Key>,
    told: Mutex<Option<UnboundedReceiver<Key>>>,
}

/// A resource, and the connection built from it, or why none was.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub offer: Offer,
    pub link: Result<Arc<Link>, String>,
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
pub(super) enum Change {
    /// Nothing.
    None,
    /// Who may use it.
    Allowance,
    /// The connection itself: this one is new.
    Link(Result<Arc<Link>, String>),
}

impl Links {
    /// The default connection alone, if the operator has one, and who may do what with it.
    #[must_use]
    pub fn new(default: Option<Link>, policy: Policy, common: Common) -> Self {
        let (telling, told) = unbounded();
        Self {
            default: default.map(Arc::new),
            policy,
            namespaces: Namespaces::new(common.kube.clone()),
            common,
            entries: Mutex::default(),
            read: watch::Sender::default(),
            started: Instant::now(),
            telling,
            told: Mutex::new(Some(told)),
        }
    }

    /// Whether this operator serves ClusterConnections: exactly one of a cluster may.
    pub(super) fn serves_cluster(&self) -> bool {
        self.common.cluster == ClusterConnections::Served
    }

    pub(super) const fn default_link(&self) -> Option<&Arc<Link>> {
        self.default.as_ref()
    }

    /// The keys of connections that may stand differently. Taken once, by the one loop that reports.
    pub(super) fn told(&self) -> Option<UnboundedReceiver<Key>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        self.entries().get(key).cloned()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries().keys().cloned().collect()
    }

    /// The connection of every resource, or why there is none.
    pub(super) fn resources(&self) -> Vec<(Key, Result<Arc<Link>, String>)> {
        self.entries().iter().map(|(key, entry)| (key.clone(), entry.link.clone())).collect()
    }

    /// Every connection, or why there is none of that name.
    pub(super) fn all(&self) -> Vec<(Key, Result<Arc<Link>, String>)> {
        let default = self.default.iter().map(|link| (Key::Default, Ok(Arc::clone(link))));
        default.chain(self.resources()).collect()
    }

    /// The connection that a Target asks for, if it exists and may be used, and whether the Target may adopt by it.
    pub(super) async fn of(&self, target: &Target) -> Result<(Arc<Link>, Adoption), Obstacle> {
        let Some(reference) = &target.spec.connection_ref else {
            let link = self.default.clone().ok_or(Obstacle::NoDefault)?;
            return match self.access_by(&self.policy, target).await {
                Access::NotAllowed => Err(Obstacle::Reserved),
                Access::Allowed(adoption) => Ok((link, adoption)),
            };
        };
        if !self.is_read(reference.kind).await {
            return Err(Obstacle::Unread(reference.kind));
        }
        let Some(entry) = self.entry(&Key::of(target)) else { return Err(Obstacle::Missing(reference.clone())) };
        let Access::Allowed(adoption) = self.access_by(&entry.offer.policy, target).await else {
            return Err(Obstacle::Foreign(reference.clone()));
        };
        // With the finalizer something may have been made; without it nothing was, and nothing new is begun.
        if entry.offer.deleting && !has_finalizer(target.metadata.finalizers.as_deref()) {
            return Err(Obstacle::Going(reference.clone()));
        }
        let link = entry.link.map_err(|why| Obstacle::Refused(reference.clone(), why))?;
        Ok((link, adoption))
    }

    async fn access_by(&self, policy: &Policy, target: &Target) -> Access {
        let namespace = target.namespace().unwrap_or_default();
        let labels = if policy.needs_labels(&namespace) { self.namespaces.labels(&namespace).await } else { None };
        policy.access(&namespace, labels.as_ref())
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
    pub(super) fn note_read(&self, kind: ConnectionKind) {
        self.read.send_modify(|read| match kind {
            ConnectionKind::Connection => read.connections = true,
            ConnectionKind::ClusterConnection => read.cluster_connections = true,
        });
    }

    /// Takes in a resource as the watch delivers it.
    pub(super) fn update(&self, offer: Offer) -> Change {
        let mut entries = self.entries();
        let (deleting, key) = (offer.deleting, offer.key.clone());
        let change = match entries.get_mut(&key) {
            Some(entry) if entry.offer.uid == offer.uid && entry.offer.spec == offer.spec => {
                let allowance = entry.offer.policy != offer.policy;
                entry.offer = offer;
                if allowance { Change::Allowance } else { Change::None }
            }
            _ => {
                let link = self.build(&offer);
                if let Some(Entry { link: Ok(old), .. }) =
                    entries.insert(key.clone(), Entry { offer, link: link.clone() })
                {
                    old.stop.cancel();
                }
                Change::Link(link)
            }
        };
        if let (true, Some(Ok(Inputs::Secrets(keys)))) =
            (deleting, entries.get(&key).map(|entry| entry.link.as_ref().map(|link| &link.inputs)))
        {
            keys.keep();
        }
        change
    }

    /// Forgets a resource that is gone; whether it was known.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let gone = self.entries().remove(key);
        if let Some(Entry { link: Ok(link), .. }) = &gone {
            link.stop.cancel();
        }
        gone.is_some()
    }

    fn build(&self, offer: &Offer) -> Result<Arc<Link>, String> {
        let (connector, keys) = self.common.connector(offer)?;
        Ok(Arc::new(Link {
            key: offer.key.clone(),
            connector: Arc::new(connector),
            observer: Observer::default(),
            bound: Bound::default(),
            inputs: Inputs::Secrets(keys),
            stop: CancellationToken::new(),
            told: Some(self.telling.clone()),
        }))
    }
}

impl Connections for Links {
    fn link(&self, key: &Key) -> Option<Arc<Link>> {
        match key {
            Key::Default => self.default.clone(),
            key => self.entry(key)?.link.ok(),
        }
    }

    /// By the labels that are known: a pass reads them before it adopts anything.
    fn access(&self, target: &Target) -> Option<Access> {
        let key = Key::of(target);
        self.link(&key)?;
        let policy = if key == Key::Default { self.policy.clone() } else { self.entry(&key)?.offer.policy };
        let namespace = target.namespace().unwrap_or_default();
        Some(policy.access(&namespace, self.namespaces.known(&namespace).as_ref()))
    }
}
