//! A Connection or a ClusterConnection, in the terms that both share, and how a client is built from one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ApiResource;
use kube::{Client, Resource, ResourceExt};
use secrecy::SecretString;
use url::Url;

use crate::api::connection::{self, ClusterConnection, Connection, ConnectionReport, ConnectionSpec, Credentials};
use crate::api::{CONNECTION_FINALIZER, GROUP, VERSION};
use crate::controller::connections::connection::ConnectionKey;
use crate::controller::connections::health::ConnectionHealth;
use crate::controller::connections::secrets::ConnectionSecrets;
use crate::controller::runtime::writer::Seen;
use crate::ops::Metrics;
use crate::plan::policy::Policy;
use crate::zitadel::auth::{ClientAuth, Credential, Slot, Source};
use crate::zitadel::client::Op;
use crate::zitadel::transport::{Proxy, RATE, Settings};
use crate::zitadel::{Api, ApiChoice};

/// What a resource offers, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionResource {
    pub key: ConnectionKey,
    pub uid: String,
    pub version: Option<String>,
    pub generation: i64,
    pub finalizers: Vec<String>,
    pub deleting: bool,
    pub spec: ConnectionSpec,
    /// Who may do what with it.
    pub policy: Policy,
    pub report: ConnectionReport,
}

impl From<&Connection> for ConnectionResource {
    fn from(object: &Connection) -> Self {
        let key =
            ConnectionKey::Connection { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
        Self::new(object, key, object.spec.clone(), Policy::OwnNamespace, object.status.clone())
    }
}

impl From<&ClusterConnection> for ConnectionResource {
    fn from(object: &ClusterConnection) -> Self {
        let key = ConnectionKey::ClusterConnection { name: object.name_any() };
        let (spec, policy) = (object.spec.connection.clone(), Policy::from(&object.spec));
        Self::new(object, key, spec, policy, object.status.clone())
    }
}

impl ConnectionResource {
    fn new(
        object: &impl Resource,
        key: ConnectionKey,
        spec: ConnectionSpec,
        policy: Policy,
        report: Option<ConnectionReport>,
    ) -> Self {
        let meta = object.meta();
        Self {
            key,
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone(),
            generation: meta.generation.unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            spec,
            policy,
            report: report.unwrap_or_default(),
        }
    }

    pub(crate) fn finalized(&self) -> bool {
        self.finalizers.iter().any(|name| name == CONNECTION_FINALIZER)
    }

    /// The kind, for untyped calls.
    pub(crate) fn kind(&self) -> ApiResource {
        match self.key {
            ConnectionKey::ClusterConnection { .. } => ApiResource::erase::<ClusterConnection>(&()),
            ConnectionKey::Connection { .. } | ConnectionKey::Default => ApiResource::erase::<Connection>(&()),
        }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.key {
            ConnectionKey::Connection { namespace, .. } => Some(namespace),
            ConnectionKey::ClusterConnection { .. } | ConnectionKey::Default => None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.key {
            ConnectionKey::Connection { name, .. } | ConnectionKey::ClusterConnection { name } => name,
            ConnectionKey::Default => "",
        }
    }

    /// What Events are about.
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen { name: self.name(), uid: Some(&self.uid), version: self.version.as_deref() }
    }

