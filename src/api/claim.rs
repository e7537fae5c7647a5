//! The claim: the record, on the object itself, that a create call is about to be sent.
//!
//! ZITADEL assigns ids and takes no idempotency key, so the only defence against a second target after a crash is a
//! note made before the first request. It is a pure value with a text form; who writes it, and when, is decided in
//! `plan` and done in `controller`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Value of the annotation `zitadel-actions.dev/create-claim`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The name that the create call posts; it is unique per instance and so finds the target again.
    pub name: String,
    /// Id of the ZITADEL instance that the call goes to, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// When the first create under this name was claimed, in the server's clock. Nothing older is ours.
    pub since: Timestamp,
    /// Date of the newest event that was known before the first create under this name, in the database's own clock:
    /// what is not newer was there before, whoever made it, and is not what this claim announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// When the newest create was claimed. Equal to `since` unless an earlier attempt had no readable answer.
    pub time: Timestamp,
    /// The id that the new target replaces, when a former remote target was deleted by somebody else. The claim is
    /// open while `status.id` still shows this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// How often a target that ZITADEL never showed has been replaced; once is enough to know that it does not help.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repairs: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What the annotation of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimState {
    /// No annotation.
    Absent,
    /// A readable claim.
    Held(Claim),
    /// An annotation that somebody else wrote or damaged: it proves nothing.
    Unreadable,
}

impl ClaimState {
    /// Reads the annotation's value.
    #[must_use]
    pub fn parse(annotation: Option<&str>) -> Self {
        match annotation.map(serde_json::from_str) {
            None => Self::Absent,
            Some(Ok(claim)) => Self::Held(claim),
            Some(Err(_)) => Self::Unreadable,
        }
    }
}

impl Claim {
    /// The annotation's value.
    ///
    /// # Panics
    /// Never: a struct of strings always serialises.
    #[must_use]
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings always serialises")
    }

    /// Whether the create it announces is not yet answered in a status that shows `id`.
    #[must_use]
    pub fn is_open(&self, id: Option<&str>) -> bool {
        match id {
            None => true,
            Some(id) => self.replaces.as_deref() == Some(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(replaces: Option<&str>) -> Claim {
        let time = "2026-11-24T10:00:00Z".parse().unwrap();
        Claim {
            name: "a".into(),
            instance: None,
            since: time,
            after: None,
            time,
            replaces: replaces.map(Into::into),
            repairs: 0,
        }
    }

    #[test]
    fn a_claim_survives_its_annotation() {
        let claim = claim(Some("1"));
        assert_eq!(ClaimState::parse(Some(&claim.render())), ClaimState::Held(claim));
        assert_eq!(ClaimState::parse(None), ClaimState::Absent);
        assert_eq!(ClaimState::parse(Some("{")), ClaimState::Unreadable);
    }

    #[test]
    fn a_claim_is_open_until_a_new_id_is_known() {
        assert!(claim(None).is_open(None));
        assert!(!claim(None).is_open(Some("2")));
        assert!(claim(Some("1")).is_open(Some("1")));
        assert!(!claim(Some("1")).is_open(Some("2")));
    }
}
