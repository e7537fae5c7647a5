//! The grants of the token endpoint that service accounts use, and the tokens that come of them. Texts and order of the
//! checks are recorded (docs/zitadel/observed.md section 9).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::assertion::{self, Fault};
use super::form::{Client, Form};
use super::{KeyPair, Refusal};
use crate::core::clock::new_id;
use crate::core::users::{AccountState, TokenKind, TokenShape};
use crate::generation::Dialect;
use crate::request::Request;
use crate::world::{State, World};
use crate::{AssertionRefusal, Function};

/// The scope that makes a token good for ZITADEL's own API.
const API_SCOPE: &str = "urn:zitadel:iam:org:project:id:zitadel:aud";

/// A token for the request, or why not.
pub(super) fn answer(world: &World, dialect: &dyn Dialect, issuer: &str, request: &Request) -> Result<Value, Refusal> {
    let form = Form::of(request);
    let mut state = world.state();
    let user = match form.text("grant_type") {
        "" => return Err(Refusal::invalid_request("grant_type missing")),
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => by_assertion(&state, dialect, issuer, &form)?,
        "client_credentials" => by_secret(&state, &Client::of(request, &form))?,
        other => return Err(Refusal::bad_request("unsupported_grant_type", format!("{other} not supported"))),
    };
    let missing = "The scope of your request is missing. Please ensure some scopes are requested. If you have any questions, you may contact the administrator of the application.";
    let scope = form.value("scope").ok_or_else(|| Refusal::invalid_request(missing))?;
    let is_active = state.users.account(&user).is_some_and(|account| account.state == AccountState::Active);
    if !is_active {
        return Err(Refusal::invalid_request("Errors.User.NotActive"));
    }
    let shape = state.users.account(&user).map(|account| account.token_shape).unwrap_or_default();
    let fails = |function: &Function| match function {
        Function::PreUserinfo => asked(scope, "openid"),
        Function::PreAccessToken => shape == TokenShape::Jwt,
    };
    if dialect.runs_functions() && state.failing_functions.iter().any(fails) {
        return Err(Refusal::internal());
    }
    Ok(token(&mut state, &user, issuer, scope))
}

fn asked(scope: &str, name: &str) -> bool {
    scope.split(' ').any(|one| one == name)
}

fn by_assertion(state: &State, dialect: &dyn Dialect, issuer: &str, form: &Form) -> Result<String, Refusal> {
    let assertion = form.text("assertion");
    if assertion.is_empty() {
        return Err(Refusal::invalid_request("assertion missing"));
    }
    assertion::check(assertion, issuer, &state.users, state.clock.now()).map_err(|fault| match fault {
        Fault::UnknownUser if dialect.names_unknown_users() => Refusal::user_not_found(),
        Fault::UnknownUser | Fault::Other => match state.assertion_refusal {
            AssertionRefusal::ServerError => Refusal::internal(),
            AssertionRefusal::InvalidGrant => Refusal::invalid_grant(),
        },
    })
}

fn by_secret(state: &State, client: &Client) -> Result<String, Refusal> {
    if client.id.is_empty() {
        return Err(Refusal::invalid_request("client_id or client_assertion must be provided"));
    }
    let unknown = || Refusal::bad_request("invalid_client", "client not found");
    let (user, account) = state.users.by_name(&client.id).ok_or_else(unknown)?;
    match &account.client_secret {
        None => Err(Refusal::invalid_request("Errors.User.Machine.Secret.NotExisting")),
        Some(secret) if *secret != client.secret => Err(Refusal::invalid_request("Errors.User.Machine.Secret.Invalid")),
        Some(_) => Ok(user.to_owned()),
    }
}

fn token(state: &mut State, user: &str, issuer: &str, scope: &str) -> Value {
    let (now, lifetime) = (state.clock.now(), state.token_lifetime);
    let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    let expiry = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
    let kind = TokenKind::Issued { for_api: asked(scope, API_SCOPE) };
    let signed = |id: &str| {
        let (start, end) = (now.as_second(), expiry.as_second());
        let claims = json!({ "iss": issuer, "sub": user, "aud": [issuer], "iat": start, "exp": end, "jti": id });
        KeyPair::number(0).sign("stand-in", &claims)
    };
    let shape = state.users.account(user).map(|account| account.token_shape).unwrap_or_default();
    let access_token = match shape {
        TokenShape::Opaque => state.users.issue(user, kind, Some(expiry)),
        TokenShape::Jwt => {
            let token = signed(&new_id());
            state.users.accept(&token, user, kind, Some(expiry));
            token
        }
    };
    // Whole seconds that are left when the answer is written: 43199 of twelve hours (observed).
    let left = (lifetime - SignedDuration::from_nanos(1)).as_secs().max(0);
    let mut answer = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": left });
    if asked(scope, "openid") {
        answer["id_token"] = json!(signed(&new_id()));
    }
    answer
}
