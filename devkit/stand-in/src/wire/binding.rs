//! How the gateway binds a request to a message when the body is not the whole of it: the body is one repeated field,
//! a JSON array, and the other fields are URL parameters (`query.limit=2`), with the error texts of Go's `encoding/json`
//! and of grpc-gateway.

use super::json::{self, Node, Value};
use super::proto::{Decoded, Field, Kind, Message, Scalar, ScalarErrors, decode};
use crate::router;

/// Decodes a body that is a list of messages. Each element is read on its own, so places count from its start.
pub(crate) fn list(
    message: &'static Message,
    field: &'static str,
    node: &Node,
    source: &str,
    errors: ScalarErrors,
) -> Result<Decoded, String> {
    let elements = match &node.value {
        Value::Array(elements) => elements.as_slice(),
        Value::Null => &[],
        other => {
            let kind = go_kind(other);
            return Err(format!("json: cannot unmarshal {kind} into Go value of type []json.RawMessage"));
        }
    };
    let mut decoded = Decoded::default();
    let Some(Kind::Message(element_message)) = find(message, field).map(|field| field.kind) else { return Ok(decoded) };
    let mut list = Vec::new();
    for element in elements {
        let text = source.get(element.start..element.end).unwrap_or_default();
        let parsed = json::parse(text).map_err(|fault| fault.to_string())?;
        let Some((node, text)) = parsed else { continue };
        list.push(Scalar::Message(decode(element_message, &node, text, errors)?));
    }
    decoded.set(field, Scalar::List(list));
    Ok(decoded)
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Fills a message from URL parameters; unknown ones are ignored.
pub(crate) fn parameters(decoded: &mut Decoded, message: &'static Message, query: &str) -> Result<(), String> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (router::decode(key), router::decode(&value.replace('+', " ")));
        parameter(decoded, message, &key, &value)?;
    }
    Ok(())
}

fn parameter(decoded: &mut Decoded, message: &'static Message, path: &str, value: &str) -> Result<(), String> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = find(message, name) else { return Ok(()) };
    match (field.kind, rest) {
        (Kind::Message(inner), Some(rest)) => match decoded.message_mut(field.json) {
            Some(nested) => parameter(nested, inner, rest, value),
            None => Ok(()),
        },
        (_, Some(_)) => Ok(()),
        (_, None) => {
            let wrong = |fault| format!("parsing field \"{}\": {fault}", field.proto);
            if let Some(scalar) = scalar(field, value).map_err(wrong)? {
                decoded.set(field.json, scalar);
            }
            Ok(())
        }
    }
}

fn find(message: &'static Message, name: &str) -> Option<&'static Field> {
    message.fields.iter().find(|field| field.json == name || field.proto == name)
}

/// `None`: a kind that no URL parameter of the Actions API has.
fn scalar(field: &Field, value: &str) -> Result<Option<Scalar>, String> {
    let scalar = match field.kind {
        Kind::String => Scalar::String(value.to_owned()),
        Kind::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Scalar::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Scalar::Bool(false),
            _ => return Err(format!("strconv.ParseBool: parsing \"{value}\": invalid syntax")),
        },
        Kind::Uint32 => Scalar::Uint(uint(value, u64::from(u32::MAX))?),
        Kind::Uint64 => Scalar::Uint(uint(value, u64::MAX)?),
        Kind::Enum(names) => {
            let by_name = names.iter().position(|name| *name == value).and_then(|number| i32::try_from(number).ok());
            let by_number = || value.parse().ok().filter(|number| known(names, *number));
            Scalar::Enum(by_name.or_else(by_number).ok_or_else(|| format!("\"{value}\" is not a valid value"))?)
        }
        Kind::Duration | Kind::Timestamp | Kind::Message(_) => return Ok(None),
    };
    Ok(Some(scalar))
}

fn known(names: &[&str], number: i32) -> bool {
    usize::try_from(number).is_ok_and(|number| number < names.len())
}

fn uint(value: &str, max: u64) -> Result<u64, String> {
    let fault = |text: &str| format!("strconv.ParseUint: parsing \"{value}\": {text}");
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("invalid syntax"));
    }
    value.parse().ok().filter(|number| *number <= max).ok_or_else(|| fault("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGING: Message = Message {
        full_name: "Paging",
        fields: &[Field::new("limit", "limit", Kind::Uint32), Field::new("desc", "desc", Kind::Bool)],
    };
    const ELEMENT: Message = Message { full_name: "Element", fields: &[Field::new("name", "name", Kind::String)] };
    static SEARCH: Message = Message {
        full_name: "Search",
        fields: &[
            Field::new("query", "query", Kind::Message(&PAGING)),
            Field::new("sortingColumn", "sorting_column", Kind::Enum(&["NONE", "ID"])),
            Field::new("elements", "elements", Kind::Message(&ELEMENT)).repeated(),
        ],
    };

    #[test]
    fn parameters_fill_nested_messages() {
        let mut decoded = Decoded::default();
        parameters(&mut decoded, &SEARCH, "query.limit=7&query.desc=T&sorting_column=ID&foo=bar&query.x=1").unwrap();
        let query = decoded.message("query").unwrap();
        assert_eq!((query.uint("limit"), query.bool("desc"), decoded.number("sortingColumn")), (7, true, 1));
    }

    #[test]
    fn wrong_parameters_are_named_as_the_gateway_names_them() {
        let fault = |query: &str| parameters(&mut Decoded::default(), &SEARCH, query).unwrap_err();
        assert_eq!(
            fault("query.limit=%2D1"),
            "parsing field \"limit\": strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
        assert!(fault("query.limit=4294967296").ends_with("value out of range"));
        assert_eq!(fault("sortingColumn=FOO"), "parsing field \"sorting_column\": \"FOO\" is not a valid value");
    }

    #[test]
    fn a_list_is_read_element_by_element() {
        let read = |text: &str| {
            let (node, source) = json::parse(text).unwrap().unwrap();
            list(&SEARCH, "elements", &node, source, ScalarErrors::Field)
        };
        let decoded = read(r#"[{"name": "a"}, {"name": "b"}]"#).unwrap();
        assert_eq!(decoded.messages("elements")[1].string("name"), Some("b"));
        assert!(read("null").unwrap().messages("elements").is_empty());
        assert_eq!(read("{}").unwrap_err(), "json: cannot unmarshal object into Go value of type []json.RawMessage");
        assert!(read(r#"[{}, {"name": 5}]"#).unwrap_err().starts_with("proto: (line 1:10): "));
    }
}
