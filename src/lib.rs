//! zitadel-actions-operator: a `Target` manifest in the cluster becomes a target in ZITADEL, and stays equal to it.
//!
//! The rooms, and who may import whom (a test greps it):
//!
//! | room | what lives there | may import |
//! |---|---|---|
//! | [`api`] | resource types, conditions, reasons, value types | - |
//! | [`zitadel`] | the REST client and its domain types; no Kubernetes | `api::claim`, `api::names`, `api::reason` |
//! | [`plan`] | pure decisions: (object, facts, now) -> one step | `api`, `zitadel` domain types |
//! | [`controller`] | the shell: executes steps, writes status, emits Events | all |
//! | [`ops`] | probes, metrics, telemetry, shutdown | `api` |
//! | [`cli`] | arguments and wiring | all |
//!
//! Start with [`plan::target`]: it is what this operator believes; everything else carries it out.

pub mod api;
pub mod cli;
pub mod controller;
pub mod ops;
pub mod plan;
pub mod zitadel;
