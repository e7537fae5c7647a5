//! The recorded exchanges of one real server, and which of them are left out, with the reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub struct Recording {
    pub zitadel_version: String,
    pub exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
pub struct Exchange {
    pub name: String,
    pub request: Sent,
    pub response: Received,
}

#[derive(Deserialize)]
pub struct Sent {
    pub method: String,
    pub path: String,
    /// `authorization` holds a placeholder.
    pub headers: BTreeMap<String, String>,
    pub body: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub struct Received {
    /// 0 = the connection was closed without an answer.
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// Text that is not JSON is recorded as a string.
    pub body: Value,
    #[serde(rename = "arrayTruncatedFrom")]
    pub truncated_from: Option<usize>,
    /// `opaque` or `jwt`, where the body holds a token that was not kept.
    #[serde(rename = "access_tokenKind")]
    pub access_token: Option<String>,
    #[serde(rename = "id_tokenKind")]
    pub id_token: Option<String>,
}

impl Sent {
    /// The recorded body, for those who read it.
    pub fn json(&self) -> Value {
        self.body.as_deref().map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap())
    }

    pub fn authorization(&self) -> &str {
        self.headers.get("authorization").map_or("none", String::as_str)
    }

    /// The body as it was on the wire: a recorded object was written by Python with a space after comma and colon, a
    /// recorded string was sent as it is.
    pub fn text(&self) -> String {
        let Some(raw) = self.body.as_deref().map(RawValue::get) else { return String::new() };
        match serde_json::from_str(raw) {
            Ok(Value::String(text)) => text,
            _ => respaced(raw),
        }
    }
}

fn respaced(raw: &str) -> String {
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for character in raw.chars() {
        if in_string {
            in_string = character != '"' || escaped;
            escaped = character == '\\' && !escaped;
            out.push(character);
        } else {
            match character {
                ' ' | '\n' | '\r' | '\t' => {}
                ',' | ':' => out.extend([character, ' ']),
                other => {
                    in_string = other == '"';
                    out.push(other);
                }
            }
        }
    }
    out
}

impl Exchange {
    fn error_id(&self) -> &str {
        self.response.body["details"][0]["id"].as_str().unwrap_or_default()
    }

    fn is_not_found_route(&self) -> bool {
        self.response.status == 404 && self.response.body["message"] == "Not Found"
    }

    /// Why this exchange is not replayed; `None` = it is.
    pub fn left_out(&self) -> Option<&'static str> {
        let path = self.request.path.as_str();
        if self.response.status == 0 {
            return Some("executions that end the server's process: the operator must never send them");
        }
        if path.contains("/publickeys") && !self.is_not_found_route() {
            return Some("public keys of targets: the operator does not manage them");
        }
        if path.starts_with("/zitadel.") && !self.is_not_found_route() {
            return Some("Connect: another protocol of v4, which the operator does not speak");
        }
        if path.starts_with("/ui/console") {
            return Some("the console's page");
        }
        let before_handler = self.error_id().starts_with("AUTH") || self.error_id() == "ACTION-8o6pvqfjhs";
        if !before_handler && (path.ends_with("/executions/methods") || path.ends_with("/executions/services")) {
            return Some("the lists of the whole server's methods and services: they serve executions alone");
        }
        if path.contains("/executions") && !path.ends_with("/functions") {
            return (!before_handler && self.response.status != 405)
                .then_some("executions: the operator does not manage them yet");
        }
        if self.name == "self-block-get-target" {
            return Some("a target call that an execution blocks: needs executions");
        }
        None
    }
}
