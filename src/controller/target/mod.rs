//! Targets: one reconcile executes the planner's steps; the observer finds what changed in ZITADEL meanwhile.
//!
//! May import `runtime` and `connections`.

pub mod context;
pub mod crd;
pub mod create;
pub mod event_feed;
pub mod executor;
pub mod finish;
pub mod memory;
pub mod name_waiters;
pub mod observer;
pub mod orphan_removal;
pub mod orphans;
pub mod ownership;
pub mod queries;
pub mod reconcile;
