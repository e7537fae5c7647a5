//! The Target resource: one webhook endpoint that ZITADEL calls.
//!
//! `spec` is the body of ZITADEL's create call, field for field, plus what Kubernetes needs. Doc comments here are
//! what `kubectl explain` prints, so they are written for the person who writes the manifest.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::{ConditionType, find};
use super::connection::ConnectionRef;
use super::reason::Reason;

/// Desired state of a target in ZITADEL: a named webhook endpoint, called during requests, responses, events and
/// token functions (executions).
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "zitadel-actions.dev",
    version = "v1alpha1",
    kind = "Target",
    namespaced,
    status = "TargetStatus",
    derive = "PartialEq",
    doc = "A target of ZITADEL's Actions API: a named webhook endpoint that ZITADEL calls. The operator creates it, keeps it equal to spec, and deletes it with this object (see spec.deletionPolicy).",
    shortname = "zt",
    category = "zitadel",
    validation = Rule::new("has(self.spec.name) || size(self.metadata.name) <= 200").message("metadata.name is longer than 200 characters: set spec.name to a shorter name for the target in ZITADEL"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.id"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Sequence", type_ = "string", json_path = ".status.sequence", priority = 1),
    printcolumn(name = "API", type_ = "string", json_path = ".status.connection.api", priority = 1),
    printcolumn(name = "Remote Name", type_ = "string", json_path = ".status.name", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.restWebhook), has(self.restCall), has(self.restAsync)].filter(kind, kind).size() == 1").message("set exactly one of restWebhook, restCall and restAsync, for example restWebhook: {interruptOnError: true}"),
    validation = Rule::new("!has(oldSelf.externalId) || (has(self.externalId) && self.externalId == oldSelf.externalId)").message("externalId must not be changed or removed: create another Target instead"),
    validation = Rule::new("!has(self.managementPolicy) || self.managementPolicy != 'Observe' || has(self.externalId)").message("managementPolicy Observe needs externalId, the id of the target to look at")
)]
pub struct TargetSpec {
    /// Name of the target in ZITADEL, 1 to 200 characters; defaults to metadata.name. It is unique in the ZITADEL
    /// instance without regard to upper and lower case. Changing it renames the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    #[x_kube(
        validation = Rule::new("size(self) > 0").message("name must not be empty: write 1 to 200 characters, or leave it out to use metadata.name"),
        validation = Rule::new("!self.matches('\\\\p{Cc}')").message("name must have no control characters such as line breaks")
    )]
    pub name: Option<String>,

    /// ZITADEL sends a POST and checks the status of the answer; the answer's body is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_webhook: Option<WaitingKind>,

    /// ZITADEL sends a POST and uses the answer's body: the call can change what is being processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_call: Option<WaitingKind>,

    /// ZITADEL sends a POST and does not wait: the answer is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_async: Option<AsyncKind>,

    /// How long ZITADEL waits for the endpoint: a positive duration as in Go and Kubernetes, such as 10s, 1m30s or 500ms
    /// (units h, m, s, ms, us, ns). Servers with another API than v3alpha refuse more than 270s.
    #[schemars(length(max = 20))]
    #[x_kube(
        validation = Rule::new("self.matches('^[+]?(([0-9]{1,9}([.][0-9]{0,9})?|[.][0-9]{1,9})(h|m|s|ms|us|µs|μs|ns))+$') && self.matches('[1-9]')").message("timeout must be a positive duration with units, such as 10s, 1m30s or 500ms (not 10 or 0s)")
    )]
    pub timeout: String,

    /// The URL that ZITADEL calls: absolute, http or https, at most 1000 characters. ZITADEL calls it from where it
    /// runs; newer servers refuse loopback and private addresses and names that they cannot resolve.
    #[schemars(length(max = 1000))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''").message("endpoint must be an absolute http or https URL, such as https://hooks.example.com/zitadel")
    )]
    pub endpoint: String,

    /// How the body that the endpoint receives is protected: JSON (the default) is plain, JWT signed, JWE encrypted. JWT
    /// and JWE need ZITADEL v4.8 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_type: Option<PayloadType>,

    /// The connection to ZITADEL: a Connection of the same namespace, or a ClusterConnection that allows this namespace.
    /// Without it, the operator's own default connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<ConnectionRef>,

    /// What happens to the target in ZITADEL when this object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Id of an existing target in ZITADEL that this object takes over. With it the operator never creates a target.
    /// It may be added later, and never changed or removed. The connection has to allow the namespace to adopt: see
    /// spec.adoption of ClusterConnections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("externalId must be the id of a target in ZITADEL, such as 270112345678901234")
    )]
    pub external_id: Option<String>,

    /// How far the operator may go with the target in ZITADEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_policy: Option<ManagementPolicy>,

    /// While true, ZITADEL is not called at all for this object, and its deletion waits too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A kind whose answer ZITADEL waits for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingKind {
    /// Whether a failed call stops what ZITADEL was doing; defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt_on_error: Option<bool>,
}

