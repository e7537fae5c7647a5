//! Wire shapes that the generations share: the settings of a target, and proto3 JSON's habits (64-bit numbers are
//! strings, fields with default values are left out, empty messages of a oneof stay).

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::shape::Word;
use super::{Change, Kind, OnError, PayloadType, RemoteTarget, TargetConfig, TargetId, Timeout, Version};

/// The body of a create call.
pub(super) fn config_body(config: &TargetConfig) -> Value {
    change_body(&Change {
        name: Some(config.name.clone()),
        kind: Some(config.kind),
        timeout: Some(config.timeout),
        endpoint: Some(config.endpoint.clone()),
        // The servers' own default is left out, so that those which know no payload types get nothing to ignore.
        payload_type: Some(config.payload_type).filter(|payload| *payload != PayloadType::Json),
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
    if let Some(payload) = change.payload_type {
        body.insert("payloadType".into(), json!(payload_word(payload)));
    }
    Value::Object(body)
}

const PAYLOADS: [PayloadType; 3] = [PayloadType::Json, PayloadType::Jwt, PayloadType::Jwe];

const fn payload_word(payload: PayloadType) -> &'static str {
    match payload {
        PayloadType::Json => "PAYLOAD_TYPE_JSON",
        PayloadType::Jwt => "PAYLOAD_TYPE_JWT",
        PayloadType::Jwe => "PAYLOAD_TYPE_JWE",
    }
}

/// The settings of a target as read answers carry them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigOut {
    #[serde(default)]
    name: String,
    rest_webhook: Option<WaitingOut>,
    rest_call: Option<WaitingOut>,
    rest_async: Option<IgnoredAny>,
    timeout: Option<String>,
    #[serde(default)]
    endpoint: String,
    /// A word, or the number of a type that the server itself does not know.
    payload_type: Option<Word>,
}

/// What a read carries besides the settings.
#[derive(Debug)]
pub(super) struct Rest {
    pub version: Version,
    pub created: Option<Timestamp>,
    pub owner: Option<String>,
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
    pub(super) fn into_target(self, id: TargetId, rest: Rest) -> RemoteTarget {
        let kind = match (&self.rest_webhook, &self.rest_call, &self.rest_async) {
            (Some(webhook), _, _) => Some(Kind::Webhook(webhook.on_error())),
            (_, Some(call), _) => Some(Kind::Call(call.on_error())),
            (_, _, Some(_)) => Some(Kind::Async),
            _ => None,
        };
        // Never set, or not known to the server: the body is plain JSON.
        let payload_type = self.payload_type.map_or(Some(PayloadType::Json), |shown| {
            PAYLOADS.into_iter().find(|payload| shown.0.as_deref() == Some(payload_word(*payload)))
        });
        let timeout = self.timeout.and_then(|text| text.parse::<Timeout>().ok());
        RemoteTarget {
            id,
            name: self.name,
            kind,
            timeout: timeout.map_or(Duration::ZERO, Timeout::duration),
            endpoint: self.endpoint,
            payload_type,
            version: rest.version,
            created: rest.created,
            owner: rest.owner,
        }
    }
}

/// A page of a list in the order of creation; without a limit the server takes its own.
pub(super) fn page(offset: usize, limit: Option<usize>) -> Value {
    let mut page = Map::from_iter([("offset".to_owned(), json!(offset.to_string())), ("asc".to_owned(), json!(true))]);
    page.extend(limit.map(|limit| ("limit".to_owned(), json!(limit))));
    Value::Object(page)
}

/// Parses an id of an answer.
pub(super) fn target_id(text: &str) -> Result<TargetId, String> {
    text.parse().map_err(|_| "the answer has no usable id".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::shape::Body;
    use super::*;

    #[test]
    fn payload_types_are_words_and_plain_json_is_what_needs_none() {
        let config = |payload_type| TargetConfig {
            name: "a".parse().unwrap(),
            kind: Kind::Async,
            timeout: "1s".parse().unwrap(),
            endpoint: "https://h".parse().unwrap(),
            payload_type,
        };
        assert_eq!(config_body(&config(PayloadType::Json)).get("payloadType"), None);
        assert_eq!(config_body(&config(PayloadType::Jwe))["payloadType"], "PAYLOAD_TYPE_JWE");
        let back = Change { payload_type: Some(PayloadType::Json), ..Change::default() };
        assert_eq!(change_body(&back), json!({"payloadType": "PAYLOAD_TYPE_JSON"}));
    }

    #[test]
    fn payload_types_of_reads() {
        let read = |shown: Value| {
            let rest = Rest { version: Version::default(), created: None, owner: None };
            Body::from(shown).parse::<ConfigOut>().unwrap().into_target("1".parse().unwrap(), rest).payload_type
        };
        assert_eq!(read(json!({})), Some(PayloadType::Json));
        assert_eq!(read(json!({"payloadType": "PAYLOAD_TYPE_JWT"})), Some(PayloadType::Jwt));
        assert_eq!(read(json!({"payloadType": 99})), None, "v4.13.1 stores and shows any number");
    }
}
