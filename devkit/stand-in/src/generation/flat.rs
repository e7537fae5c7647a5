//! The calls on targets as `/v2beta/actions` and `/v2/actions` have them, on v3.x and v4 servers: flat targets, dates
//! instead of sequences, signing keys, pages of at most 1000, and a delete that does not mind a missing target.

pub(super) mod messages;

use http::StatusCode;
use serde_json::{Map, Value, json};

use self::messages::{FEATURES, Messages, PAYLOAD_TYPES, SEARCH_NAMES};
use super::fields::{self, MAX_ID};
use super::{Invocation, column, flag, target};
use crate::core::command::Features;
use crate::core::projection::Row;
use crate::core::query::{Search, page_size, search};
use crate::router::Rpc;
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::proto::{Decoded, Message};
use crate::world::State;

/// The routes below a prefix; only the path of searches differs between servers.
macro_rules! routes {
    ($prefix:literal, $search:literal) => {
        [
            Route::new(Verb::Post, concat!($prefix, "/targets"), Rpc::CreateTarget),
            Route::new(Verb::Post, concat!($prefix, "/targets/{id}"), Rpc::UpdateTarget),
            Route::new(Verb::Delete, concat!($prefix, "/targets/{id}"), Rpc::DeleteTarget),
            Route::new(Verb::Get, concat!($prefix, "/targets/{id}"), Rpc::GetTarget),
            Route::new(Verb::Post, concat!($prefix, "/targets/", $search), Rpc::ListTargets),
            Route::new(Verb::Get, concat!($prefix, "/executions/functions"), Rpc::ListFunctions),
            Route::new(Verb::Get, concat!($prefix, "/executions/methods"), Rpc::NotBuilt),
            Route::new(Verb::Get, concat!($prefix, "/executions/services"), Rpc::NotBuilt),
            Route::new(Verb::Put, concat!($prefix, "/executions"), Rpc::NotBuilt),
            Route::new(Verb::Post, concat!($prefix, "/executions/", $search), Rpc::NotBuilt),
        ]
    };
}
pub(super) use routes;

/// What servers and prefixes differ in.
pub(super) struct Api {
    pub(super) messages: &'static Messages,
    pub(super) max_endpoint: usize,
    /// Of the server, whatever the prefix.
    pub(super) features: Features,
    pub(super) shows_payload_type: bool,
    /// Name of the list of targets in the answer to a search.
    pub(super) rows: &'static str,
}

impl Api {
    pub(super) fn request(&self, rpc: Rpc) -> Option<&'static Message> {
        match rpc {
            Rpc::CreateTarget => Some(self.messages.create),
            Rpc::UpdateTarget => Some(self.messages.update),
            Rpc::ListTargets => Some(self.messages.list),
            Rpc::SetFeatures => Some(&FEATURES),
            _ => None,
        }
    }

    pub(super) fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        match rpc {
            Rpc::CreateTarget => target::validate_new("CreateTargetRequest", call.body, self.max_endpoint),
            Rpc::UpdateTarget => {
                fields::length("UpdateTargetRequest.Id", call.id, MAX_ID)?;
                target::validate_change("UpdateTargetRequest", call.body, self.max_endpoint)
            }
            Rpc::DeleteTarget => fields::length("DeleteTargetRequest.Id", call.id, MAX_ID),
            Rpc::GetTarget => fields::length("GetTargetRequest.Id", call.id, MAX_ID),
            Rpc::ListTargets => fields::validate_filters(call.body, &SEARCH_NAMES),
            _ => Ok(()),
        }
    }

    pub(super) fn answer(
        &self,
        rpc: Rpc,
        call: &Invocation<'_>,
        state: &mut State,
    ) -> Result<(StatusCode, Value), ApiError> {
        let answer = match rpc {
            Rpc::CreateTarget => {
                let created = state.commands(call.user, self.features).add(target::new(call.body), call.visibility)?;
                let date = state.store.model(&created.id).map(|model| timestamp(model.creation_date));
                json!({ "id": created.id, "creationDate": date, "signingKey": created.signing_key })
            }
            Rpc::UpdateTarget => self.update(call, state)?,
            Rpc::DeleteTarget => {
                state.commands(call.user, self.features).remove(call.id);
                // Also of an earlier delete: the write model keeps the date of its last event.
                let date = state.store.model(call.id).map(|model| timestamp(model.change_date));
                date.map_or_else(|| json!({}), |date| json!({ "deletionDate": date }))
            }
            Rpc::GetTarget => match state.reads().row(call.id) {
                Some(row) => json!({ "target": self.shown(row) }),
                None => return Err(ApiError::zitadel(Code::NotFound, "QUERY-hj5oaniyrz", "Target not found")),
            },
            Rpc::ListTargets => self.list(call, state)?,
            Rpc::ListFunctions => json!({ "functions": ["preuserinfo", "preaccesstoken", "presamlresponse"] }),
            Rpc::SetFeatures => return Err(flag::no_changes()),
            _ => return Err(super::not_built()),
        };
        Ok((StatusCode::OK, answer))
    }

    fn update(&self, call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
        let signing_key = state.commands(call.user, self.features).change(call.id, target::change(call.body))?;
        let date = state.store.model(call.id).map(|model| timestamp(model.change_date));
        let mut answer = Map::from_iter([("changeDate".to_owned(), json!(date))]);
        if let Some(key) = signing_key {
            answer.insert("signingKey".to_owned(), json!(key));
        }
        Ok(Value::Object(answer))
    }

    fn shown(&self, row: &Row) -> Value {
        let mut shown = target::show(row);
        shown.insert("id".to_owned(), json!(row.id));
        shown.insert("creationDate".to_owned(), json!(timestamp(row.creation_date)));
        shown.insert("changeDate".to_owned(), json!(timestamp(row.change_date)));
        // Targets of older releases have none.
        if !row.signing_key.is_empty() {
            shown.insert("signingKey".to_owned(), json!(row.signing_key));
        }
        let named = usize::try_from(row.payload_type.0)
            .ok()
            .filter(|number| self.shows_payload_type && *number > 0)
            .and_then(|number| PAYLOAD_TYPES.get(number));
        if let Some(name) = named {
            shown.insert("payloadType".to_owned(), json!(name));
        }
        Value::Object(shown)
    }

    fn list(&self, call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
        let empty = Decoded::default();
        let paging = call.body.message("pagination").unwrap_or(&empty);
        let limit = page_size(paging.uint("limit"), state.max_query_limit)?;
        let wanted = Search {
            filters: fields::filters(call.body, &SEARCH_NAMES).map_err(ApiError::plain)?,
            column: column(call.body.number("sortingColumn")),
            ascending: paging.bool("asc"),
            offset: paging.uint("offset"),
            limit: Some(limit),
        };
        let (page, total) = search(state.reads().rows(), &wanted);
        let mut pagination = Map::from_iter([("appliedLimit".to_owned(), json!(limit.to_string()))]);
        if total > 0 {
            pagination.insert("totalResult".to_owned(), json!(total.to_string()));
        }
        let mut answer = Map::from_iter([("pagination".to_owned(), Value::Object(pagination))]);
        if !page.is_empty() {
            answer.insert(self.rows.to_owned(), page.iter().map(|row| self.shown(row)).collect());
        }
        Ok(Value::Object(answer))
    }
}
