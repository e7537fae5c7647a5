//! `/v3alpha` as ZITADEL v2.58.7 speaks it: sequences and owners in every answer, 201 for a create, PUT for a partial
//! update, a feature flag, no limit on lists, no upper bound for time-outs, absolute endpoints of any scheme.

mod messages;

use std::time::Instant;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::messages::{CREATE, FEATURES, LIST, SEARCH_NAMES, UPDATE};
use super::fields::{self, MAX_ID};
use super::{Dialect, HostError, Invocation, OpenId, is_instance_host};
use crate::PayloadType;
use crate::core::command::{Change, Features, NewTarget};
use crate::core::projection::Row;
use crate::core::query::{Column, Search, search};
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::{ApiError, Code};
use crate::wire::format::{duration, timestamp};
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

const FUNCTIONS: &[&str] = &[
    "Action.Flow.Type.ExternalAuthentication.Action.TriggerType.PostAuthentication",
    "Action.Flow.Type.ExternalAuthentication.Action.TriggerType.PreCreation",
    "Action.Flow.Type.ExternalAuthentication.Action.TriggerType.PostCreation",
    "Action.Flow.Type.CustomiseToken.Action.TriggerType.PreUserinfoCreation",
    "Action.Flow.Type.CustomiseToken.Action.TriggerType.PreAccessTokenCreation",
    "Action.Flow.Type.InternalAuthentication.Action.TriggerType.PostAuthentication",
    "Action.Flow.Type.InternalAuthentication.Action.TriggerType.PreCreation",
    "Action.Flow.Type.InternalAuthentication.Action.TriggerType.PostCreation",
    "Action.Flow.Type.CustomizeSAMLResponse.Action.TriggerType.PreSAMLResponseCreation",
];

pub(super) struct V3Alpha;

impl Dialect for V3Alpha {
    fn version(&self) -> &'static str {
        "v2.58.7"
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn services(&self) -> &'static [&'static str] {
        &["zitadel.action.v3alpha.ActionService"]
    }

    fn unknown_service(&self) -> ApiError {
        ApiError::bare(Code::NotFound, "unknown service")
    }

    fn request(&self, rpc: Rpc) -> Option<&'static Message> {
        match rpc {
            Rpc::CreateTarget => Some(&CREATE),
            Rpc::UpdateTarget => Some(&UPDATE),
            Rpc::ListTargets => Some(&LIST),
            Rpc::SetFeatures => Some(&FEATURES),
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
        match (language.get(..2)?, text) {
            ("de", "Target not found") => Some("Ziel nicht gefunden"),
            _ => None,
        }
    }

    fn permission(&self, rpc: Rpc) -> Permission {
        match rpc {
            Rpc::CreateTarget | Rpc::UpdateTarget | Rpc::DeleteTarget | Rpc::SetFeatures | Rpc::NotBuilt => {
                Permission::Write
            }
            Rpc::GetTarget
            | Rpc::ListTargets
            | Rpc::ListFunctions
            | Rpc::MyInstance
            | Rpc::ReadFeatures
            | Rpc::SearchEvents => Permission::Read,
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
        if is_instance_host(world, host) { Ok(format!("http://{host}")) } else { Err(unknown_host(world, host, host)) }
    }

    fn openid(&self) -> OpenId {
        OpenId {
            id_token_algorithms: &["RS256"],
            locales: &["bg", "cs", "de", "en", "es", "fr", "it", "ja", "mk", "nl", "pl", "pt", "ru", "sv", "zh"],
            backchannel_logout: false,
        }
    }

    fn features(&self) -> Features {
        Features { deny_list: false, signing: false }
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
            Rpc::ListFunctions => return Ok((StatusCode::OK, json!({ "functions": FUNCTIONS }))),
            Rpc::ReadFeatures => return Ok((StatusCode::OK, read_features(call, state))),
            Rpc::SetFeatures => return set_features(call, state).map(|answer| (StatusCode::OK, answer)),
            _ => self.target_call(rpc, call, state)?,
        };
        let status = if rpc == Rpc::CreateTarget { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, answer))
    }
}

