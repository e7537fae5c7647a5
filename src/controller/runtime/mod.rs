//! What any kind of object needs: the client of the API server, writes, Events, the queue, back-off and scope.
//!
//! Knows no ZITADEL connection and no kind by name. May import `api`, `ops` and values of `plan`; nothing else of
//! `controller`.

pub mod backoff;
pub mod events;
pub mod foreign_fields;
pub mod instrument;
pub mod kube_client;
pub mod lanes;
pub mod requeue;
pub mod scope;
pub mod writer;
