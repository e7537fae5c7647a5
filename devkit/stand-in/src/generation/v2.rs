//! `/v2/actions` as ZITADEL v4.13.1 speaks it (with the same calls under `/v2beta/actions`): dates instead of
//! sequences, signing keys, payload types, pages of at most 1000, time-outs up to 270 s, a deny list for endpoints,
//! and a delete that does not mind a missing target.

mod messages;

use http::StatusCode;
use serde_json::{Map, Value, json};

use self::messages::{CREATE, FEATURES, LIST, PAYLOAD_TYPES, SEARCH_NAMES, UPDATE};
use super::fields::{self, MAX_ID};
use super::{Dialect, HostError, Invocation, OpenId, instance_host};
use crate::PayloadType;
use crate::core::command::{Change, Features, NewTarget};
use crate::core::projection::Row;
use crate::core::query::{Column, Search, search};
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::{ApiError, Code};
use crate::wire::format::{duration, timestamp};
use crate::wire::proto::{Decoded, Message, ScalarErrors};
use crate::world::{State, World};

const MAX_NAME: usize = 1000;
const MAX_ENDPOINT: usize = 2048;
/// 270 s, in nanoseconds.
const MAX_TIMEOUT: i64 = 270_000_000_000;
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

const ROUTES: &[Route] = &[
    Route::new(Verb::Post, "/v2/actions/targets", Rpc::CreateTarget),
    Route::new(Verb::Post, "/v2/actions/targets/{id}", Rpc::UpdateTarget),
    Route::new(Verb::Delete, "/v2/actions/targets/{id}", Rpc::DeleteTarget),
    Route::new(Verb::Get, "/v2/actions/targets/{id}", Rpc::GetTarget),
    Route::new(Verb::Post, "/v2/actions/targets/search", Rpc::ListTargets),
    Route::new(Verb::Get, "/v2/actions/executions/functions", Rpc::ListFunctions),
    Route::new(Verb::Get, "/v2/actions/executions/methods", Rpc::NotBuilt),
    Route::new(Verb::Get, "/v2/actions/executions/services", Rpc::NotBuilt),
    Route::new(Verb::Put, "/v2/actions/executions", Rpc::NotBuilt),
    Route::new(Verb::Post, "/v2/actions/executions/search", Rpc::NotBuilt),
    Route::new(Verb::Post, "/v2beta/actions/targets", Rpc::CreateTarget),
    Route::new(Verb::Post, "/v2beta/actions/targets/{id}", Rpc::UpdateTarget),
    Route::new(Verb::Delete, "/v2beta/actions/targets/{id}", Rpc::DeleteTarget),
    Route::new(Verb::Get, "/v2beta/actions/targets/{id}", Rpc::GetTarget),
    Route::new(Verb::Post, "/v2beta/actions/targets/search", Rpc::ListTargets),
    Route::new(Verb::Get, "/v2beta/actions/executions/functions", Rpc::ListFunctions),
];

pub(super) struct V2;

