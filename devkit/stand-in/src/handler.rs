//! One request from its text to its answer, in the order of the real server: gateway (JSON), instance by host,
//! token, permission, validation, command or query.

use http::StatusCode;
use serde_json::Value;

use crate::admin;
use crate::core::store::Visibility;
use crate::core::users::authorize;
use crate::generation::{HostError, Invocation};
use crate::probe;
use crate::request::{Reply, Request};
use crate::router::{Rpc, route};
use crate::wire::error::{ApiError, Code};
use crate::wire::proto::{Decoded, Message, decode};
use crate::wire::{binding, json};
use crate::world::World;

/// The call behind a request, for the log and for faults.
pub(crate) fn classify(world: &World, request: &Request) -> Option<Rpc> {
    route(world.dialect.routes(), &request.method, &request.path()).ok().map(|(rpc, _)| rpc)
}

/// Handles a request to the end, commits included. `visibility`: of what a create writes.
pub(crate) fn handle(world: &World, request: &Request, visibility: Visibility) -> Reply {
    if let Some(reply) = probe::answer(world, request) {
        return reply;
    }
    let dialect = world.dialect;
    match call(world, request, visibility) {
        Ok((status, body)) => Reply::json(status, &body),
        Err(error) => {
            let language = request.header("accept-language").unwrap_or_default();
            let error = error.localized(|text| dialect.translate(language, text));
            Reply::error(&error, dialect.wraps_plain_errors())
        }
    }
}

fn call(world: &World, request: &Request, visibility: Visibility) -> Result<(StatusCode, Value), ApiError> {
    let dialect = world.dialect;
    let (rpc, id) = route(dialect.routes(), &request.method, &request.path())?;
    let body = match body_of(world, rpc, request) {
        Some(message) => read(world, message, dialect.body_field(rpc), request)?,
        None => Decoded::default(),
    };
    dialect.host(world, request).map_err(HostError::into_api)?;
    let mut state = world.state();
    let header = request.header("authorization");
    let (user, role) = match (header, rpc) {
        (None, Rpc::SearchEvents) => return Err(dialect.events_without_token()),
        _ => state.users.authenticate(header, state.clock.now())?,
    };
    if request.header("x-zitadel-orgid").is_some_and(|org| !org.is_empty() && org != world.org_id) {
        return Err(ApiError::zitadel(Code::PermissionDenied, "AUTH-Bs7Ds", "Organisation doesn't exist"));
    }
    authorize(role, dialect.permission(rpc))?;
    let call = Invocation { world, user: &user, id: &id, body: &body, path: &request.raw_path, visibility };
    match rpc {
        Rpc::SearchEvents => Ok((StatusCode::OK, admin::events(&state, &call))),
        Rpc::MyUser => Ok((StatusCode::OK, admin::my_user(&call))),
        Rpc::MyInstance => Ok((StatusCode::OK, admin::my_instance(&call))),
        _ => {
            dialect.validate(rpc, &call).map_err(ApiError::invalid)?;
            dialect.answer(rpc, &call, &mut state)
        }
    }
}

/// What is not built still looks at JSON, token, permission and feature flag as it should.
static ANYTHING: Message = Message { full_name: "", fields: &[] };

fn body_of(world: &World, rpc: Rpc, request: &Request) -> Option<&'static Message> {
    match rpc {
        Rpc::SearchEvents => Some(&admin::SEARCH_EVENTS),
        Rpc::NotBuilt => Some(&ANYTHING),
        _ => world.dialect.request(rpc, &request.raw_path),
    }
}

/// An empty body is an empty message; what follows the first JSON value is ignored.
fn read(
    world: &World,
    message: &'static Message,
    body_field: Option<&'static str>,
    request: &Request,
) -> Result<Decoded, ApiError> {
    let parsed = json::parse(&request.body).map_err(|fault| ApiError::invalid(fault.to_string()))?;
    let errors = world.dialect.scalar_errors();
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