impl V3Alpha {
    fn target_call(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
        if !state.actions.effective(state.lag, Instant::now()) {
            return Err(ApiError::zitadel(
                Code::FailedPrecondition,
                "ACTION-8o6pvqfjhs",
                "Feature \"Action\" is not enabled",
            ));
        }
        match rpc {
            Rpc::CreateTarget => {
                let created = state.commands(call.user, self.features()).add(new_target(call), call.visibility)?;
                Ok(json!({ "id": created.id, "details": written(call, state, &created.id) }))
            }
            Rpc::UpdateTarget => {
                let change = Change {
                    name: call.body.string("name").map(str::to_owned),
                    kind: fields::kind(call.body),
                    timeout: call.body.duration("timeout"),
                    endpoint: call.body.string("endpoint").map(str::to_owned),
                    ..Change::default()
                };
                state.commands(call.user, self.features()).change(call.id, change)?;
                Ok(json!({ "details": written(call, state, call.id) }))
            }
            Rpc::DeleteTarget => {
                if !state.commands(call.user, self.features()).remove(call.id) {
                    return Err(ApiError::zitadel(Code::NotFound, "COMMAND-k4s7ucu0ax", "Target not found"));
                }
                Ok(json!({ "details": written(call, state, call.id) }))
            }
            Rpc::GetTarget => match state.reads().row(call.id) {
                Some(row) => Ok(json!({ "target": target(call, row) })),
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
    HostError::new(&format!("http://{host}"), &world.domain, "QUERY-1kIjX", parent)
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

fn new_target(call: &Invocation<'_>) -> NewTarget {
    let body = call.body;
    let (kind, interrupt_on_error) = fields::kind(body).unwrap_or((crate::TargetKind::Webhook, false));
    NewTarget {
        name: body.string("name").unwrap_or_default().to_owned(),
        kind,
        interrupt_on_error,
        timeout: body.duration("timeout").unwrap_or_default(),
        endpoint: body.string("endpoint").unwrap_or_default().to_owned(),
        payload_type: PayloadType::UNSPECIFIED,
    }
}

/// The details of a write answer: the write model's, so never stale.
fn written(call: &Invocation<'_>, state: &State, id: &str) -> Value {
    match state.store.model(id) {
        Some(model) => details(call, model.sequence, model.change_date),
        None => json!({}),
    }
}

fn details(call: &Invocation<'_>, sequence: u64, change_date: Timestamp) -> Value {
    json!({
        "sequence": sequence.to_string(),
        "changeDate": timestamp(change_date),
        "resourceOwner": call.world.instance_id,
    })
}

fn target(call: &Invocation<'_>, row: &Row) -> Value {
    let shows_flag = row.interrupt_on_error && row.kind != crate::TargetKind::Async;
    let kind = if shows_flag { json!({ "interruptOnError": true }) } else { json!({}) };
    let mut shown = Map::new();
    shown.insert("targetId".to_owned(), json!(row.id));
    shown.insert("details".to_owned(), details(call, row.sequence, row.change_date));
    shown.insert("name".to_owned(), json!(row.name));
    shown.insert(fields::kind_name(row.kind).to_owned(), kind);
    shown.insert("timeout".to_owned(), json!(duration(row.timeout)));
    shown.insert("endpoint".to_owned(), json!(row.endpoint));
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
        answer.insert("result".to_owned(), page.iter().map(|row| target(call, row)).collect());
    }
    Ok(Value::Object(answer))
}

fn read_features(call: &Invocation<'_>, state: &State) -> Value {
    let flag = &state.actions;
    let actions = match (flag.set_by_instance, flag.effective(state.lag, Instant::now())) {
        (false, _) => json!({}),
        (true, true) => json!({ "enabled": true, "source": "SOURCE_INSTANCE" }),
        (true, false) => json!({ "source": "SOURCE_INSTANCE" }),
    };
    let mut answer = json!({
        "details": details(call, flag.sequence, flag.change_date),
        "loginDefaultOrg": { "enabled": true, "source": "SOURCE_INSTANCE" },
        "oidcTriggerIntrospectionProjections": {},
        "oidcLegacyIntrospection": {},
        "userSchema": {},
        "oidcTokenExchange": {},
        "actions": actions,
        "improvedPerformance": {},
    });
    if let (true, Some(members)) = (call.path.starts_with("/v2/"), answer.as_object_mut()) {
        members.insert("disableUserTokenEvent".to_owned(), json!({}));
    }
    answer
}

fn set_features(call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
    let Some(on) = call.body.flag("actions") else {
        return Err(ApiError::zitadel(Code::InvalidArgument, "COMMAND-Vigh1", "No changes"));
    };
    if !state.actions.set_by_instance || state.actions.latest() != on {
        let date = state.clock.event_date();
        state.actions.set(on, date);
    }
    Ok(json!({ "details": details(call, state.actions.sequence, state.actions.change_date) }))
}
