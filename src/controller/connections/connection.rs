//! One connection with all that its users share: its health, how far it is observed, and what it depends on beside its
//! own spec.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::connection::{ConnectionKind, ConnectionRef};
use crate::api::target::Target;
use crate::controller::connections::bound::Bound;
use crate::controller::connections::health::ConnectionHealth;
use crate::controller::connections::observation::Observation;
use crate::controller::connections::secrets::ConnectionSecrets;
use crate::controller::runtime::requeue::Requeue;

/// How often credential and CA files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often Secrets are read that work: they are not watched, so that `get` by name is the only right needed.
const REREAD: Duration = Duration::from_mins(1);

/// Which connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionKey {
    /// The operator's own, from its flags.
    Default,
    /// A Connection.
    Connection {
        /// Its namespace, and that of the Targets which may use it.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ClusterConnection.
    ClusterConnection {
        /// Its name.
        name: String,
    },
}

impl ConnectionKey {
    /// The connection that an object of this namespace asks for. A Connection is always one of the object's own namespace.
    #[must_use]
    pub fn by(namespace: &str, reference: Option<&ConnectionRef>) -> Self {
        let Some(reference) = reference else { return Self::Default };
        let name = reference.name.clone();
        match reference.kind {
            ConnectionKind::Connection => Self::Connection { namespace: namespace.to_owned(), name },
            ConnectionKind::ClusterConnection => Self::ClusterConnection { name },
        }
    }

    /// The connection that a Target asks for.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self::by(target.metadata.namespace.as_deref().unwrap_or_default(), target.spec.connection_ref.as_ref())
    }

    /// What a Target writes to ask for it.
    pub(crate) fn reference(&self) -> Option<ConnectionRef> {
        match self {
            Self::Default => None,
            Self::Connection { name, .. } => {
                Some(ConnectionRef { kind: ConnectionKind::Connection, name: name.clone() })
            }
            Self::ClusterConnection { name } => {
                Some(ConnectionRef { kind: ConnectionKind::ClusterConnection, name: name.clone() })
            }
        }
    }
}

/// As metrics show it.
impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Connection { namespace, name } => write!(f, "Connection/{namespace}/{name}"),
            Self::ClusterConnection { name } => write!(f, "ClusterConnection/{name}"),
        }
    }
}

/// What a connection depends on beside its spec.
#[derive(Debug)]
pub(crate) enum Inputs {
    /// Files, by flags.
    Files(Vec<PathBuf>),
    /// Secrets, by a resource.
    Secrets(Arc<ConnectionSecrets>),
}

/// One connection.
#[derive(Debug)]
pub struct LiveConnection {
    pub(crate) key: ConnectionKey,
    pub(crate) health: Arc<ConnectionHealth>,
    pub(crate) observation: Observation,
    pub(crate) bound: Bound,
    pub(crate) inputs: Inputs,
    /// Ends what runs for this connection alone.
    pub(crate) stop: CancellationToken,
    /// Where to ask for a reconcile of its resource, if it has one.
    pub(crate) report: Option<Arc<Requeue<ConnectionKey>>>,
}

impl LiveConnection {
    /// The default connection. `files` are those whose change may mend it.
    #[must_use]
    pub fn default(health: Arc<ConnectionHealth>, files: Vec<PathBuf>) -> Self {
        Self {
            key: ConnectionKey::Default,
            health,
            observation: Observation::default(),
            bound: Bound::default(),
            inputs: Inputs::Files(files),
            stop: CancellationToken::new(),
            report: None,
        }
    }

    /// How often the inputs are looked at.
    pub(crate) const fn pace(&self) -> Duration {
        match self.inputs {
            Inputs::Files(_) => LOOK,
            Inputs::Secrets(_) => REREAD,
        }
    }

    /// Says that the connection may stand differently now.
    pub(crate) fn tell(&self) {
        if let Some(report) = &self.report {
            report.add(self.key.clone());
        }
    }
}
