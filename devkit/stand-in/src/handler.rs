//! One request from its text to its answer, in the order of the real server: gateway (JSON), instance by host,
//! token, permission, validation, command or query.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::admin;
use crate::core::store::Visibility;
use crate::core::users::{Caller, authorize};
use crate::execution::{Course, Phase};
use crate::fault::Op;
use crate::generation::{Dialect, HostError, Invocation};
use crate::request::{Reply, Request};
use crate::router::{Rpc, route};
use crate::wire::error::{ApiError, Code};
use crate::wire::proto::{Decoded, Message, decode};
use crate::wire::{binding, json};
use crate::world::{State, World};
use crate::{oidc, probe};

/// The operation behind a request, for the log and for faults.
pub(crate) fn classify(world: &World, request: &Request) -> Option<Op> {
    let rpc = || route(world.dialect().routes(), &request.method, &request.path()).ok().map(|(rpc, _)| rpc);
    oidc::op(&request.raw_path).or_else(|| rpc().and_then(Rpc::op))
}

/// The user behind a request, for the log.
pub(crate) fn user(world: &World, request: &Request) -> Option<String> {
    caller(world, &mut world.state(), request).ok().map(|caller| caller.user)
}

/// How long the server looks up the host of the endpoint in a request: only of callers whom it knows, and only where
/// there is a deny list.
pub(crate) fn look_up_time(world: &World, request: &Request, op: Option<Op>) -> Option<Duration> {
    let looks_up = matches!(op, Some(Op::Create | Op::Update)) && world.dialect().features().deny_list;
    let mut state = world.state();
    if !looks_up || caller(world, &mut state, request).is_err() {
        return None;
    }
    let body: Value = serde_json::from_str(&request.body).ok()?;
    state.endpoints.look_up_time(body["endpoint"].as_str()?)
}

/// Who calls: a user of the instance, else a system user.
fn caller(world: &World, state: &mut State, request: &Request) -> Result<Caller, ApiError> {
    let header = request.header("authorization");
    let now = state.clock.now();
    match state.users.authenticate(header, now, |reason| world.refuse(reason)) {
        Ok(caller) => Ok(caller),
        Err(refusal) => {
            let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
            let audiences = world.configured_origins(request);
            oidc::system_user(token, &audiences, &mut state.system_users, now).ok_or(refusal)
        }
    }
}

/// Handles a request to the end, commits included.
pub(crate) fn handle(world: &World, request: &Request, course: &Course<'_>) -> Reply {
    let dialect = world.dialect();
    if let Some(reply) = probe::answer(dialect, request).or_else(|| oidc::answer(world, dialect, request)) {
        return reply;
    }
    match call(world, dialect, request, course) {
        Ok((status, body)) => Reply::json(status, &body),
        Err(error) => {
            let language = request.header("accept-language").unwrap_or_default();
            let error = error.localized(|text| dialect.translate(language, text));
            let error = if world.state().error_slugs { error.slugged() } else { error };
            Reply::error(&error, dialect.wraps_plain_errors())
        }
    }
}

fn call(
    world: &World,
    dialect: &dyn Dialect,
    request: &Request,
    course: &Course<'_>,
) -> Result<(StatusCode, Value), ApiError> {
    let (rpc, id) = route(dialect.routes(), &request.method, &request.path())?;
    let body = match body_of(dialect, rpc, request) {
        Some(message) => read(dialect, message, dialect.body_field(rpc), request)?,
        None => Decoded::default(),
    };
    dialect.host(world, request).map_err(HostError::into_api)?;
    let mut state = world.state();
    let caller = match (request.header("authorization"), rpc) {
        (None, Rpc::SearchEvents) => return Err(dialect.events_without_token()),
        _ => caller(world, &mut state, request)?,
    };
    if request.header("x-zitadel-orgid").is_some_and(|org| !org.is_empty() && org != world.org_id) {
        return Err(ApiError::zitadel(Code::PermissionDenied, "AUTH-Bs7Ds", "Organisation doesn't exist"));
    }
    authorize(&caller, dialect.permission(rpc))?;
    course.pass(Phase::Request, dialect)?;
    let visibility = if matches!(course, Course::Ghost) { Visibility::Ghost } else { Visibility::Projected };
    let call = Invocation { world, user: &caller.user, id: &id, body: &body, path: &request.raw_path, visibility };
    let answer = match rpc {
        Rpc::SearchEvents => (StatusCode::OK, admin::events(&state, &call)),
        Rpc::MyUser => (StatusCode::OK, admin::my_user(&call, &caller)?),
        Rpc::MyInstance => {
            let version = state.version.as_deref().unwrap_or(dialect.version());
            (StatusCode::OK, admin::my_instance(&call, version))
        }
        _ => {
            dialect.validate(rpc, &call).map_err(ApiError::invalid)?;
            dialect.answer(rpc, &call, &mut state)?
        }
    };
    course.pass(Phase::Response, dialect)?;
    Ok(answer)
}

/// What is not built still looks at JSON, token, permission and feature flag as it should.
static ANYTHING: Message = Message { full_name: "", fields: &[] };

fn body_of(dialect: &dyn Dialect, rpc: Rpc, request: &Request) -> Option<&'static Message> {
    match rpc {
        Rpc::SearchEvents => Some(&admin::SEARCH_EVENTS),
        Rpc::NotBuilt => Some(&ANYTHING),
        _ => dialect.request(rpc, &request.raw_path),
    }
}

/// An empty body is an empty message; what follows the first JSON value is ignored.
fn read(
    dialect: &dyn Dialect,
    message: &'static Message,
    body_field: Option<&'static str>,
    request: &Request,
) -> Result<Decoded, ApiError> {
    let parsed = json::parse(&request.body).map_err(|fault| ApiError::invalid(fault.to_string()))?;
    let errors = dialect.scalar_errors();
    let decoded = match (parsed, body_field) {
        (None, _) => Ok(Decoded::default()),
        (Some((node, source)), None) => decode(message, &node, source, errors),
        (Some((node, source)), Some(field)) => binding::list(message, field, &node, source, errors),
    };
    let mut decoded = decoded.map_err(ApiError::invalid)?;
    if body_field.is_some() {
        binding::parameters(&mut decoded, message, &request.query).map_err(ApiError::invalid)?;
    }
    Ok(decoded)
}