/// The kind whose answer ZITADEL does not wait for; it has no settings.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncKind {}

/// How the body that the endpoint receives is protected: JSON (the default) is plain, JWT signed, JWE encrypted. JWT and
/// JWE need ZITADEL v4.8 or newer.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PayloadType {
    /// Plain.
    #[default]
    Json,
    /// Signed.
    Jwt,
    /// Encrypted.
    Jwe,
}

impl PayloadType {
    /// The word in the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Jwt => "JWT",
            Self::Jwe => "JWE",
        }
    }
}

/// What happens to the target in ZITADEL when this object is deleted: Delete (the default) deletes it, Retain leaves
/// it there and needs no connection to ZITADEL.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// Delete it.
    #[default]
    Delete,
    /// Leave it.
    Retain,
}

/// How far the operator may go with the target in ZITADEL: Full (the default) creates, changes and deletes it; Observe
/// never writes to ZITADEL, only says in status whether the target equals spec, and needs spec.externalId.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagementPolicy {
    /// Create, change, delete.
    #[default]
    Full,
    /// Only look.
    Observe,
}

/// Observed state: what ZITADEL holds, and how the last pass went.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Id of the target in ZITADEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Sequence of the target's newest event in ZITADEL: 1 after creation, one more for each change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// When the target was last changed in ZITADEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_date: Option<String>,
    /// When the target was created in ZITADEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<String>,
    /// Owner of the target in ZITADEL: the id of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_owner: Option<String>,
    /// Name of the target in ZITADEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ZITADEL that holds the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionStatus>,
    /// The newest value of the annotation zitadel-actions.dev/reconcile-requested-at that a pass has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation of the spec that this status speaks of; -1 before the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether ZITADEL holds what spec says. Reconciling is present while the operator is still trying,
    /// Stalled while only a person can help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Where the remote target lives, as recorded when it was created.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Id of the ZITADEL instance, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where requests go.
    pub url: String,
    /// Generation of the Actions API that answers there.
    pub api: String,
    /// The connection by which it was recorded; absent for the operator's default connection.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<ConnectionRef>,
    /// Version of the server that accepted the endpoint, where it could be read. Another one is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
}

impl Target {
    /// Whether the user asked for no remote call at all.
    #[must_use]
    pub fn suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    /// The reason of the condition Ready, if the object has one that this version knows.
    #[must_use]
    pub fn ready_reason(&self) -> Option<Reason> {
        self.condition(ConditionType::Ready).and_then(|ready| Reason::parse(&ready.reason))
    }

    /// One of its conditions, if there is one.
    #[must_use]
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        find(&self.status.as_ref()?.conditions, kind)
    }

    /// Whether status says Ready for the newest generation.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let ready = self.condition(ConditionType::Ready);
        ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == self.metadata.generation)
    }
}
