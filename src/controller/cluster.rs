//! The writes to the cluster, each one patch.
//!
//! Metadata is patched conditionally on resourceVersion: a claim or a finalizer is never changed on a stale view.
//! Status is applied server-side, by one field manager, and conditionally too: a replica with an old view must not undo
//! what another one recorded. Never `spec`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use thiserror::Error;

use super::{Guarded, foreign};
use crate::api::claim::Claim;
use crate::api::target::{Target, TargetStatus};
use crate::api::{CLAIM_ANNOTATION, FIELD_MANAGER, FINALIZER, GROUP, VERSION};

/// kube repeats 429, 503 and 504 for minutes and has no read time-out of its own; a pass must not hang on it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Objects per page of a list.
const PAGE: u32 = 500;

/// Why a write to the cluster failed.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Somebody else wrote first: look again.
    #[error("the object was changed by somebody else")]
    Conflict,
    /// The object does not exist any more.
    #[error("the object is gone")]
    Gone,
    /// No answer in time.
    #[error("the API server did not answer within {} s", WRITE_TIMEOUT.as_secs())]
    Timeout,
    /// Everything else.
    #[error("the API server refused: {0}")]
    Other(#[source] Box<kube::Error>),
}

impl WriteError {
    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Other(error) if matches!(&**error, kube::Error::Api(status) if status.code == 403))
    }
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// Writes Targets.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// Whether the definition of Targets has ever been read.
    defined: Arc<AtomicBool>,
}

impl Cluster {
    /// Writes through this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, defined: Arc::default() }
    }

    fn api(&self, object: &Target) -> Api<Target> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Adds the finalizer and the claim in one patch.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the object moved since `object` was seen.
    pub async fn claim(&self, object: &Target, claim: &Claim) -> Result<Target, WriteError> {
        let finalizers = with_finalizer(object);
        let annotations = json!({CLAIM_ANNOTATION: claim.render()});
        self.patch_metadata(object, json!({"finalizers": finalizers, "annotations": annotations})).await
    }

    /// Puts the finalizer back.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn hold(&self, object: &Target) -> Result<Target, WriteError> {
        self.patch_metadata(object, json!({"finalizers": with_finalizer(object)})).await
    }

    /// Removes the claim.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn drop_claim(&self, object: &Target) -> Result<Target, WriteError> {
        self.patch_metadata(object, json!({"annotations": {CLAIM_ANNOTATION: null}})).await
    }

    /// Removes the finalizer; an object that is already gone is let go just as well.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn release(&self, object: &Target) -> Result<(), WriteError> {
        let kept: Vec<&String> = object.finalizers().iter().filter(|name| *name != FINALIZER).collect();
        match self.patch_metadata(object, json!({"finalizers": kept})).await {
            Ok(_) | Err(WriteError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn patch_metadata(&self, object: &Target, mut metadata: Value) -> Result<Target, WriteError> {
        metadata["resourceVersion"] = json!(object.resource_version());
        metadata["uid"] = json!(object.uid());
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let api = self.api(object);
        in_time(api.patch(&object.name_any(), &as_manager(), &patch)).await
    }

    /// Writes status, if nobody else wrote the object since it was seen.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn write_status(&self, object: &Target, status: &TargetStatus) -> Result<Target, WriteError> {
        let wanted = json!(status);
        let patch = Patch::Apply(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Target",
            "metadata": {
                "name": object.name_any(), "uid": object.uid(), "resourceVersion": object.resource_version(),
            },
            "status": wanted,
        }));
        let (api, name) = (self.api(object), object.name_any());
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let applied: Target = in_time(api.patch_status(&name, &apply, &patch)).await?;
        match foreign::removal(&applied, &json!(applied.status), &wanted) {
            None => Ok(applied),
            Some(removal) => in_time(api.patch_status(&name, &as_manager(), &Patch::Merge(removal))).await,
        }
    }

    /// Whether the definition of Targets is being deleted; "no" where it was never allowed to be read (a namespaced
    /// installation). An uninstallation takes the right away first and the definition next, while the operator may still
    /// run: so where it was allowed before, a refusal is no answer.
    ///
    /// # Errors
    /// No answer: nobody knows whether a deletion of a Target is meant for its target in ZITADEL.
    pub async fn definition_going(&self) -> Result<bool, WriteError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let name = <Target as kube::CustomResourceExt>::crd_name();
        match in_time(api.get(name)).await {
            Ok(definition) => {
                self.defined.store(true, Ordering::Relaxed);
                Ok(definition.metadata.deletion_timestamp.is_some())
            }
            Err(WriteError::Gone) => Ok(true),
            Err(error) if error.is_forbidden() && !self.defined.load(Ordering::Relaxed) => {
                tracing::debug!(%error, "the definition of Targets may not be read; it is taken to stay");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// [`WriteError::Gone`] also if another object has its name by now.
    pub async fn current(&self, object: &Target) -> Result<Target, WriteError> {
        let current = in_time(self.api(object).get(&object.name_any())).await?;
        if current.uid() == object.uid() { Ok(current) } else { Err(WriteError::Gone) }
    }
}

/// Every object, as the API server has it at the moment of its first answer: without a resourceVersion it asks etcd
/// (Kubernetes API concepts, "resource versions"), and a continued list keeps to the first page's moment.
///
/// # Errors
/// See [`WriteError`]; a list that takes so long that its moment is compacted away is [`WriteError::Other`].
pub async fn list(api: &Api<Guarded>) -> Result<Vec<Guarded>, WriteError> {
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = in_time(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// An update by our name.
pub(super) fn as_manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

fn with_finalizer(object: &Target) -> Vec<String> {
    let mut finalizers = object.finalizers().to_vec();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    finalizers
}

/// A write, or a read, that is given up when it takes too long.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(WRITE_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(WriteError::Timeout),
    }
}
