//! `/v3alpha` as ZITADEL v2.58.7 speaks it: sequences and owners in every answer, 201 for a create, PUT for a partial
//! update, a feature flag, no limit on lists, no upper bound for time-outs, absolute endpoints of any scheme.

mod messages;

use http::StatusCode;
use serde_json::{Map, Value, json};

use self::messages::{CREATE, LIST, SEARCH_NAMES, UPDATE};
use super::fields::{self, MAX_ID};
use super::flag::{self, details};
use super::{Dialect, FUNCTIONS_OF_V2, HostError, Invocation, OpenId, german, is_instance_host, target};
use crate::core::command::Features;
use crate::core::projection::Row;
use crate::core::query::{Column, Search, search};
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::go_url;
use crate::wire::proto::{Decoded, Message, ScalarErrors};
use crate::world::{State, World};

const MAX_NAME: usize = 200;
const MAX_ENDPOINT: usize = 1000;

const ROUTES: &[Route] = &[
    Route::new(Verb::Post, "/v3alpha/targets", Rpc::CreateTarget),
    Route::new(Verb::Put, "/v3alpha/targets/{id}", Rpc::UpdateTarget),
    Route::new(Verb::Delete, "/v3alpha/targets/{id}", Rpc::DeleteTarget),
    Route::new(Verb::Get, "/v3alpha/targets/{id}", Rpc::GetTarget),
    Route::new(Verb::Post, "/v3alpha/targets/search", Rpc::ListTargets),
    Route::new(Verb::Get, "/v3alpha/executions/functions", Rpc::ListFunctions),
    Route::new(Verb::Get, "/v3alpha/executions/methods", Rpc::NotBuilt),
    Route::new(Verb::Get, "/v3alpha/executions/services", Rpc::NotBuilt),
    Route::new(Verb::Put, "/v3alpha/executions", Rpc::NotBuilt),
    Route::new(Verb::Delete, "/v3alpha/executions", Rpc::NotBuilt),
    Route::new(Verb::Post, "/v3alpha/executions/search", Rpc::NotBuilt),
];

pub(super) struct V3Alpha;

