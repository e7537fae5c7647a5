//! What this process is to do: only while it leads, and only for the Targets that bear its labels.
//!
//! It watches the others all the same: whether a remote target is held already, and whether a connection is still needed,
//! are questions about all of them. May import `ops`.

use std::collections::BTreeMap;

use kube::Resource;
use kube::core::{Selector, SelectorExt as _};

use crate::ops::Leadership;

/// The part of the work that is this process's.
#[derive(Debug)]
pub struct Scope {
    /// Whether it works at all.
    pub leadership: Leadership,
    /// The labels of the Targets that it cares for.
    pub labels: Selector,
    /// The namespaces that it watches.
    pub reach: Reach,
}

/// Where an operator watches, and so where its rights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All namespaces, by a ClusterRole.
    Cluster,
    /// Some, by a Role in each, which may be deleted along with its namespace.
    Namespaces,
}

impl Scope {
    /// Whether this process has to act on an object, now.
    pub(crate) fn should_reconcile(&self, object: &impl Resource) -> bool {
        self.leadership.leads() && self.selects(object)
    }

    /// Whether this process cares for an object whenever it leads.
    pub(crate) fn selects(&self, object: &impl Resource) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.labels.matches(object.meta().labels.as_ref().unwrap_or(&NONE))
    }
}
