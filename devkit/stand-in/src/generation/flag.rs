//! The feature flag `actions`, which v2.x servers have: the check, and the calls that read and set it.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Invocation;
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::proto::{Field, Kind, Message};
use crate::world::State;

/// The request that sets features; the stand-in has only this one.
pub(super) static SET: Message = Message {
    full_name: "zitadel.feature.v2.SetInstanceFeaturesRequest",
    fields: &[Field::new("actions", "actions", Kind::Bool)],
};

/// Refuses a call while the flag is off.
pub(super) fn check(state: &State) -> Result<(), ApiError> {
    if state.actions.effective(state.lag, Instant::now()) {
        return Ok(());
    }
    Err(ApiError::zitadel(Code::FailedPrecondition, "ACTION-8o6pvqfjhs", "Feature \"Action\" is not enabled"))
}

/// All features. `others`: those that the server has besides the ones that all v2.x servers have; `others_v2`: those
/// that it shows on `/v2/features` only.
pub(super) fn read(call: &Invocation<'_>, state: &State, others: &[&str], others_v2: &[&str]) -> Value {
    let flag = &state.actions;
    let actions = match (flag.set_by_instance, flag.effective(state.lag, Instant::now())) {
        (false, _) => json!({}),
        (true, true) => json!({ "enabled": true, "source": "SOURCE_INSTANCE" }),
        (true, false) => json!({ "source": "SOURCE_INSTANCE" }),
    };
    let common = ["oidcTriggerIntrospectionProjections", "oidcLegacyIntrospection", "userSchema", "oidcTokenExchange"];
    let others_v2 = if call.path.starts_with("/v2/") { others_v2 } else { &[] };
    let off = common.iter().chain(&["improvedPerformance"]).chain(others).chain(others_v2);
    let mut answer: Map<String, Value> = off.map(|name| ((*name).to_owned(), json!({}))).collect();
    answer.insert("details".to_owned(), details(call, flag.sequence, flag.change_date));
    answer.insert("loginDefaultOrg".to_owned(), json!({ "enabled": true, "source": "SOURCE_INSTANCE" }));
    answer.insert("actions".to_owned(), actions);
    Value::Object(answer)
}

/// Sets the flag; the same value again changes nothing.
pub(super) fn set(call: &Invocation<'_>, state: &mut State) -> Result<Value, ApiError> {
    let Some(on) = call.body.flag("actions") else { return Err(no_changes()) };
    if !state.actions.set_by_instance || state.actions.latest() != on {
        let date = state.clock.event_date();
        state.actions.set(on, date);
    }
    Ok(json!({ "details": details(call, state.actions.sequence, state.actions.change_date) }))
}

/// Nothing that the server knows was sent.
pub(super) fn no_changes() -> ApiError {
    ApiError::zitadel(Code::InvalidArgument, "COMMAND-Vigh1", "No changes")
}

/// Details of the old shape.
pub(super) fn details(call: &Invocation<'_>, sequence: u64, change_date: Timestamp) -> Value {
    json!({
        "sequence": sequence.to_string(),
        "changeDate": timestamp(change_date),
        "resourceOwner": call.world.instance_id,
    })
}
