//! Reads the Secrets of a connection: `get`, by name, nothing else.
//!
//! What was read goes into the slots from which the client takes it for every call. Nothing of a Secret's content is
//! logged, compared outside a hash, or put into an error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

use crate::api::connection::SecretKey;
use crate::zitadel::Error;
use crate::zitadel::auth::Slot;

/// Longest wait for one Secret.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The keys of Secrets that one connection uses.
pub(crate) struct ConnectionSecrets {
    client: Client,
    namespace: String,
    /// By Secret: its keys, and where each goes.
    slots: BTreeMap<String, Vec<(String, Slot)>>,
    /// Whether what was read is kept although its Secret is gone.
    kept: AtomicBool,
    print: Mutex<u64>,
}

impl std::fmt::Debug for ConnectionSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl ConnectionSecrets {
    /// No key yet, of Secrets in this namespace.
    pub(crate) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace, slots: BTreeMap::new(), kept: AtomicBool::new(false), print: Mutex::default() }
    }

    /// A slot for this key, filled by [`Self::refresh`].
    pub(crate) fn slot(&mut self, key: &SecretKey) -> Slot {
        let slot = Slot::new(format!("key {} of Secret {} in namespace {}", key.key, key.name, self.namespace));
        self.slots.entry(key.name.clone()).or_default().push((key.key.clone(), slot.clone()));
        slot
    }

    /// From now on a missing Secret takes nothing away: the connection is being deleted, perhaps with its namespace,
    /// and the deletion of its Targets needs the credential once more.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Reads every Secret anew and tells whether anything changed.
    ///
    /// # Errors
    /// [`Error::Credential`] for the first Secret or key that is not there or not allowed.
    pub(crate) async fn refresh(&self) -> Result<bool, Error> {
        let mut failure = None;
        for (name, keys) in &self.slots {
            if let Err(error) = self.read(name, keys).await {
                failure.get_or_insert(error);
            }
        }
        match failure {
            None => Ok(self.moved()),
            Some(_) if self.kept.load(Ordering::Relaxed) && self.filled() => Ok(false),
            Some(error) => Err(error),
        }
    }

    async fn read(&self, name: &str, keys: &[(String, Slot)]) -> Result<(), Error> {
        let shown = format!("the Secret {name} in namespace {}", self.namespace);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let unusable = match tokio::time::timeout(READ_TIMEOUT, api.get_opt(name)).await {
            Ok(Ok(Some(secret))) => return self.take(&secret, keys),
            Ok(Ok(None)) => format!("{shown} does not exist"),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                format!("the operator may not read {shown}: it needs the right to get it")
            }
            // Trouble of the API server says nothing about the Secret.
            Ok(Err(_)) | Err(_) if keys.iter().all(|(_, slot)| slot.get().is_some()) => return Ok(()),
            Ok(Err(_)) | Err(_) => format!("{shown} cannot be read: the API server does not answer properly"),
        };
        self.withdraw(keys.iter().map(|(_, slot)| slot));
        Err(Error::Credential(unusable))
    }

    fn take(&self, secret: &Secret, keys: &[(String, Slot)]) -> Result<(), Error> {
        let mut failure = None;
        for (key, slot) in keys {
            let content = secret.data.as_ref().and_then(|data| data.get(key));
            match content.map(|content| std::str::from_utf8(&content.0)) {
                Some(Ok(text)) => slot.set(Some(SecretString::from(text))),
                other => {
                    let name = secret.metadata.name.as_deref().unwrap_or_default();
                    let what = if other.is_none() { "is missing" } else { "is no text" };
                    let text = format!("key {key} of Secret {name} in namespace {} {what}", self.namespace);
                    self.withdraw([slot]);
                    failure.get_or_insert(Error::Credential(text));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn withdraw<'a>(&self, slots: impl IntoIterator<Item = &'a Slot>) {
        if !self.kept.load(Ordering::Relaxed) {
            slots.into_iter().for_each(|slot| slot.set(None));
        }
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values().flatten().map(|(_, slot)| slot)
    }

    fn filled(&self) -> bool {
        self.all().all(|slot| slot.get().is_some())
    }

    /// Whether the content differs from the one at the last call.
    fn moved(&self) -> bool {
        use secrecy::ExposeSecret;
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        for slot in self.all() {
            slot.get().as_ref().map(SecretString::expose_secret).hash(&mut hasher);
        }
        let print = hasher.finish();
        let mut known = self.print.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = *known != print;
        *known = print;
        moved
    }
}
