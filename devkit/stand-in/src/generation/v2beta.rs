//! `/v2beta/actions` as ZITADEL v3.4.9 speaks it: as `/v2` later, but with searches under `_search` and in `result`,
//! without deny list and payload types, and in German on demand. The same paths on a v4 server are the business of `v2`.

use http::StatusCode;
use serde_json::{Value, json};

use super::flat::{self, Api, messages};
use super::{Dialect, HostError, Invocation, OpenId, german, instance_host, permission};
use crate::core::command::Features;
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::proto::{Message, ScalarErrors};
use crate::world::{State, World};

const ROUTES: &[Route] = &flat::routes!("/v2beta/actions", "_search");

const API: Api = Api {
    messages: &messages::V2BETA,
    max_endpoint: 1000,
    features: Features { deny_list: false, signing: true, payload_types: false },
    shows_payload_type: false,
    rows: "result",
};

pub(super) struct V2Beta;

impl Dialect for V2Beta {
    fn version(&self) -> &'static str {
        "v3.4.9"
    }

    fn routes(&self) -> &'static [&'static [Route]] {
        &[ROUTES]
    }

    fn services(&self) -> &'static [&'static str] {
        &["zitadel.action.v2beta.ActionService"]
    }

    fn unknown_service(&self) -> ApiError {
        ApiError::bare(Code::NotFound, "unknown service")
    }

    fn request(&self, rpc: Rpc, _path: &str) -> Option<&'static Message> {
        API.request(rpc)
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
            id_token_algorithms: &["EdDSA", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
            locales: &[
                "bg", "cs", "de", "en", "es", "fr", "hu", "id", "it", "ja", "ko", "mk", "nl", "pl", "pt", "ro", "ru",
                "sv", "zh",
            ],
            backchannel_logout: false,
        }
    }

    fn features(&self) -> Features {
        API.features
    }

    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        API.validate(rpc, call)
    }

    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError> {
        match rpc {
            Rpc::ReadFeatures => Ok((StatusCode::OK, read_features(call))),
            _ => API.answer(rpc, call, state),
        }
    }
}

/// As a fresh server answers on `/v2/features` (the other path was not recorded); nothing here can be changed.
fn read_features(call: &Invocation<'_>) -> Value {
    let on = json!({ "enabled": true, "source": "SOURCE_INSTANCE" });
    json!({
        "details": {
            "sequence": "2",
            "changeDate": timestamp(call.world.created),
            "resourceOwner": call.world.instance_id,
        },
        "loginDefaultOrg": on,
        "oidcTriggerIntrospectionProjections": {},
        "oidcLegacyIntrospection": {},
        "userSchema": {},
        "oidcTokenExchange": {},
        "improvedPerformance": {},
        "webKey": on,
        "debugOidcParentError": {},
        "oidcSingleV1SessionTermination": {},
        "disableUserTokenEvent": {},
        "enableBackChannelLogout": {},
        "loginV2": {},
        "permissionCheckV2": {},
        "consoleUseV2UserApi": {},
    })
}
