//! proto3 JSON requests: a message is described once, as data, and decoded as Go's `protojson` does, with its error
//! texts, its leniency (unknown fields and unknown enum names are ignored, snake case is accepted) and its order:
//! the first fault in the text wins.

use std::collections::{BTreeMap, BTreeSet};

use super::json::{Node, Value};

/// A message type. `full_name` appears in errors.
pub(crate) struct Message {
    pub(crate) full_name: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A field of a message.
pub(crate) struct Field {
    /// JSON name (lower camel case); also the key under which `Decoded` keeps the value.
    pub(crate) json: &'static str,
    /// Name in the proto file, accepted on input too.
    pub(crate) proto: &'static str,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
    /// Name of the oneof it belongs to.
    pub(crate) oneof: Option<&'static str>,
}

impl Field {
    pub(crate) const fn new(json: &'static str, proto: &'static str, kind: Kind) -> Self {
        Self { json, proto, kind, repeated: false, oneof: None }
    }

    pub(crate) const fn repeated(self) -> Self {
        Self { repeated: true, ..self }
    }

    pub(crate) const fn oneof(self, name: &'static str) -> Self {
        Self { oneof: Some(name), ..self }
    }
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    String,
    Bool,
    Uint32,
    Uint64,
    Duration,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// Names in the order of their numbers, from 0.
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

/// How a server's protobuf library words a wrong scalar.
#[derive(Clone, Copy)]
pub(crate) enum ScalarErrors {
    /// `invalid value for string type: 5` (v2.58.7, observed).
    Type,
    /// `invalid value for string field name: 5` (v4.13.1, observed).
    Field,
}

/// A decoded message: absent and null fields have no entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decoded(BTreeMap<&'static str, Scalar>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    String(String),
    Bool(bool),
    Uint(u64),
    /// Whole seconds and nanoseconds, as in the protocol: more than a Go duration can hold.
    Duration(i64, i32),
    Timestamp(jiff::Timestamp),
    Enum(i32),
    Message(Decoded),
    List(Vec<Scalar>),
}

impl Decoded {
    pub(super) fn set(&mut self, name: &'static str, value: Scalar) {
        self.0.insert(name, value);
    }

    /// The message under this name, made if there is none.
    pub(super) fn message_mut(&mut self, name: &'static str) -> Option<&mut Decoded> {
        match self.0.entry(name).or_insert_with(|| Scalar::Message(Self::default())) {
            Scalar::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A boolean that may be absent.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Scalar::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        self.flag(name).unwrap_or_default()
    }

    pub(crate) fn uint(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(Scalar::Uint(number)) => *number,
            _ => 0,
        }
    }

    pub(crate) fn number(&self, name: &str) -> i32 {
        match self.0.get(name) {
            Some(Scalar::Enum(number)) => *number,
            _ => 0,
        }
    }

    /// Nanoseconds, clamped to what a Go `time.Duration` holds, as `AsDuration` does.
    pub(crate) fn duration(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Scalar::Duration(seconds, nanos)) => {
                let total = i128::from(*seconds) * 1_000_000_000 + i128::from(*nanos);
                let clamped = total.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                Some(i64::try_from(clamped).unwrap_or(i64::MAX))
            }
            _ => None,
        }
    }

    pub(crate) fn timestamp(&self, name: &str) -> Option<jiff::Timestamp> {
        match self.0.get(name) {
            Some(Scalar::Timestamp(at)) => Some(*at),
            _ => None,
        }
    }

    pub(crate) fn message(&self, name: &str) -> Option<&Decoded> {
        match self.0.get(name) {
            Some(Scalar::Message(message)) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn messages(&self, name: &str) -> Vec<&Decoded> {
        let messages = self.list(name).iter().filter_map(|element| match element {
            Scalar::Message(message) => Some(message),
            _ => None,
        });
        messages.collect()
    }

    pub(crate) fn strings(&self, name: &str) -> Vec<&str> {
        let strings = self.list(name).iter().filter_map(|element| match element {
            Scalar::String(text) => Some(text.as_str()),
            _ => None,
        });
        strings.collect()
    }

    fn list(&self, name: &str) -> &[Scalar] {
        match self.0.get(name) {
            Some(Scalar::List(elements)) => elements,
            _ => &[],
        }
    }
}

/// Decodes a value, or says what is wrong in protojson's words.
pub(crate) fn decode(
    message: &'static Message,
    node: &Node,
    source: &str,
    errors: ScalarErrors,
) -> Result<Decoded, String> {
    Decoder { source, errors }.message(message, node)
}

struct Decoder<'a> {
    source: &'a str,
    errors: ScalarErrors,
}

