//! The words of the domain, shared by every generation: targets, their kinds, edits, and the events that are the truth.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// How ZITADEL calls a target. The discriminants are the numbers of the event payload (`targetType`, observed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// `restWebhook`: the status of the answer counts, its body does not.
    Webhook = 0,
    /// `restCall`: the body of the answer replaces the content.
    Call = 1,
    /// `restAsync`: fire and forget; never interrupts.
    Async = 2,
}

/// How the body that a target receives is protected (v4.8.0 and later); the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadType(pub i32);

impl PayloadType {
    /// Never set: not shown by reads, behaves as JSON.
    pub const UNSPECIFIED: Self = Self(0);
    /// Plain JSON.
    pub const JSON: Self = Self(1);
    /// Signed.
    pub const JWT: Self = Self(2);
    /// Encrypted.
    pub const JWE: Self = Self(3);
}

/// A target as the write side knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Server-assigned decimal id.
    pub id: String,
    /// The name as written; unique per instance when lower-cased.
    pub name: String,
    /// The kind of call.
    pub kind: TargetKind,
    /// What a settled read shows, i.e. with the quirk of docs/zitadel/observed.md 0.4 applied.
    pub interrupt_on_error: bool,
    /// How long ZITADEL waits for the target.
    pub timeout: Duration,
    /// Stored byte for byte.
    pub endpoint: String,
    /// Always `UNSPECIFIED` on all generations but v2.
    pub payload_type: PayloadType,
    /// Count of this target's events.
    pub sequence: u64,
    /// Date of the first event.
    pub creation_date: Timestamp,
    /// Date of the last event.
    pub change_date: Timestamp,
    /// User id of the creator.
    pub creator: String,
    /// Acknowledged and in the event store, but never to be shown by a read (docs/zitadel/observed.md 0.1).
    pub ghost: bool,
}

/// A partial change (or, for `StandIn::external_create`, the deviations from the default target: a webhook, 10 s,
/// `https://hooks.example.com/external`). `None` = unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetEdit {
    /// New name.
    pub name: Option<String>,
    /// New kind.
    pub kind: Option<TargetKind>,
    /// New flag.
    pub interrupt_on_error: Option<bool>,
    /// New time-out.
    pub timeout: Option<Duration>,
    /// New endpoint.
    pub endpoint: Option<String>,
    /// New payload type; only v2 stores and shows it.
    pub payload_type: Option<PayloadType>,
}

/// What happened to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `target.added`.
    Added,
    /// `target.changed`.
    Changed,
    /// `target.removed`.
    Removed,
}

/// One event of the true history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Id of the target.
    pub target_id: String,
    /// Counts from 1 per target.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
    /// Microseconds, strictly increasing over the whole store.
    pub creation_date: Timestamp,
    /// Id of the user who did it.
    pub editor: String,
    /// As the event store search shows it: only the changed fields for `Changed`, `{}` for `Removed`.
    pub payload: Value,
}
