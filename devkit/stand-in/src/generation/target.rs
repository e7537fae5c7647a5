//! Targets in requests and answers, as far as the generations agree: what a create and an update carry, the validation
//! rules of v2.59.0 and later, and the members that every read shows.

use serde_json::{Map, Value, json};

use super::fields;
use crate::core::command::{Change, NewTarget};
use crate::core::projection::Row;
use crate::wire::format::duration;
use crate::wire::proto::Decoded;
use crate::{PayloadType, TargetKind};

const MAX_NAME: usize = 1000;
/// 270 s, in nanoseconds.
const MAX_TIMEOUT: i64 = 270_000_000_000;

/// What a valid create asks for.
pub(super) fn new(body: &Decoded) -> NewTarget {
    let (kind, interrupt_on_error) = fields::kind(body).unwrap_or((TargetKind::Webhook, false));
    NewTarget {
        name: body.string("name").unwrap_or_default().to_owned(),
        kind,
        interrupt_on_error,
        timeout: body.duration("timeout").unwrap_or_default(),
        endpoint: body.string("endpoint").unwrap_or_default().to_owned(),
        payload_type: PayloadType(body.number("payloadType")),
    }
}

/// What a valid update asks for. Fields that a generation does not have are in no body that it decodes.
pub(super) fn change(body: &Decoded) -> Change {
    Change {
        name: body.string("name").map(str::to_owned),
        kind: fields::kind(body),
        timeout: body.duration("timeout"),
        endpoint: body.string("endpoint").map(str::to_owned),
        payload_type: Some(PayloadType(body.number("payloadType"))),
        new_signing_key: body.duration("expirationSigningKey").is_some(),
    }
}

/// Validates a create. `message`: as errors call it.
pub(super) fn validate_new(message: &str, body: &Decoded, max_endpoint: usize) -> Result<(), String> {
    fields::length(&format!("{message}.Name"), body.string("name").unwrap_or_default(), MAX_NAME)?;
    in_range(message, body.duration("timeout"))?;
    fields::length(&format!("{message}.Endpoint"), body.string("endpoint").unwrap_or_default(), max_endpoint)?;
    fields::kind(body).map(|_| ()).ok_or_else(|| format!("invalid {message}.TargetType: value is required"))
}

/// Validates the body of an update. `message`: as errors call it.
pub(super) fn validate_change(message: &str, body: &Decoded, max_endpoint: usize) -> Result<(), String> {
    body.string("name").map_or(Ok(()), |name| fields::length(&format!("{message}.Name"), name, MAX_NAME))?;
    in_range(message, body.duration("timeout"))?;
    body.string("endpoint")
        .map_or(Ok(()), |text| fields::length(&format!("{message}.Endpoint"), text, max_endpoint))?;
    match body.duration("expirationSigningKey") {
        None | Some(0) => Ok(()),
        Some(_) => Err(format!("invalid {message}.ExpirationSigningKey: value must equal 0s")),
    }
}

/// Zero passes here and is refused by the command.
fn in_range(message: &str, timeout: Option<i64>) -> Result<(), String> {
    if timeout.is_none_or(|timeout| (0..=MAX_TIMEOUT).contains(&timeout)) {
        return Ok(());
    }
    Err(format!("invalid {message}.Timeout: value must be inside range [0s, 4m30s]"))
}

/// Name, kind, time-out and endpoint, as every generation shows them.
pub(super) fn show(row: &Row) -> Map<String, Value> {
    let shows_flag = row.interrupt_on_error && row.kind != TargetKind::Async;
    let kind = if shows_flag { json!({ "interruptOnError": true }) } else { json!({}) };
    Map::from_iter([
        ("name".to_owned(), json!(row.name)),
        (fields::kind_name(row.kind).to_owned(), kind),
        ("timeout".to_owned(), json!(duration(row.timeout))),
        ("endpoint".to_owned(), json!(row.endpoint)),
    ])
}
