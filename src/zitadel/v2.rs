//! `/v2/actions`: ZITADEL v4.0.0 and later.
//!
//! Recorded on v4.13.1: create answers 200 with `id` and `creationDate`, update is a POST and partial, delete of a
//! missing target is 200. Nothing carries a sequence or an owner; the event store does. Answers also carry the
//! signing key: it has no field here, so that it cannot leave this file.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::generation::Select;
use super::wire::{ConfigOut, Rest, page, parse, target_id};
use super::{Created, RemoteTarget, Version};

pub(super) fn created(body: Value) -> Result<Created, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Out {
        id: String,
        creation_date: Option<Timestamp>,
    }
    let out: Out = parse(body)?;
    Ok(Created {
        id: target_id(&out.id)?,
        version: Version { sequence: None, changed: out.creation_date },
        created: out.creation_date,
        owner: None,
    })
}

pub(super) fn updated(body: Value) -> Result<Version, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Out {
        change_date: Option<Timestamp>,
    }
    Ok(Version { sequence: None, changed: parse::<Out>(body)?.change_date })
}

/// A target in a read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetOut {
    id: String,
    creation_date: Option<Timestamp>,
    change_date: Option<Timestamp>,
    #[serde(flatten)]
    config: ConfigOut,
}

impl TargetOut {
    pub(super) fn into_target(self) -> Result<RemoteTarget, String> {
        let version = Version { sequence: None, changed: self.change_date };
        let rest = Rest { version, created: self.creation_date, owner: None };
        Ok(self.config.into_target(target_id(&self.id)?, rest))
    }
}

pub(super) fn got(body: Value) -> Result<RemoteTarget, String> {
    #[derive(Deserialize)]
    struct Out {
        target: TargetOut,
    }
    parse::<Out>(body)?.target.into_target()
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

pub(super) fn listed(body: Value) -> Result<Vec<RemoteTarget>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        targets: Vec<TargetOut>,
    }
    parse::<Out>(body)?.targets.into_iter().map(TargetOut::into_target).collect()
}
