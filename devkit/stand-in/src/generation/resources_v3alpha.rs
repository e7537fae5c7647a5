//! `/resources/v3alpha/actions` as ZITADEL v2.71.19 speaks it: configuration and details apart, 201 for a create, PATCH,
//! searches with a JSON array as body and paging in the URL, a feature flag, signing keys, endpoints that may be relative.
//! Also its first releases (v2.59.x and v2.60.0), which mounted the same calls at the root by mistake.

mod messages;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::messages::{PATCH, PATCH_WITHOUT_KEYS, SEARCH, SEARCH_NAMES, TARGET};
use super::fields::{self, MAX_ID};
use super::{
    Dialect, FUNCTIONS_OF_V2, HostError, Invocation, OpenId, column, flag, german, instance_host, permission, target,
};
use crate::core::command::Features;
use crate::core::projection::Row;
use crate::core::query::{Search, page_size, search};
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::proto::{Decoded, Message, ScalarErrors};
use crate::world::{State, World};

const MAX_ENDPOINT: usize = 1000;

macro_rules! routes {
    ($prefix:literal) => {
        &[
            Route::new(Verb::Post, concat!($prefix, "/targets"), Rpc::CreateTarget),
            Route::new(Verb::Patch, concat!($prefix, "/targets/{id}"), Rpc::UpdateTarget),
            Route::new(Verb::Delete, concat!($prefix, "/targets/{id}"), Rpc::DeleteTarget),
            Route::new(Verb::Get, concat!($prefix, "/targets/{id}"), Rpc::GetTarget),
            Route::new(Verb::Post, concat!($prefix, "/targets/_search"), Rpc::ListTargets),
            Route::new(Verb::Get, concat!($prefix, "/executions/functions"), Rpc::ListFunctions),
            Route::new(Verb::Get, concat!($prefix, "/executions/methods"), Rpc::NotBuilt),
            Route::new(Verb::Get, concat!($prefix, "/executions/services"), Rpc::NotBuilt),
            Route::new(Verb::Put, concat!($prefix, "/executions"), Rpc::NotBuilt),
            Route::new(Verb::Post, concat!($prefix, "/executions/_search"), Rpc::NotBuilt),
        ]
    };
}

const ROUTES: &[Route] = routes!("/resources/v3alpha/actions");
const BARE_ROUTES: &[Route] = routes!("");

/// `bare`: as v2.60.0 did it, before signing keys (v2.66.0) and before the probes obeyed the flag (v2.62.0). Read in
/// source, never recorded.
pub(super) struct ResourcesV3Alpha {
    pub(super) bare: bool,
}

impl Dialect for ResourcesV3Alpha {
    fn version(&self) -> &'static str {
        if self.bare { "v2.60.0" } else { "v2.71.19" }
    }

    fn routes(&self) -> &'static [&'static [Route]] {
        if self.bare { &[BARE_ROUTES] } else { &[ROUTES] }
    }

    fn services(&self) -> &'static [&'static str] {
        &["zitadel.resources.action.v3alpha.ZITADELActions"]
    }

    fn unknown_service(&self) -> ApiError {
        ApiError::bare(Code::NotFound, "unknown service")
    }

    fn request(&self, rpc: Rpc, _path: &str) -> Option<&'static Message> {
        match rpc {
            Rpc::CreateTarget => Some(&TARGET),
            Rpc::UpdateTarget => Some(if self.bare { &PATCH_WITHOUT_KEYS } else { &PATCH }),
            Rpc::ListTargets => Some(&SEARCH),
            Rpc::SetFeatures => Some(&flag::SET),
            _ => None,
        }
    }

    fn body_field(&self, rpc: Rpc) -> Option<&'static str> {
        (rpc == Rpc::ListTargets).then_some("filters")
    }

    fn scalar_errors(&self) -> ScalarErrors {
        ScalarErrors::Field
    }

    fn wraps_plain_errors(&self) -> bool {
        false
    }

    fn translate(&self, language: &str, text: &str) -> Option<&'static str> {
        german(language, text)
    }

    fn permission(&self, rpc: Rpc) -> Permission {
        permission(rpc)
    }

    /// As on v2.58.7; not recorded here.
    fn events_without_token(&self) -> ApiError {
        ApiError::bare(Code::Unauthenticated, "auth header missing")
    }

    fn host(&self, world: &World, request: &Request) -> Result<(), HostError> {
        instance_host::find(world, request, instance_host::NOT_FOUND)
    }

    fn issuer(&self, world: &World, request: &Request) -> Result<String, HostError> {
        instance_host::issuer(world, request, instance_host::NOT_FOUND)
    }

    fn openid(&self) -> OpenId {
        OpenId {
            id_token_algorithms: &["RS256"],
            locales: &[
                "bg", "cs", "de", "en", "es", "fr", "hu", "id", "it", "ja", "ko", "mk", "nl", "pl", "pt", "ru", "sv",
                "zh",
            ],
            backchannel_logout: false,
        }
    }

    fn runs_functions(&self) -> bool {
        false
    }

    fn features(&self) -> Features {
        Features { deny_list: false, signing: !self.bare, payload_types: false }
    }

    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        let embedded =
            |field: &str, fault: String| format!("invalid {field}: {}{fault}", fields::EMBEDDED_MESSAGE_FAILED);
        match rpc {
            Rpc::CreateTarget => target::validate_new("Target", call.body, MAX_ENDPOINT)
                .map_err(|fault| embedded("CreateTargetRequest.Target", fault)),
            Rpc::UpdateTarget => {
                fields::length("PatchTargetRequest.Id", call.id, MAX_ID)?;
                target::validate_change("PatchTarget", call.body, MAX_ENDPOINT)
                    .map_err(|fault| embedded("PatchTargetRequest.Target", fault))
            }
            Rpc::DeleteTarget => fields::length("DeleteTargetRequest.Id", call.id, MAX_ID),
            Rpc::GetTarget => fields::length("GetTargetRequest.Id", call.id, MAX_ID),
            Rpc::ListTargets => fields::validate_filters(call.body, &SEARCH_NAMES),
            _ => Ok(()),
        }
    }

    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError> {
        let obeys_flag = match rpc {
            Rpc::ReadFeatures | Rpc::SetFeatures => false,
            Rpc::ListFunctions => !self.bare,
            _ => true,
        };
        if obeys_flag {
            flag::check(state)?;
        }
        let answer = match rpc {
            Rpc::ReadFeatures => read_features(call, state),
            Rpc::SetFeatures => flag::set(call, state)?,
            Rpc::ListFunctions => json!({ "functions": FUNCTIONS_OF_V2 }),
            Rpc::CreateTarget => {
                let created =
                    state.commands(call.user, self.features()).add(target::new(call.body), call.visibility)?;
                return Ok((StatusCode::CREATED, written(call, state, &created.id, created.signing_key)));
            }
            Rpc::UpdateTarget => {
                let key = state.commands(call.user, self.features()).change(call.id, target::change(call.body))?;
                written(call, state, call.id, key)
            }
            Rpc::DeleteTarget => {
                if !state.commands(call.user, self.features()).remove(call.id) {
                    return Err(ApiError::zitadel(Code::NotFound, "COMMAND-k4s7ucu0ax", "Target not found"));
                }
                written(call, state, call.id, None)
            }
            Rpc::GetTarget => match state.reads().row(call.id) {
                Some(row) => json!({ "target": shown(call, row) }),
                None => return Err(ApiError::zitadel(Code::NotFound, "QUERY-hj5oaniyrz", "Target not found")),
            },
            Rpc::ListTargets => list(call, state)?,
            _ => return Err(super::not_built()),
        };
        Ok((StatusCode::OK, answer))
    }
}

