//! The writes to the cluster, each one patch.
//!
//! Metadata is patched conditionally on resourceVersion: a claim or a finalizer is never changed on a stale view.
//! Status is applied server-side, by one field manager, and conditionally too: a replica with an old view must not undo
//! what another one recorded. Never `spec`.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use thiserror::Error;

use crate::api::claim::Claim;
use crate::api::target::{Target, TargetStatus};
use crate::api::{CLAIM_ANNOTATION, FIELD_MANAGER, FINALIZER, GROUP, VERSION};
use crate::controller::Guarded;
use crate::controller::runtime::foreign_fields;

/// kube repeats 429, 503 and 504 for minutes and has no read time-out of its own; a pass must not hang on it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest part of a refusal that a condition quotes, in characters.
const LONGEST_REFUSAL: usize = 400;

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
    /// It will not do that: rights or admission, in its own words.
    #[error("the API server refused: {0}")]
    Refused(String),
    /// Its discovery document does not list Targets, which it has.
    #[error("the API server does not list its kinds yet")]
    Unlisted,
    /// No answer in time.
    #[error("the API server did not answer within {} s", WRITE_TIMEOUT.as_secs())]
    Timeout,
    /// Everything else.
    #[error("the API server failed: {0}")]
    Other(#[source] Box<kube::Error>),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            kube::Error::Api(status) if is_refusal(status.code) => Self::Refused(shorten(&status.message)),
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// Whether the API server has decided: rights (403) and admission (mostly 403, 422 or 400; a webhook chooses any of 4xx).
/// Not that its answer was about something else: 401 (our token is being replaced), 408, 410, 429.
const fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 402 | 403 | 405 | 406 | 411..=428 | 430..=499)
}

/// The beginning of a text: it is shown in a condition.
fn shorten(text: &str) -> String {
    text.chars().take(LONGEST_REFUSAL).collect()
}

/// Whether a patch is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    /// All but the write: rights and admission are judged.
    DryRun,
}

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

    async fn patch_metadata(&self, object: &Target, mut metadata: Value, mode: Mode) -> Result<Target, WriteError> {
        metadata["resourceVersion"] = json!(object.resource_version());
        metadata["uid"] = json!(object.uid());
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams { dry_run: mode == Mode::DryRun, ..as_manager() };
        let api = self.api(object);
        in_time(api.patch(&object.name_any(), &params, &patch)).await
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
        match foreign_fields::removal(&applied, &json!(applied.status), &wanted) {
            None => Ok(applied),
            Some(removal) => in_time(api.patch_status(&name, &as_manager(), &Patch::Merge(removal))).await,
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
pub(crate) fn as_manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
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

/// A write, or a read, that is given up when it takes too long.
pub(crate) async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(WRITE_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(WriteError::Timeout),
    }
}
