//! Writes to the API server, whatever kind of object: each one patch, conditional on uid and resourceVersion.
//!
//! Metadata is merged, so a claim or a finalizer is never changed on a stale view. Status is applied server-side, by one
//! field manager, and conditionally too: a replica with an old view must not undo what another one recorded.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::foreign_fields;
use crate::api::{FIELD_MANAGER, GROUP, VERSION};

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
    /// It will not list, in its own words: a right, or a namespace that is being deleted.
    #[error("the API server refused a list: {0}")]
    ListRefused(String),
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
pub enum Mode {
    /// It is.
    Write,
    /// All but the write: rights and admission are judged.
    DryRun,
}

/// The object that a write is meant for, as it was last seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.uid`.
    pub uid: Option<&'a str>,
    /// `metadata.resourceVersion`.
    pub version: Option<&'a str>,
}

impl<'a> Seen<'a> {
    /// Any object.
    pub fn of(object: &'a impl Resource) -> Self {
        let meta = object.meta();
        Self {
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref(),
            version: meta.resource_version.as_deref(),
        }
    }
}

/// Merges metadata.
///
/// # Errors
/// [`WriteError::Conflict`] if the object moved since it was seen.
pub async fn patch_metadata<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    seen: &Seen<'_>,
    mut metadata: Value,
    mode: Mode,
) -> Result<K, WriteError> {
    metadata["resourceVersion"] = json!(seen.version);
    metadata["uid"] = json!(seen.uid);
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let params = PatchParams { dry_run: mode == Mode::DryRun, ..as_manager() };
    in_time(api.patch(seen.name, &params, &patch)).await
}

/// Applies status, and removes what other field managers have added to it. `shown` is the status of what was applied.
///
/// # Errors
/// As [`patch_metadata`].
pub async fn apply_status<K: Resource + Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    kind: &str,
    seen: &Seen<'_>,
    status: &Value,
    shown: impl Fn(&K) -> Value,
) -> Result<K, WriteError> {
    let patch = Patch::Apply(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": {"name": seen.name, "uid": seen.uid, "resourceVersion": seen.version},
        "status": status,
    }));
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let applied: K = in_time(api.patch_status(seen.name, &apply, &patch)).await?;
    match foreign_fields::removal(&applied, &shown(&applied), status) {
        None => Ok(applied),
        Some(removal) => in_time(api.patch_status(seen.name, &as_manager(), &Patch::Merge(removal))).await,
    }
}

/// Every object, as the API server has it at the moment of its first answer: without a resourceVersion it asks etcd
/// (Kubernetes API concepts, "resource versions"), and a continued list keeps to the first page's moment.
///
/// # Errors
/// See [`WriteError`]; a list that takes so long that its moment is compacted away is [`WriteError::Other`].
pub async fn list<K: Clone + Debug + DeserializeOwned>(api: &Api<K>) -> Result<Vec<K>, WriteError> {
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = in_time(api.list(&params)).await.map_err(|error| match error {
            WriteError::Refused(why) => WriteError::ListRefused(why),
            error => error,
        })?;
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

/// A write, or a read, that is given up when it takes too long.
pub(crate) async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(WRITE_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(WriteError::Timeout),
    }
}