impl Dialect for V2 {
    fn version(&self) -> &'static str {
        "v4.13.1"
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn services(&self) -> &'static [&'static str] {
        &[
            "zitadel.action.v2beta.ActionService",
            "zitadel.action.v2.ActionService",
            "zitadel.instance.v2.InstanceService",
        ]
    }

    fn unknown_service(&self) -> ApiError {
        ApiError::plain("rpc error: code = NotFound desc = unknown service")
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
        ScalarErrors::Field
    }

    fn wraps_plain_errors(&self) -> bool {
        true
    }

    /// `Accept-Language` has no effect on REST (observed).
    fn translate(&self, _language: &str, _text: &str) -> Option<&'static str> {
        None
    }

    fn permission(&self, rpc: Rpc) -> Permission {
        match rpc {
            Rpc::CreateTarget | Rpc::UpdateTarget | Rpc::DeleteTarget | Rpc::SetFeatures | Rpc::NotBuilt => {
                Permission::Write
            }
            Rpc::GetTarget | Rpc::ListTargets | Rpc::MyInstance | Rpc::ReadFeatures | Rpc::SearchEvents => {
                Permission::Read
            }
            Rpc::MyUser | Rpc::ListFunctions => Permission::Authenticated,
        }
    }

    /// 500 was seen; its text was not recorded.
    fn events_without_token(&self) -> ApiError {
        ApiError::plain("auth header missing")
    }

    fn host(&self, world: &World, request: &Request) -> Result<(), HostError> {
        instance_host::find(world, request, instance_host::NOT_FOUND_V4)
    }

    fn issuer(&self, world: &World, request: &Request) -> Result<String, HostError> {
        instance_host::issuer(world, request, instance_host::NOT_FOUND_V4)
    }

    fn openid(&self) -> OpenId {
        OpenId {
            id_token_algorithms: &["EdDSA", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
            locales: &[
                "ar", "bg", "cs", "de", "en", "es", "fr", "hu", "id", "it", "ja", "ko", "mk", "nl", "pl", "pt", "ro",
                "ru", "sv", "tr", "uk", "zh",
            ],
            backchannel_logout: true,
        }
    }

    fn features(&self) -> Features {
        Features { deny_list: true, signing: true, payload_types: true }
    }

    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        match rpc {
            Rpc::CreateTarget => validate_create(call.body),
            Rpc::UpdateTarget => validate_update(call),
            Rpc::DeleteTarget => fields::length("DeleteTargetRequest.Id", call.id, MAX_ID),
            Rpc::GetTarget => fields::length("GetTargetRequest.Id", call.id, MAX_ID),
            Rpc::ListTargets => fields::validate_filters(call.body, &SEARCH_NAMES),
            _ => Ok(()),
        }
    }

    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError> {
        let answer = match rpc {
            Rpc::CreateTarget => {
                let created = state.commands(call.user, self.features()).add(new_target(call.body), call.visibility)?;
                let date = state.store.model(&created.id).map(|model| timestamp(model.creation_date));
                json!({ "id": created.id, "creationDate": date, "signingKey": created.signing_key })
            }
            Rpc::UpdateTarget => self.update(call, state)?,
            Rpc::DeleteTarget => {
                state.commands(call.user, self.features()).remove(call.id);
                // Also of an earlier delete: the write model keeps the date of its last event.
                let date = state.store.model(call.id).map(|model| timestamp(model.change_date));
                date.map_or_else(|| json!({}), |date| json!({ "deletionDate": date }))
            }
            Rpc::GetTarget => match state.reads().row(call.id) {
                Some(row) => json!({ "target": target(row) }),
                None => return Err(ApiError::zitadel(Code::NotFound, "QUERY-hj5oaniyrz", "Target not found")),
            },
            Rpc::ListTargets => list(call, state)?,
            Rpc::ListFunctions => json!({ "functions": ["preuserinfo", "preaccesstoken", "presamlresponse"] }),
            Rpc::SetFeatures => return Err(ApiError::zitadel(Code::InvalidArgument, "COMMAND-Vigh1", "No changes")),
            Rpc::ReadFeatures => read_features(call),
            _ => return Err(super::not_built()),
        };
        Ok((StatusCode::OK, answer))
    }
}

impl V2 {
    fn update(&self, call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
        let change = Change {
            name: call.body.string("name").map(str::to_owned),
            kind: fields::kind(call.body),
            timeout: call.body.duration("timeout"),
            endpoint: call.body.string("endpoint").map(str::to_owned),
            payload_type: Some(PayloadType(call.body.number("payloadType"))),
            new_signing_key: call.body.duration("expirationSigningKey").is_some(),
        };
        let signing_key = state.commands(call.user, self.features()).change(call.id, change)?;
        let mut answer = Map::new();
        let date = state.store.model(call.id).map(|model| timestamp(model.change_date));
        answer.insert("changeDate".to_owned(), json!(date));
        if let Some(key) = signing_key {
            answer.insert("signingKey".to_owned(), json!(key));
        }
        Ok(Value::Object(answer))
    }
}

fn validate_create(body: &Decoded) -> Result<(), String> {
    fields::length("CreateTargetRequest.Name", body.string("name").unwrap_or_default(), MAX_NAME)?;
    in_range("CreateTargetRequest.Timeout", body.duration("timeout"))?;
    fields::length("CreateTargetRequest.Endpoint", body.string("endpoint").unwrap_or_default(), MAX_ENDPOINT)?;
    fields::kind(body).map(|_| ()).ok_or_else(|| "invalid CreateTargetRequest.TargetType: value is required".to_owned())
}

