//! Connections to ZITADEL: their resources, their health, and which Target may use which of them.
//!
//! May import `runtime`. Knows that Targets use connections, and nothing of what is done with them.

pub mod bound;
pub mod connection;
pub mod controller;
pub mod health;
pub mod monitor;
pub mod namespaces;
pub mod notice;
pub mod observation;
pub mod registry;
pub mod resource;
pub mod secrets;
