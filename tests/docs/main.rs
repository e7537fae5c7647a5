//! The documents: their commands are run, their links lead somewhere, and the reference is what the definitions say.
//!
//! Each document with shell blocks has a scene in `scenes`: what its reader is presumed to have, and what stands for its
//! placeholders. Its blocks run in order on an empty control plane, with the operator and the stand-in for ZITADEL. A
//! block that needs something else says so in a comment before it, which does not show on a page: `<!-- needs: ... -->`; one
//! that has to fail says `<!-- fails: ... -->`. `cargo test --test docs marks -- --nocapture` lists both.
//!
//! A command in running text is a part of one that a block or a scene runs, or `spoken` says where else it is run or what it
//! needs; cargo's are judged by `cargo`. Control planes are used one after the other (`cluster`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod backup;
mod cargo;
mod cluster;
mod kubelet;
mod links;
mod markdown;
mod marks;
mod play;
#[path = "../chart/pod.rs"]
mod pod;
mod reference;
mod rights;
mod scenes;
mod shell;
mod site;
mod spoken;
mod zitadel_restored;
