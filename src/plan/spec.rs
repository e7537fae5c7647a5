//! From the manifest's strings to values within their limits.
//!
//! The API server has checked all of this already; it is checked again because a CRD may be older than the operator.

use crate::api::names::InvalidValue;
use crate::api::target::{PayloadType as Written, TargetSpec, WaitingKind};
use crate::zitadel::{Kind, OnError, PayloadType, TargetConfig};

/// The settings that `spec` asks for; `metadata_name` stands in for an absent name.
///
/// # Errors
/// The first value that is out of its limits.
pub fn config(spec: &TargetSpec, metadata_name: &str) -> Result<TargetConfig, InvalidValue> {
    Ok(TargetConfig {
        name: spec.name.as_deref().unwrap_or(metadata_name).parse()?,
        kind: kind(spec)?,
        timeout: spec.timeout.parse()?,
        endpoint: spec.endpoint.parse()?,
        payload_type: match spec.payload_type {
            None | Some(Written::Json) => PayloadType::Json,
            Some(Written::Jwt) => PayloadType::Jwt,
            Some(Written::Jwe) => PayloadType::Jwe,
        },
    })
}

fn kind(spec: &TargetSpec) -> Result<Kind, InvalidValue> {
    let on_error = |waiting: &WaitingKind| match waiting.interrupt_on_error {
        Some(true) => OnError::Interrupt,
        _ => OnError::Continue,
    };
    match (&spec.rest_webhook, &spec.rest_call, &spec.rest_async) {
        (Some(webhook), None, None) => Ok(Kind::Webhook(on_error(webhook))),
        (None, Some(call), None) => Ok(Kind::Call(on_error(call))),
        (None, None, Some(_)) => Ok(Kind::Async),
        _ => Err(InvalidValue::Kind),
    }
}
