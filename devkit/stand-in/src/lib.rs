//! A small stateful server that behaves as ZITADEL's Actions API does: not a mock with canned answers, but an
//! event-sourced write side, a lagging read side and the quirks that were observed on real servers. Tests and the demo
//! run the operator against it, inject faults, and then assert on the call log and the true event history. Its
//! fidelity is proved by `tests/replay.rs`, which replays recorded exchanges of real servers.

mod admin;
mod calls;
mod core;
mod credentials;
mod domain;
mod execution;
mod fault;
mod generation;
mod handler;
mod oidc;
mod options;
mod probe;
mod request;
mod router;
mod server;
mod settings;
mod stand_in;
mod wire;
mod world;

pub use calls::{Answer, Call};
pub use credentials::SystemUserKey;
pub use domain::{Event, EventKind, PayloadType, Target, TargetEdit, TargetKind};
pub use execution::Interruption;
pub use fault::{Effect, FaultHandle, Op, Times};
pub use options::{AssertionRefusal, DenyList, Function, Generation, Options, Role, UnknownGeneration};
pub use settings::HiddenFrom;
pub use stand_in::{Backup, StandIn};
