//! What others write into a status that is ours alone: restore tools, `kubectl edit --subresource=status`.

use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use crate::api::condition::ConditionType;

const CONDITIONS: &str = "conditions";

/// The patch that takes out of an applied status (`shown`) what was not applied (`wanted`); none, if nothing is.
///
/// Server-side apply keeps fields and list entries of other field managers, so that a stranger's Stalled would stand beside
/// our Ready for ever, and a stranger's id in a status that has none. An update takes them out for all managers; and as it
/// changes nothing else, the manager of the update comes to own nothing. Conditions of other types are left alone.
pub(crate) fn removal(applied: &impl Resource, shown: &Value, wanted: &Value) -> Option<Value> {
    let mut surplus = fields(shown, wanted);
    let all = shown[CONDITIONS].as_array().map(Vec::as_slice).unwrap_or_default();
    let kept: Vec<&Value> = all.iter().filter(|condition| is_kept(condition, &wanted[CONDITIONS])).collect();
    if kept.len() < all.len() {
        surplus.insert(CONDITIONS.to_owned(), json!(kept));
    }
    (!surplus.is_empty()).then(|| {
        json!({
            "metadata": {"uid": applied.uid(), "resourceVersion": applied.resource_version()},
            "status": surplus,
        })
    })
}

/// The fields that are shown and not wanted, each as the null that removes it.
fn fields(shown: &Value, wanted: &Value) -> Map<String, Value> {
    let mut surplus = Map::new();
    for (key, shown) in shown.as_object().into_iter().flatten().filter(|(key, _)| *key != CONDITIONS) {
        match &wanted[key] {
            Value::Null => drop(surplus.insert(key.clone(), Value::Null)),
            wanted => {
                let below = fields(shown, wanted);
                if !below.is_empty() {
                    surplus.insert(key.clone(), Value::Object(below));
                }
            }
        }
    }
    surplus
}

fn is_kept(condition: &Value, wanted: &Value) -> bool {
    let own = ConditionType::ALL.iter().any(|kind| condition["type"] == kind.as_str());
    !own || wanted.as_array().is_some_and(|all| all.iter().any(|one| one["type"] == condition["type"]))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn taken_out(shown: &Value, wanted: &Value) -> Option<Value> {
        removal(&Pod::default(), shown, wanted).map(|patch| patch["status"].clone())
    }

    #[test]
    fn what_was_applied_and_conditions_of_others_stay() {
        let ready = json!({"type": "Ready", "status": "True"});
        let wanted = json!({"id": "1", "conditions": [ready]});
        assert_eq!(taken_out(&wanted, &wanted), None);
        let other = json!({"type": "example.com/Reviewed", "status": "True"});
        assert_eq!(taken_out(&json!({"id": "1", "conditions": [other, ready]}), &wanted), None);
    }

    #[test]
    fn fields_and_conditions_that_were_not_applied_go() {
        let ready = json!({"type": "Ready", "status": "False"});
        let shown = json!({
            "id": "1", "connection": {"url": "u", "instance": "i"},
            "conditions": [{"type": "Stalled", "status": "True"}, ready],
        });
        let wanted = json!({"connection": {"url": "u"}, "conditions": [ready]});
        let gone = json!({"id": null, "connection": {"instance": null}, "conditions": [ready]});
        assert_eq!(taken_out(&shown, &wanted), Some(gone));
    }
}