fn validate_update(call: &Invocation<'_>) -> Result<(), String> {
    let body = call.body;
    fields::length("UpdateTargetRequest.Id", call.id, MAX_ID)?;
    body.string("name").map_or(Ok(()), |name| fields::length("UpdateTargetRequest.Name", name, MAX_NAME))?;
    in_range("UpdateTargetRequest.Timeout", body.duration("timeout"))?;
    body.string("endpoint")
        .map_or(Ok(()), |text| fields::length("UpdateTargetRequest.Endpoint", text, MAX_ENDPOINT))?;
    match body.duration("expirationSigningKey") {
        None | Some(0) => Ok(()),
        Some(_) => Err("invalid UpdateTargetRequest.ExpirationSigningKey: value must equal 0s".to_owned()),
    }
}

/// Zero passes here and is refused by the command.
fn in_range(field: &str, timeout: Option<i64>) -> Result<(), String> {
    if timeout.is_none_or(|timeout| (0..=MAX_TIMEOUT).contains(&timeout)) {
        return Ok(());
    }
    Err(format!("invalid {field}: value must be inside range [0s, 4m30s]"))
}

fn new_target(body: &Decoded) -> NewTarget {
    let (kind, interrupt_on_error) = fields::kind(body).unwrap_or((crate::TargetKind::Webhook, false));
    NewTarget {
        name: body.string("name").unwrap_or_default().to_owned(),
        kind,
        interrupt_on_error,
        timeout: body.duration("timeout").unwrap_or_default(),
        endpoint: body.string("endpoint").unwrap_or_default().to_owned(),
        payload_type: PayloadType(body.number("payloadType")),
    }
}

fn target(row: &Row) -> Value {
    let shows_flag = row.interrupt_on_error && row.kind != crate::TargetKind::Async;
    let kind = if shows_flag { json!({ "interruptOnError": true }) } else { json!({}) };
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(row.id));
    shown.insert("creationDate".to_owned(), json!(timestamp(row.creation_date)));
    shown.insert("changeDate".to_owned(), json!(timestamp(row.change_date)));
    shown.insert("name".to_owned(), json!(row.name));
    shown.insert(fields::kind_name(row.kind).to_owned(), kind);
    shown.insert("timeout".to_owned(), json!(duration(row.timeout)));
    shown.insert("endpoint".to_owned(), json!(row.endpoint));
    shown.insert("signingKey".to_owned(), json!(row.signing_key));
    let named = usize::try_from(row.payload_type.0)
        .ok()
        .filter(|number| *number > 0)
        .and_then(|number| PAYLOAD_TYPES.get(number));
    if let Some(name) = named {
        shown.insert("payloadType".to_owned(), json!(name));
    }
    Value::Object(shown)
}

fn list(call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
    let empty = Decoded::default();
    let paging = call.body.message("pagination").unwrap_or(&empty);
    let limit = match paging.uint("limit") {
        0 => DEFAULT_LIMIT,
        limit if limit > MAX_LIMIT => {
            return Err(ApiError::zitadel(Code::InvalidArgument, "QUERY-4M0fs", "Limit exceeded"));
        }
        limit => limit,
    };
    let column = match call.body.number("sortingColumn") {
        1 => Column::Id,
        3 => Column::ChangeDate,
        4 => Column::Name,
        5 => Column::Kind,
        6 => Column::Endpoint,
        7 => Column::Timeout,
        8 => Column::InterruptOnError,
        _ => Column::CreationDate,
    };
    let wanted = Search {
        filters: fields::filters(call.body, &SEARCH_NAMES).map_err(ApiError::plain)?,
        column,
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
        answer.insert("targets".to_owned(), page.iter().map(target).collect());
    }
    Ok(Value::Object(answer))
}

/// As a fresh server answers; nothing here can be changed.
fn read_features(call: &Invocation<'_>) -> Value {
    let on = |source: &str| json!({ "enabled": true, "source": source });
    json!({
        "details": {
            "sequence": "3",
            "changeDate": timestamp(call.world.created),
            "resourceOwner": call.world.instance_id,
        },
        "loginDefaultOrg": on("SOURCE_INSTANCE"),
        "userSchema": {},
        "oidcTokenExchange": on("SOURCE_SYSTEM"),
        "improvedPerformance": {},
        "debugOidcParentError": {},
        "oidcSingleV1SessionTermination": {},
        "enableBackChannelLogout": on("SOURCE_SYSTEM"),
        "loginV2": { "required": true, "source": "SOURCE_INSTANCE" },
        "permissionCheckV2": {},
        "consoleUseV2UserApi": on("SOURCE_INSTANCE"),
    })
}
