//! `/v2/actions` as ZITADEL v4.13.1 speaks it, and what is left of `/v2beta/actions` there: payload types, a deny list
//! for endpoints under either prefix, no translations.

use http::StatusCode;
use serde_json::{Value, json};

use super::flat::{self, Api, messages};
use super::{Dialect, HostError, Invocation, OpenId, instance_host, permission};
use crate::core::command::Features;
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc, Verb};
use crate::wire::error::ApiError;
use crate::wire::format::timestamp;
use crate::wire::proto::{Message, ScalarErrors};
use crate::world::{State, World};

const ROUTES: &[Route] = &flat::routes!("/v2/actions", "search");
const V2BETA_ROUTES: &[Route] = &flat::routes!("/v2beta/actions", "search");

const FEATURES: Features = Features { deny_list: true, signing: true, payload_types: true };

const API: Api =
    Api { messages: &messages::V2, max_endpoint: 2048, features: FEATURES, shows_payload_type: true, rows: "targets" };

/// Its messages and limits stayed as they were on v3.x; rows are called as in `/v2` (observed).
const V2BETA_API: Api = Api {
    messages: &messages::V2BETA,
    max_endpoint: 1000,
    features: FEATURES,
    shows_payload_type: false,
    rows: "targets",
};

fn api(path: &str) -> &'static Api {
    if path.starts_with("/v2beta/") { &V2BETA_API } else { &API }
}

pub(super) struct V2;

impl Dialect for V2 {
    fn version(&self) -> &'static str {
        "v4.13.1"
    }

    fn routes(&self) -> &'static [&'static [Route]] {
        &[ROUTES, V2BETA_ROUTES]
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

    fn request(&self, rpc: Rpc, path: &str) -> Option<&'static Message> {
        api(path).request(rpc)
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
        permission(rpc)
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
        FEATURES
    }

    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String> {
        api(call.path).validate(rpc, call)
    }

    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError> {
        match rpc {
            Rpc::ReadFeatures => Ok((StatusCode::OK, read_features(call))),
            _ => api(call.path).answer(rpc, call, state),
        }
    }
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
