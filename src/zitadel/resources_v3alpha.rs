//! `/resources/v3alpha/actions`: ZITADEL v2.60.1 to v2.71, and v2.59.x and v2.60.0, which mount it at the root.
//!
//! Recorded on v2.71.19: id, dates and owner sit in `details`, the settings of a read in `config`; a create answers 201
//! without a date of creation, an update is a PATCH and partial; a search has an array of filters as body and its paging
//! in the URL. Nothing carries a sequence. Of the name filters only EQUALS_IGNORE_CASE is used: CONTAINS_IGNORE_CASE and
//! ENDS_WITH are unknown there and mean EQUALS. Answers also carry the signing key, which has no field here.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::generation::{Request, Select};
use super::shape::{Body, Rows};
use super::wire::{ConfigOut, Rest, target_id};
use super::{Created, RemoteTarget, Version};

#[derive(Debug, Deserialize)]
struct Details {
    id: String,
    created: Option<Timestamp>,
    changed: Option<Timestamp>,
    owner: Option<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    id: Option<String>,
}

impl Details {
    fn version(&self) -> Version {
        Version { sequence: None, changed: self.changed }
    }
}

/// The shape of every answer to a write.
#[derive(Debug, Deserialize)]
struct Written {
    details: Details,
}

pub(super) fn created(body: &Body) -> Result<Created, String> {
    let details = body.parse::<Written>()?.details;
    Ok(Created {
        id: target_id(&details.id)?,
        version: details.version(),
        // The first event is the creation.
        created: details.created.or(details.changed),
        owner: details.owner.and_then(|owner| owner.id),
    })
}

pub(super) fn updated(body: &Body) -> Result<Version, String> {
    Ok(body.parse::<Written>()?.details.version())
}

#[derive(Debug, Deserialize)]
struct TargetOut {
    details: Details,
    config: ConfigOut,
}

impl TargetOut {
    fn into_target(self) -> Result<RemoteTarget, String> {
        let Details { id, created, changed, owner } = self.details;
        let version = Version { sequence: None, changed };
        let rest = Rest { version, created, owner: owner.and_then(|owner| owner.id) };
        Ok(self.config.into_target(target_id(&id)?, rest))
    }
}

pub(super) fn got(body: &Body) -> Result<RemoteTarget, String> {
    #[derive(Deserialize)]
    struct Out {
        target: TargetOut,
    }
    body.parse::<Out>()?.target.into_target()
}

pub(super) fn search(request: Request, select: &Select) -> Request {
    match select {
        Select::First => request.with_query(vec![("query.limit", "1".into())]).with_body(json!([])),
        Select::Page { offset, limit } => {
            let mut query = vec![
                ("query.offset", offset.to_string()),
                ("query.desc", "false".into()),
                ("sortingColumn", "TARGET_FIELD_NAME_CREATED_DATE".into()),
            ];
            query.extend(limit.map(|limit| ("query.limit", limit.to_string())));
            request.with_query(query).with_body(json!([]))
        }
        Select::Named(name) => request.with_body(json!([{"targetNameFilter": {
            "targetName": name.as_str(), "method": "TEXT_FILTER_METHOD_EQUALS_IGNORE_CASE"}}])),
    }
}

pub(super) fn listed(body: &Body) -> Result<Vec<RemoteTarget>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        result: Rows<TargetOut>,
    }
    body.parse::<Out>()?.result.0.into_iter().map(TargetOut::into_target).collect()
}
