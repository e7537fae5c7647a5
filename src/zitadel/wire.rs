//! Wire shapes that the generations share: the settings of a target, and proto3 JSON's habits (64-bit numbers are
//! strings, fields with default values are left out, empty messages of a oneof stay).

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Change, Kind, OnError, RemoteTarget, TargetConfig, TargetId, Timeout, Version};

/// The body of a create call.
pub(super) fn config_body(config: &TargetConfig) -> Value {
    change_body(&Change {
        name: Some(config.name.clone()),
        kind: Some(config.kind),
        timeout: Some(config.timeout),
        endpoint: Some(config.endpoint.clone()),
    })
}

/// The body of an update call.
pub(super) fn change_body(change: &Change) -> Value {
    let mut body = Map::new();
    if let Some(name) = &change.name {
        body.insert("name".into(), json!(name.as_str()));
    }
    if let Some(kind) = change.kind {
        let waiting = |on_error| json!({"interruptOnError": on_error == OnError::Interrupt});
        let (key, value) = match kind {
            Kind::Webhook(on_error) => ("restWebhook", waiting(on_error)),
            Kind::Call(on_error) => ("restCall", waiting(on_error)),
            Kind::Async => ("restAsync", json!({})),
        };
        body.insert(key.into(), value);
    }
    if let Some(timeout) = change.timeout {
        body.insert("timeout".into(), json!(timeout.to_string()));
    }
    if let Some(endpoint) = &change.endpoint {
        body.insert("endpoint".into(), json!(endpoint.as_str()));
    }
    Value::Object(body)
}

/// The settings of a target as read answers carry them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigOut {
    #[serde(default)]
    name: String,
    rest_webhook: Option<WaitingOut>,
    rest_call: Option<WaitingOut>,
    rest_async: Option<Value>,
    timeout: Option<String>,
    #[serde(default)]
    endpoint: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitingOut {
    #[serde(default)]
    interrupt_on_error: bool,
}

impl WaitingOut {
    fn on_error(&self) -> OnError {
        if self.interrupt_on_error { OnError::Interrupt } else { OnError::Continue }
    }
}

impl ConfigOut {
    pub(super) fn into_target(
        self,
        id: TargetId,
        version: Version,
        created: Option<Timestamp>,
        owner: Option<String>,
    ) -> RemoteTarget {
        let kind = match (&self.rest_webhook, &self.rest_call, &self.rest_async) {
            (Some(webhook), _, _) => Some(Kind::Webhook(webhook.on_error())),
            (_, Some(call), _) => Some(Kind::Call(call.on_error())),
            (_, _, Some(_)) => Some(Kind::Async),
            _ => None,
        };
        let timeout = self.timeout.and_then(|text| text.parse::<Timeout>().ok());
        RemoteTarget {
            id,
            name: self.name,
            kind,
            timeout: timeout.map_or(Duration::ZERO, Timeout::duration),
            endpoint: self.endpoint,
            version,
            created,
            owner,
        }
    }
}

/// Parses a body into its shape; the complaint names the call's answer, never its content.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(body: Value) -> Result<T, String> {
    serde_json::from_value(body).map_err(|error| format!("not the expected JSON: {error}"))
}

/// Parses an id of an answer.
pub(super) fn target_id(text: &str) -> Result<TargetId, String> {
    text.parse().map_err(|_| "the answer has no usable id".to_owned())
}
