//! `/v2/actions`: ZITADEL v4.0.0 and later.
//!
//! Recorded on v4.13.1: create answers 200 with `id` and `creationDate`, update is a POST and partial, delete of a
//! missing target is 200. Nothing carries a sequence or an owner; the event store does. Answers also carry the
//! signing key: it has no field here, so that it cannot leave this file.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::generation::Select;
use super::shape::{Body, Both, Rows};
use super::wire::{ConfigOut, Rest, page, target_id};
use super::{Created, RemoteTarget, Version};

pub(super) fn created(body: &Body) -> Result<Created, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Out {
        id: String,
        creation_date: Option<Timestamp>,
    }
    let out: Out = body.parse()?;
    Ok(Created {
        id: target_id(&out.id)?,
        version: Version { sequence: None, changed: out.creation_date },
        created: out.creation_date,
        owner: None,
    })
}

pub(super) fn updated(body: &Body) -> Result<Version, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Out {
        change_date: Option<Timestamp>,
    }
    Ok(Version { sequence: None, changed: body.parse::<Out>()?.change_date })
}

/// A target in a read.
pub(super) type TargetOut = Both<Head, ConfigOut>;

/// What a read says of a target beside its settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    id: String,
    creation_date: Option<Timestamp>,
    change_date: Option<Timestamp>,
}

pub(super) fn into_target(Both(head, config): TargetOut) -> Result<RemoteTarget, String> {
    let version = Version { sequence: None, changed: head.change_date };
    let rest = Rest { version, created: head.creation_date, owner: None };
    Ok(config.into_target(target_id(&head.id)?, rest))
}

pub(super) fn got(body: &Body) -> Result<RemoteTarget, String> {
    #[derive(Deserialize)]
    struct Out {
        target: TargetOut,
    }
    into_target(body.parse_borrowed::<Out>()?.target)
}

pub(super) fn search(select: &Select) -> Value {
    match select {
        Select::First => json!({"pagination": {"limit": 1}}),
        Select::Page { offset, limit } => json!({
            "pagination": page(*offset, *limit),
            "sortingColumn": "TARGET_FIELD_NAME_CREATED_DATE",
        }),
        Select::Named(name) => json!({"filters": [{"targetNameFilter": {
            "targetName": name.as_str(), "method": "TEXT_FILTER_METHOD_EQUALS_IGNORE_CASE"}}]}),
    }
}

pub(super) fn listed(body: &Body) -> Result<Vec<RemoteTarget>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        targets: Rows<TargetOut>,
    }
    body.parse_borrowed::<Out>()?.targets.0.into_iter().map(into_target).collect()
}
