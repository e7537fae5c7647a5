//! The REST client of ZITADEL's Actions API, in the generations that servers speak.
//!
//! Domain types here, wire shapes in one file per generation, and one path to the network ([`transport`]). No
//! Kubernetes types, no decisions: what an answer means for an object is said in `plan`. May import
//! `api::claim`, `api::names` and `api::reason` only.

pub mod account;
pub mod auth;
pub mod capability;
pub mod client;
#[cfg(test)]
mod client_tests;
mod detect;
pub mod error;
#[cfg(test)]
mod error_tests;
pub mod events;
pub mod fault;
pub mod generation;
mod optional;
mod pages;
mod resources_v3alpha;
mod shape;
mod span;
pub mod transport;
#[cfg(test)]
mod transport_tests;
mod v2;
mod v2beta;
mod v3alpha;
mod wire;

use jiff::Timestamp;

pub use crate::api::names::{Endpoint, TargetId, TargetName, Timeout};
pub use capability::{Capabilities, Capability, Missing};
pub use client::Client;
pub use error::{Class, Error};
pub use events::{Added, EventQuery, Posting};
pub use fault::{Distrust, Fault, Silence};
pub use generation::{Api, ApiChoice, Support};

use std::time::Duration;

use crate::api::claim::{Posted, PostedKind};

/// What ZITADEL does with the answer of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `restWebhook`: waits, looks at the status.
    Webhook(OnError),
    /// `restCall`: waits, uses the body.
    Call(OnError),
    /// `restAsync`: does not wait.
    Async,
}

/// `interruptOnError`: what a failed call does to the request that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The request goes on.
    Continue,
    /// The request fails.
    Interrupt,
}

impl Kind {
    /// What a failed call does; a call that nobody waits for interrupts nothing.
    #[must_use]
    pub const fn on_error(self) -> OnError {
        match self {
            Self::Webhook(on_error) | Self::Call(on_error) => on_error,
            Self::Async => OnError::Continue,
        }
    }

    /// The same kind with another `interruptOnError`.
    #[must_use]
    pub const fn with(self, on_error: OnError) -> Self {
        match self {
            Self::Webhook(_) => Self::Webhook(on_error),
            Self::Call(_) => Self::Call(on_error),
            Self::Async => Self::Async,
        }
    }
}

/// How the body that a target receives is protected (v2, from v4.8.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PayloadType {
    /// Plain JSON: what every server sends that was told nothing else.
    #[default]
    Json,
    /// Signed.
    Jwt,
    /// Encrypted.
    Jwe,
}

/// The settings of a target, as a spec asks for them: every value is within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetConfig {
    /// Name, unique in the instance.
    pub name: TargetName,
    /// What is done with the answer.
    pub kind: Kind,
    /// How long to wait for it.
    pub timeout: Timeout,
    /// Where to call.
    pub endpoint: Endpoint,
    /// How the body is protected; anything but JSON is for servers alone that have it (see [`Support`]).
    pub payload_type: PayloadType,
}

impl TargetConfig {
    /// What a create of it posts beside the name.
    #[must_use]
    pub fn posted(&self) -> Posted {
        posted(self.kind, self.timeout.duration(), self.endpoint.as_str())
    }
}

impl RemoteTarget {
    /// What a create posted that made it as it is shown now; none for a kind that this version does not know.
    #[must_use]
    pub fn as_if_posted(&self) -> Option<Posted> {
        self.kind.map(|kind| posted(kind, self.timeout, &self.endpoint))
    }
}

fn posted(kind: Kind, timeout: Duration, endpoint: &str) -> Posted {
    Posted {
        kind: match kind {
            Kind::Webhook(_) => PostedKind::RestWebhook,
            Kind::Call(_) => PostedKind::RestCall,
            Kind::Async => PostedKind::RestAsync,
        },
        interrupt_on_error: kind.on_error() == OnError::Interrupt,
        timeout_nanos: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        endpoint: endpoint.to_owned(),
    }
}

/// A partial update: only what is set is sent, in every generation. Empty, it is the strongly consistent proof of
/// existence: it writes no event and answers 404 only when the target is gone (measured on v2.58.7 and v4.13.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// New name.
    pub name: Option<TargetName>,
    /// New kind; always sent with its `interruptOnError`.
    pub kind: Option<Kind>,
    /// New timeout.
    pub timeout: Option<Timeout>,
    /// New endpoint.
    pub endpoint: Option<Endpoint>,
    /// New payload type.
    pub payload_type: Option<PayloadType>,
}

/// How new a state is. v3alpha counts, later generations only date.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Events of the target so far.
    pub sequence: Option<u64>,
    /// Date of the newest one.
    pub changed: Option<Timestamp>,
}

impl Version {
    /// Whether this state is certainly older than `other`.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        match (self.sequence, other.sequence) {
            (Some(mine), Some(theirs)) => mine < theirs,
            _ => matches!((self.changed, other.changed), (Some(mine), Some(theirs)) if mine < theirs),
        }
    }
}

/// The answer to a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Id that ZITADEL assigned.
    pub id: TargetId,
    /// State after the create.
    pub version: Version,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Id of the instance (v3alpha and resources/v3alpha only).
    pub owner: Option<String>,
}

/// A target as ZITADEL's read side shows it. Values are not checked: somebody else may have written them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTarget {
    /// Id.
    pub id: TargetId,
    /// Name.
    pub name: String,
    /// Kind; `None` for one that this version does not know.
    pub kind: Option<Kind>,
    /// Timeout; zero if the server shows none.
    pub timeout: Duration,
    /// Endpoint.
    pub endpoint: String,
    /// Payload type; `None` for one that this version does not know.
    pub payload_type: Option<PayloadType>,
    /// How new this view is.
    pub version: Version,
    /// When the target was created (absent on v3alpha).
    pub created: Option<Timestamp>,
    /// Id of the instance (v3alpha and resources/v3alpha only).
    pub owner: Option<String>,
}

/// Who we are, as the server sees us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The generation that answers.
    pub api: Api,
    /// Id of the instance, where the credential may read it.
    pub instance: Option<String>,
    /// Id of our own user, where it could be read; events carry it as their editor.
    pub user: Option<String>,
    /// Version text of the server, where the credential may read it.
    pub server_version: Option<String>,
    /// What is missing of that, and why.
    pub capabilities: Capabilities,
}