impl Decoder<'_> {
    fn message(&self, message: &'static Message, node: &Node) -> Result<Decoded, String> {
        let Value::Object(members) = &node.value else { return Err(self.unexpected(node)) };
        let mut decoded = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut oneofs = BTreeSet::new();
        for (key, value) in members {
            let Value::String(name) = &key.value else { continue };
            let Some(field) = message.fields.iter().find(|field| field.json == name || field.proto == name) else {
                continue;
            };
            if !seen.insert(field.json) {
                return Err(self.fault(key, &format!("duplicate field {}", self.raw(key))));
            }
            if value.value == Value::Null {
                continue;
            }
            if let Some(oneof) = field.oneof
                && !oneofs.insert(oneof)
            {
                let oneof = format!("{}.{oneof}", message.full_name);
                return Err(self.fault(key, &format!("error parsing {}, oneof {oneof} is already set", self.raw(key))));
            }
            let scalar = if field.repeated { self.list(field, value)? } else { self.scalar(field, value)? };
            if let Some(scalar) = scalar {
                decoded.insert(field.json, scalar);
            }
        }
        Ok(Decoded(decoded))
    }

    fn list(&self, field: &Field, node: &Node) -> Result<Option<Scalar>, String> {
        let Value::Array(elements) = &node.value else { return Err(self.unexpected(node)) };
        let mut list = Vec::new();
        for element in elements {
            list.extend(self.scalar(field, element)?);
        }
        Ok(Some(Scalar::List(list)))
    }

    /// `None` = ignored: an enum name that the server does not know.
    fn scalar(&self, field: &Field, node: &Node) -> Result<Option<Scalar>, String> {
        let scalar = match (field.kind, &node.value) {
            (Kind::String, Value::String(text)) => Scalar::String(text.clone()),
            (Kind::Bool, Value::Bool(value)) => Scalar::Bool(*value),
            (Kind::Uint32, Value::Number(text) | Value::String(text)) => match uint(text, u64::from(u32::MAX)) {
                Some(number) => Scalar::Uint(number),
                None => return Err(self.wrong_scalar("uint32", field, node)),
            },
            (Kind::Uint64, Value::Number(text) | Value::String(text)) => match uint(text, u64::MAX) {
                Some(number) => Scalar::Uint(number),
                None => return Err(self.wrong_scalar("uint64", field, node)),
            },
            (Kind::Duration, Value::String(text)) => self.duration(text, node)?,
            (Kind::Timestamp, Value::String(text)) => match text.parse() {
                Ok(at) => Scalar::Timestamp(at),
                Err(_) => {
                    return Err(
                        self.fault(node, &format!("invalid google.protobuf.Timestamp value {}", self.raw(node)))
                    );
                }
            },
            (Kind::Enum(names), Value::String(text)) => match names.iter().position(|name| name == text) {
                Some(number) => Scalar::Enum(i32::try_from(number).unwrap_or_default()),
                None => return Ok(None),
            },
            (Kind::Enum(_), Value::Number(text)) => match text.parse() {
                Ok(number) => Scalar::Enum(number),
                Err(_) => return Err(self.wrong_scalar("enum", field, node)),
            },
            (Kind::Message(message), _) => Scalar::Message(self.message(message, node)?),
            (Kind::Duration | Kind::Timestamp, _) => return Err(self.unexpected(node)),
            (Kind::String, _) => return Err(self.wrong_scalar("string", field, node)),
            (Kind::Bool, _) => return Err(self.wrong_scalar("bool", field, node)),
            (Kind::Uint32, _) => return Err(self.wrong_scalar("uint32", field, node)),
            (Kind::Uint64, _) => return Err(self.wrong_scalar("uint64", field, node)),
            (Kind::Enum(_), _) => return Err(self.wrong_scalar("enum", field, node)),
        };
        Ok(Some(scalar))
    }

    fn duration(&self, text: &str, node: &Node) -> Result<Scalar, String> {
        const MAX_SECONDS: i64 = 315_576_000_000;
        let Some((seconds, nanos)) = parse_duration(text) else {
            return Err(self.fault(node, &format!("invalid google.protobuf.Duration value {}", self.raw(node))));
        };
        if !(-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return Err(self.fault(node, &format!("google.protobuf.Duration value out of range: {}", self.raw(node))));
        }
        Ok(Scalar::Duration(seconds, nanos))
    }

    fn wrong_scalar(&self, kind: &str, field: &Field, node: &Node) -> String {
        let raw = self.raw(node);
        match self.errors {
            ScalarErrors::Type => self.fault(node, &format!("invalid value for {kind} type: {raw}")),
            ScalarErrors::Field => self.fault(node, &format!("invalid value for {kind} field {}: {raw}", field.json)),
        }
    }

    /// The token as written; of an object or array only its first character is a token.
    fn raw(&self, node: &Node) -> &str {
        match node.value {
            Value::Object(_) | Value::Array(_) => &self.source[node.start..=node.start],
            _ => &self.source[node.start..node.end],
        }
    }

    fn fault(&self, node: &Node, text: &str) -> String {
        format!("proto: {}: {text}", self.place(node))
    }

    fn unexpected(&self, node: &Node) -> String {
        format!("proto: syntax error {}: unexpected token {}", self.place(node), self.raw(node))
    }

    fn place(&self, node: &Node) -> String {
        let before = &self.source[..node.start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("(line {line}:{column})")
    }
}

/// A whole number, also when written with an exponent or a zero fraction.
fn uint(text: &str, max: u64) -> Option<u64> {
    let number = match text.parse::<u64>() {
        Ok(number) => number,
        Err(_) => text.strip_suffix(".0")?.parse().ok()?,
    };
    (number <= max).then_some(number)
}

/// protojson's own grammar: sign, whole seconds without leading zeros, at most nine decimals, `s`.
fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.unwrap_or("0");
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    if whole.is_empty() && !text.starts_with('.') {
        return None;
    }
    let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some((sign * seconds, i32::try_from(sign).unwrap_or(1) * nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_grammar_of_protojson() {
        for (text, expected) in [
            ("10s", Some((10, 0))),
            ("0.5s", Some((0, 500_000_000))),
            ("-1s", Some((-1, 0))),
            ("0.0000000001s", None),
            ("1500ms", None),
            ("1m", None),
            ("01s", None),
            ("s", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }
}
