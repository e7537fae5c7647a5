//! `/v2beta/actions`: ZITADEL v3.x, and what v4 keeps of it.
//!
//! Recorded on v3.4.9 and v4.13.1: the shapes of v2, which came out of it, without `payloadType`. The rows of a search
//! are called `result` on v3 and, as in v2, `targets` on v4.

use serde::Deserialize;
use serde_json::Value;

use super::generation::Select;
use super::shape::{Body, Rows};
use super::v2::{self, TargetOut};
use super::{Created, RemoteTarget, Version};

pub(super) fn created(body: &Body) -> Result<Created, String> {
    v2::created(body)
}

pub(super) fn updated(body: &Body) -> Result<Version, String> {
    v2::updated(body)
}

pub(super) fn got(body: &Body) -> Result<RemoteTarget, String> {
    v2::got(body)
}

pub(super) fn search(select: &Select) -> Value {
    v2::search(select)
}

pub(super) fn listed(body: &Body) -> Result<Vec<RemoteTarget>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default, alias = "result")]
        targets: Rows<TargetOut>,
    }
    body.parse_borrowed::<Out>()?.targets.0.into_iter().map(v2::into_target).collect()
}
