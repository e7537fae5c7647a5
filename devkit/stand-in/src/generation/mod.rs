//! What differs between the generations of the API, as one trait with a file per generation: routes, request
//! messages, validation, answers, error words, host rules. Everything behind it is shared.

mod fields;
mod flag;
mod flat;
mod instance_host;
mod resources_v3alpha;
mod target;
mod v2;
mod v2beta;
mod v3alpha;

use http::StatusCode;
use serde_json::Value;

use crate::Generation;
use crate::core::query::Column;
use crate::core::store::Visibility;
use crate::core::users::Permission;
use crate::request::Request;
use crate::router::{Route, Rpc};
use crate::wire::error::{ApiError, Code};
use crate::wire::proto::{Decoded, Message, ScalarErrors};
use crate::world::{State, World};

/// The dialect of a generation. `bare_paths`: see `Options`.
pub(crate) fn dialect(generation: Generation, bare_paths: bool) -> &'static dyn Dialect {
    match generation {
        Generation::V3Alpha => &v3alpha::V3Alpha,
        Generation::ResourcesV3Alpha if bare_paths => &resources_v3alpha::ResourcesV3Alpha { bare: true },
        Generation::ResourcesV3Alpha => &resources_v3alpha::ResourcesV3Alpha { bare: false },
        Generation::V2Beta => &v2beta::V2Beta,
        Generation::V2 => &v2::V2,
    }
}

/// One call that passed token and permission.
pub(crate) struct Invocation<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: &'a str,
    /// From the path; empty when the route has none.
    pub(crate) id: &'a str,
    pub(crate) body: &'a Decoded,
    pub(crate) path: &'a str,
    /// Of what a create writes.
    pub(crate) visibility: Visibility,
}

/// What the OIDC discovery documents differ in.
pub(crate) struct OpenId {
    pub(crate) id_token_algorithms: &'static [&'static str],
    pub(crate) locales: &'static [&'static str],
    pub(crate) backchannel_logout: bool,
}

/// No instance for the host of a request.
pub(crate) struct HostError {
    /// What every caller sees.
    pub(crate) text: String,
    /// What REST callers see in addition.
    pub(crate) parent: String,
}

impl HostError {
    const HINT: &'static str = "Message=Instance not found. Make sure you got the domain right. Check out https://zitadel.com/docs/apis/introduction#domains";

    pub(crate) fn new(origin: &str, domain: &str, id: &str, parent: String) -> Self {
        let text = format!(
            "unable to set instance using origin {origin} (ExternalDomain is {domain}): ID={id} {}",
            Self::HINT
        );
        Self { text, parent }
    }

    pub(crate) fn into_api(self) -> ApiError {
        ApiError::bare(Code::NotFound, format!("{} Parent=({})", self.text, self.parent))
    }

    pub(crate) fn into_text(self) -> String {
        format!("{}\n", self.text)
    }
}

/// A generation of the API, as one server version speaks it.
pub(crate) trait Dialect: Send + Sync {
    /// As `GET /admin/v1/instances/me` shows it.
    fn version(&self) -> &'static str;
    /// Routes of its own, in groups; those of `router::COMMON` come on top.
    fn routes(&self) -> &'static [&'static [Route]];
    /// The gRPC services that the health check knows, as far as the Actions API goes.
    fn services(&self) -> &'static [&'static str];
    fn unknown_service(&self) -> ApiError;
    /// The request message of a call that takes a body.
    fn request(&self, rpc: Rpc, path: &str) -> Option<&'static Message>;
    /// The field of that message that is the body, when the others are URL parameters; `None`: the body is all of it.
    fn body_field(&self, _rpc: Rpc) -> Option<&'static str> {
        None
    }
    fn scalar_errors(&self) -> ScalarErrors;
    fn wraps_plain_errors(&self) -> bool;
    /// The text in the language that the client prefers, where the server translates.
    fn translate(&self, language: &str, text: &str) -> Option<&'static str>;
    fn permission(&self, rpc: Rpc) -> Permission;
    fn events_without_token(&self) -> ApiError;
    /// Finds the instance for a REST call.
    fn host(&self, world: &World, request: &Request) -> Result<(), HostError>;
    /// Finds the instance for an OIDC call and says its issuer.
    fn issuer(&self, world: &World, request: &Request) -> Result<String, HostError>;
    fn openid(&self) -> OpenId;
    /// Whether the token endpoint says that the user of an assertion does not exist, instead of an internal error.
    fn names_unknown_users(&self) -> bool {
        false
    }
    /// Whether a target may choose the answer to the call that it interrupts, and whether its own failure is an error
    /// with an id (v2.60 and later; observed on v2.71.19, not on v2.58.7).
    fn forwards_execution_errors(&self) -> bool {
        true
    }
    /// Whether functions run (v3.0.0 and later; observed on v3.4.9 and v4.13.1).
    fn runs_functions(&self) -> bool {
        true
    }
    /// What `commands` store and check beyond the common.
    fn features(&self) -> crate::core::command::Features;
    /// Field validation (PGV), before the handler.
    fn validate(&self, rpc: Rpc, call: &Invocation<'_>) -> Result<(), String>;
    /// The handler.
    fn answer(&self, rpc: Rpc, call: &Invocation<'_>, state: &mut State) -> Result<(StatusCode, Value), ApiError>;
}

/// The names of functions on v2.x servers.
const FUNCTIONS_OF_V2: &[&str] = &[
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

/// The texts in German, as far as they were recorded; which is what v2.x and v3.x servers answer to `Accept-Language: de`.
fn german(language: &str, text: &str) -> Option<&'static str> {
    match (language.get(..2)?, text) {
        ("de", "Target not found") => Some("Ziel nicht gefunden"),
        ("de", "Target has no timeout") => Some("Ziel hat keinen Timeout"),
        _ => None,
    }
}

/// What calls need on v2.59.0 and later.
fn permission(rpc: Rpc) -> Permission {
    match rpc {
        Rpc::CreateTarget | Rpc::UpdateTarget | Rpc::DeleteTarget | Rpc::SetFeatures | Rpc::NotBuilt => {
            Permission::Write
        }
        Rpc::GetTarget | Rpc::ListTargets | Rpc::MyInstance | Rpc::ReadFeatures => Permission::Read,
        Rpc::SearchEvents => Permission::ReadEvents,
        Rpc::MyUser | Rpc::ListFunctions => Permission::Authenticated,
    }
}

/// The column to sort by; numbered alike in every `TargetFieldName`.
fn column(number: i32) -> Column {
    match number {
        1 => Column::Id,
        3 => Column::ChangeDate,
        4 => Column::Name,
        5 => Column::Kind,
        6 => Column::Endpoint,
        7 => Column::Timeout,
        8 => Column::InterruptOnError,
        _ => Column::CreationDate,
    }
}

/// For calls that the real server has and the stand-in does not.
pub(crate) fn not_built() -> ApiError {
    ApiError::bare(Code::Unimplemented, "the stand-in does not build this call")
}

/// Whether a host (with or without port) is the instance's: compared case-sensitively, without port (observed).
fn is_instance_host(world: &World, host: &str) -> bool {
    let name = without_port(host);
    name == world.domain || name == world.generated_domain || (!world.strict_host && name == "127.0.0.1")
}

fn without_port(host: &str) -> &str {
    host.split(':').next().unwrap_or_default()
}