impl Dialect for V3Alpha {
    fn version(&self) -> &'static str {
        "v2.58.7"
    }

    fn routes(&self) -> &'static [&'static [Route]] {
        &[ROUTES]
    }

    fn services(&self) -> &'static [&'static str] {
        &["zitadel.action.v3alpha.ActionService"]
    }

    fn unknown_service(&self) -> ApiError {
        ApiError::bare(Code::NotFound, "unknown service")
    }

    fn request(&self, rpc: Rpc, _path: &str) -> Option<&'static Message> {
        match rpc {
            Rpc::CreateTarget => Some(&CREATE),
            Rpc::UpdateTarget => Some(&UPDATE),
            Rpc::ListTargets => Some(&LIST),
            Rpc::SetFeatures => Some(&flag::SET),
            _ => None,
        }
    }

    fn scalar_errors(&self) -> ScalarErrors {
        ScalarErrors::Type
    }

    fn wraps_plain_errors(&self) -> bool {
        false
    }

    fn translate(&self, language: &str, text: &str) -> Option<&'static str> {
        german(language, text)
    }

    fn permission(&self, rpc: Rpc) -> Permission {
        match rpc {
            Rpc::CreateTarget | Rpc::UpdateTarget | Rpc::DeleteTarget | Rpc::SetFeatures | Rpc::NotBuilt => {
                Permission::Write
            }
            Rpc::GetTarget | Rpc::ListTargets | Rpc::ListFunctions | Rpc::MyInstance | Rpc::ReadFeatures => {
                Permission::Read
            }
            Rpc::SearchEvents => Permission::ReadEvents,
            Rpc::MyUser => Permission::Authenticated,
        }
    }

    fn events_without_token(&self) -> ApiError {
        ApiError::bare(Code::Unauthenticated, "auth header missing")
    }

    /// `X-Forwarded-Host` replaces the host. `Forwarded` can break a good request and cannot rescue a bad one: both
    /// hosts are looked up (docs/zitadel/observed.md section 10).
    fn host(&self, world: &World, request: &Request) -> Result<(), HostError> {
        let host = effective_host(request);
        for looked_up in [Some(host), request.forwarded_host("forwarded")].into_iter().flatten() {
            if !is_instance_host(world, looked_up) {
                return Err(unknown_host(world, host, looked_up));
            }
        }
        Ok(())
    }

    fn issuer(&self, world: &World, request: &Request) -> Result<String, HostError> {
        let host = request.forwarded_host("forwarded").unwrap_or_else(|| effective_host(request));
        if is_instance_host(world, host) {
            Ok(format!("{}://{host}", world.scheme()))
        } else {
            Err(unknown_host(world, host, host))
        }
    }

    fn openid(&self) -> OpenId {
        OpenId {
            id_token_algorithms: &["RS256"],
            locales: &["bg", "cs", "de", "en", "es", "fr", "it", "ja", "mk", "nl", "pl", "pt", "ru", "sv", "zh"],
            backchannel_logout: false,
        }
    }

    fn names_unknown_users(&self) -> bool {
        true
    }

    fn forwards_execution_errors(&self) -> bool {
        false
    }

    fn runs_functions(&self) -> bool {
        false
    }

    fn features(&self) -> Features {
        Features { deny_list: false, signing: false, payload_types: false }
    }

    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        match rpc {
            Rpc::CreateTarget => validate_create(call),
            Rpc::UpdateTarget => validate_update(call),
            Rpc::DeleteTarget => fields::length("DeleteTargetRequest.TargetId", call.id, MAX_ID),
            Rpc::GetTarget => fields::length("GetTargetByIDRequest.TargetId", call.id, MAX_ID),
            Rpc::ListTargets => fields::validate_filters(call.body, &SEARCH_NAMES),
            _ => Ok(()),
        }
    }

    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError> {
        let answer = match rpc {
            Rpc::ListFunctions => return Ok((StatusCode::OK, json!({ "functions": FUNCTIONS_OF_V2 }))),
            Rpc::ReadFeatures => return Ok((StatusCode::OK, flag::read(call, state, &[], &["disableUserTokenEvent"]))),
            Rpc::SetFeatures => return flag::set(call, state).map(|answer| (StatusCode::OK, answer)),
            _ => self.target_call(rpc, call, state)?,
        };
        let status = if rpc == Rpc::CreateTarget { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, answer))
    }
}

impl V3Alpha {
    fn target_call(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
        flag::check(state)?;
        match rpc {
            Rpc::CreateTarget => {
                let created =
                    state.commands(call.user, self.features()).add(target::new(call.body), call.visibility)?;
                Ok(json!({ "id": created.id, "details": written(call, state, &created.id) }))
            }
            Rpc::UpdateTarget => {
                state.commands(call.user, self.features()).change(call.id, target::change(call.body))?;
                Ok(json!({ "details": written(call, state, call.id) }))
            }
            Rpc::DeleteTarget => {
                if !state.commands(call.user, self.features()).remove(call.id) {
                    return Err(ApiError::zitadel(Code::NotFound, "COMMAND-k4s7ucu0ax", "Target not found"));
                }
                Ok(json!({ "details": written(call, state, call.id) }))
            }
            Rpc::GetTarget => match state.reads().row(call.id) {
                Some(row) => Ok(json!({ "target": shown(call, row) })),
                None => Err(ApiError::zitadel(Code::NotFound, "QUERY-hj5oaniyrz", "Target not found")),
            },
            Rpc::ListTargets => list(call, state),
            _ => Err(super::not_built()),
        }
    }
}

fn effective_host(request: &Request) -> &str {
    request.header("x-forwarded-host").or_else(|| request.header("host")).unwrap_or_default()
}

fn unknown_host(world: &World, host: &str, looked_up: &str) -> HostError {
    let parent = format!("unable to get instance by host {looked_up}: ID=QUERY-1kIjX Message=Errors.IAM.NotFound");
    HostError::new(&format!("{}://{host}", world.scheme()), &world.domain, "QUERY-1kIjX", parent)
}

