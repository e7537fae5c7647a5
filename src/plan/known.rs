//! What is said of a connection that works: what it does without, since when it cannot list, who else uses its account.

use jiff::Timestamp;

use crate::api::connection as api;
use crate::zitadel::account::Stranger;
use crate::zitadel::{Capabilities, Capability, Error, Identity, Missing};

/// What is known of a connection that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who answers, as whom we are known, and what is missing.
    pub identity: Identity,
    /// The issuer that the server names, where it tells.
    pub issuer: Option<String>,
    /// Whether the targets cannot be listed, so that changes made in ZITADEL go unnoticed.
    pub unobserved: Option<Unobserved>,
    /// The target that shows that others use the account, too.
    pub stranger: Option<Stranger>,
}

/// A list of targets that keeps failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unobserved {
    /// When the last one was complete; or when the first one failed, if none ever was.
    pub since: Timestamp,
    /// How the newest one failed.
    pub error: Error,
}

/// What Ready says of a connection that works, and what it does without.
pub(super) fn well(known: &Known) -> String {
    let mut text = "ZITADEL answers and accepts the credential".to_owned();
    if let Some(missing) = missing(known.identity.capabilities) {
        text.push_str("; ");
        text.push_str(&missing);
    }
    if let Some(Unobserved { since, error }) = &known.unobserved {
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let why = error.advice();
        let told =
            format!("its targets could not be listed since {since}, so changes made in ZITADEL go unnoticed: {why}");
        text.push_str("; ");
        text.push_str(&told);
    }
    text
}

/// One sentence about what is missing and what that costs.
fn missing(capabilities: Capabilities) -> Option<String> {
    let costs = [
        (
            capabilities.events,
            "events",
            "status.sequence is not updated and a create without an answer takes longer to settle",
        ),
        (capabilities.identity, "identity", "events of this operator are not told from those of others"),
        (capabilities.version, "version", "another instance behind the same URL is not noticed"),
    ];
    let missing: Vec<_> = costs.iter().filter_map(|(one, name, cost)| Some((name, cost, one.missing()?))).collect();
    if missing.is_empty() {
        return None;
    }
    let names: Vec<_> = missing.iter().map(|(name, _, why)| format!("{name} ({why})")).collect();
    let costs: Vec<_> = missing.iter().map(|(_, cost, _)| **cost).collect();
    Some(format!("not available: {}; without that {}", names.join(", "), costs.join(", ")))
}

const fn word(capability: Capability) -> api::Capability {
    match capability {
        Capability::Available => api::Capability::Available,
        Capability::Missing(Missing::NotPermitted) => api::Capability::NotPermitted,
        Capability::Missing(Missing::NotServed) => api::Capability::NotServed,
        Capability::Missing(Missing::NotAnswering) => api::Capability::NotAnswering,
    }
}

/// The same for status.
pub(super) const fn reported(capabilities: Capabilities) -> api::Capabilities {
    let Capabilities { events, identity, version } = capabilities;
    api::Capabilities { events: word(events), identity: word(identity), version: word(version) }
}

/// What somebody who reads `AccountShared` should know and do.
pub(super) fn shared(known: &Known) -> Option<String> {
    let (stranger, user) = (known.stranger.as_ref()?, known.identity.user.as_deref().unwrap_or_default());
    Some(format!(
        "target {} was {} in ZITADEL with the service account {user}, and not by this operator: give the operator a \
         service account of its own; until it is restarted with one, it recovers nothing that another user of the account \
         may have made",
        stranger.id,
        stranger.what()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::{ConditionType, find, own};
    use crate::api::connection::ConnectionReport;
    use crate::plan::connection::{Look, Step, View, plan, render};
    use crate::zitadel::Api;
    use crate::zitadel::account::Deed;
    use crate::zitadel::error::ApiError;

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn known(edit: impl FnOnce(&mut Known)) -> Known {
        let identity = Identity {
            api: Api::V2,
            instance: Some("i".into()),
            user: Some("u".into()),
            server_version: Some("v4.13.1".into()),
            capabilities: Capabilities::ALL,
        };
        let mut known = Known { identity, issuer: None, unobserved: None, stranger: None };
        edit(&mut known);
        known
    }

    fn up() -> Look {
        Look::Up(Box::new(known(|_| ())))
    }

    fn view(look: &Look) -> View<'_> {
        View { deleting: false, finalized: true, users: &[], look }
    }

    fn ready(known: Known) -> ConnectionReport {
        let Step::Report(report) = plan(&view(&Look::Up(Box::new(known)))) else { panic!("a report") };
        render(&ConnectionReport::default(), &report, 1, now())
    }

    #[test]
    fn what_a_connection_does_without_is_reported_with_its_cost_and_is_no_failure() {
        let status = ready(known(|known| {
            known.identity.capabilities.events = Capability::Missing(Missing::NotAnswering);
            known.identity.capabilities.version = Capability::Missing(Missing::NotServed);
        }));
        let expected = api::Capabilities {
            events: api::Capability::NotAnswering,
            identity: api::Capability::Available,
            version: api::Capability::NotServed,
        };
        assert_eq!(status.capabilities, Some(expected));
        let condition = find(&status.conditions, ConditionType::Ready).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "Available"));
        let expected = "ZITADEL answers and accepts the credential; not available: events (it does not answer in time, or \
                        fails), version (the server does not serve it, or a proxy hides it); without that status.sequence \
                        is not updated and a create without an answer takes longer to settle, another instance behind the \
                        same URL is not noticed";
        assert_eq!(condition.message, expected);
        let complete = ready(known(|_| ()));
        let ready = find(&complete.conditions, ConditionType::Ready).unwrap();
        assert_eq!(ready.message, "ZITADEL answers and accepts the credential");
    }

    #[test]
    fn a_list_that_keeps_failing_is_reported_with_the_time_and_the_cause() {
        let error = Error::Api(ApiError { status: 500, code: 13, message: "x".into(), id: None });
        let status = ready(known(|known| known.unobserved = Some(Unobserved { since: now(), error })));
        let message = &find(&status.conditions, ConditionType::Ready).unwrap().message;
        let expected = "its targets could not be listed since 2026-11-24T10:00:00Z, so changes made in ZITADEL go unnoticed: \
                        HTTP 500";
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_shared_account_is_a_condition_of_its_own_that_survives_an_outage() {
        let id = "7".parse().unwrap();
        let status = ready(known(|known| known.stranger = Some(Stranger { id, deed: Deed::Created })));
        let shared = find(&status.conditions, ConditionType::AccountShared).unwrap();
        assert_eq!((shared.status.as_str(), shared.reason.as_str()), ("True", "ForeignWrites"));
        assert!(
            shared
                .message
                .contains("target 7 was created in ZITADEL with the service account u, and not by this operator")
        );
        let down = Look::Down(Error::Connect("refused".into()));
        let Step::Report(ill) = plan(&view(&down)) else { panic!("a report") };
        let later = render(&status, &ill, 1, now());
        assert_eq!(find(&later.conditions, ConditionType::AccountShared), Some(shared));
        assert_eq!(own(&later.conditions), later.conditions, "it is compared with what is shown");
        let Step::Report(mended) = plan(&view(&up())) else { panic!("a report") };
        assert_eq!(find(&render(&later, &mended, 1, now()).conditions, ConditionType::AccountShared), None);
    }
}
