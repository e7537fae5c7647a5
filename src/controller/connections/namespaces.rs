//! Labels of namespaces, for connections that select by label whom they allow.
//!
//! Read by name when a Target asks, and once a minute afterwards; where the operator may not read namespaces, none has
//! labels, so a selector allows nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

/// Labels of one namespace.
pub(crate) type Labels = BTreeMap<String, String>;

const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What was read.
pub(crate) struct Namespaces {
    client: Client,
    known: Mutex<HashMap<String, Labels>>,
}

impl Namespaces {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The labels of a namespace, as read within the last minute.
    pub(crate) async fn labels(&self, namespace: &str) -> Option<Labels> {
        let known = self.known(namespace);
        if known.is_some() {
            return known;
        }
        let labels = self.read(namespace).await?;
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(namespace.to_owned(), labels.clone());
        Some(labels)
    }

    /// The same without reading them.
    pub(crate) fn known(&self, namespace: &str) -> Option<Labels> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    /// Reads again what was asked for, and tells which namespaces have changed.
    pub(crate) async fn refresh(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut changed = Vec::new();
        for (namespace, before) in known {
            let now = self.read(&namespace).await;
            if now.as_ref() == Some(&before) {
                continue;
            }
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            match now {
                Some(labels) => drop(all.insert(namespace.clone(), labels)),
                None => drop(all.remove(&namespace)),
            }
            changed.push(namespace);
        }
        changed
    }

    async fn read(&self, namespace: &str) -> Option<Labels> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        match tokio::time::timeout(READ_TIMEOUT, api.get_metadata(namespace)).await {
            Ok(Ok(object)) => Some(object.metadata.labels.unwrap_or_default()),
            Ok(Err(error)) => {
                tracing::warn!(namespace, %error, "a namespace cannot be read: no selector allows it");
                None
            }
            Err(_) => None,
        }
    }
}
