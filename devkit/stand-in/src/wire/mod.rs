//! The wire formats that do not depend on a generation: JSON as Go reads it, proto3 JSON on top of it, the gateway's
//! bindings of bodies and URL parameters to messages, URLs as Go parses them, dates and durations as protojson writes them, and ZITADEL's error bodies.

pub(crate) mod binding;
pub(crate) mod error;
pub(crate) mod format;
pub(crate) mod go_url;
pub(crate) mod json;
pub(crate) mod proto;