fn validate_create(call: &Invocation<'_>) -> Result<(), String> {
    let body = call.body;
    fields::length("CreateTargetRequest.Name", body.string("name").unwrap_or_default(), MAX_NAME)?;
    match body.duration("timeout") {
        None => return Err("invalid CreateTargetRequest.Timeout: value is required".to_owned()),
        Some(timeout) => positive("CreateTargetRequest.Timeout", timeout)?,
    }
    let endpoint = body.string("endpoint").unwrap_or_default();
    fields::length("CreateTargetRequest.Endpoint", endpoint, MAX_ENDPOINT)?;
    absolute("CreateTargetRequest.Endpoint", endpoint)?;
    fields::kind(body).map(|_| ()).ok_or_else(|| "invalid CreateTargetRequest.TargetType: value is required".to_owned())
}

fn validate_update(call: &Invocation<'_>) -> Result<(), String> {
    let body = call.body;
    fields::length("UpdateTargetRequest.TargetId", call.id, MAX_ID)?;
    body.string("name").map_or(Ok(()), |name| fields::length("UpdateTargetRequest.Name", name, MAX_NAME))?;
    body.duration("timeout").map_or(Ok(()), |timeout| positive("UpdateTargetRequest.Timeout", timeout))?;
    let Some(endpoint) = body.string("endpoint") else { return Ok(()) };
    fields::max_length("UpdateTargetRequest.Endpoint", endpoint, MAX_ENDPOINT)?;
    absolute("UpdateTargetRequest.Endpoint", endpoint)
}

fn positive(field: &str, timeout: i64) -> Result<(), String> {
    if timeout > 0 { Ok(()) } else { Err(format!("invalid {field}: value must be greater than 0s")) }
}

fn absolute(field: &str, endpoint: &str) -> Result<(), String> {
    let url = go_url::parse(endpoint)
        .map_err(|fault| format!("invalid {field}: value must be a valid URI | caused by: {fault}"))?;
    if url.scheme.is_empty() { Err(format!("invalid {field}: value must be absolute")) } else { Ok(()) }
}

/// The details of a write answer: the write model's, so never stale.
fn written(call: &Invocation<'_>, state: &State, id: &str) -> Value {
    match state.store.model(id) {
        Some(model) => details(call, model.sequence, model.change_date),
        None => json!({}),
    }
}

fn shown(call: &Invocation<'_>, row: &Row) -> Value {
    let mut shown = target::show(row);
    shown.insert("targetId".to_owned(), json!(row.id));
    shown.insert("details".to_owned(), details(call, row.sequence, row.change_date));
    Value::Object(shown)
}

fn list(call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
    let empty = Decoded::default();
    let paging = call.body.message("query").unwrap_or(&empty);
    let column = match call.body.number("sortingColumn") {
        2 => Column::CreationDate,
        3 => Column::ChangeDate,
        4 => Column::Name,
        5 => Column::Kind,
        6 => Column::Endpoint,
        7 => Column::Timeout,
        8 => Column::Async,
        9 => Column::InterruptOnError,
        _ => Column::Id,
    };
    let wanted = Search {
        filters: fields::filters(call.body, &SEARCH_NAMES).map_err(ApiError::plain)?,
        column,
        ascending: paging.bool("asc"),
        offset: paging.uint("offset"),
        limit: Some(paging.uint("limit")).filter(|limit| *limit > 0),
    };
    let reads = state.reads();
    let (page, total) = search(reads.rows(), &wanted);
    let last = reads.last_date().map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), timestamp);
    let mut list_details = Map::from_iter([("timestamp".to_owned(), json!(last))]);
    if total > 0 {
        list_details.insert("totalResult".to_owned(), json!(total.to_string()));
    }
    let mut answer = Map::from_iter([("details".to_owned(), Value::Object(list_details))]);
    if !page.is_empty() {
        answer.insert("result".to_owned(), page.iter().map(|row| shown(call, row)).collect());
    }
    Ok(Value::Object(answer))
}
