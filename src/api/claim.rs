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
    /// Ids of targets with events shortly before `after`. A database clock that steps back may date the announced create
    /// before `after`, but never gives it one of these ids. Absent where they were too many, and in claims of older
    /// versions: then `after` alone counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Vec<String>>,
    /// When the newest create was claimed. Equal to `since` unless an earlier attempt had no readable answer.
    pub time: Timestamp,
    /// The id that the new target replaces, when a former remote target was deleted by somebody else. The claim is
    /// open while `status.id` still shows this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// How often a target that ZITADEL never showed has been replaced; once is enough to know that it does not help.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repairs: u32,
    /// uid of the object that made the claim: a copy of that object carries a claim that is not its own. Absent in
    /// claims of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What the creates under this claim post beside the name, each once: a target of the same name that was created
    /// with anything else is somebody else's. Empty where it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub posted: Vec<Posted>,
}

/// What a create call posts beside the name, as the event store repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    /// Which of the three kinds of target.
    pub kind: PostedKind,
    /// Whether a failed call interrupts the request; never for restAsync.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupt_on_error: bool,
    /// Timeout in nanoseconds, as in the payload of `target.added`.
    pub timeout_nanos: u64,
    /// Endpoint, byte for byte.
    pub endpoint: String,
}

/// The kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PostedKind {
    /// `restWebhook`.
    RestWebhook,
    /// `restCall`.
    RestCall,
    /// `restAsync`.
    RestAsync,
}

/// Most payloads that a claim lists; edits of a spec while no create is answered are rarer than that.
const MOST_POSTED: usize = 8;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What the annotation of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one for each reconcile in progress; a box would only add patterns")]
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

    /// Whether it was made by another object than the one with this uid, which is then a copy of that one, from a backup
    /// or by hand. One that cannot be read says nothing of anybody.
    #[must_use]
    pub fn is_of_another(&self, uid: &str) -> bool {
        let Self::Held(claim) = self else { return false };
        claim.object.as_deref().is_some_and(|object| object != uid)
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

    /// A claim of this name at this moment, and nothing else known.
    #[must_use]
    pub fn new(name: &str, time: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            instance: None,
            since: time,
            after: None,
            known: None,
            time,
            replaces: None,
            repairs: 0,
            object: None,
            posted: Vec::new(),
        }
    }

    /// Notes what the next create posts. Too many to list are the same as not known.
    pub fn post(&mut self, posted: Posted) {
        if self.posted.contains(&posted) {
            return;
        }
        if self.posted.len() < MOST_POSTED {
            self.posted.push(posted);
        } else {
            self.posted.clear();
        }
    }

    /// Whether exactly one create was sent under this claim.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.since == self.time
    }

    /// Whether a create under this claim may have posted this; what is not known excludes nothing.
    #[must_use]
    pub fn may_have_posted(&self, posted: Option<&Posted>) -> bool {
        self.posted.is_empty() || posted.is_none_or(|posted| self.posted.contains(posted))
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
        Claim { replaces: replaces.map(Into::into), ..Claim::new("a", "2026-11-24T10:00:00Z".parse().unwrap()) }
    }

    #[test]
    fn a_claim_survives_its_annotation() {
        let claim = claim(Some("1"));
        assert_eq!(ClaimState::parse(Some(&claim.render())), ClaimState::Held(claim));
        assert_eq!(ClaimState::parse(None), ClaimState::Absent);
        assert_eq!(ClaimState::parse(Some("{")), ClaimState::Unreadable);
    }

    fn posted(endpoint: &str) -> Posted {
        let endpoint = endpoint.to_owned();
        Posted { kind: PostedKind::RestAsync, interrupt_on_error: false, timeout_nanos: 1, endpoint }
    }

    #[test]
    fn a_claim_of_an_older_version_excludes_no_payload() {
        let text = r#"{"name":"a","since":"2026-11-24T10:00:00Z","time":"2026-11-24T10:00:00Z"}"#;
        let ClaimState::Held(old) = ClaimState::parse(Some(text)) else { panic!("{text}") };
        assert!(old.object.is_none() && old.may_have_posted(Some(&posted("https://a"))));
    }

    #[test]
    fn a_claim_lists_what_its_creates_post_until_that_is_too_much() {
        let mut claim = claim(None);
        claim.post(posted("https://a"));
        claim.post(posted("https://a"));
        assert_eq!(claim.posted.len(), 1);
        assert_eq!(ClaimState::parse(Some(&claim.render())), ClaimState::Held(claim.clone()));
        assert!(!claim.may_have_posted(Some(&posted("https://b"))) && claim.may_have_posted(None));
        for other in 0..MOST_POSTED {
            claim.post(posted(&format!("https://{other}")));
        }
        assert!(claim.may_have_posted(Some(&posted("https://b"))), "too many to know");
    }

    #[test]
    fn a_claim_is_open_until_a_new_id_is_known() {
        assert!(claim(None).is_open(None));
        assert!(!claim(None).is_open(Some("2")));
        assert!(claim(Some("1")).is_open(Some("1")));
        assert!(!claim(Some("1")).is_open(Some("2")));
    }
}
