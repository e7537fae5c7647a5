//! One request from its text to its answer, in the order of the real server: gateway (JSON), instance by host,
//! token, permission, validation, command or query.

use http::StatusCode;
use serde_json::Value;

use crate::admin;
use crate::core::store::Visibility;
use crate::core::users::authorize;
use crate::fault::Op;
use crate::generation::{Dialect, HostError, Invocation};
use crate::request::{Reply, Request};
use crate::router::{Rpc, route};
use crate::wire::error::{ApiError, Code};
use crate::wire::proto::{Decoded, Message, decode};
use crate::wire::{binding, json};
use crate::world::World;
use crate::{oidc, probe};

/// The operation behind a request, for the log and for faults.
pub(crate) fn classify(world: &World, request: &Request) -> Option<Op> {
    let rpc = || route(world.dialect().routes(), &request.method, &request.path()).ok().map(|(rpc, _)| rpc);
    oidc::op(&request.raw_path).or_else(|| rpc().and_then(Rpc::op))
}

/// Handles a request to the end, commits included. `visibility`: of what a create writes.
pub(crate) fn handle(world: &World, request: &Request, visibility: Visibility) -> Reply {
    let dialect = world.dialect();
    if let Some(reply) = probe::answer(dialect, request).or_else(|| oidc::answer(world, dialect, request)) {
        return reply;
    }
    match call(world, dialect, request, visibility) {
        Ok((status, body)) => Reply::json(status, &body),
        Err(error) => {
            let language = request.header("accept-language").unwrap_or_default();
            let error = error.localized(|text| dialect.translate(language, text));
            Reply::error(&error, dialect.wraps_plain_errors())
        }
    }
}

fn call(
    world: &World,
    dialect: &dyn Dialect,
    request: &Request,
    visibility: Visibility,
) -> Result<(StatusCode, Value), ApiError> {
    let (rpc, id) = route(dialect.routes(), &request.method, &request.path())?;
    let body = match body_of(dialect, rpc, request) {
        Some(message) => read(dialect, message, dialect.body_field(rpc), request)?,
        None => Decoded::default(),
    };
    dialect.host(world, request).map_err(HostError::into_api)?;
    let mut state = world.state();
    let header = request.header("authorization");
    let caller = match (header, rpc) {
        (None, Rpc::SearchEvents) => return Err(dialect.events_without_token()),
        _ => state.users.authenticate(header, state.clock.now(), |reason| world.refuse(reason))?,
    };
    if request.header("x-zitadel-orgid").is_some_and(|org| !org.is_empty() && org != world.org_id) {
        return Err(ApiError::zitadel(Code::PermissionDenied, "AUTH-Bs7Ds", "Organisation doesn't exist"));
    }
    authorize(&caller, dialect.permission(rpc))?;
    let call = Invocation { world, user: &caller.user, id: &id, body: &body, path: &request.raw_path, visibility };
    match rpc {
        Rpc::SearchEvents => Ok((StatusCode::OK, admin::events(&state, &call))),
        Rpc::MyUser => Ok((StatusCode::OK, admin::my_user(&call))),
        Rpc::MyInstance => Ok((StatusCode::OK, admin::my_instance(&call, dialect.version()))),
        _ => {
            dialect.validate(rpc, &call).map_err(ApiError::invalid)?;
            dialect.answer(rpc, &call, &mut state)
        }
    }
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
