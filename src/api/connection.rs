//! Connection and ClusterConnection: which ZITADEL instance to talk to, and as whom.
//!
//! A Connection serves the Targets of its own namespace with Secrets of that namespace. A ClusterConnection serves the
//! namespaces that it allows with Secrets of the operator's namespace. So no namespace can combine a URL of its own
//! with somebody else's credential. Doc comments are what `kubectl explain` prints.

#![allow(clippy::duplicated_attributes, reason = "each printed column repeats the words of the one before")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::core::{Selector, SelectorExt};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a ZITADEL instance answers, and the credential for it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "zitadel-actions.dev",
    version = "v1alpha1",
    kind = "Connection",
    namespaced,
    status = "ConnectionReport",
    derive = "PartialEq",
    doc = "A ZITADEL instance and a credential for it, for the Targets of the same namespace that name it in spec.connectionRef. Its Secrets are read from the same namespace.",
    shortname = "zc",
    category = "zitadel",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "API", type_ = "string", json_path = ".status.api"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.serverVersion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".status.instance", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.caBundle) || !has(self.caSecretRef)").message("set at most one of caBundle and caSecretRef")
)]
pub struct ConnectionSpec {
    /// Where requests go: scheme, host and port only, such as https://auth.example.com.
    #[schemars(length(max = 300))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && url(self).getEscapedPath() in ['', '/'] && !self.contains('@') && !self.contains('?') && !self.contains('#')").message("url must be scheme, host and port only, such as https://auth.example.com")
    )]
    pub url: String,

    /// External domain of the instance, when url is an address inside the cluster. It is sent as Host and as
    /// x-zitadel-instance-host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self.matches('^[-._:a-zA-Z0-9]+$')").message("host must be a host name, such as auth.example.com")
    )]
    pub host: Option<String>,

    /// Certificate authorities to trust instead of the system's, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    #[x_kube(
        validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message("caBundle must hold certificates in PEM form: -----BEGIN CERTIFICATE-----")
    )]
    pub ca_bundle: Option<String>,

    /// Key of a Secret with the certificate authorities to trust instead of the system's, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKey>,

    /// Generation of the Actions API that the server speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiChoice>,

    /// Most calls a second, 1 to 1000; defaults to 20. Twice as many may come in a burst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: Option<i32>,

    /// The credential of a service account with the role IAM_OWNER.
    pub credentials: Credentials,
}

/// A credential of one of four kinds. The Secrets are read by name, at once after a failure and else once a minute.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.personalAccessToken), has(self.privateKeyJwt), has(self.clientCredentials), has(self.systemUser)].filter(kind, kind).size() == 1").message("set exactly one of personalAccessToken, privateKeyJwt, clientCredentials and systemUser, for example personalAccessToken: {secretRef: {name: iam-admin-pat, key: pat}}")
)]
pub struct Credentials {
    /// A personal access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal_access_token: Option<FromSecret>,
    /// The key file of type JSON that ZITADEL issues for a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_jwt: Option<FromSecret>,
    /// Client id and client secret of a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
    /// A system user, which ZITADEL's own configuration names. ZITADEL's chart makes such a user since version 11.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_user: Option<SystemUser>,
}

/// A system user of ZITADEL (SystemAPIUsers in its configuration) and its private key.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemUser {
    /// Name of the user in ZITADEL's configuration, such as admin-client.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Where the RSA private key is, in PEM form; the key tls.key of a TLS Secret, for example.
    pub private_key_secret_ref: SecretKey,
}

/// Where a credential is.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromSecret {
    /// The Secret and its key.
    pub secret_ref: SecretKey,
}

/// Client id and client secret of a service account, each in a key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentials {
    /// Where the client id is.
    pub client_id_secret_ref: SecretKey,
    /// Where the client secret is.
    pub client_secret_secret_ref: SecretKey,
}

/// A key of a Secret: in the namespace of the Connection, or for a ClusterConnection in that of the operator.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')").message("name must be the name of a Secret, without a namespace")
    )]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("key must be a key of the Secret's data")
    )]
    pub key: String,
}

/// Generation of the Actions API: Auto (the default) finds out which one the server has.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ApiChoice {
    /// The newest that the server has.
    #[default]
    Auto,
    /// ZITADEL 2.52 to 2.58.
    #[serde(rename = "v3alpha")]
    V3Alpha,
    /// ZITADEL 2.59 to 2.71.
    #[serde(rename = "resources/v3alpha")]
    ResourcesV3Alpha,
    /// ZITADEL 3, and 4 beside v2.
    #[serde(rename = "v2beta")]
    V2Beta,
    /// ZITADEL 4.
    #[serde(rename = "v2")]
    V2,
}

