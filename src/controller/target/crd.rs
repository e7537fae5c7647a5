//! Whether the CRD of Targets is being deleted: then the API server deletes every Target too, and none of those deletions
//! is meant for a target in ZITADEL.
//!
//! The CRD itself is the proof: its deletionTimestamp is set before the first Target is deleted. An operator that watches
//! all namespaces has the right to read it, so a refusal there says that the right was taken away, which an uninstallation
//! does first: nothing is known then. An operator of some namespaces has no such right. It reads the discovery document of
//! our API group, which every ServiceAccount may (ClusterRole `system:discovery`): while a CRD is terminating, its kind is
//! listed without the verb `create` (apiextensions-apiserver, `customresource_discovery_controller.go`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, CustomResourceExt};
use tokio::time::Instant;

use crate::api::target::Target;
use crate::api::{GROUP, VERSION};
use crate::controller::runtime::backoff::{delay, jittered};
use crate::controller::runtime::scope::Reach;
use crate::controller::runtime::writer::{WriteError, in_time};
use crate::plan::Crd;

/// How long a Target has to have been deleting before discovery may say that its CRD stays. The API server marks the CRD
/// as terminating before it deletes the first Target, but serves the discovery document from a watch of its own, which may
/// be a moment behind, also behind that of another API server.
const DISCOVERY_LAG: Duration = Duration::from_secs(2);

/// Back-off of the question whether the CRD may be read.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// What is known of the right to read the CRD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// No answer yet that says so or so.
    Unknown,
    /// It was read, or found missing. A later refusal means that the right was taken away.
    Granted,
    /// The first answer was a refusal.
    Refused,
}

/// What a look at the CRD showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// By the CRD itself, or that it should have been readable and is not.
    Read(Crd),
    /// By discovery, in place of a right that the operator does not have: its rights come from namespaces.
    Discovered(Crd),
    /// Discovery may not show it yet; ask again after this time.
    TooEarly(Duration),
}

/// Reads the CRD, and remembers whether it may.
pub(crate) struct CrdReader {
    client: Client,
    reach: Reach,
    access: Mutex<Access>,
}

impl CrdReader {
    pub(crate) const fn new(client: Client, reach: Reach) -> Self {
        Self { client, reach, access: Mutex::new(Access::Unknown) }
    }

    /// Whether the CRD is being deleted, asked about a Target that has been deleting since then.
    ///
    /// # Errors
    /// No answer: nobody knows whether the deletion is meant for the target in ZITADEL.
    pub(crate) async fn look(&self, deleting_since: Instant) -> Result<Finding, WriteError> {
        match self.read().await? {
            Some(crd) => Ok(Finding::Read(crd)),
            None => self.discover(deleting_since).await,
        }
    }

    /// Asks until it is known whether the CRD may be read, so that a right which goes later is missed.
    pub(crate) async fn learn_access(&self) {
        let mut failures = 0;
        while self.access() == Access::Unknown {
            let Err(error) = self.read().await else { break };
            let pause = jittered(delay(failures, FIRST, LONGEST));
            failures += 1;
            tracing::warn!(%error, retry = ?pause, "the CRD of Targets cannot be read; until it can, deletions wait");
            tokio::time::sleep(pause).await;
        }
        if self.access() == Access::Refused && self.reach == Reach::Cluster {
            tracing::warn!(
                "the operator may not get the CRD {}: deletions of Targets wait until it may",
                Target::crd_name()
            );
        }
    }

    /// By the CRD itself; none if that is refused.
    async fn read(&self) -> Result<Option<Crd>, WriteError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let (access, crd) = match in_time(api.get(Target::crd_name())).await {
            Ok(crd) if crd.metadata.deletion_timestamp.is_none() => (Access::Granted, Some(Crd::Stays)),
            Ok(_) | Err(WriteError::Gone) => (Access::Granted, Some(Crd::Deleting)),
            Err(WriteError::Refused(why)) => {
                tracing::debug!(why, "the CRD of Targets may not be read");
                (Access::Refused, None)
            }
            Err(error) => return Err(error),
        };
        let mut known = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Access::Granted {
            *known = access;
        }
        Ok(crd)
    }

    async fn discover(&self, deleting_since: Instant) -> Result<Finding, WriteError> {
        let asked = deleting_since.elapsed();
        let crd = self.discovered().await?;
        let expected = self.reach == Reach::Namespaces && self.access() == Access::Refused;
        Ok(match crd {
            Crd::Deleting => Finding::Discovered(Crd::Deleting),
            _ if !expected => Finding::Read(Crd::Unreadable),
            _ if asked < DISCOVERY_LAG => Finding::TooEarly(DISCOVERY_LAG.saturating_sub(asked)),
            _ => Finding::Discovered(crd),
        })
    }

    async fn discovered(&self) -> Result<Crd, WriteError> {
        let group = format!("{GROUP}/{VERSION}");
        let kinds = match in_time(self.client.list_api_group_resources(&group)).await {
            // A starting API server does not list the kinds of CRDs yet: no proof that they are gone.
            Err(WriteError::Gone) => return Err(WriteError::Unlisted),
            answer => answer?.resources,
        };
        let targets = kinds.into_iter().find(|kind| kind.name == "targets").ok_or(WriteError::Unlisted)?;
        Ok(if targets.verbs.iter().any(|verb| verb == "create") { Crd::Stays } else { Crd::Deleting })
    }

    fn access(&self) -> Access {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
