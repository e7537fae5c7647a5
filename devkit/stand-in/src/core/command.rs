//! The commands on targets: their checks in ZITADEL's order, what counts as a change, and what an update of a target
//! that was created with `interruptOnError` silently leaves out.

use super::clock::{Clock, new_id, random_text};
use super::endpoint::EndpointRules;
use super::store::{EventStore, Fields, NameTaken, Visibility, WriteModel};
use crate::wire::error::{ApiError, Code};
use crate::wire::go_url;
use crate::{PayloadType, TargetKind};

/// What a generation's server does beyond storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// Endpoints are checked against the deny list (v4.11.1 and later).
    pub(crate) deny_list: bool,
    /// Targets have signing keys (v2.66.0 and later).
    pub(crate) signing: bool,
    /// Targets have payload types (v4.8.0 and later).
    pub(crate) payload_types: bool,
}

/// Who does what, where.
pub(crate) struct Commands<'a> {
    pub(crate) store: &'a mut EventStore,
    pub(crate) clock: &'a mut Clock,
    pub(crate) editor: &'a str,
    pub(crate) features: Features,
    pub(crate) endpoints: &'a EndpointRules,
}

/// A valid request to create.
#[derive(Clone, Debug)]
pub(crate) struct NewTarget {
    pub(crate) name: String,
    pub(crate) kind: TargetKind,
    pub(crate) interrupt_on_error: bool,
    pub(crate) timeout: i64,
    pub(crate) endpoint: String,
    pub(crate) payload_type: PayloadType,
}

/// A valid request to update. `None` = unchanged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    /// Kind and flag come together: a kind without the flag means false.
    pub(crate) kind: Option<(TargetKind, bool)>,
    pub(crate) timeout: Option<i64>,
    pub(crate) endpoint: Option<String>,
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) new_signing_key: bool,
}

/// A target that was created.
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) signing_key: Option<String>,
}

/// The ids that the checks of one command carry.
struct CheckIds {
    no_timeout: &'static str,
    invalid_url: &'static str,
    denied_url: &'static str,
}

const ADD: CheckIds =
    CheckIds { no_timeout: "COMMAND-39f35d8uri", invalid_url: "COMMAND-1r2k6qo6wg", denied_url: "COMMAND-NcJUKo" };
const CHANGE: CheckIds =
    CheckIds { no_timeout: "COMMAND-08b39vdi57", invalid_url: "COMMAND-jsbaera7b6", denied_url: "COMMAND-jKbbu2" };

impl From<NameTaken> for ApiError {
    fn from(_: NameTaken) -> Self {
        Self::zitadel(Code::AlreadyExists, "V3-DKcYh", "Errors.Target.AlreadyExists")
    }
}

