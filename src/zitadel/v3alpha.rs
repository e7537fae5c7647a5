//! `/v3alpha`: ZITADEL v2.52.0 to v2.58.7, the generation of the original create call.
//!
//! Recorded on v2.58.7: create answers 201 with `id` and `details`, update is a PUT and partial, reads name the id
//! `targetId`, delete of a missing target is 404. Nothing carries a creation date.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::generation::Select;
use super::shape::{Body, Both, Rows};
use super::wire::{ConfigOut, Rest, page, target_id};
use super::{Created, RemoteTarget, Version};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    sequence: Option<String>,
    change_date: Option<Timestamp>,
    resource_owner: Option<String>,
}

impl Details {
    fn version(&self) -> Version {
        Version { sequence: self.sequence.as_ref().and_then(|text| text.parse().ok()), changed: self.change_date }
    }
}

pub(super) fn created(body: &Body) -> Result<Created, String> {
    #[derive(Deserialize)]
    struct Out {
        id: String,
        details: Details,
    }
    let out: Out = body.parse()?;
    Ok(Created {
        id: target_id(&out.id)?,
        version: out.details.version(),
        // The first event is the creation.
        created: out.details.change_date,
        owner: out.details.resource_owner,
    })
}

pub(super) fn updated(body: &Body) -> Result<Version, String> {
    #[derive(Deserialize)]
    struct Out {
        details: Details,
    }
    Ok(body.parse::<Out>()?.details.version())
}

type TargetOut = Both<Head, ConfigOut>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    target_id: String,
    details: Details,
}

fn into_target(Both(head, config): TargetOut) -> Result<RemoteTarget, String> {
    let rest = Rest { version: head.details.version(), created: None, owner: head.details.resource_owner };
    Ok(config.into_target(target_id(&head.target_id)?, rest))
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
        Select::First => json!({"query": {"limit": 1}}),
        Select::Page { offset, limit } => json!({
            "query": page(*offset, *limit),
            "sortingColumn": "FIELD_NAME_CREATION_DATE",
        }),
        Select::Named(name) => json!({"queries": [{"targetNameQuery": {
            "targetName": name.as_str(), "method": "TEXT_QUERY_METHOD_EQUALS_IGNORE_CASE"}}]}),
    }
}

pub(super) fn listed(body: &Body) -> Result<Vec<RemoteTarget>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        result: Rows<TargetOut>,
    }
    body.parse_borrowed::<Out>()?.result.0.into_iter().map(into_target).collect()
}
