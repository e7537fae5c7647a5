//! What to send so that a remote target equals the spec.
//!
//! Only what differs is sent: every generation's update is partial. One server bug shapes this file (measured on
//! v2.58.7, v2.71.19, v3.4.9 and v4.13.1): a target *created* with interruptOnError true ignores an update to false
//! (200, nothing changes) until one update has said true. So a lowered flag is first raised, then lowered, and the
//! result is read back before anything is called Ready.

use super::facts::Refused;
use crate::zitadel::{Change, OnError, RemoteTarget, TargetConfig};

/// The next update towards `wanted`, or `None` when nothing differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What to send.
    pub change: Change,
    /// Whether this only raises the flag, so that it can be lowered next.
    pub raise: bool,
}

/// Compares by value; `raised` says that this pass has already raised the flag.
#[must_use]
pub fn next_edit(wanted: &TargetConfig, remote: &RemoteTarget, raised: bool) -> Option<Edit> {
    let change = Change {
        name: (wanted.name.as_str() != remote.name).then(|| wanted.name.clone()),
        kind: (Some(wanted.kind) != remote.kind).then_some(wanted.kind),
        timeout: (wanted.timeout.duration() != remote.timeout).then_some(wanted.timeout),
        endpoint: (wanted.endpoint.as_str() != remote.endpoint).then(|| wanted.endpoint.clone()),
        payload_type: (Some(wanted.payload_type) != remote.payload_type).then_some(wanted.payload_type),
    };
    if change == Change::default() {
        return None;
    }
    let interrupts = remote.kind.is_some_and(|kind| kind.on_error() == OnError::Interrupt);
    let lowered = interrupts && wanted.kind.with(OnError::Interrupt) != wanted.kind;
    if lowered && change.kind.is_some() && !raised {
        let kind = Some(wanted.kind.with(OnError::Interrupt));
        return Some(Edit { change: Change { kind, ..Change::default() }, raise: true });
    }
    Some(Edit { change, raise: false })
}

impl Edit {
    /// What is left to send without the fields that were refused.
    #[must_use]
    pub fn without(self, refused: &Refused) -> Option<Self> {
        let mut change = self.change;
        change.name = change.name.filter(|_| refused.name.is_none());
        change.endpoint = change.endpoint.filter(|_| refused.endpoint.is_none());
        (change != Change::default()).then_some(Self { change, ..self })
    }
}

/// The fields of a change, as the spec calls them, for the Event.
#[must_use]
pub fn fields(change: &Change) -> Vec<&'static str> {
    let named = [
        ("name", change.name.is_some()),
        ("kind", change.kind.is_some()),
        ("timeout", change.timeout.is_some()),
        ("endpoint", change.endpoint.is_some()),
        ("payloadType", change.payload_type.is_some()),
    ];
    named.into_iter().filter_map(|(field, set)| set.then_some(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zitadel::{Kind, PayloadType, Version};
    use rstest::rstest;
    use std::time::Duration;

    fn wanted(kind: Kind) -> TargetConfig {
        TargetConfig {
            name: "a".parse().unwrap(),
            kind,
            timeout: "0.5s".parse().unwrap(),
            endpoint: "https://h/x".parse().unwrap(),
            payload_type: PayloadType::Json,
        }
    }

    fn remote(kind: Kind) -> RemoteTarget {
        RemoteTarget {
            id: "1".parse().unwrap(),
            name: "a".into(),
            kind: Some(kind),
            timeout: Duration::from_millis(500),
            endpoint: "https://h/x".into(),
            payload_type: Some(PayloadType::Json),
            version: Version::default(),
            created: None,
            owner: None,
        }
    }

    use Kind::{Async, Call, Webhook};
    use OnError::{Continue, Interrupt};

    #[rstest]
    #[case(Webhook(Continue), Webhook(Continue), &[])]
    #[case(Webhook(Interrupt), Webhook(Interrupt), &[])]
    #[case(Webhook(Continue), Webhook(Interrupt), &[(Webhook(Interrupt), true), (Webhook(Continue), false)])]
    #[case(Call(Continue), Webhook(Interrupt), &[(Call(Interrupt), true), (Call(Continue), false)])]
    #[case(Webhook(Interrupt), Webhook(Continue), &[(Webhook(Interrupt), false)])]
    #[case(Async, Webhook(Interrupt), &[(Async, false)])]
    #[case(Webhook(Continue), Async, &[(Webhook(Continue), false)])]
    fn kinds(#[case] want: Kind, #[case] have: Kind, #[case] sent: &[(Kind, bool)]) {
        let mut raised = false;
        for (kind, raise) in sent {
            let edit = next_edit(&wanted(want), &remote(have), raised).unwrap();
            assert_eq!((edit.change.kind, edit.raise), (Some(*kind), *raise));
            raised = raised || edit.raise;
        }
        if sent.is_empty() {
            assert_eq!(next_edit(&wanted(want), &remote(have), false), None);
        }
    }

    #[test]
    fn each_field_is_found_alone() {
        let base = remote(Async);
        for (field, other) in [
            ("name", RemoteTarget { name: "A".into(), ..base.clone() }),
            ("timeout", RemoteTarget { timeout: Duration::from_secs(1), ..base.clone() }),
            ("endpoint", RemoteTarget { endpoint: "https://h/X".into(), ..base.clone() }),
            ("kind", RemoteTarget { kind: None, ..base.clone() }),
            ("payloadType", RemoteTarget { payload_type: Some(PayloadType::Jwe), ..base.clone() }),
            ("payloadType", RemoteTarget { payload_type: None, ..base.clone() }),
        ] {
            let edit = next_edit(&wanted(Async), &other, false).unwrap();
            assert_eq!(fields(&edit.change), [field]);
        }
    }

    #[test]
    fn a_refused_field_holds_no_other_back() {
        let have = RemoteTarget { name: "old".into(), endpoint: "https://h/old".into(), ..remote(Async) };
        let taken = Some(crate::zitadel::Error::Setup("refused".into()));
        let edit = || next_edit(&wanted(Async), &have, false).unwrap();
        let name = Refused { name: taken.clone(), endpoint: None };
        assert_eq!(fields(&edit().without(&name).unwrap().change), ["endpoint"]);
        let both = Refused { name: taken.clone(), endpoint: taken };
        assert_eq!(edit().without(&both), None);
        assert_eq!(edit().without(&Refused::default()), Some(edit()));
    }

    #[test]
    fn other_fields_wait_for_the_raise() {
        let have = RemoteTarget { endpoint: "https://h/old".into(), ..remote(Webhook(Interrupt)) };
        let first = next_edit(&wanted(Webhook(Continue)), &have, false).unwrap();
        assert_eq!(fields(&first.change), ["kind"]);
        let second = next_edit(&wanted(Webhook(Continue)), &have, true).unwrap();
        assert_eq!(fields(&second.change), ["kind", "endpoint"]);
    }
}
