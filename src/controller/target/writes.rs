//! The writes to a Target: claim, finalizer, status. Never `spec`.

use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::api::claim::Claim;
use crate::api::target::{Target, TargetStatus};
use crate::api::{CLAIM_ANNOTATION, FINALIZER};
use crate::controller::runtime::writer::{self, Mode, Seen, WriteError, in_time};

/// Writes Targets.
#[derive(Clone)]
pub struct Writer {
    client: Client,
}

impl Writer {
    /// Writes through this client.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
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
        self.patch_metadata(object, json!({"finalizers": finalizers, "annotations": annotations}), Mode::Write).await
    }

    /// Puts the finalizer back.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn hold(&self, object: &Target) -> Result<Target, WriteError> {
        self.patch_metadata(object, json!({"finalizers": with_finalizer(object)}), Mode::Write).await
    }

    /// Removes the claim.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn drop_claim(&self, object: &Target) -> Result<Target, WriteError> {
        self.patch_metadata(object, json!({"annotations": {CLAIM_ANNOTATION: null}}), Mode::Write).await
    }

    /// Removes the finalizer; an object that is already gone is let go just as well.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn release(&self, object: &Target) -> Result<(), WriteError> {
        match self.patch_metadata(object, without_finalizer(object), Mode::Write).await {
            Ok(_) | Err(WriteError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the finalizer would be removed, were [`Self::release`] called now. Writes nothing.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn try_release(&self, object: &Target) -> Result<(), WriteError> {
        self.patch_metadata(object, without_finalizer(object), Mode::DryRun).await.map(drop)
    }

    async fn patch_metadata(&self, object: &Target, metadata: Value, mode: Mode) -> Result<Target, WriteError> {
        writer::patch_metadata(&self.api(object), &Seen::of(object), metadata, mode).await
    }

    /// Writes status, if nobody else wrote the object since it was seen.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn write_status(&self, object: &Target, status: &TargetStatus) -> Result<Target, WriteError> {
        let shown = |applied: &Target| json!(applied.status);
        writer::apply_status(&self.api(object), "Target", &Seen::of(object), &json!(status), shown).await
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

fn without_finalizer(object: &Target) -> Value {
    let kept: Vec<&String> = object.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    json!({"finalizers": kept})
}

fn with_finalizer(object: &Target) -> Vec<String> {
    let mut finalizers = object.finalizers().to_vec();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    finalizers
}