    pub(crate) fn object_ref(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(self.kind().kind),
            name: Some(self.name().to_owned()),
            namespace: self.namespace().map(str::to_owned),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Whether requests may go to an http URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// The credential crosses the network in the clear, and that is accepted.
    Allowed,
    /// Only https, also on loopback: what runs beside the operator is not for tenants.
    Refused,
}

/// Whether an operator looks after the ClusterConnections. Two that did would write one status against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterConnections {
    /// It does.
    Served,
    /// Another one may.
    Ignored,
}

/// What all connections have in common, by the operator's flags.
pub struct ClientFactory {
    /// For reading Secrets.
    pub kube: Client,
    /// The operator's namespace, where the Secrets of ClusterConnections are.
    pub home: String,
    /// Longest time for one call.
    pub timeout: Duration,
    /// How long a read side may miss a target.
    pub grace: Duration,
    /// Whether ClusterConnections are served.
    pub cluster: ClusterConnections,
    /// Whether http is allowed.
    pub http: PlainHttp,
    /// The way to ZITADEL.
    pub proxy: Proxy,
    /// Counts the calls.
    pub metrics: Arc<Metrics>,
}

impl ClientFactory {
    /// A connector for an offer, and the Secrets that it depends on; or why the offer is refused.
    pub(crate) fn health(
        &self,
        resource: &ConnectionResource,
    ) -> Result<(ConnectionHealth, Arc<ConnectionSecrets>), String> {
        let spec = &resource.spec;
        let url = Url::parse(&spec.url).map_err(|error| format!("url is no URL: {error}"))?;
        match (url.scheme(), self.http) {
            ("https", _) | ("http", PlainHttp::Allowed) => {}
            _ => return Err("url must be https: the operator was started without allowing http".to_owned()),
        }
        let host = spec.host.as_deref().map(http::HeaderValue::from_str).transpose();
        let namespace = resource.namespace().unwrap_or(&self.home);
        let mut keys = ConnectionSecrets::new(self.kube.clone(), namespace.to_owned());
        let settings = Settings {
            url,
            host: host.map_err(|_| "host is no host name".to_owned())?,
            ca: authorities(spec, &mut keys),
            proxy: self.proxy,
            credential: credential(&spec.credentials, &mut keys)?,
            rate: rate(spec.requests_per_second),
            timeout: self.timeout,
        };
        let counted = Arc::clone(&self.metrics);
        let observer = Box::new(move |op: Op, time, code: &str| counted.call(op.as_str(), time, code));
        let client = crate::zitadel::Client::new(api(spec), settings, observer);
        let keys = Arc::new(keys);
        Ok((ConnectionHealth::new(Arc::new(client), self.grace).with_keys(Arc::clone(&keys)), keys))
    }
}

fn authorities(spec: &ConnectionSpec, keys: &mut ConnectionSecrets) -> Option<Source> {
    if let Some(key) = &spec.ca_secret_ref {
        return Some(Source::Slot(keys.slot(key)));
    }
    let slot = Slot::new("spec.caBundle");
    slot.set(Some(SecretString::from(spec.ca_bundle.as_deref()?)));
    Some(Source::Slot(slot))
}

fn credential(credentials: &Credentials, keys: &mut ConnectionSecrets) -> Result<Credential, String> {
    let mut from = |key| Source::Slot(keys.slot(key));
    let Credentials { personal_access_token, private_key_jwt, client_credentials, system_user } = credentials;
    match (personal_access_token, private_key_jwt, client_credentials, system_user) {
        (Some(token), None, None, None) => Ok(Credential::PersonalAccessToken(from(&token.secret_ref))),
        (None, Some(key), None, None) => Ok(Credential::PrivateKeyJwt(from(&key.secret_ref))),
        (None, None, Some(client), None) => Ok(Credential::ClientCredentials {
            id: from(&client.client_id_secret_ref),
            secret: from(&client.client_secret_secret_ref),
            method: ClientAuth::default(),
        }),
        (None, None, None, Some(user)) => {
            Ok(Credential::SystemUser { name: user.name.clone(), key: from(&user.private_key_secret_ref) })
        }
        _ => Err("credentials must have exactly one kind".to_owned()),
    }
}

fn rate(wanted: Option<i32>) -> NonZeroU32 {
    wanted.and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new).unwrap_or(RATE)
}

fn api(spec: &ConnectionSpec) -> ApiChoice {
    match spec.api.unwrap_or_default() {
        connection::ApiChoice::Auto => ApiChoice::Auto,
        connection::ApiChoice::V3Alpha => ApiChoice::Only(Api::V3Alpha),
        connection::ApiChoice::ResourcesV3Alpha => ApiChoice::Only(Api::ResourcesV3Alpha),
        connection::ApiChoice::V2Beta => ApiChoice::Only(Api::V2Beta),
        connection::ApiChoice::V2 => ApiChoice::Only(Api::V2),
    }
}
