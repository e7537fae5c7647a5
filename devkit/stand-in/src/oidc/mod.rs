//! The OIDC side of a server: the discovery document and the token endpoint, which both know the instance by host and
//! speak OAuth's own language instead of gRPC's. May use `core`, the dialects and requests; nothing of the Actions API.

mod assertion;
mod der;
mod discovery;
mod form;
mod grant;
mod signature;
mod system_user;

use http::StatusCode;
use serde_json::json;

use self::form::Form;
use crate::fault::Op;
use crate::generation::{Dialect, not_built};
use crate::request::{Reply, Request};
use crate::world::World;

pub(crate) use signature::KeyPair;
pub(crate) use system_user::{system_key, system_user};

const TOKEN: &str = "/oauth/v2/token";
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The operation behind a path.
pub(crate) fn op(path: &str) -> Option<Op> {
    match path {
        TOKEN => Some(Op::Token),
        DISCOVERY => Some(Op::Discovery),
        _ => None,
    }
}

/// What the call log keeps of a form: no assertion, no secret.
pub(crate) fn redacted(request: &Request) -> String {
    Form::of(request).redacted()
}

/// The answer, when the path is one of OIDC's.
pub(crate) fn answer(world: &World, dialect: &dyn Dialect, request: &Request) -> Option<Reply> {
    let path = request.raw_path.as_str();
    if !path.starts_with("/oauth/v2/") && path != DISCOVERY {
        return None;
    }
    let issuer = match dialect.issuer(world, request) {
        Ok(issuer) => issuer,
        Err(error) => return Some(Reply::text(StatusCode::NOT_FOUND, error.into_text())),
    };
    Some(match path {
        DISCOVERY => Reply::json(StatusCode::OK, &discovery::document(&issuer, &dialect.openid())),
        TOKEN => match grant::answer(world, dialect, &issuer, request) {
            Ok(token) => Reply::json(StatusCode::OK, &token),
            Err(refusal) => refusal.reply(),
        },
        _ => Reply::error(&not_built(), false),
    })
}

/// Why there is no token, in the words of RFC 6749.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl Refusal {
    fn bad_request(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into() }
    }

    fn invalid_request(description: &str) -> Self {
        Self::bad_request("invalid_request", description)
    }

    fn user_not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::invalid_request("Errors.User.NotFound") }
    }

    /// Every assertion that ZITADEL does not believe, whatever is wrong with it (docs/zitadel/observed.md section 9).
    fn internal() -> Self {
        let description = "Errors.Internal".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error", description }
    }

    /// As `internal`, by servers of v4.14.0 and later (observed on a build of v4 from July 2026).
    fn invalid_grant() -> Self {
        Self::bad_request("invalid_grant", "invalid assertion")
    }

    fn reply(&self) -> Reply {
        Reply::json(self.status, &json!({ "error": self.error, "error_description": self.description }))
    }
}
