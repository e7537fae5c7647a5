//! Validation rules (protoc-gen-validate) and readings of requests that the generations share; the limits are theirs.

use crate::TargetKind;
use crate::core::query::{Filter, TextMethod};
use crate::wire::proto::{Decoded, Field, Kind, Message};

const NO_FIELDS: Message = Message { full_name: "RESTAsync", fields: &[] };
const INTERRUPTING: Message =
    Message { full_name: "RESTWebhook", fields: &[Field::new("interruptOnError", "interrupt_on_error", Kind::Bool)] };

pub(super) const REST_WEBHOOK: Field =
    Field::new("restWebhook", "rest_webhook", Kind::Message(&INTERRUPTING)).oneof("target_type");
pub(super) const REST_CALL: Field =
    Field::new("restCall", "rest_call", Kind::Message(&INTERRUPTING)).oneof("target_type");
pub(super) const REST_ASYNC: Field =
    Field::new("restAsync", "rest_async", Kind::Message(&NO_FIELDS)).oneof("target_type");

/// The kind in a request and its flag; a kind without the flag means false.
pub(super) fn kind(body: &Decoded) -> Option<(TargetKind, bool)> {
    let interrupting = |name, kind| body.message(name).map(|message| (kind, message.bool("interruptOnError")));
    interrupting("restWebhook", TargetKind::Webhook)
        .or_else(|| interrupting("restCall", TargetKind::Call))
        .or_else(|| body.message("restAsync").map(|_| (TargetKind::Async, false)))
}

/// The name of a kind in answers.
pub(super) fn kind_name(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Webhook => "restWebhook",
        TargetKind::Call => "restCall",
        TargetKind::Async => "restAsync",
    }
}

/// `min..=max` code points.
pub(super) fn length(field: &str, text: &str, max: usize) -> Result<(), String> {
    if (1..=max).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(format!("invalid {field}: value length must be between 1 and {max} runes, inclusive"))
}

/// At most `max` code points.
pub(super) fn max_length(field: &str, text: &str, max: usize) -> Result<(), String> {
    if text.chars().count() <= max {
        return Ok(());
    }
    Err(format!("invalid {field}: value length must be at most {max} runes"))
}

/// How a fault of an embedded message is introduced.
pub(super) const EMBEDDED_MESSAGE_FAILED: &str = "embedded message failed validation | caused by: ";

pub(super) const MAX_ID: usize = 200;
/// Of a name in a search, on every generation, although names may be longer on some.
const MAX_SEARCHED_NAME: usize = 200;

/// What the search messages are called in a generation.
pub(super) struct SearchNames {
    /// JSON name of the list of filters.
    pub(super) list: &'static str,
    /// Proto path of the list, for errors.
    pub(super) list_path: &'static str,
    /// Message of one filter and the name of its oneof, for errors.
    pub(super) filter: &'static str,
    pub(super) filter_oneof: &'static str,
    /// The two members.
    pub(super) by_name: &'static str,
    pub(super) by_name_type: &'static str,
    pub(super) by_ids: &'static str,
    /// How many of the text methods it has.
    pub(super) methods: usize,
}

/// Validates the filters of a search.
pub(super) fn validate_filters(body: &Decoded, names: &SearchNames) -> Result<(), String> {
    const EMBEDDED: &str = EMBEDDED_MESSAGE_FAILED;
    for (at, filter) in body.messages(names.list).into_iter().enumerate() {
        let list = format!("invalid {}[{at}]: {EMBEDDED}", names.list_path);
        if let Some(by_name) = filter.message(names.by_name) {
            let member = format!("{list}invalid {}.{}: {EMBEDDED}", names.filter, names.by_name_type);
            let field = format!("{}.TargetName", names.by_name_type);
            let name = by_name.string("targetName").unwrap_or_default();
            max_length(&field, name, MAX_SEARCHED_NAME).map_err(|fault| format!("{member}{fault}"))?;
            if !usize::try_from(by_name.number("method")).is_ok_and(|method| method < names.methods) {
                return Err(format!(
                    "{member}invalid {}.Method: value must be one of the defined enum values",
                    names.by_name_type
                ));
            }
        } else if filter.message(names.by_ids).is_none() {
            return Err(format!("{list}invalid {}.{}: value is required", names.filter, names.filter_oneof));
        }
    }
    Ok(())
}

/// Reads validated filters. An empty list of ids is an error of the database layer on every generation.
pub(super) fn filters(body: &Decoded, names: &SearchNames) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    for filter in body.messages(names.list) {
        if let Some(by_name) = filter.message(names.by_name) {
            let method = TextMethod::from_number(by_name.number("method")).unwrap_or(TextMethod::Equals);
            filters.push(Filter::Name(by_name.string("targetName").unwrap_or_default().to_owned(), method));
        }
        if let Some(by_ids) = filter.message(names.by_ids) {
            let ids: Vec<String> = by_ids.strings("targetIds").into_iter().map(str::to_owned).collect();
            if ids.is_empty() {
                return Err("values array must not be empty".to_owned());
            }
            filters.push(Filter::Ids(ids));
        }
    }
    Ok(filters)
}