/// The answer to a write: from the write model, so never stale; the date of creation is left out (observed).
fn written(call: &Invocation<'_>, state: &State, id: &str, signing_key: Option<String>) -> Value {
    let changed = state.store.model(id).map(|model| model.change_date);
    let mut answer = Map::from_iter([("details".to_owned(), details(call, id, None, changed))]);
    if let Some(key) = signing_key {
        answer.insert("signingKey".to_owned(), json!(key));
    }
    Value::Object(answer)
}

fn details(call: &Invocation<'_>, id: &str, created: Option<Timestamp>, changed: Option<Timestamp>) -> Value {
    let owner = json!({ "type": "OWNER_TYPE_INSTANCE", "id": call.world.instance_id });
    let mut details = Map::from_iter([("id".to_owned(), json!(id)), ("owner".to_owned(), owner)]);
    for (name, date) in [("created", created), ("changed", changed)] {
        if let Some(date) = date {
            details.insert(name.to_owned(), json!(timestamp(date)));
        }
    }
    Value::Object(details)
}

fn shown(call: &Invocation<'_>, row: &Row) -> Value {
    let details = details(call, &row.id, Some(row.creation_date), Some(row.change_date));
    let mut shown =
        Map::from_iter([("details".to_owned(), details), ("config".to_owned(), Value::Object(target::show(row)))]);
    if !row.signing_key.is_empty() {
        shown.insert("signingKey".to_owned(), json!(row.signing_key));
    }
    Value::Object(shown)
}

fn list(call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
    let empty = Decoded::default();
    let paging = call.body.message("query").unwrap_or(&empty);
    let limit = page_size(paging.uint("limit"), state.max_query_limit)?;
    let wanted = Search {
        filters: fields::filters(call.body, &SEARCH_NAMES).map_err(ApiError::plain)?,
        column: column(call.body.number("sortingColumn")),
        ascending: !paging.bool("desc"),
        offset: paging.uint("offset"),
        limit: Some(limit),
    };
    let reads = state.reads();
    let (page, total) = search(reads.rows(), &wanted);
    let last = reads.last_date().map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), timestamp);
    let mut list_details =
        Map::from_iter([("appliedLimit".to_owned(), json!(limit.to_string())), ("timestamp".to_owned(), json!(last))]);
    if total > 0 {
        list_details.insert("totalResult".to_owned(), json!(total.to_string()));
    }
    let mut answer = Map::from_iter([("details".to_owned(), Value::Object(list_details))]);
    if !page.is_empty() {
        answer.insert("result".to_owned(), page.iter().map(|row| shown(call, row)).collect());
    }
    Ok(Value::Object(answer))
}

fn read_features(call: &Invocation<'_>, state: &State) -> Value {
    let others = ["webKey", "debugOidcParentError", "oidcSingleV1SessionTermination"];
    let others_v2 =
        ["disableUserTokenEvent", "enableBackChannelLogout", "loginV2", "permissionCheckV2", "consoleUseV2UserApi"];
    flag::read(call, state, &others, &others_v2)
}