/// A ZITADEL instance and a credential for it, which an administrator offers to namespaces.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "zitadel-actions.dev",
    version = "v1alpha1",
    kind = "ClusterConnection",
    status = "ConnectionReport",
    derive = "PartialEq",
    doc = "A ZITADEL instance and a credential for it, for the Targets of the namespaces in spec.allowedNamespaces that name it in spec.connectionRef. Its Secrets are read from the namespace of the operator.",
    shortname = "zcc",
    category = "zitadel",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "API", type_ = "string", json_path = ".status.api"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.serverVersion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".status.instance", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConnectionSpec {
    /// Where the instance answers, and the credential.
    #[serde(flatten)]
    pub connection: ConnectionSpec,

    /// Namespaces whose Targets may use this connection; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// Which of these namespaces may take over targets that exist in ZITADEL already, by spec.externalId, or look at them;
    /// without it, none. Whoever takes over a target that ZITADEL calls can change logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Grant>,

    /// Which of these namespaces may say when ZITADEL calls targets; without it, none. It has no effect yet: this version has
    /// no Executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executions: Option<Grant>,
}

/// A right beyond that to use a connection, and who has it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Namespaces that have it, if spec.allowedNamespaces allows them, too; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// Namespaces, by name or by label; one that either of the two names is allowed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Labels that a namespace has. An empty selector ({}) allows every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl AllowedNamespaces {
    /// Every namespace.
    #[must_use]
    pub fn all() -> Self {
        Self { names: Vec::new(), selector: Some(LabelSelector::default()) }
    }

    /// Whether it allows every namespace, whatever its labels: they need not be read then.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        self.selector.as_ref().is_some_and(|selector| {
            let (labels, expressions) = (&selector.match_labels, &selector.match_expressions);
            labels.as_ref().is_none_or(BTreeMap::is_empty) && expressions.as_ref().is_none_or(Vec::is_empty)
        })
    }

    /// Whether it names the namespace.
    #[must_use]
    pub fn names(&self, namespace: &str) -> bool {
        self.names.iter().any(|name| name == namespace)
    }

    /// Whether it selects a namespace with these labels; a selector that cannot be read selects none.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector = self.selector.clone().map(Selector::try_from);
        matches!(selector, Some(Ok(selector)) if selector.matches(labels))
    }
}

/// Observed state: what answers there, and whether it can be used.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionReport {
    /// Generation of the Actions API in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Id of the ZITADEL instance, where the credential may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Issuer of the instance's tokens, as the server names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Version of the server, where the credential may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// What the connection can do without, and whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether the connection works. Reconciling is present while the operator is still trying, Stalled while
    /// only a person can help, AccountShared while others are known to use the service account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// What a connection can do without. Targets are created, changed and deleted without any of it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// The event search, which tells sequences and settles a create without an answer at once.
    pub events: Capability,
    /// The id of the own user, which tells its events from those of others.
    pub identity: Capability,
    /// Id of the instance and version of the server.
    pub version: Capability,
}

/// Whether something is there, or why not.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capability {
    /// It answered when it was asked last.
    Available,
    /// The credential may not read it.
    NotPermitted,
    /// The server does not serve it, or a proxy hides it.
    NotServed,
    /// It does not answer in time, or fails.
    NotAnswering,
}

/// The connection that a Target uses.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Connection, of the Target's own namespace, or ClusterConnection.
    pub kind: ConnectionKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds of connections.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConnectionKind {
    /// In the namespace of its Targets.
    Connection,
    /// Offered by an administrator.
    ClusterConnection,
}

impl ConnectionKind {
    /// The kind as in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::ClusterConnection => "ClusterConnection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allowed(value: serde_json::Value) -> AllowedNamespaces {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nobody_is_allowed_unless_named_or_selected() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let nobody = allowed(json!({}));
        assert!(!nobody.names("a") && !nobody.selects(&labels) && !nobody.allows_all());
        assert!(AllowedNamespaces::all().allows_all());
        let named = allowed(json!({"names": ["a"]}));
        assert!(named.names("a") && !named.names("b") && !named.selects(&labels));
        for (selector, selected) in [
            (json!({"matchLabels": {"team": "a"}}), true),
            (json!({"matchLabels": {"team": "b"}}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "Unknown"}]}), false),
            (json!({}), true),
        ] {
            assert_eq!(allowed(json!({"selector": selector})).selects(&labels), selected, "{selector}");
            assert_eq!(allowed(json!({"selector": selector})).allows_all(), selector == json!({}), "{selector}");
        }
    }

    #[test]
    fn a_cluster_connection_is_a_connection_with_an_allowance() {
        let spec = json!({
            "url": "https://auth.example.com", "allowedNamespaces": {"names": ["a"]},
            "adoption": {"allowedNamespaces": {"names": ["a"]}}, "executions": {},
            "credentials": {"personalAccessToken": {"secretRef": {"name": "iam-admin-pat", "key": "pat"}}},
        });
        let parsed: ClusterConnectionSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(parsed.connection.url, "https://auth.example.com");
        assert_eq!(serde_json::to_value(parsed).unwrap(), spec);
    }
}