impl Commands<'_> {
    pub(crate) fn add(&mut self, target: NewTarget, visibility: Visibility) -> Result<Created, ApiError> {
        self.check(&ADD, Some(target.timeout), Some(&target.endpoint))?;
        storable(&target.name)?;
        storable(&target.endpoint)?;
        let signing_key = self.features.signing.then(|| random_text(36));
        let fields = Fields {
            name: Some(target.name),
            kind: Some(target.kind),
            interrupt_on_error: Some(target.interrupt_on_error),
            timeout: Some(target.timeout),
            endpoint: Some(target.endpoint),
            payload_type: self.features.payload_types.then_some(target.payload_type),
            signing_key: signing_key.clone(),
        };
        let id = new_id();
        self.store.add(self.clock, self.editor, &id, fields, visibility)?;
        Ok(Created { id, signing_key })
    }

    /// The new signing key, if one was asked for.
    pub(crate) fn change(&mut self, id: &str, change: Change) -> Result<Option<String>, ApiError> {
        self.check(&CHANGE, change.timeout, change.endpoint.as_deref())?;
        let existing = self.store.existing(id);
        let existing =
            existing.ok_or_else(|| ApiError::zitadel(Code::NotFound, "COMMAND-xj14f2cccn", "Target not found"))?;
        let signing_key = (change.new_signing_key && self.features.signing).then(|| random_text(36));
        let fields = difference(existing, change, signing_key.clone(), self.features);
        storable(fields.name.as_deref().unwrap_or_default())?;
        storable(fields.endpoint.as_deref().unwrap_or_default())?;
        if !fields.is_empty() {
            self.store.change(self.clock, self.editor, id, fields)?;
        }
        Ok(signing_key)
    }

    /// False when there is no such target: generations answer that differently.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let exists = self.store.existing(id).is_some();
        if exists {
            self.store.remove(self.clock, self.editor, id);
        }
        exists
    }

    fn check(&self, ids: &CheckIds, timeout: Option<i64>, endpoint: Option<&str>) -> Result<(), ApiError> {
        if timeout == Some(0) {
            return Err(ApiError::zitadel(Code::InvalidArgument, ids.no_timeout, "Target has no timeout"));
        }
        let Some(endpoint) = endpoint else { return Ok(()) };
        let invalid = |_| ApiError::zitadel(Code::InvalidArgument, ids.invalid_url, "Target has an invalid URL");
        let url = go_url::parse(endpoint).map_err(invalid)?;
        if self.features.deny_list && self.endpoints.deny(&url) {
            return Err(ApiError::zitadel(Code::InvalidArgument, ids.denied_url, "Errors.Target.DeniedURL"));
        }
        Ok(())
    }
}

/// PostgreSQL cannot store NUL in JSON (observed on every generation).
fn storable(text: &str) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::plain("ERROR: unsupported Unicode escape sequence (SQLSTATE 22P05)"));
    }
    Ok(())
}

fn difference(existing: &WriteModel, change: Change, signing_key: Option<String>, features: Features) -> Fields {
    let (kind, flag) = change.kind.unzip();
    Fields {
        name: change.name.filter(|name| *name != existing.name),
        kind: kind.filter(|kind| *kind != existing.kind),
        interrupt_on_error: flag.filter(|flag| *flag != existing.interrupt_on_error),
        timeout: change.timeout.filter(|timeout| *timeout != existing.timeout),
        endpoint: change.endpoint.filter(|endpoint| *endpoint != existing.endpoint),
        payload_type: change
            .payload_type
            .filter(|new| features.payload_types && *new != PayloadType::UNSPECIFIED && *new != existing.payload_type),
        signing_key,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::core::projection::Projection;

    #[test]
    fn a_target_created_interrupting_stays_so_until_true_was_sent_once() {
        let (mut store, mut clock) = (EventStore::default(), Clock::default());
        let features = Features { deny_list: false, signing: false, payload_types: false };
        let id = {
            let endpoints = &EndpointRules::default();
            let mut commands = Commands { store: &mut store, clock: &mut clock, editor: "u", features, endpoints };
            let new = NewTarget {
                name: "a".to_owned(),
                kind: TargetKind::Webhook,
                interrupt_on_error: true,
                timeout: 1,
                endpoint: "https://h/".to_owned(),
                payload_type: PayloadType::UNSPECIFIED,
            };
            commands.add(new, Visibility::Projected).unwrap().id
        };
        let mut reads = Projection::default();
        // (kind and flag that is sent, sequence and flag that is shown): false, async, back, true, true, false.
        for (kind, flag, sequence, shown) in [
            (TargetKind::Webhook, false, 1, true),
            (TargetKind::Async, false, 2, true),
            (TargetKind::Webhook, false, 3, true),
            (TargetKind::Webhook, true, 4, true),
            (TargetKind::Webhook, true, 4, true),
            (TargetKind::Webhook, false, 5, false),
        ] {
            let endpoints = &EndpointRules::default();
            let mut commands = Commands { store: &mut store, clock: &mut clock, editor: "u", features, endpoints };
            commands.change(&id, Change { kind: Some((kind, flag)), ..Change::default() }).unwrap();
            reads.catch_up(&store.events, Duration::ZERO, Instant::now());
            let row = reads.row(&id).unwrap();
            assert_eq!((row.sequence, row.interrupt_on_error), (sequence, shown));
        }
    }
}
